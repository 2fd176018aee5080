# SPDX-License-Identifier: BSD-3-Clause
"""Optimizers, schedules, and the automatic learning rate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.problems import Problem

import hybridtrain as ht
from hybridtrain.optimizers import learning_rates, parse_optimizer

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


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_schedule_is_refused_with_the_known_ones(kind: Any) -> None:
    with pytest.raises(ht.InvalidSettingError) as caught:
        kind(schedule="cosine")
    names = "constant, linear, inverse_scaling, exponential"
    assert str(caught.value) == f"schedule must be one of {names}, got 'cosine'"


@pytest.mark.parametrize("schedule", [0.9, object(), 1])
def test_a_schedule_has_a_factor(schedule: Any) -> None:
    with pytest.raises(ht.InvalidSettingError, match=r"schedule must have a method factor"):
        ht.SGD(schedule=schedule)


@pytest.mark.parametrize("optimizer", ["rmsprop", "SGD", "", None, 1, ht.SGD, ht.Linear()])
def test_an_unknown_optimizer_is_refused_with_the_known_ones(
    optimizer: Any, problem: Problem
) -> None:
    with pytest.raises(ht.InvalidSettingError) as caught:
        ht.train(ht.Linear(), (problem.X, problem.labels), optimizer=optimizer)
    assert "optimizer must be one of sgd, adagrad" in str(caught.value)
    assert str(caught.value).endswith(f"got {optimizer!r}")


def test_names_stand_for_optimizers_with_their_defaults() -> None:
    assert parse_optimizer("sgd") == ht.SGD()
    assert parse_optimizer("adagrad") == ht.AdaGrad()
    chosen = ht.SGD(lr=0.5)
    assert parse_optimizer(chosen) is chosen


def test_schedules_give_their_formulas() -> None:
    assert ht.Constant().factor(7.3, 10) == 1
    assert ht.LinearDecay().factor(7.5, 10) == pytest.approx(0.25)
    assert ht.Exponential(decay=0.5).factor(3, 10) == pytest.approx(0.125)
    assert ht.InverseScaling(power=1, epochs=2).factor(2, 10) == pytest.approx(0.5)
    assert ht.InverseScaling().factor(3, 10) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ht.Exponential(decay=1.0), "decay must be below 1, got 1.0"),
        (lambda: ht.Exponential(decay=0.0), "decay must be finite and > 0, got 0.0"),
        (lambda: ht.InverseScaling(power=-1), "power must be finite and > 0, got -1"),
        (lambda: ht.InverseScaling(epochs=0), "epochs must be finite and > 0, got 0"),
        (lambda: ht.InverseScaling(power="1"), "power must be a number > 0, got '1'"),
    ],
)
def test_a_schedule_out_of_range_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ht.InvalidSettingError) as caught:
        make()
    assert str(caught.value) == message


def test_learning_rates_follow_the_schedule_within_epochs() -> None:
    rates = learning_rates("exponential", 2.0, 2, 4)
    assert rates == pytest.approx([2.0 * 0.7 ** (k / 4) for k in range(8)])
    assert learning_rates("linear", 2.0, 2, 2) == [2.0, 1.5, 1.0, 0.5]
    assert learning_rates(ht.Constant(), 3.0, 2, 2) == [3.0] * 4


class _Stepwise:
    """A user's own schedule."""

    def __init__(self, *factors: float) -> None:
        self.factors = factors

    def factor(self, epochs: float, total: int) -> float:
        assert epochs < total
        return self.factors[int(epochs)]


def test_a_users_own_schedule_is_used(problem: Problem) -> None:
    optimizer = ht.SGD(lr=0.5, schedule=_Stepwise(1.0, 0.25, 0.5))
    result = ht.train(
        ht.Linear(), (problem.X, problem.labels), optimizer=optimizer, workers=1, epochs=3
    )
    assert [record.lr for record in result.history] == [0.5, 0.125, 0.25]


def test_a_learning_rate_that_falls_to_zero_ends_the_learning(problem: Problem) -> None:
    def coef(epochs: int) -> list[float]:
        optimizer = ht.SGD(lr=0.5, schedule=_Stepwise(1.0, 0.0, 0.0))
        data = (problem.X, problem.labels)
        found = ht.train(ht.Linear(), data, optimizer=optimizer, workers=1, epochs=epochs)
        return found.params["coef"].tolist()

    assert coef(3) == coef(1)


@pytest.mark.parametrize("bad", [-0.1, float("nan"), float("inf")])
def test_a_users_schedule_that_gives_nonsense_is_refused(bad: float, problem: Problem) -> None:
    with pytest.raises(ht.InvalidSettingError, match="a learning rate that is not finite and >= 0"):
        ht.train(
            ht.Linear(),
            (problem.X, problem.labels),
            optimizer=ht.SGD(schedule=_Stepwise(1.0, bad)),
            epochs=2,
        )


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
