# SPDX-License-Identifier: BSD-3-Clause
"""Facts of columns are those of NumPy, whatever the form of the rows and the threads."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from hybridtrain.data.columns import Columns, all_columns, sampled_columns
from hybridtrain.data.matrix import canonical_rows

RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=(9000, 4)) * [1, 1e-3, 1e5, 1] + [0, 1, 1.7e12, -3]
TABLE[RNG.random(TABLE.shape) < 0.3] = 0


def _check(columns: Columns, table: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> None:
    assert columns.n_rows == len(table)
    np.testing.assert_allclose(columns.mean, table.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(columns.variance, table.var(axis=0), rtol=1e-12)
    np.testing.assert_allclose(columns.mean_square, (table**2).mean(axis=0), rtol=1e-12)
    assert np.array_equal(columns.held, (table != 0).sum(axis=0))


@pytest.mark.parametrize("threads", [1, 3])
def test_facts_of_dense_rows_are_those_of_numpy(threads: int) -> None:
    matrix = canonical_rows(TABLE, threads=1)
    columns = all_columns(matrix, threads=threads)
    _check(columns, TABLE)
    assert np.array_equal(columns.deviation2, all_columns(matrix, threads=1).deviation2)


def test_a_small_deviation_beside_a_large_mean_is_kept() -> None:
    far = TABLE[:, :1] + 1.7e12
    variance = all_columns(canonical_rows(far, threads=1), threads=2).variance
    np.testing.assert_allclose(variance, (far - 1.7e12).var(axis=0), rtol=1e-4)


def test_facts_of_sparse_rows_are_those_of_dense_ones() -> None:
    near = TABLE / [1, 1, 1e9, 1]
    columns = all_columns(canonical_rows(sparse.csr_matrix(near), threads=1), threads=2)
    _check(columns, near.astype(np.float32).astype(np.float64))


def test_a_sample_has_the_columns_that_its_rows_hold() -> None:
    table = np.c_[np.ones(9000), np.arange(9000) == 1, np.arange(9000) % 3]
    dense = sampled_columns(canonical_rows(table, threads=1))
    assert dense.n_rows < 9000
    np.testing.assert_allclose(dense.mean[[0, 2]], [1, 1], atol=0.05)
    rows = sampled_columns(canonical_rows(sparse.csr_matrix(table), threads=1))
    assert np.array_equal(rows.held, dense.held[[0, 2]])
