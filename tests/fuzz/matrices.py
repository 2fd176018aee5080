# SPDX-License-Identifier: BSD-3-Clause
"""SciPy matrices: every format, in harmless guises and with each array wrong in one way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fuzz import arrays, reading
from fuzz.contract import Allowed, UnsoundError, building, outcome_of, require
from fuzz.draw import Draw, sparse_rows
from fuzz.ways import Way, of_scikit_learn, ways
from scipy import sparse

_FORMATS = ("csr", "csc", "coo", "bsr", "dia", "lil", "dok")
_ARRAYS = {
    "csr": ("indptr", "indices", "data"),
    "csc": ("indptr", "indices", "data"),
    "bsr": ("indptr", "indices", "data"),
    "coo": ("row", "col", "data"),
    "dia": ("offsets", "data"),
    "lil": ("rows", "data"),
    "dok": (),
}
_UNKNOWN = object()
_SIZES = (-1, 0, 1, 2, 3, 50, 1000, 2**31 - 1, 2**31, 2**40, 2**62, 2.0, 2.5, None, "3")


def _make(draw: Draw, rows: Any, form: str) -> Any:
    is_array = draw.chance(0.5)
    if is_array:
        draw.note("array")
        rows = sparse.csr_array(rows)
    if form == "bsr":
        sides = [[k for k in (1, 2, 3, 4) if length % k == 0] for length in rows.shape]
        return rows.tobsr(blocksize=tuple(draw.one(side) for side in sides))
    return rows.asformat(form, copy=True)


def _set(X: Any, name: str, value: Any) -> None:
    """Set an array of a matrix, past the class's own checks."""
    if X.format == "coo" and name in ("row", "col"):
        coords = list(X.coords)
        coords[name == "col"] = value
        X.coords = tuple(coords)
    else:
        setattr(X, name, value)


# ---- the same rows in another guise


def _guise_of_arrays(draw: Draw, X: Any, place: Path) -> None:
    names = [name for name in _ARRAYS[X.format] if getattr(X, name).dtype != object]
    for name in names:
        if draw.chance(0.6):
            change = draw.one([*arrays.GUISES, "mapped"])
            draw.note(f"{name} {change}")
            array = getattr(X, name)
            is_mapped = change == "mapped" and array.size
            made = (
                arrays.mapped(draw, array, place)
                if is_mapped
                else arrays.GUISES.get(change, arrays.read_only)(draw, array)
            )
            _set(X, name, made)


def _guise_of_types(draw: Draw, X: Any, place: Path) -> None:
    for name in _ARRAYS[X.format]:
        array = getattr(X, name)
        if array.dtype == object:
            continue
        dtype = draw.one(["f4", "f8"] if name == "data" else ["i4", "i8"])
        draw.note(f"{name} {dtype}")
        _set(X, name, array.astype(dtype))


def _guise_of_order(draw: Draw, X: Any, place: Path) -> None:
    """Shuffle the entries and split some in two; flags may deny it."""
    if X.format == "coo":
        order = draw.numbers.permutation(np.repeat(np.arange(X.nnz), 2))
        rows, columns, data = X.row[order], X.col[order], X.data[order] / 2
        X.coords, X.data = (rows, columns), data
    elif X.format in ("csr", "csc"):
        lines = [slice(a, b) for a, b in zip(X.indptr, X.indptr[1:], strict=False)]
        order = np.concatenate(
            [draw.numbers.permutation(np.repeat(np.arange(s.start, s.stop), 2)) for s in lines]
        ).astype(np.intp)
        X.indices, X.data, X.indptr = X.indices[order], X.data[order] / 2, X.indptr * 2
    if draw.chance(0.5) and X.format in ("csr", "csc", "coo"):
        draw.note("flags lie")
        X.has_canonical_format = True
        if X.format != "coo":
            X.has_sorted_indices = True


def _guise_of_room(draw: Draw, X: Any, place: Path) -> None:
    """Leave room behind the last entry, with nonsense in it."""
    if X.format in ("csr", "csc"):
        X.indices = np.append(X.indices, np.array([-7, 2**31 - 1], np.int32))
        X.data = np.append(X.data, np.array([np.nan, np.inf], np.float32))


_GUISES: dict[str, Callable[[Draw, Any, Path], None]] = {
    "guise of arrays": _guise_of_arrays,
    "guise of types": _guise_of_types,
    "guise of order": _guise_of_order,
    "guise of room": _guise_of_room,
}


# ---- broken ones


def _break_array(draw: Draw, X: Any) -> None:
    name = draw.one(_ARRAYS[X.format])
    draw.note(name)
    array = getattr(X, name)
    if X.format == "lil":
        _break_lists(draw, X, name)
    else:
        _set(X, name, arrays.faulty(draw, array))


