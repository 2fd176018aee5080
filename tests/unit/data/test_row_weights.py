# SPDX-License-Identifier: BSD-3-Clause
"""Rows of weight 0 are as if they were not there; weights of any size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.problems import Problem

import hybridtrain as ht
from hybridtrain.sklearn import LinearClassifier, LinearRegressor

STRATEGIES = ["hybrid", "hybrid(hot=9)", "hogwild", "local_sgd(replicas=3)", "sync"]
OPTIMIZERS = ["sgd", "adagrad", "ftrl"]
COUNTS = np.random.default_rng(5).random(400) < 0.8
LEFT_OUT = f"X: {(~COUNTS).sum()} rows of weight 0 left out"


def _spoiled(X: Any, dense: bool) -> Any:
    """Return rows of which those of weight 0 hold a sentinel."""
    X = X.toarray().astype(np.float64)
    X[~COUNTS, 1] = float(np.iinfo(np.int64).min)
    X[~COUNTS, 59] = 7.0  # which no other row holds
    if dense:
        return X
    from scipy import sparse  # noqa: PLC0415

    return sparse.csr_matrix(X)


def _same(found: ht.Result, expected: ht.Result) -> bool:
    return (
        np.array_equal(found.params["coef"], expected.params["coef"])
        and np.array_equal(found.params["intercept"], expected.params["intercept"])
        and [(e.rows, e.lr, e.loss, e.validation_loss) for e in found.history]
        == [(e.rows, e.lr, e.loss, e.validation_loss) for e in expected.history]
        and found.ledger == expected.ledger
        and found.settings["lr"] == expected.settings["lr"]
    )


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_rows_of_weight_zero_leave_no_trace(
    strategy: str, optimizer: str, dense: bool, problem: Problem
) -> None:
    weight = np.random.default_rng(0).integers(1, 5, 400) * COUNTS
    y = problem.labels ^ ~COUNTS
    settings: dict[str, Any] = {"strategy": strategy, "optimizer": optimizer, "workers": 1}
    model = ht.Linear(l2=1e-3)
    X = _spoiled(problem.X, dense)
    found = ht.train(model, (X, y, weight), validation=0.2, epochs=2, **settings)
    data = (X[COUNTS], y[COUNTS], weight[COUNTS])
    expected = ht.train(model, data, validation=0.2, epochs=2, **settings)
    assert _same(found, expected)
    assert LEFT_OUT in found.settings["copied"]
    assert found.ledger[0].trained == round(COUNTS.sum() * 0.8)


@pytest.mark.parametrize("loss", ["squared", "huber"])
def test_their_targets_leave_no_trace_either(loss: Any, problem: Problem) -> None:
    y = np.where(COUNTS, problem.values, 1e30)
    weight = COUNTS.astype(float)
    found = ht.train(ht.Linear(loss=loss), (problem.X, y, weight), workers=1)
    data = (problem.X[COUNTS], y[COUNTS])
    assert _same(found, ht.train(ht.Linear(loss=loss), data, workers=1))


def test_a_class_of_weight_zero_is_left_out_with_its_rows(problem: Problem) -> None:
    y = np.arange(400) % 4
    model = ht.Linear(loss="softmax", class_weight={0: 1, 1: 2, 2: 3, 3: 0})
    found = ht.train(model, (problem.X, y), workers=1, validation=(problem.X, y))
    kept = y < 3
    same = ht.Linear(loss="softmax", class_weight={0: 1, 1: 2, 2: 3})
    data = (problem.X[kept], y[kept])
    assert _same(found, ht.train(same, data, workers=1, validation=data))
    assert found.classes is not None
    assert found.classes.tolist() == [0, 1, 2]
    assert found.model == model


def test_labels_of_rows_of_weight_zero_are_no_classes(problem: Problem) -> None:
    y = np.where(COUNTS, np.arange(400) % 2, 9)
    weight = COUNTS * 2.0
    for class_weight in (None, "balanced", {0: 1.0, 1: 3.0, 9: 1.0}):
        model = ht.Linear(class_weight=class_weight)
        result = ht.train(
            model, (problem.X, y, weight), workers=1, validation=(problem.X, y, weight)
        )
        assert result.classes is not None
        assert result.classes.tolist() == [0, 1]
        assert result.score(problem.X, y, weight) == result.score(
            problem.X[COUNTS], y[COUNTS], weight[COUNTS]
        )


def test_validation_rows_of_weight_zero_do_not_count(problem: Problem) -> None:
    data = (problem.X, problem.labels)
    X = _spoiled(problem.X, dense=False)
    valid = (X, problem.labels, COUNTS.astype(float))
    found = ht.train(ht.Linear(), data, workers=1, epochs=2, validation=valid)
    kept = (X[COUNTS], problem.labels[COUNTS])
    expected = ht.train(ht.Linear(), data, workers=1, epochs=2, validation=kept)
    assert _same(found, expected)


def test_rows_of_weight_zero_are_checked_like_the_others(problem: Problem) -> None:
    X, weight = problem.X.copy(), np.ones(400)
    weight[5] = 0
    X.data[X.indptr[5]] = np.nan
    with pytest.raises(ht.InvalidDataError, match="X, row 5: a value is NaN"):
        ht.train(ht.Linear(), (X, problem.labels, weight), workers=1)
    y = problem.values.astype(float)
    y[5] = np.nan
    with pytest.raises(ht.InvalidDataError, match="found 1 missing value, in row 5"):
        ht.train(ht.Linear(loss="squared"), (problem.X, y, weight), workers=1)
    words = np.where(problem.labels, "spam", "ham").astype(object)
    words[5] = None
    with pytest.raises(ht.InvalidDataError, match="found 1 missing value, in row 5"):
        ht.train(ht.Linear(), (problem.X, words, weight), workers=1)


def test_nothing_is_copied_where_every_row_counts(problem: Problem) -> None:
    data = (problem.X, problem.labels, np.linspace(1, 2, 400))
    assert ht.train(ht.Linear(), data, workers=1).settings["copied"] == []


def test_comparisons_leave_them_out_too(problem: Problem) -> None:
    weight = COUNTS.astype(float)
    data = (_spoiled(problem.X, dense=False), problem.labels, weight)
    settings: dict[str, Any] = {"strategies": ["sync"], "workers": 1, "epochs": 2, "repeats": 1}
    found = ht.compare(ht.Linear(), data, **settings)
    kept = tuple(part[COUNTS] for part in data)
    expected = ht.compare(ht.Linear(), kept, **settings)
    assert _same(found.runs[0].result, expected.runs[0].result)
    assert found.data == expected.data


@pytest.mark.parametrize("size", [1e308, 1.7e308, 1e-300, 5e-324])
def test_weights_of_any_size_are_scaled_before_they_are_summed(
    size: float, problem: Problem
) -> None:
    factor = np.where(problem.labels, 1.0, 0.5 if size > 1 else 1.0)
    weight = size * factor
    model = ht.Linear(l2=1e-3)
    found = ht.train(model, (problem.X, problem.labels, weight), workers=1)
    expected = ht.train(model, (problem.X, problem.labels, factor), workers=1)
    assert found.params["coef"].tolist() == expected.params["coef"].tolist()
    score = found.score(problem.X, problem.labels, weight)
    assert score == pytest.approx(found.score(problem.X, problem.labels, factor))


def test_huge_weights_are_compared_and_trained_in_parts(problem: Problem) -> None:
    weight = np.where(np.arange(400) % 2, 1.7e308, 1e308)
    data = (problem.X, problem.labels, weight)
    comparison = ht.compare(
        ht.Linear(), data, validation=data, strategies=["sync"], workers=1, epochs=2, repeats=1
    )
    assert 0.5 < comparison.runs[0].score <= 1
    for factor in (1.0, 1e-308):
        parts = LinearClassifier(workers=1, random_state=0)
        for _ in range(3):
            parts.partial_fit(problem.X, problem.labels, [False, True], factor * weight)
        assert np.isfinite(parts.coef_).all()
        assert parts.score(problem.X, problem.labels) > 0.8


def test_weights_that_float32_cannot_hold_count_as_zero_with_a_word(problem: Problem) -> None:
    weight = np.where(COUNTS, 1.0, 1e-40)
    kept = (problem.X[COUNTS], problem.labels[COUNTS])
    with pytest.warns(ht.DataWarning, match=rf"{(~COUNTS).sum()} weights above 0 are less than"):
        found = ht.train(ht.Linear(), (problem.X, problem.labels, weight), workers=1)
    assert _same(found, ht.train(ht.Linear(), kept, workers=1))
    with pytest.warns(ht.DataWarning, match="they count as 0"):
        LinearClassifier(epochs=2).fit(problem.X, problem.labels, weight)
    small = np.where(COUNTS, 1.0, 1e-30)
    assert ht.train(ht.Linear(), (problem.X, problem.labels, small)).ledger[0].trained == 400


def test_class_weights_times_sample_weights_may_be_huge(problem: Problem) -> None:
    y = problem.labels
    huge = {True: 1e308, False: 5e307}
    weight = np.where(np.arange(400) % 2, 1e308, 1e307)
    found = ht.train(ht.Linear(class_weight=huge), (problem.X, y, weight), workers=1)
    model = ht.Linear(class_weight={True: 2.0, False: 1.0})
    expected = ht.train(model, (problem.X, y, weight / 1e308), workers=1)
    assert found.params["coef"] == pytest.approx(expected.params["coef"], rel=1e-5, abs=1e-6)


def test_the_estimators_leave_them_out_of_epochs_and_rates(problem: Problem) -> None:
    weight = 2.0 * COUNTS
    X = _spoiled(problem.X, dense=False)
    settings: dict[str, Any] = {"random_state": 0, "workers": 1}
    for estimator, y in (
        (LinearClassifier(**settings), problem.labels),
        (LinearRegressor(**settings), problem.values),
    ):
        found = estimator.fit(X, y, weight).coef_
        expected = estimator.fit(X[COUNTS], y[COUNTS]).coef_
        assert found.tolist() == expected.tolist()
    parts = LinearClassifier(**settings)
    found = parts.partial_fit(X, problem.labels, [False, True], weight).coef_
    assert parts.n_samples_seen_ == COUNTS.sum()
    parts = LinearClassifier(**settings)
    expected = parts.partial_fit(X[COUNTS], problem.labels[COUNTS], [False, True]).coef_
    assert found.tolist() == expected.tolist()


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("loss", ["logistic", "softmax"])
def test_the_estimators_keep_the_classes_that_y_shows(
    n_classes: int, loss: str, problem: Problem
) -> None:
    """As scikit-learn's SGDClassifier does."""
    y = np.arange(400) % n_classes
    last = y == n_classes - 1
    for settings, weight in (
        ({}, (~last).astype(float)),
        ({"class_weight": {n_classes - 1: 0.0}}, None),
    ):
        classifier = LinearClassifier(loss, random_state=0, epochs=3, **settings)
        classifier.fit(problem.X, y, weight)
        assert classifier.classes_.tolist() == list(range(n_classes))
        proba = classifier.predict_proba(problem.X)
        assert proba.shape == (400, n_classes)
        assert proba[:, -1].mean() < 1 / n_classes
