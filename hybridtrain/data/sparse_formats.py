# SPDX-License-Identifier: BSD-3-Clause
"""A reader for each of SciPy's sparse formats: its arrays, checked, become compressed rows."""

from __future__ import annotations

from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hybridtrain.data.arrays import (
    INTEGERS,
    REAL,
    checked_array,
    contiguous,
    describe,
    first_outside,
    is_mapped,
)
from hybridtrain.errors import InvalidDataError

_Array = npt.NDArray[Any]
_Shape = tuple[int, int]
POINTERS_FAULT = "indptr decreases, or points outside the arrays"
INDEX_FAULT = "a column index is negative or >= the number of features"
_ROW_INDEX_FAULT = "a row index is negative or >= the number of rows"


class Compressed(NamedTuple):
    """Compressed sparse rows as plain arrays.

    Attributes
    ----------
    pointers : int64 array (n_rows + 1,)
        From 0 to n_elements.
    indices : integer array (n_elements,)
    values : array of real numbers (n_elements,)
    shape : (int, int)
    """

    pointers: npt.NDArray[np.int64]
    indices: _Array
    values: _Array
    shape: _Shape


def _csr(X: Any, shape: _Shape) -> Compressed:
    return Compressed(*_compressed_arrays(X, _values(X), shape[0], "row"), shape)


def _csc(X: Any, shape: _Shape) -> Compressed:
    from scipy import sparse  # noqa: PLC0415 - costs 0.1 s at import

    pointers, indices, values = _compressed_arrays(X, _values(X), shape[1], "column")
    require_compressed(pointers, indices, shape, "column")
    return from_scipy(sparse.csc_matrix((_for_scipy(values), indices, pointers), shape=shape))


def _coo(X: Any, shape: _Shape) -> Compressed:
    try:
        coordinates = {"X.row": X.row, "X.col": X.col}
    except (AttributeError, IndexError, TypeError) as error:
        raise InvalidDataError(
            f"X must have the arrays row and col, as coo: {error}; make the matrix anew"
        ) from error
    values = _values(X)
    row, column = (checked_array(array, name, INTEGERS) for name, array in coordinates.items())
    if not len(row) == len(column) == len(values):
        raise InvalidDataError(
            f"X.row, X.col and X.data must have the same length, got {len(row)}, {len(column)} and "
            f"{len(values)}"
        )
    return _from_coordinates(row, column, values, shape, tuple(coordinates))


def _bsr(X: Any, shape: _Shape) -> Compressed:
    from scipy import sparse  # noqa: PLC0415 - costs 0.1 s at import

    values = _values(X, ndim=3)
    height, width = values.shape[1:]
    if not (height and width) or shape[0] % height or shape[1] % width:
        raise InvalidDataError(
            f"X.data must hold blocks that divide the shape {shape}, got blocks of "
            f"{height} x {width}"
        )
    of_blocks = shape[0] // height, shape[1] // width
    pointers, indices, blocks = _compressed_arrays(X, values, of_blocks[0], "block row")
    require_compressed(pointers, indices, of_blocks, "block row")
    matrix = sparse.bsr_matrix((_for_scipy(blocks), indices, pointers), shape=shape).tocsr()
    matrix.sum_duplicates()  # and sorts, as other formats are when they have become CSR
    return from_scipy(matrix)


def _dia(X: Any, shape: _Shape) -> Compressed:
    values = _values(X, ndim=2)
    found = checked_array(getattr(X, "offsets", None), "X.offsets", INTEGERS)
    offsets = found[: len(values)].tolist()
    if len(found) != len(values) or len(set(offsets)) != len(offsets):
        raise InvalidDataError(
            f"X.offsets must hold a different number for each of the {len(values)} rows of "
            f"X.data, got {len(found)} numbers, {len(set(offsets))} of the first ones differ"
        )
    n_rows, width = shape[0], min(shape[1], values.shape[1])
    parts: list[tuple[_Array, _Array, _Array]] = []
    for offset, diagonal in zip(offsets, values, strict=True):
        first, last = max(offset, 0), min(n_rows + offset, width)
        if first < last:
            column = np.arange(first, last)
            parts.append((column - offset, column, diagonal[first:last]))
    empty = np.zeros(0, np.int64)
    row, column, kept = (
        np.concatenate(arrays)
        for arrays in zip((empty, empty, values[:0].ravel()), *parts, strict=True)
    )
    is_kept = kept != 0
    return _from_coordinates(row[is_kept], column[is_kept], kept[is_kept], shape, ("row", "col"))


def _lil(X: Any, shape: _Shape) -> Compressed:
    lists = {}
    for name in ("rows", "data"):
        array = getattr(X, name, None)
        if not isinstance(array, np.ndarray) or array.shape != (shape[0],):
            raise InvalidDataError(
                f"X.{name} must be an array of {shape[0]} lists, got {describe(array)}"
            )
        lists[name] = array.tolist()
        for k, one in enumerate(lists[name]):
            if not isinstance(one, list) or len(one) != len(lists["rows"][k]):
                raise InvalidDataError(
                    f"X, row {k}: X.rows and X.data must hold lists of the same length, got "
                    f"{describe(one)} in X.{name}"
                )
    lengths = np.fromiter(map(len, lists["rows"]), np.int64, shape[0])
    column = _from_list(list(chain.from_iterable(lists["rows"])), "X.rows", INTEGERS)
    values = _from_list(list(chain.from_iterable(lists["data"])), "X.data", REAL)
    row = np.repeat(np.arange(shape[0]), lengths)
    return _from_coordinates(row, column, _cast(values, X), shape, ("row", "X.rows"))


