# SPDX-License-Identifier: BSD-3-Clause
"""The array types that everyone names; checks of one array, and its description."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain.errors import InvalidDataError

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
REAL = "fiub"  # kinds of dtypes: real numbers
INTEGERS = "iu"


def is_mapped(array: Any) -> bool:
    """Return whether an array's memory is that of a mapped file."""
    while isinstance(array, np.ndarray | memoryview):
        array = array.base if isinstance(array, np.ndarray) else array.obj
    return isinstance(array, mmap.mmap)


def contiguous(array: npt.NDArray[Any], dtype: Any) -> npt.NDArray[Any]:
    """Return an array of a dtype in C order, its elements where the processor wants them.

    The same array if it is one already.
    """
    result = np.ascontiguousarray(array, dtype=dtype)
    return result if result.flags.aligned else result.copy()


def require_unmasked(X: Any) -> None:
    """Refuse a masked matrix.

    Raises
    ------
    InvalidDataError
        When X is masked: the values behind the mask would be used.
    """
    if isinstance(X, np.ma.MaskedArray):
        raise InvalidDataError(
            f"X must not be masked, as the model has no missing values, got {describe(X)}; "
            "fill them: X.filled(0)"
        )


def describe(array: Any) -> str:
    """Return package, type, shape and dtype of an array, for messages.

    Examples
    --------
    >>> describe(np.zeros((2, 3)))
    'numpy ndarray (2, 3) float64'
    """
    kind = f"{type(array).__module__.split('.')[0]} {type(array).__name__}"
    shape = getattr(array, "shape", None)
    dtype = getattr(array, "dtype", None)
    return " ".join([kind, *(str(part) for part in (shape, dtype) if part is not None)])


def checked_array(array: Any, name: str, kinds: str, ndim: int = 1) -> npt.NDArray[Any]:
    """Return an array of a matrix, checked for its number of dimensions and kind of dtype.

    Raises
    ------
    InvalidDataError
        When it is something else; the message has the array's name.
    """
    if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
        raise InvalidDataError(f"{name} must be a NumPy array, got {describe(array)}")
    if array.ndim != ndim:
        raise InvalidDataError(f"{name} must have {ndim} dimension(s), got {describe(array)}")
    if array.dtype.kind not in kinds:
        if kinds == REAL:
            raise InvalidDataError(f"X must hold real numbers, got {describe(array)} in {name}")
        raise InvalidDataError(f"{name} must hold integers, got {describe(array)}")
    return np.asarray(array)


def first_outside(indices: npt.NDArray[Any], n: int) -> int | None:
    """Return the first element that is not in 0 .. n-1."""
    if not len(indices) or (int(indices.min()) >= 0 and int(indices.max()) < n):
        return None
    is_outside = indices >= n
    if indices.dtype.kind == "i":
        is_outside |= indices < 0
    return int(np.argmax(is_outside))
