# SPDX-License-Identifier: BSD-3-Clause
"""A second opinion on what a sparse matrix holds: slow, in Python, checked at each step."""

from __future__ import annotations

import operator
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import sparse

Entries = dict[tuple[int, int], float]
_MOST_ROWS = 10_000
_MOST_ELEMENTS = 1_000_000
MOST_USED_FEATURES = 1_000_000  # more are sound, and take long
_MOST_FEATURES = (1 << 29) - 2


class UnreadableError(Exception):
    """The arrays are no matrix of finite real numbers."""


class TooLongError(Exception):
    """The arrays are too long to be read here."""


def _need(holds: object) -> None:
    if not holds:
        raise UnreadableError


def _need_short(array: Any) -> None:
    if array.size > _MOST_ELEMENTS:
        raise TooLongError


def _whole(array: Any, ndim: int = 1) -> Any:
    """Return an array of whole numbers as Python's, which do not wrap around."""
    _need(isinstance(array, np.ndarray) and not isinstance(array, np.ma.MaskedArray))
    _need(array.ndim == ndim)
    _need_short(array)
    _need(array.dtype.kind in "iuf" and (array.dtype.kind != "f" or (array == array // 1).all()))
    return [int(value) for value in array.reshape(-1)]


def _real(array: Any, ndim: int = 1) -> Any:
    _need(isinstance(array, np.ndarray) and not isinstance(array, np.ma.MaskedArray))
    _need(array.ndim == ndim and array.dtype.kind in "fiub")
    _need_short(array)
    return np.asarray(array)


def shape_of(X: Any) -> tuple[int, int]:
    """Return the shape, if it is one that can be trained on."""
    _need(isinstance(X.shape, tuple) and len(X.shape) == 2)
    try:
        n_rows, n_features = map(operator.index, X.shape)
    except TypeError as error:
        raise UnreadableError from error
    _need(1 <= n_rows <= _MOST_ROWS and 1 <= n_features <= _MOST_FEATURES)
    return n_rows, n_features


def _slices(X: Any, n_lines: int) -> list[tuple[int, int]]:
    pointers = _whole(X.indptr)
    _need(len(pointers) == n_lines + 1)
    _need(all(a <= b for a, b in pairwise(pointers)))
    _need(pointers[0] >= 0 and pointers[-1] <= min(len(X.indices), len(X.data)))
    return list(pairwise(pointers))


def _compressed(X: Any, by_row: bool) -> list[tuple[int, int, Any]]:
    n_lines = shape_of(X)[0 if by_row else 1]
    indices, data = _whole(X.indices), _real(X.data)
    return [
        (line, indices[k], data[k]) if by_row else (indices[k], line, data[k])
        for line, (first, last) in enumerate(_slices(X, n_lines))
        for k in range(first, last)
    ]


def _blocks(X: Any) -> list[tuple[int, int, Any]]:
    n_rows, n_features = shape_of(X)
    data = _real(X.data, 3)
    height, width = data.shape[1:]
    _need(height > 0 and width > 0 and n_rows % height == 0 and n_features % width == 0)
    indices = _whole(X.indices)
    _need(all(0 <= index < n_features // width for index in indices[: int(X.indptr[-1])]))
    return [
        (row * height + i, indices[k] * width + j, data[k, i, j])
        for row, (first, last) in enumerate(_slices(X, n_rows // height))
        for k in range(first, last)
        for i in range(height)
        for j in range(width)
    ]


def _diagonals(X: Any) -> list[tuple[int, int, Any]]:
    n_rows, n_features = shape_of(X)
    data, offsets = _real(X.data, 2), _whole(X.offsets)
    _need(len(data) == len(offsets) == len(set(offsets)))
    # Each value has a column: row = column - offset.
    return [
        (column - offset, column, data[k, column])
        for k, offset in enumerate(offsets)
        for column in range(min(data.shape[1], n_features))
        if 0 <= column - offset < n_rows and data[k, column] != 0
    ]


def _triples(X: Any) -> list[tuple[int, int, Any]]:
    rows, columns, data = _whole(X.row), _whole(X.col), _real(X.data)
    _need(len(rows) == len(columns) == len(data))
    return list(zip(rows, columns, data, strict=True))


def _lists(X: Any) -> list[tuple[int, int, Any]]:
    n_rows = shape_of(X)[0]
    for array in (X.rows, X.data):
        _need(isinstance(array, np.ndarray) and array.shape == (n_rows,) and array.dtype == object)
    entries: list[tuple[int, int, Any]] = []
    for row in range(n_rows):
        columns, values = X.rows[row], X.data[row]
        _need(isinstance(columns, list) and isinstance(values, list))
        _need(len(columns) == len(values))
        entries += [(row, *entry) for entry in zip(columns, values, strict=True)]
    return entries


def _keys(X: Any) -> list[tuple[int, int, Any]]:
    entries = []
    for key, value in X._dict.items():
        _need(isinstance(key, tuple) and len(key) == 2)
        entries.append((*key, value))
    return entries


_READERS = {
    "csr": lambda X: _compressed(X, True),
    "csc": lambda X: _compressed(X, False),
    "bsr": _blocks,
    "dia": _diagonals,
    "coo": _triples,
    "lil": _lists,
    "dok": _keys,
}


def read(X: Any) -> Any:
    """Return the matrix as CSR of float32 and int32, sorted, duplicates added up.

    Raises
    ------
    UnreadableError
        When it is no matrix of finite real numbers.
    TooLongError
        When it may be one, but an array is very long.
    """
    try:
        n_rows, n_features = shape_of(X)
        _need(getattr(X, "ndim", 2) == 2 and X.dtype.kind in "fiub")
        entries: Entries = {}
        for row, column, value in _READERS[X.format](X):
            row, column = operator.index(row), operator.index(column)  # noqa: PLW2901
            _need(0 <= row < n_rows and 0 <= column < n_features)
            _need(not isinstance(value, complex | np.complexfloating | str | bytes))
            entries[row, column] = entries.get((row, column), 0.0) + float(value)
            with np.errstate(over="ignore"):
                _need(np.isfinite(np.float32(entries[row, column])))
                _need(np.isfinite(np.float32(value)))
    except (UnreadableError, TooLongError):
        raise
    except Exception as error:  # arrays may be anything
        raise UnreadableError from error
    return _canonical(entries, n_rows, n_features)


def _canonical(entries: Entries, n_rows: int, n_features: int) -> Any:
    keys = sorted(entries)
    pointers = np.zeros(n_rows + 1, np.int32)
    np.add.at(pointers[1:], [row for row, _ in keys], 1)
    values = np.array([entries[key] for key in keys], np.float32)
    indices = np.array([column for _, column in keys], np.int32)
    matrix = sparse.csr_matrix((n_rows, n_features), dtype=np.float32)
    matrix.data, matrix.indices, matrix.indptr = values, indices, np.cumsum(pointers, dtype="i4")
    return matrix
