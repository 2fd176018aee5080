# SPDX-License-Identifier: BSD-3-Clause
"""The choice of a loss by the labels of a file: classes or numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain.errors import InvalidDataError

_MOST_CLASSES = 100  # whole numbers with more values count as numbers


def label_text(label: Any) -> str:
    """Write a label as people do: 1 for 1.0.

    Examples
    --------
    >>> [label_text(label) for label in (1.0, -1, 0.25, "late")]
    ['1', '-1', '0.25', 'late']
    """
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    return str(label)


def choose_loss(y: npt.NDArray[Any]) -> tuple[str, str]:
    """Choose the loss for labels.

    Parameters
    ----------
    y : array (n_rows,)

    Returns
    -------
    loss : str
        "logistic" for two classes, "softmax" for up to 100 whole numbers or any
        number of words, else "squared".
    reason : str
        Such as "two classes: -1, 1".

    Raises
    ------
    InvalidDataError
        When all labels are equal, or one is not finite.
    """
    y = np.asarray(y)
    is_number = y.dtype.kind in "fiub"
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        row = int(np.argmin(np.isfinite(y)))
        raise InvalidDataError(f"the label of row {row + 1} is {y[row]}; expected a finite number")
    values = np.unique(y)
    if len(values) == 1:
        raise InvalidDataError(
            f"all {len(y)} labels are {label_text(values[0].item())}: there is nothing to learn"
        )
    names = [label_text(value.item()) for value in values[:6]]
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    if len(values) == 2:
        return "logistic", f"two classes: {shown}"
    if is_number and (len(values) > _MOST_CLASSES or bool((values % 1 != 0).any())):
        first, last = f"{values[0]:.4g}", f"{values[-1]:.4g}"
        return "squared", f"labels are numbers: {first} .. {last}"
    return "softmax", f"{len(values)} classes: {shown}"
