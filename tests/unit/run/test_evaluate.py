# SPDX-License-Identifier: BSD-3-Clause
"""Margins beyond float32 have the classes and probabilities of the exact sums; scores."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference.problems import Problem
from scipy import sparse

import hybridtrain as ht
from hybridtrain.run.evaluate import auc

LARGE = 3e38  # nearly the largest float32
FORMS = [np.asarray, sparse.csr_matrix, sparse.csc_array]


def _result(problem: Problem, loss: Any, coef: Any, intercept: Any = 0.0) -> ht.Result:
    """Return a result with these parameters."""
    coef = np.asarray(coef, np.float32)
    n_classes = len(coef) if coef.ndim == 2 else 2
    y = np.arange(400) % n_classes if loss != "squared" else problem.values
    trained = ht.train(ht.Linear(loss=loss), (problem.X, y), epochs=1)
    if coef.ndim == 2:
        intercept = np.full(n_classes, intercept, np.float32)
    return replace(trained, params={"coef": coef, "intercept": intercept})


# Rows of three features: the sums are 1e77, 0 by way of inf - inf, 3e38 likewise, -1e39, 1.
ROWS = np.array(
    [
        [LARGE, 0, 0],
        [LARGE, -LARGE, 0],
        [LARGE, -LARGE, 1],
        [0, 0, -10],
        [0, 0, 1 / LARGE],
    ]
)
COEF = [LARGE, LARGE, LARGE]


@pytest.mark.parametrize("form", FORMS)
def test_two_classes_are_those_of_the_exact_sums(form: Any, problem: Problem) -> None:
    result = _result(problem, "logistic", COEF)
    X = form(ROWS.astype(np.float32))
    assert result.predict(X).tolist() == [1, 0, 1, 0, 1]
    proba = result.predict_proba(X)
    assert proba[:, 1] == pytest.approx([1, 0.5, 1, 0, 1 / (1 + np.exp(-1))], abs=1e-5)
    assert proba.sum(axis=1) == pytest.approx(np.ones(5))
    assert result.score(X, [1, 0, 1, 0, 1]) == 1


@pytest.mark.parametrize("form", FORMS)
def test_more_classes_are_those_of_the_exact_sums(form: Any, problem: Problem) -> None:
    """All margins of a row may overflow: their distances decide."""
    coef = np.array([[1, 0, 0], [2, 2, 0], [3, 0, 0], [3, 2, 0]]) * 1e38
    result = _result(problem, "softmax", coef)
    X = np.array([[100, 0, 0], [100, -1, 0], [-100, 0, 0], [0, 0, 5], [-100, 1, 0]])
    assert result.predict(form(X)).tolist() == [2, 2, 0, 0, 0]
    proba = result.predict_proba(form(X))
    expected = [[0, 0, 0.5, 0.5], [0, 0, 1, 0], [1, 0, 0, 0], [0.25] * 4, [1, 0, 0, 0]]
    assert proba == pytest.approx(np.array(expected), abs=1e-6)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("loss", ["logistic", "squared"])
def test_a_sum_that_only_overflows_on_the_way_is_a_number(
    form: Any, loss: str, problem: Problem
) -> None:
    result = _result(problem, loss, COEF, intercept=0.5)
    z = result.decision_function(form(ROWS[[1, 2, 4]].astype(np.float32)))
    assert z == pytest.approx([0.5, LARGE, 1.5])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("loss", ["logistic", "softmax", "squared"])
def test_a_margin_beyond_float32_is_refused_with_its_row(
    form: Any, loss: str, problem: Problem
) -> None:
    coef = [COEF, np.zeros(3)] if loss == "softmax" else COEF
    result = _result(problem, loss, coef)
    message = r"X, row 2: the sum of values times coefficients is 3e\+39 in absolute value"
    with pytest.raises(ht.InvalidDataError, match=message):
        result.decision_function(form(ROWS[[4, 1, 3, 0]]))
    if loss == "squared":
        with pytest.raises(ht.InvalidDataError, match="row 2"):
            result.predict(form(ROWS[[4, 1, 3, 0]]))
        with pytest.raises(ht.InvalidDataError, match="row 2"):
            result.score(form(ROWS[[4, 1, 3, 0]]), np.arange(4))


@pytest.mark.parametrize("loss", ["logistic", "softmax", "hinge", "squared", "huber"])
def test_the_loss_of_validation_rows_is_never_nan(loss: Any, problem: Problem) -> None:
    of_classes = loss not in ("squared", "huber")
    y = problem.labels if of_classes else problem.values
    far = problem.X.toarray() * np.float32(1e37)
    model, data = ht.Linear(loss=loss), (problem.X, y)
    result = ht.train(model, data, epochs=2, validation=(far, y), workers=1)
    losses = [record.validation_loss for record in result.history]
    assert np.isfinite(losses).all() == of_classes, "squares of such errors are infinite"
    assert min(losses) > 1e30


@pytest.mark.parametrize("loss", ["logistic", "softmax"])
def test_probabilities_of_any_rows_are_numbers_that_add_up_to_one(
    loss: str, problem: Problem
) -> None:
    generator = np.random.default_rng(0)
    for exponent in (0, 20, 38):
        for n_classes in (2, 3, 17):
            if loss == "logistic" and n_classes > 2:
                continue
            size = (n_classes, 20) if loss == "softmax" else 20
            coef = generator.uniform(-1, 1, size) * 10.0**exponent
            result = _result(problem, loss, coef)
            for scale in (0, -30, 0, 30, 38):
                X = generator.uniform(-1, 1, (50, 20)) * 10.0**scale
                proba = result.predict_proba(X)
                assert np.isfinite(proba).all()
                assert (proba >= 0).all()
                assert (proba <= 1).all()
                assert proba.sum(axis=1) == pytest.approx(np.ones(50), abs=1e-5)
                chosen = X @ coef.T if loss == "softmax" else np.c_[np.zeros(50), X @ coef]
                assert (result.predict(X) == chosen.argmax(axis=1)).mean() > 0.97


SCORED = st.tuples(st.integers(0, 5), st.booleans(), st.integers(0, 3))


@given(st.lists(SCORED, min_size=1, max_size=30))
def test_the_area_counts_pairs_and_halves_ties(rows: list[tuple[int, bool, int]]) -> None:
    won = pairs = 0.0
    for (a, is_up, weight), (b, other_is_up, other_weight) in itertools.product(rows, rows):
        if is_up and not other_is_up:
            pairs += weight * other_weight
            won += weight * other_weight * ((a > b) + 0.5 * (a == b))
    scores, positive, weights = (np.array(column) for column in zip(*rows, strict=True))
    found = auc(scores, positive, weights)
    assert math.isnan(found) if pairs == 0 else found == pytest.approx(won / pairs)
