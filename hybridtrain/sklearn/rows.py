# SPDX-License-Identifier: BSD-3-Clause
"""Rows of `fit`, made safe for scikit-learn and SciPy, and their weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from hybridtrain.data.arrays import require_unmasked
from hybridtrain.data.classes import class_numbers
from hybridtrain.data.pandas_frames import is_frame, refuse_misread
from hybridtrain.data.sparse_arrays import sound_csr
from hybridtrain.errors import needing_memory
from hybridtrain.models.linear import Linear

_MOST_WEIGHT = 1e290  # on average; sums over the rows of all calls stay finite


def sound(X: Any) -> Any:
    """Return rows that scikit-learn and SciPy can trust; dense ones as they are."""
    require_unmasked(X)
    if is_frame(X):
        refuse_misread(X)
    with needing_memory("X"):
        return sound_csr(X) if sparse.issparse(X) else X


def weighted(
    X: Any, y: Any, sample_weight: Any, of_rows: Any = None
) -> tuple[tuple[Any, ...], float]:
    """Return the data that `train` takes, and the mean weight of its rows.

    Parameters
    ----------
    X, y
        Checked; all rows count.
    sample_weight : array (n_rows,) or None
    of_rows : array (n_rows,), optional
        The weight of each row's class.
    """
    mean = 1.0 if of_rows is None else float(of_rows.mean())
    if sample_weight is None:
        return (X, y), mean
    doubles = np.asarray(sample_weight, np.float64)
    with np.errstate(over="ignore"):
        mean = float((doubles if of_rows is None else doubles * of_rows).mean())
    return (X, y, sample_weight), min(mean, _MOST_WEIGHT)


def weighted_by_class(
    X: Any, y: Any, sample_weight: Any, model: Linear, classes: npt.NDArray[Any]
) -> tuple[tuple[Any, ...], float]:
    """Return the data that `train` takes, and the mean weight of its rows, classes included."""
    of_rows = None
    if isinstance(model.class_weight, Mapping):
        of_labels = [model.class_weight[label] for label in classes.tolist()]
        of_rows = np.array(of_labels, np.float64)[class_numbers(y, classes)]
    return weighted(X, y, sample_weight, of_rows)