def _dok(X: Any, shape: _Shape) -> Compressed:
    keys, values = list(X.keys()), list(X.values())
    for key in keys:
        if not isinstance(key, tuple) or len(key) != 2:
            raise InvalidDataError(f"X's keys must be pairs (row, column), got {key!r}")
    row, column = (_from_list([key[k] for key in keys], "X's keys", INTEGERS) for k in (0, 1))
    numbers = _cast(_from_list(values, "X's values", REAL), X)
    return _from_coordinates(row, column, numbers, shape, ("X's keys", "X's keys"))


READERS: dict[str, Any] = {
    "csr": _csr,
    "csc": _csc,
    "coo": _coo,
    "bsr": _bsr,
    "dia": _dia,
    "lil": _lil,
    "dok": _dok,
}


# ---- what they are made of


def _from_list(items: list[Any], name: str, kinds: str) -> _Array:
    if not items:
        return np.zeros(0, np.int64)
    try:
        array = np.array(items)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidDataError(f"{name} must hold numbers: {error}") from error
    return checked_array(array, name, kinds)


def _cast(values: _Array, X: Any) -> _Array:
    """Return values of the matrix's dtype."""
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(X.dtype)


def _values(X: Any, ndim: int = 1) -> _Array:
    return checked_array(getattr(X, "data", None), "X.data", REAL, ndim=ndim)


def _compressed_arrays(
    X: Any, values: _Array, n_major: int, axis: str
) -> tuple[npt.NDArray[np.int64], _Array, _Array]:
    """Return indptr from 0, and of the indices and values those that it counts."""
    pointers = checked_array(getattr(X, "indptr", None), "X.indptr", INTEGERS)
    indices = checked_array(getattr(X, "indices", None), "X.indices", INTEGERS)
    if len(pointers) != n_major + 1:
        raise InvalidDataError(
            f"X, {axis} {max(n_major - 1, 0)}: {POINTERS_FAULT}: found {len(pointers)} numbers in "
            f"X.indptr, expected {n_major + 1}; got {describe(X)}"
        )
    pointers = contiguous(pointers, np.int64)  # 2**63 and more become negative
    if is_mapped(pointers):  # else they may change once they are checked
        pointers = pointers.copy()
    most = min(len(indices), len(values))
    if not 0 <= pointers[0] <= pointers[-1] <= most:
        raise InvalidDataError(
            f"X, {axis} {max(n_major - 1, 0)}: {POINTERS_FAULT}: found {pointers[0]} .. "
            f"{pointers[-1]} in X.indptr, for {len(indices)} numbers in X.indices and "
            f"{len(values)} in X.data; got {describe(X)}"
        )
    first, last = int(pointers[0]), int(pointers[-1])
    if first:  # elements that no row has
        pointers = pointers - first
    return pointers, indices[first:last], values[first:last]


def require_compressed(
    pointers: npt.NDArray[np.int64], indices: _Array, shape: _Shape, axis: str = "row"
) -> None:
    """Refuse pointers that decrease, and indices of the other axis that are out of range."""
    n_minor, fault = (shape[0], _ROW_INDEX_FAULT) if axis == "column" else (shape[1], INDEX_FAULT)
    decreases = pointers[1:] < pointers[:-1]
    if decreases.any():
        major = int(np.argmax(decreases))
        raise InvalidDataError(
            f"X, {axis} {major}: {POINTERS_FAULT}: found {pointers[major]} .. "
            f"{pointers[major + 1]} in X.indptr; X has the shape {shape}"
        )
    element = first_outside(indices, n_minor)
    if element is not None:
        major = int(np.searchsorted(pointers, element, side="right")) - 1
        raise InvalidDataError(
            f"X, {axis} {major}: {fault}: found {indices[element]} in X.indices, expected "
            f"0 .. {n_minor - 1}; X has the shape {shape}"
        )


def _from_coordinates(
    row: _Array, column: _Array, values: _Array, shape: _Shape, names: tuple[str, ...]
) -> Compressed:
    from scipy import sparse  # noqa: PLC0415 - costs 0.1 s at import

    for index, n, axis, name in zip((row, column), shape, ("row", "column"), names, strict=True):
        element = first_outside(index, n)
        if element is not None:
            raise InvalidDataError(
                f"X, element {element}: a {axis} index is negative or >= the number of {axis}s: "
                f"found {index[element]} in {name}, expected 0 .. {n - 1}"
            )
    return from_scipy(sparse.coo_matrix((_for_scipy(values), (row, column)), shape=shape).tocsr())


def _for_scipy(values: _Array) -> _Array:
    """Return values of a type for which SciPy has loops."""
    dtype = np.dtype(np.float32) if values.dtype == np.float16 else values.dtype.newbyteorder("=")
    return values.astype(dtype, copy=False)


def scipy_csr(rows: Compressed) -> Any:
    """Return SciPy's matrix over the rows' arrays, cast if SciPy has no loops for their type."""
    from scipy import sparse  # noqa: PLC0415 - costs 0.1 s at import

    return sparse.csr_matrix(
        (_for_scipy(rows.values), rows.indices, rows.pointers), shape=rows.shape, copy=False
    )


def from_scipy(matrix: Any) -> Compressed:
    """Return the rows of SciPy's matrix; its arrays are sound."""
    matrix = matrix.tocsr()
    return Compressed(matrix.indptr.astype(np.int64), matrix.indices, matrix.data, matrix.shape)
