# SPDX-License-Identifier: BSD-3-Clause
"""The linear model: its settings and what they do."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from reference.problems import Problem

import hybridtrain as ht
from hybridtrain.models.losses import LOSSES


@pytest.mark.parametrize("loss", ["cox", "Logistic", "", None, 1])
def test_an_unknown_loss_is_refused_with_the_known_ones(loss: Any) -> None:
    with pytest.raises(ht.InvalidSettingError) as caught:
        ht.Linear(loss=loss)
    asked = "; did you mean 'logistic'?" if loss == "Logistic" else ""
    assert str(caught.value) == f"loss must be one of {', '.join(LOSSES)}, got {loss!r}{asked}"


@pytest.mark.parametrize("name", ["l1", "l2"])
@pytest.mark.parametrize("value", [-1.0, -1e-300, float("nan"), float("inf")])
def test_a_penalty_that_is_negative_or_not_finite_is_refused(name: str, value: float) -> None:
    with pytest.raises(ht.InvalidSettingError, match=f"{name} must be finite and >= 0, got"):
        ht.Linear(**{name: value})


@pytest.mark.parametrize("name", ["l1", "l2"])
@pytest.mark.parametrize("value", ["1", None, True, 1j, [0.1]])
def test_a_penalty_that_is_no_number_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ht.InvalidSettingError, match=f"{name} must be a number >= 0, got"):
        ht.Linear(**{name: value})


@pytest.mark.parametrize("value", [1, 0, None, "yes"])
def test_fit_intercept_is_a_bool(value: Any) -> None:
    with pytest.raises(ht.InvalidSettingError, match="fit_intercept must be True or False, got"):
        ht.Linear(fit_intercept=value)


def test_a_model_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ht.Linear().l2 = 1.0  # type: ignore[misc]


@pytest.mark.parametrize("value", ["1", None, True, [0.1]])
def test_a_delta_that_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(ht.InvalidSettingError, match="delta must be a number > 0, got"):
        ht.Linear(loss="huber", delta=value)


@pytest.mark.parametrize("value", [0, -1.0, 1e-31, 1e31, float("nan"), float("inf")])
def test_a_delta_that_float32_cannot_compute_with_is_refused(value: float) -> None:
    with pytest.raises(ht.InvalidSettingError, match=r"delta must be in 1e-30 \.\. 1e\+30, got"):
        ht.Linear(loss="huber", delta=value)


def test_a_delta_without_huber_is_refused() -> None:
    with pytest.raises(ht.InvalidSettingError, match=r"got delta=2.0 with hinge loss; leave it"):
        ht.Linear(loss="hinge", delta=2.0)
    assert ht.Linear(loss="hinge", delta=1.0) == ht.Linear(loss="hinge")


def test_a_model_knows_whether_it_classifies_and_has_a_penalty() -> None:
    classifies = {loss: ht.Linear(loss=loss).is_classifier for loss in LOSSES}
    of_classes = ["logistic", "hinge", "squared_hinge", "softmax"]
    assert [loss for loss in LOSSES if classifies[loss]] == of_classes
    with_probabilities = [loss for loss in LOSSES if ht.Linear(loss=loss).has_probabilities]
    assert with_probabilities == ["logistic", "softmax"]
    assert not ht.Linear().has_penalty
    assert ht.Linear(l1=1e-9).has_penalty
    assert ht.Linear(l2=1).has_penalty


def test_train_refuses_what_is_no_model(problem: Problem) -> None:
    with pytest.raises(ht.InvalidSettingError, match=r"model must be ht.Linear\(...\), got 'lin"):
        ht.train("linear", (problem.X, problem.labels))  # type: ignore[arg-type]


def _coef(problem: Problem, model: ht.Linear, **settings: Any) -> Any:
    y = problem.labels if model.is_classifier else problem.values
    y = problem.labels.astype(np.float32) if model.loss == "poisson" else y
    return ht.train(model, (problem.X, y), epochs=10, **settings).params["coef"]


STRATEGIES = ["hybrid", "hybrid(hot=9, every=7)", "hogwild", "hogwild(exact=True)"]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("optimizer", ["sgd", "adagrad"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_feature_that_no_row_holds_keeps_the_coefficient_zero(
    strategy: str, optimizer: str, workers: int, problem: Problem
) -> None:
    assert problem.X[:, 59].nnz == 0
    for model in (ht.Linear(), ht.Linear(l2=0.1), ht.Linear(l1=0.01, l2=0.1)):
        coef = _coef(problem, model, strategy=strategy, optimizer=optimizer, workers=workers)
        assert coef[59] == 0
        assert np.count_nonzero(coef) > 0


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("optimizer", ["sgd", "adagrad"])
@pytest.mark.parametrize("loss", LOSSES)
def test_l1_makes_coefficients_exactly_zero(
    strategy: str, optimizer: str, loss: Any, problem: Problem
) -> None:
    settings: dict[str, Any] = {"strategy": strategy, "optimizer": optimizer, "workers": 1}
    found = [_coef(problem, ht.Linear(loss=loss, l1=l1), **settings) for l1 in (0.0, 0.05, 1000.0)]
    zeros = [np.count_nonzero((np.atleast_2d(coef) == 0).all(axis=0)) for coef in found]
    assert zeros[0] == 1  # the feature that no row holds
    assert 1 < zeros[1] < 60
    assert zeros[2] == 60


@pytest.mark.parametrize("optimizer", ["sgd", "adagrad"])
def test_l2_makes_coefficients_smaller(optimizer: str, problem: Problem) -> None:
    norms = [
        np.linalg.norm(_coef(problem, ht.Linear(l2=l2), workers=1, optimizer=optimizer))
        for l2 in (0.0, 0.01, 1.0)
    ]
    assert norms[0] > 1.1 * norms[1] > 2 * norms[2] > 0


def test_without_intercept_it_stays_zero(problem: Problem) -> None:
    data = (problem.X, problem.labels)
    assert ht.train(ht.Linear(), data, workers=1).params["intercept"] != 0
    assert ht.train(ht.Linear(fit_intercept=False), data, workers=1).params["intercept"] == 0


def test_the_intercept_is_not_penalised(problem: Problem) -> None:
    y = np.arange(400) % 10 == 0
    model = ht.Linear(l1=10.0, l2=10.0)
    result = ht.train(model, (problem.X, y), workers=1, epochs=30, optimizer="adagrad")
    assert np.all(result.params["coef"] == 0)
    assert result.params["intercept"] == pytest.approx(np.log(1 / 9), abs=0.3)