def _break_lists(draw: Draw, X: Any, name: str) -> None:
    array = getattr(X, name).copy()
    row = draw.below(len(array))
    inner = list(array[row]) if isinstance(array[row], list) else []
    changes: dict[str, Callable[[], Any]] = {
        "longer": lambda: [*inner, 1],
        "shorter": lambda: inner[:-1],
        "none": lambda: None,
        "text": lambda: [*inner[:-1], "x"],
        "negative": lambda: [*inner[:-1], -1],
        "huge": lambda: [*inner[:-1], 50_000_000],
        "float": lambda: [*inner[:-1], 0.5],
        "nan": lambda: [*inner[:-1], float("nan")],
        "beyond": lambda: [*inner[:-1], 2**70],
        "tuple": lambda: tuple(inner),
        "reversed": lambda: inner[::-1],
        "twice": lambda: inner * 2,
    }
    if draw.chance(0.2):
        setattr(X, name, arrays.faulty(draw, array))
        return
    array[row] = draw.named(changes)()
    setattr(X, name, array)


def _break_keys(draw: Draw, X: Any) -> None:
    n_rows, n_features = X.shape
    key = draw.one(
        [(n_rows, 0), (0, n_features), (-1, 0), (0, -1), (2**40, 0), (0, 2**70), (0,), 0, (0, 0, 0)]
    )
    value = draw.one([1.0, float("nan"), float("inf"), 1e39, "x", None, 1j])
    if draw.chance(0.3):
        key = (0, 0)
    draw.note(f"{key} = {value}")
    X._dict[key] = value


def _break_shape(draw: Draw, X: Any) -> None:
    shape: list[Any] = list(X.shape)
    what = draw.below(5)
    if what == 0:
        shape = shape[::-1]
    elif what == 1:
        shape = [*shape, 1] if draw.chance(0.5) else shape[:1]
    else:
        side = draw.below(2)
        change = draw.chance(0.5)
        shape[side] = shape[side] + draw.one([-1, 1, 5]) if change else draw.one(_SIZES)
    draw.note(f"shape {shape}")
    X._shape = tuple(shape)


_FAULTS: dict[str, Callable[[Draw, Any], None]] = {
    "array": _break_array,
    "another array": _break_array,
    "shape": _break_shape,
}


def case(draw: Draw, place: Path) -> tuple[Callable[[], str], Allowed]:
    """Make a matrix, and the way in that takes it."""
    rows = sparse_rows(draw)
    form = draw.one(_FORMATS)
    draw.note(form)
    with building():
        X = _make(draw, rows, form)
        is_sound = draw.chance(0.4)
        if is_sound:
            draw.named(_GUISES)(draw, X, place)
        elif form == "dok" and draw.chance(0.7):
            _break_keys(draw, X)
        else:
            draw.named({"shape": _break_shape} if form == "dok" else _FAULTS)(draw, X)
        try:
            expected = reading.read(X)
        except reading.UnreadableError:
            expected = None
        except reading.TooLongError:
            expected = _UNKNOWN
    found = ways(draw, rows, place)
    name = draw.one(list(found))
    draw.note(name)
    allowed = of_scikit_learn(name)
    return lambda: compare(found[name], X, expected, is_sound, allowed), allowed


def compare(way: Way, X: Any, expected: Any, must_accept: bool, allowed: Allowed) -> str:
    """Require the outcome of the expected rows; a refusal where there are none.

    Raises
    ------
    UnsoundError
        When broken rows are used, or sound ones refused or used otherwise.
    """
    try:
        found = way(X)
    except Exception as error:
        name = outcome_of(error, allowed)
        if must_accept and not name.startswith("scikit-learn"):
            _require_refusal_of_sound(way, expected, error)
        return f"refused ({name})"
    if expected is _UNKNOWN:
        return "used"
    require(expected is not None, "rows are used that are none")
    candidates = expected if isinstance(expected, list) else [expected]
    if hasattr(X, "format") and X.format in ("bsr", "dia"):  # zeros in blocks may be left out
        without = expected.copy()
        without.eliminate_zeros()
        candidates.append(without)
    wanted = [way(rows) for rows in candidates]
    require(found in wanted, "another result than that of the same rows as float32 CSR")
    return "equal"


def _require_refusal_of_sound(way: Way, expected: Any, error: Exception) -> None:
    require(expected is not None, "the tests take broken rows for sound ones")
    try:
        way(expected[0] if isinstance(expected, list) else expected)
    except type(error):
        return
    raise UnsoundError(f"sound rows are refused: {error}") from error
