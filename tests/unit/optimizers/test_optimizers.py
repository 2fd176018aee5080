# SPDX-License-Identifier: BSD-3-Clause
"""Optimizers and the automatic learning rate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.problems import Problem

import hybridtrain as ht
from hybridtrain.optimizers.parse import parse_optimizer

KINDS = [ht.SGD, ht.AdaGrad]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lr", [0, 0.0, -1.0, float("nan"), float("inf")])
def test_a_learning_rate_is_positive_and_finite(kind: Any, lr: float) -> None:
    with pytest.raises(ht.InvalidSettingError, match=f"lr must be finite and > 0, got {lr}"):
        kind(lr=lr)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lr", [None, True, [0.1], 1j])
def test_a_learning_rate_is_a_number(kind: Any, lr: Any) -> None:
    with pytest.raises(ht.InvalidSettingError, match="lr must be a number > 0, got"):
        kind(lr=lr)


@pytest.mark.parametrize("kind", KINDS)
def test_a_learning_rate_as_text_can_only_be_auto(kind: Any) -> None:
    with pytest.raises(ht.InvalidSettingError) as caught:
        kind(lr="0.1")
    assert str(caught.value) == "lr must be \"auto\" or a number > 0, got '0.1'"


@pytest.mark.parametrize("optimizer", ["rmsprop", "SGD", "", None, 1, ht.SGD, ht.Linear()])
def test_an_unknown_optimizer_is_refused_with_the_known_ones(
    optimizer: Any, problem: Problem
) -> None:
    with pytest.raises(ht.InvalidSettingError) as caught:
        ht.train(ht.Linear(), (problem.X, problem.labels), optimizer=optimizer)
    assert "optimizer must be one of sgd, adagrad" in str(caught.value)
    asked = "; did you mean 'sgd'?" if optimizer == "SGD" else ""
    assert str(caught.value).endswith(f"got {optimizer!r}{asked}")


def test_names_stand_for_optimizers_with_their_defaults() -> None:
    assert parse_optimizer("sgd") == ht.SGD()
    assert parse_optimizer("adagrad") == ht.AdaGrad()
    chosen = ht.SGD(lr=0.5)
    assert parse_optimizer(chosen) is chosen


def _auto_lr(problem: Problem, loss: Any, optimizer: str, scale: float = 1.0) -> float:
    X = problem.X * np.float32(scale)
    y = problem.labels if loss == "logistic" else problem.values
    model = ht.Linear(loss=loss, fit_intercept=False)
    return float(ht.train(model, (X, y), optimizer=optimizer, workers=1).settings["lr"])


def test_the_automatic_rate_of_sgd_is_that_of_its_formula(problem: Problem) -> None:
    norm2 = np.asarray(problem.X.multiply(problem.X).sum(axis=1), np.float64).mean()
    assert _auto_lr(problem, "logistic", "sgd") == pytest.approx(1 / (2 * 0.25 * norm2), rel=1e-5)
    assert _auto_lr(problem, "squared", "sgd") == pytest.approx(1 / (2 * norm2), rel=1e-5)
    assert _auto_lr(problem, "squared", "sgd", 10) == pytest.approx(1 / (200 * norm2), rel=1e-5)


def test_the_automatic_rate_of_adagrad_is_that_of_its_formula(problem: Problem) -> None:
    norm1 = np.asarray(abs(problem.X).sum(axis=1), np.float64).mean()
    deviation = problem.values.std()
    assert _auto_lr(problem, "logistic", "adagrad") == pytest.approx(4 / norm1, rel=1e-5)
    expected = 4 * deviation / norm1
    assert _auto_lr(problem, "squared", "adagrad") == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "adagrad"])
@pytest.mark.parametrize("loss", ["logistic", "squared"])
@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_the_automatic_rate_learns_at_any_scale(
    optimizer: str, loss: Any, scale: float, problem: Problem
) -> None:
    X = problem.X * np.float32(scale)
    y = problem.labels if loss == "logistic" else problem.values
    result = ht.train(ht.Linear(loss=loss), (X, y), optimizer=optimizer, workers=1, epochs=20)
    assert result.score(X, y) > 0.9


@pytest.mark.parametrize("optimizer", ["sgd", "adagrad"])
def test_targets_that_are_all_zero_leave_all_at_zero(optimizer: str, problem: Problem) -> None:
    model = ht.Linear(loss="squared")
    result = ht.train(model, (problem.X, np.zeros(400)), optimizer=optimizer, workers=1)
    assert result.settings["lr"] > 0
    assert np.all(result.params["coef"] == 0)


@pytest.mark.parametrize("strategy", ["hybrid", "hogwild", "sync"])
@pytest.mark.parametrize(
    ("loss", "optimizer", "values", "found"),
    [
        ("logistic", "sgd", 1e30, r"e\+3\d on average; scale"),
        ("squared", "sgd", 1e30, r"e\+3\d on average"),
        ("logistic", "adagrad", 3e38, r"more than 3.4e\+38 on average"),
    ],
)
def test_values_too_large_for_a_rate_are_named(
    *, loss: Any, optimizer: str, values: float, found: str, strategy: str, problem: Problem
) -> None:
    problem.X.data[:] = np.float32(values)
    y = problem.labels if loss == "logistic" else problem.values
    with pytest.raises(ht.InvalidDataError, match=found) as caught:
        ht.train(ht.Linear(loss=loss), (problem.X, y), optimizer=optimizer, strategy=strategy)
    assert "learning rate chosen from the data must be in 1.18e-38 .. 3.4e+38, got" in str(
        caught.value
    )


@pytest.mark.parametrize("strategy", ["hybrid", "sync"])
def test_values_too_small_for_a_rate_are_named(strategy: str, problem: Problem) -> None:
    problem.X.data[:] = np.float32(1e-30)
    model = ht.Linear(fit_intercept=False)
    with pytest.raises(ht.InvalidDataError, match=r"add up to [\d.]+e-\d\d on average; scale"):
        ht.train(model, (problem.X, problem.labels), strategy=strategy)


@pytest.mark.parametrize("lr", [np.float32(0.5), np.float64(0.5), np.int64(1)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_learning_rate_of_numpy_becomes_one_of_python(kind: Any, lr: Any) -> None:
    assert kind(lr=lr) == kind(lr=lr.item())
    assert type(kind(lr=lr).lr) is type(lr.item())
