# SPDX-License-Identifier: BSD-3-Clause
"""One NumPy array, wrong in one way; or the same numbers in another guise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from fuzz.draw import Draw

Array = npt.NDArray[Any]
Change = Callable[[Draw, Array], Any]

_DTYPES = (
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "longdouble", "bool", "complex64", "complex128"),
    *("object", "U8", "S8", "datetime64[s]", "timedelta64[D]", "V4"),
)
_WHOLE = (
    *(-1, -2, -5, 0, 1, 2, 3, 5, 100, 127, 255, 65_535, 5_000_000, 50_000_000),
    *(2**31 - 2, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**62, 2**63 - 1),
    *(-(2**31), -(2**31) - 1, -(2**62), -(2**63)),
)
_REAL = (
    *(float("nan"), float("inf"), float("-inf"), 3.4e38, -3.4e38, 1e39, -1e300, 1e308),
    *(1e-38, 1e-45, 1e-46, 5e-324, 1e20, -0.0, 0.5, 1e6),
)


def swapped(draw: Draw, array: Array) -> Array:
    """Return the numbers in the other order of bytes."""
    return array.astype(array.dtype.newbyteorder())


def reversed_strides(draw: Draw, array: Array) -> Array:
    """Return the numbers with strides below 0."""
    index = (slice(None, None, -1),) * array.ndim
    return array[index].copy()[index]


def spread(draw: Draw, array: Array) -> Array:
    """Return the numbers with others between them."""
    wide = np.zeros((*array.shape, 2), array.dtype)
    wide[..., 0] = array
    return wide[..., 0]


def read_only(draw: Draw, array: Array) -> Array:
    """Return a copy that cannot be written."""
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def unaligned(draw: Draw, array: Array) -> Array:
    """Return the numbers at an odd address."""
    memory = np.zeros(array.nbytes + 1, np.uint8)
    view = memory[1:].view(array.dtype)[: array.size].reshape(array.shape)
    view[...] = array
    return view


def mapped(draw: Draw, array: Array, place: Path) -> Array:
    """Return the numbers in a file."""
    file = place / f"mapped{draw.getrandbits(32)}.npy"
    np.save(file, array)
    loaded: Array = np.load(file, mmap_mode=draw.one(["r", "c"]))
    return loaded


class _Subclass(np.ndarray[Any, Any]):
    """An array of another class."""


def subclass(draw: Draw, array: Array) -> Array:
    """Return the numbers in a subclass of ndarray."""
    return array.view(_Subclass)


GUISES: dict[str, Change] = {
    "swapped": swapped,
    "reversed": reversed_strides,
    "spread": spread,
    "read-only": read_only,
    "unaligned": unaligned,
    "subclass": subclass,
}


def other_dtype(draw: Draw, array: Array) -> Array:
    """Return the numbers as another type, wrapped or cut where it holds fewer."""
    dtype = draw.one(_DTYPES)
    draw.note(dtype)
    if dtype == "V4" or array.dtype.kind in "SUO":
        return np.zeros(array.shape, dtype)
    return array.astype(dtype)


def other_length(draw: Draw, array: Array) -> Array:
    """Return fewer numbers, or more; none, or as if there were very many."""
    what = draw.one(["one less", "one more", "half", "none", "twice", "very many"])
    draw.note(what)
    if what == "one more":
        return np.concatenate([array, array[-1:] if len(array) else np.zeros(1, array.dtype)])
    if what == "very many":
        return np.broadcast_to(array.reshape(-1)[:1] if array.size else np.zeros(1), (1 << 33,))
    if what == "twice":
        return np.concatenate([array, array])
    length = {"one less": max(len(array) - 1, 0), "half": len(array) // 2, "none": 0}[what]
    return array[:length].copy()


def other_ndim(draw: Draw, array: Array) -> Array:
    """Return the numbers in another number of dimensions."""
    shapes: list[tuple[int, ...]] = [(-1, 1), (1, -1), (1, 1, -1)]
    if array.ndim > 1:
        shapes.append((-1,))
    if array.size <= 1 or draw.chance(0.2):
        return np.array(array.reshape(-1)[0] if array.size else 0, array.dtype)
    return array.reshape(draw.one(shapes))


def no_array(draw: Draw, array: Array) -> Any:
    """Return what is no array, or one of another class."""
    what = draw.one(["None", "list", "tuple", "int", "str", "bytes", "masked", "matrix", "empty"])
    draw.note(what)
    made: dict[str, Callable[[], Any]] = {
        "None": lambda: None,
        "list": array.tolist,
        "tuple": lambda: tuple(array.tolist()),
        "int": lambda: 3,
        "str": lambda: "123",
        "bytes": array.tobytes,
        "masked": lambda: np.ma.masked_array(array, draw.numbers.random(array.shape) < 0.3),
        "matrix": lambda: np.asmatrix(array.reshape(len(array), -1)),
        "empty": list,
    }
    return made[what]()


def one_value(draw: Draw, array: Array) -> Array:
    """Return the numbers with one changed, to a whole number as far as the type holds it."""
    copy = array.copy()
    if not copy.size:
        return copy
    pool = _WHOLE if copy.dtype.kind in "iu" else _REAL
    value = draw.one(pool)
    place = draw.one([0, copy.size - 1, draw.below(copy.size)])
    draw.note(f"[{place}] = {value}")
    if copy.dtype.kind in "iu":
        limits = np.iinfo(copy.dtype)
        value = min(max(int(value), int(limits.min)), int(limits.max))
    copy.reshape(-1)[place] = value
    return copy


def shuffled(draw: Draw, array: Array) -> Array:
    """Return the numbers in another order."""
    return draw.numbers.permutation(array)


def shifted(draw: Draw, array: Array) -> Array:
    """Return all numbers with one added."""
    if array.dtype.kind not in "iuf":
        return array.copy()
    offset = draw.one([1, -1, 7, 2**31 - 1, -(2**31)])
    draw.note(f"+ {offset}")
    return (array + np.float64(offset)).astype(array.dtype)


def random_bytes(draw: Draw, array: Array) -> Array:
    """Return as many numbers from random bytes."""
    if array.dtype.kind not in "iufbc":
        return array.copy()
    return np.frombuffer(draw.randbytes(array.nbytes), array.dtype).reshape(array.shape).copy()


FAULTS: dict[str, Change] = {
    "dtype": other_dtype,
    "length": other_length,
    "ndim": other_ndim,
    "no array": no_array,
    "value": one_value,
    "one value": one_value,
    "shuffled": shuffled,
    "shifted": shifted,
    "random": random_bytes,
}


def faulty(draw: Draw, array: Array) -> Any:
    """Return the array wrong in one way; by chance it may still be right."""
    return draw.named(FAULTS)(draw, np.atleast_1d(array))
