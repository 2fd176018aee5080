# SPDX-License-Identifier: BSD-3-Clause
"""Facts of columns, in float64: their means, their spread, and how many rows hold them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain.data.arrays import Doubles, Floats
from hybridtrain.data.exact_rows import ExactRows
from hybridtrain.data.matrix import Matrix
from hybridtrain.data.rounding import sampled, sampled_elements
from hybridtrain.parallel import over_ranges

_RANGES = 64  # of rows, which are added up one by one: the bits do not depend on the threads
_ELEMENTS_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Columns:
    """Hold facts of the columns of some rows; those of disjoint rows can be merged.

    Attributes
    ----------
    n_rows : int
    mean : float64 array (n_features,)
    deviation2 : float64 array (n_features,)
        Sum over rows of the squared distance from the mean.
    held : float64 array (n_features,)
        Rows whose element is not 0.
    """

    n_rows: int
    mean: Doubles
    deviation2: Doubles
    held: Doubles

    @property
    def variance(self) -> Doubles:
        """Variance of each column."""
        return self.deviation2 / self.n_rows

    @property
    def mean_square(self) -> Doubles:
        """Mean of each column's squares."""
        return self.variance + self.mean**2

    def merge(self, other: Columns) -> Columns:
        """Return the facts of both sets of rows (Chan, Golub and LeVeque 1979)."""
        n_rows = self.n_rows + other.n_rows
        step = other.mean - self.mean
        between = step**2 * (self.n_rows * other.n_rows / n_rows)
        return Columns(
            n_rows,
            self.mean + step * (other.n_rows / n_rows),
            self.deviation2 + other.deviation2 + between,
            self.held + other.held,
        )


def sampled_columns(matrix: Matrix) -> Columns:
    """Return the facts of a fixed sample of rows; of sparse ones, of columns that they hold."""
    if matrix.exact is not None:
        ids = sampled(matrix.n_rows, matrix.n_features)
        return _of_table(matrix.exact.take(ids).read(0, len(ids)))
    n_rows, indices, values = sampled_elements(*_arrays(matrix))
    columns, places = np.unique(indices, return_inverse=True)
    return _of_elements(n_rows, places, values, len(columns))


def all_columns(matrix: Matrix, *, threads: int) -> Columns:
    """Return the facts of all rows."""
    exact = matrix.exact
    if exact is None:
        _, indices, values = _arrays(matrix)
        return _of_elements(matrix.n_rows, indices, values, matrix.n_features)

    def count(first: int, last: int) -> Columns:
        return reduce(Columns.merge, map(_of_table, _tables(exact, first, last)))

    return reduce(Columns.merge, over_ranges(count, matrix.n_rows, threads, _RANGES))


def _arrays(matrix: Matrix) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], Floats]:
    assert matrix.pointers is not None
    assert matrix.indices is not None
    assert matrix.values is not None
    return matrix.pointers, matrix.indices, matrix.values


def _tables(exact: ExactRows, first: int, last: int) -> Iterator[Doubles]:
    for at in range(first, last, exact.block_rows):
        yield exact.read(at, min(at + exact.block_rows, last))


def _of_table(table: Doubles) -> Columns:
    mean = table.mean(axis=0)
    held = np.count_nonzero(table, axis=0).astype(np.float64)
    table -= mean
    return Columns(len(table), mean, np.einsum("ij,ij->j", table, table), held)


def _of_elements(n_rows: int, indices: npt.NDArray[Any], values: Floats, size: int) -> Columns:
    """Return the facts of sparse rows; it does not matter in which row an element is."""
    held, total, square = np.zeros(size), np.zeros(size), np.zeros(size)
    step = max(size, _ELEMENTS_AT_ONCE)
    for at in range(0, len(values), step):
        part, doubles = indices[at : at + step], values[at : at + step].astype(np.float64)
        held += np.bincount(part, doubles != 0, size)
        total += np.bincount(part, doubles, size)
        square += np.bincount(part, doubles**2, size)
    mean = total / n_rows
    return Columns(n_rows, mean, np.maximum(square - mean * total, 0.0), held)
