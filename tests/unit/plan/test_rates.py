# SPDX-License-Identifier: BSD-3-Clause
"""Automatic learning rates: the formulas of two optimizers, and values out of range."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.problems import Problem

import hybridtrain as ht


def _auto_lr(problem: Problem, loss: Any, optimizer: str, scale: float = 1.0) -> float:
    X = problem.X * np.float32(scale)
    y = problem.labels if loss == "logistic" else problem.values
    model = ht.Linear(loss=loss, fit_intercept=False)
    settings = ht.train(model, (X, y), optimizer=optimizer, workers=1).settings
    return float(settings["lr"] / settings["lr_trials"]["factor"])


def test_the_automatic_rate_of_sgd_is_that_of_its_formula(problem: Problem) -> None:
    norm2 = np.asarray(problem.X.multiply(problem.X).sum(axis=1), np.float64).mean()
    assert _auto_lr(problem, "logistic", "sgd") == pytest.approx(1 / (0.25 * norm2), rel=1e-5)
    assert _auto_lr(problem, "squared", "sgd") == pytest.approx(1 / norm2, rel=1e-5)
    assert _auto_lr(problem, "squared", "sgd", 10) == pytest.approx(1 / (100 * norm2), rel=1e-5)


def test_the_automatic_rate_of_adagrad_is_that_of_its_formula(problem: Problem) -> None:
    norm1 = np.asarray(abs(problem.X).sum(axis=1), np.float64).mean()
    deviation = problem.values.std()
    assert _auto_lr(problem, "logistic", "adagrad") == pytest.approx(4 / norm1, rel=1e-5)
    expected = 4 * deviation / norm1
    assert _auto_lr(problem, "squared", "adagrad") == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("strategy", ["hybrid", "hogwild", "local_sgd(replicas=3)", "sync"])
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
