# SPDX-License-Identifier: BSD-3-Clause
"""The array types that everyone names, and how a message describes an array."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
REAL = "fiub"  # kinds of dtypes: real numbers
INTEGERS = "iu"


def is_mapped(array: Any) -> bool:
    """Return whether an array's memory is that of a mapped file."""
    while isinstance(array, np.ndarray | memoryview):
        array = array.base if isinstance(array, np.ndarray) else array.obj
    return isinstance(array, mmap.mmap)


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
