# SPDX-License-Identifier: BSD-3-Clause
"""Elements of features that training never saw: left out, and counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain.errors import InvalidSettingError

_Array = npt.NDArray[Any]
CHOICES = ("refuse", "ignore")


@dataclass(frozen=True, slots=True)
class Unknown:
    """Count the elements that were left out.

    Attributes
    ----------
    elements : int
    rows : int
        Rows with such elements.
    largest : int
        The largest column, from 0; -1: there is none.
    """

    elements: int = 0
    rows: int = 0
    largest: int = -1

    def __add__(self, other: Unknown) -> Unknown:
        return Unknown(
            self.elements + other.elements,
            self.rows + other.rows,
            max(self.largest, other.largest),
        )


def checked_unknown(unknown: str) -> str:
    """Return "refuse" or "ignore".

    Raises
    ------
    InvalidSettingError
        When it is neither.
    """
    if unknown not in CHOICES:
        raise InvalidSettingError(f'unknown must be "refuse" or "ignore", got {unknown!r}')
    return unknown


def leave_out(
    values: _Array, indices: _Array, pointers: _Array, n_features: int
) -> tuple[_Array, _Array, _Array, Unknown]:
    """Return rows without the columns from `n_features` on.

    Parameters
    ----------
    values, indices : array (n_elements,)
    pointers : int array (n_rows + 1,)
        In 0 .. n_elements.
    n_features : int

    Returns
    -------
    values, indices, pointers : arrays
        The same ones where nothing is left out.
    unknown : Unknown
    """
    is_known = indices < n_features
    if is_known.all():
        return values, indices, pointers, Unknown()
    known_before = np.zeros(len(indices) + 1, np.int64)
    np.cumsum(is_known, out=known_before[1:])
    kept = known_before[pointers]
    left_out = np.diff(pointers) - np.diff(kept)
    unknown = Unknown(
        len(indices) - int(known_before[-1]),
        int(np.count_nonzero(left_out)),
        int(indices.max()),
    )
    return values[is_known], indices[is_known], kept.astype(pointers.dtype), unknown
