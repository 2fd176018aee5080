# SPDX-License-Identifier: BSD-3-Clause
"""Dense matrices: types, orders, strides, classes and dimensions of every kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fuzz import arrays
from fuzz.contract import Allowed, building
from fuzz.draw import Draw, dense_rows
from fuzz.matrices import compare
from fuzz.ways import of_scikit_learn, ways

_SHAPES = ((0, 3), (3, 0), (0, 0), (1, 1), (1, 5), (5, 1), (2, 3, 4), (7,), (), (0,), (1, 1, 1, 1))


def _fortran(draw: Draw, rows: Any) -> Any:
    return np.asfortranarray(rows)


def _transposed(draw: Draw, rows: Any) -> Any:
    return np.ascontiguousarray(rows.T).T


def _window(draw: Draw, rows: Any) -> Any:
    """Return a part of a larger matrix, which has NaN around it."""
    large = np.full((len(rows) + 4, rows.shape[1] + 4), np.nan, rows.dtype)
    large[2:-2, 2:-2] = rows
    return large[2:-2, 2:-2]


def _same_numbers(draw: Draw, rows: Any) -> Any:
    return rows.astype(draw.one(["f2", "f8", "longdouble", ">f4", ">f8"]))


_GUISES: dict[str, arrays.Change] = {
    **arrays.GUISES,
    "fortran": _fortran,
    "transposed": _transposed,
    "window": _window,
    "type": _same_numbers,
}


def _repeated(draw: Draw, rows: Any) -> Any:
    """Return one row as if it were many; strides of 0."""
    return np.broadcast_to(rows[:1], rows.shape)


def _fields(draw: Draw, rows: Any) -> Any:
    return np.zeros(len(rows), [("a", "f4"), ("b", "f4")])


def _objects(draw: Draw, rows: Any) -> Any:
    objects = rows.astype(object)
    objects[draw.below(len(rows)), 0] = draw.one([None, "x", float("nan"), 10**400, [1], 1j])
    return objects


def _of_shape(draw: Draw, rows: Any) -> Any:
    shape = draw.one(_SHAPES)
    draw.note(shape)
    return np.ones(shape, np.float32)


def _no_matrix(draw: Draw, rows: Any) -> Any:
    plain = rows.tolist()
    return draw.one([plain, plain[0], None, 3, "path", b"x", {"a": 1}, iter(plain), rows.ravel()])


def _whole_numbers(draw: Draw, rows: Any) -> Any:
    return rows.astype(draw.one(["i1", "i2", "i8", "u1", "u8", "?"]))


_STRANGE: dict[str, arrays.Change] = {
    **arrays.FAULTS,
    "repeated": _repeated,
    "fields": _fields,
    "objects": _objects,
    "of shape": _of_shape,
    "no matrix": _no_matrix,
    "whole": _whole_numbers,
}


def _read(X: Any) -> Any:
    """Return the rows as the package should read them; None: it must refuse."""
    if type(X) is np.ma.MaskedArray or not isinstance(X, np.ndarray) or X.ndim != 2:
        return None
    if X.dtype.kind not in "fiub" or not X.size or X.size > 1 << 20:
        return None
    with np.errstate(all="ignore"):
        rows = np.array(X, np.float32, order="C")
    return rows if np.isfinite(rows).all() else None


def _to_memory(draw: Draw, X: Any, place: Path) -> Any:
    if type(X) is np.ndarray and X.dtype.kind in "fiub" and 0 < X.nbytes < 1 << 20:
        draw.note("mapped")
        return arrays.mapped(draw, X, place)
    return X


def case(draw: Draw, place: Path) -> tuple[Callable[[], str], Allowed]:
    """Make a matrix, and the way in that takes it."""
    rows = dense_rows(draw)
    with building():
        is_sound = draw.chance(0.4)
        X = draw.named(_GUISES)(draw, rows) if is_sound else draw.named(_STRANGE)(draw, rows)
        if draw.chance(0.2):
            X = _to_memory(draw, X, place)
        expected = _read(X)
        # scikit-learn takes lists, text and objects as numbers where they are
        is_lenient = not isinstance(X, np.ndarray) or X.dtype.kind not in "fiubc"
    width = expected if expected is not None else rows
    found = ways(draw, width if len(width) > 1 else rows, place)
    name = draw.one(list(found))
    allowed = of_scikit_learn(name)
    if is_lenient and (allowed.scikit_learn or name == "save_directory"):
        name = "train"
        allowed = Allowed()
    draw.note(name)
    return lambda: compare(found[name], X, expected, is_sound, allowed), allowed
