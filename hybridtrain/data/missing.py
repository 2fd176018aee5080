# SPDX-License-Identifier: BSD-3-Clause
"""Missing values in every type that can hold them: found, counted and named."""

from __future__ import annotations

import contextlib
import decimal
import sys
from typing import Any

import numpy as np
import numpy.typing as npt


def find_missing(array: npt.NDArray[Any]) -> npt.NDArray[np.bool_] | None:
    """Return where an array holds NaN, NaT, None or pandas' NA; None: nowhere.

    Parameters
    ----------
    array : array
        Of any dtype.

    Returns
    -------
    bool array of the same shape, or None
    """
    kind = array.dtype.kind
    if kind in "fc":
        is_missing = np.isnan(array)
    elif kind in "mM":
        is_missing = np.isnat(array)
    elif kind == "O":
        is_missing = _missing_objects(array)
    else:
        return None
    return is_missing if is_missing.any() else None


def missing_text(array: npt.NDArray[Any], is_missing: npt.NDArray[np.bool_]) -> str:
    """Say how many values of a vector are missing, and which is the first.

    Examples
    --------
    >>> labels = np.array(["a", None, "b", None], dtype=object)
    >>> missing_text(labels, find_missing(labels))
    'found 2 missing values, the first in row 1 (None)'
    """
    count, row = int(is_missing.sum()), int(np.argmax(is_missing))
    plural = "s, the first" if count > 1 else ","
    return f"found {count} missing value{plural} in row {row} ({array[row]})"


def _missing_objects(array: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    pandas = sys.modules.get("pandas")  # without it there is no NA of its own
    if pandas is not None:
        with contextlib.suppress(decimal.InvalidOperation):  # a signalling NaN
            return np.asarray(pandas.isna(array))
    others = () if pandas is None else (pandas.NA, pandas.NaT)
    flat = [x is None or any(x is other for other in others) or _is_nan(x) for x in array.flat]
    return np.array(flat, np.bool_).reshape(array.shape)


def _is_nan(x: Any) -> bool:
    if isinstance(x, np.datetime64 | np.timedelta64):
        return bool(np.isnat(x))
    if isinstance(x, decimal.Decimal):
        return x.is_nan()
    return isinstance(x, float | complex | np.inexact) and bool(np.isnan(x))
