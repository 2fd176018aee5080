# SPDX-License-Identifier: BSD-3-Clause
"""pandas frames as rows, without importing pandas."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from hybridtrain.errors import InvalidDataError

_MOST_NAMED = 5


def is_frame(X: Any) -> bool:
    """Whether X is a pandas DataFrame: then its owner has imported pandas."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(X, pandas.DataFrame)


def frame_rows(frame: Any) -> Any:
    """Turn a frame into a matrix.

    Parameters
    ----------
    frame : pandas.DataFrame (n_rows, n_features)
        Numeric and bool columns, nullable ones too; no missing values.

    Returns
    -------
    float32 array (n_rows, n_features), C order; COO when all columns are sparse

    Raises
    ------
    InvalidDataError
        When a column is of another type or misses values; the message names it.
    """
    types = list(zip(map(str, frame.columns), frame.dtypes, strict=True))
    others = [f"{name!r} ({dtype})" for name, dtype in types if not _is_real(dtype)]
    if others:
        raise InvalidDataError(
            f"X must have numeric and bool columns, got {', '.join(others[:_MOST_NAMED])}"
            + (f" and {len(others) - _MOST_NAMED} more" if len(others) > _MOST_NAMED else "")
            + "; leave them out, or encode them, such as with "
            "pandas.get_dummies(X, sparse=True, dtype='float32')"
        )
    # A sparse column stores what differs from its fill value; SciPy's is 0.
    if types and all(getattr(dtype, "fill_value", None) == 0 for _, dtype in types):
        return frame.sparse.to_coo()
    missing = frame.isna().to_numpy().sum(axis=0)
    if missing.any():
        column = int(np.argmax(missing > 0))
        raise InvalidDataError(
            f"X must not miss values, got {missing[column]} in column {types[column][0]!r}; "
            "fill them, or leave out the column or the rows"
        )
    return np.ascontiguousarray(frame.to_numpy(dtype=np.float32))


def _is_real(dtype: Any) -> bool:
    """Whether a column's type, also a nullable or sparse one, is of real numbers."""
    return getattr(dtype, "kind", "O") in "fiub"
