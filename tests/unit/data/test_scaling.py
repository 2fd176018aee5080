# SPDX-License-Identifier: BSD-3-Clause
"""Rows in other coordinates, and parameters in both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse

from hybridtrain.data.matrix import canonical_rows
from hybridtrain.data.scaling import Scaling

RNG = np.random.default_rng(0)
X = RNG.normal(size=(500, 3)) * [1, 1e-3, 1e4] + [0, 5, 1.7e12]
CENTRE, SCALE = X.mean(axis=0), X.std(axis=0)
BOTH = Scaling(CENTRE, SCALE, target=1e8)


@pytest.mark.parametrize("form", [np.asarray, np.asfortranarray, sparse.csr_matrix])
@pytest.mark.parametrize("threads", [1, 2])
def test_rows_are_computed_in_float64_and_rounded_once(form: Any, threads: int) -> None:
    near = X if form is not sparse.csr_matrix else (X - [0, 0, 1.7e12]).astype(np.float32)
    scaling = Scaling(near.mean(axis=0, dtype=np.float64), SCALE)
    matrix = scaling.rows(canonical_rows(form(near), threads=1), threads=threads)
    assert matrix.is_dense
    expected = ((near - scaling.centre) / SCALE).astype(np.float32)
    assert np.array_equal(matrix.user_form(), expected)


def test_the_users_own_rows_are_never_overwritten() -> None:
    own = (X - CENTRE).astype(np.float32)
    before = own.copy()
    matrix = BOTH.rows(canonical_rows(own, threads=1), threads=1)
    assert np.array_equal(own, before)
    assert matrix.copied == ("X: columns centred and scaled",)


def test_sparse_rows_stay_sparse_where_they_are_not_centred() -> None:
    rows = sparse.random(40, 3, density=0.5, format="csr", dtype=np.float32, random_state=0)
    matrix = Scaling(scale=SCALE).rows(canonical_rows(rows, threads=1), threads=1)
    assert not matrix.is_dense
    expected = rows.toarray() / SCALE
    np.testing.assert_allclose(matrix.user_form().toarray(), expected, rtol=1e-6)
    assert matrix.copied == ("X: columns scaled",)


@pytest.mark.parametrize("shape", [(3,), (4, 3)])
def test_margins_are_the_same_in_both_coordinates(shape: tuple[int, ...]) -> None:
    trained = RNG.normal(size=shape).astype(np.float32)
    start: Any = np.ones(shape[:-1], np.float32) if len(shape) == 2 else 1.0
    coef, intercept = BOTH.to_user(trained, start)
    assert coef.dtype == np.float32
    expected = (X - CENTRE) / SCALE @ trained.T.astype(np.float64) + start + 1e8
    np.testing.assert_allclose(X @ coef.T.astype(np.float64) + intercept, expected, rtol=1e-13)
    back, again = BOTH.to_trained(coef, intercept)
    np.testing.assert_allclose(back, trained, rtol=1e-6)
    np.testing.assert_allclose(again, start, rtol=1e-5)


def test_an_intercept_that_is_not_shifted_keeps_its_type() -> None:
    coef, intercept = Scaling(scale=SCALE).to_user(np.ones((2, 3), np.float32), np.ones(2, "f4"))
    assert intercept.dtype == np.float32
    np.testing.assert_allclose(coef[0], 1 / SCALE, rtol=1e-6)


def test_a_summary_counts_columns() -> None:
    scaling = Scaling(np.array([0.0, 2.0]), np.array([1.0, 3.0]), 0.0, "why")
    said = {"centred": 1, "scaled": 1, "target_centred": False, "reason": "why"}
    assert scaling.summary() == said
