# SPDX-License-Identifier: BSD-3-Clause
"""Losses, one by one: the optimum that training comes to, and first intercepts as formulas."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from reference import loss as reference
from reference.problems import Problem, planted
from scipy import optimize
from sklearn.linear_model import PoissonRegressor, QuantileRegressor

import hybridtrain as ht
from hybridtrain.models.losses import Hinge, Softmax

STRATEGIES = ["hybrid", "hogwild", "sync", "sync(exact=False)"]
L1 = L2 = 0.02
Doubles = npt.NDArray[np.float64]


def _targets(model: ht.Linear, problem: Problem) -> npt.NDArray[np.float32]:
    if model.is_classifier:
        return np.where(problem.labels, 1, -1).astype(np.float32)
    return problem.values


def _objective(model: ht.Linear, problem: Problem) -> Callable[[Doubles], float]:
    """Return the objective of the coefficients, the intercept last, in float64."""
    return _objective_of(model, problem.X, _targets(model, problem))


def _objective_of(model: ht.Linear, rows: Any, targets: Any) -> Callable[[Doubles], float]:
    X, y = rows.toarray().astype(np.float64), targets.astype(np.float64)
    parameter = model.loss_object.parameter(targets)

    def objective(w: Doubles) -> float:
        coef, z = w[:-1], X @ w[:-1] + w[-1]
        losses = reference.value(model.loss, z, y, parameter)
        penalty = model.l1 * np.abs(coef).sum() + model.l2 / 2 * (coef**2).sum()
        return float(losses.mean() + penalty)

    return objective


def _hinge_optimum(problem: Problem) -> float:
    """Return the least mean hinge loss with an l1 penalty: a linear program."""
    X = problem.X.toarray().astype(np.float64)
    y = np.where(problem.labels, 1.0, -1.0)
    n, d = X.shape
    rows = -y[:, None] * np.hstack([X, -X, np.ones((n, 1)), -np.ones((n, 1))])
    cost = np.concatenate([np.full(2 * d, L1), [0, 0], np.full(n, 1 / n)])
    found = optimize.linprog(cost, np.hstack([rows, -np.eye(n)]), np.full(n, -1.0))
    return float(found.fun)


def _noisy() -> Problem:
    return planted(5, 600, 12, longest=8, noise=2.0)


@pytest.fixture(scope="module")
def noisy() -> Problem:
    return _noisy()


@functools.cache
def _quantile_of_scikit_learn(q: float, scale: float) -> Doubles:
    problem = _noisy()
    y = (scale * problem.values).astype(np.float32).astype(np.float64)
    peer = QuantileRegressor(quantile=q, alpha=L1).fit(problem.X.toarray(), y)
    return np.append(peer.coef_, peer.intercept_)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("loss", ["squared_hinge", "huber"])
def test_training_comes_to_the_optimum(loss: Any, strategy: str, noisy: Problem) -> None:
    model = ht.Linear(loss=loss, l2=L2, delta=0.5 if loss == "huber" else 1.0)
    objective = _objective(model, noisy)
    best = optimize.minimize(objective, np.zeros(13), tol=1e-10).fun
    y = _targets(model, noisy)
    result = ht.train(model, (noisy.X, y), strategy=strategy, workers=1, epochs=60)
    found = objective(np.append(result.params["coef"], result.params["intercept"]))
    assert best * 0.9999 < found < 1.01 * best
    assert objective(np.zeros(13)) > 1.1 * best


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_hinge_comes_to_the_optimum_of_the_linear_program(strategy: str, noisy: Problem) -> None:
    model = ht.Linear(loss="hinge", l1=L1)
    objective, best = _objective(model, noisy), _hinge_optimum(noisy)
    data = (noisy.X, noisy.labels)
    result = ht.train(model, data, strategy=strategy, workers=1, epochs=60)
    found = objective(np.append(result.params["coef"], result.params["intercept"]))
    assert best * 0.9999 < found < 1.02 * best
    assert objective(np.zeros(13)) > 1.1 * best


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_poisson_comes_to_the_optimum_of_scikit_learn(strategy: str, noisy: Problem) -> None:
    rng, X = np.random.default_rng(0), noisy.X
    y = rng.poisson(np.exp(0.5 * noisy.values / noisy.values.std())).astype(np.float32)
    model = ht.Linear(loss="poisson", l2=L2)
    peer = PoissonRegressor(alpha=L2, tol=1e-8, max_iter=1000).fit(X.toarray(), y)
    objective = _objective_of(model, X, y)
    best = objective(np.append(peer.coef_, peer.intercept_))
    result = ht.train(model, (X, y), strategy=strategy, workers=2, epochs=100)
    found = objective(np.append(result.params["coef"], result.params["intercept"]))
    assert best * 0.99999 < found < 1.001 * best
    assert objective(np.append(np.zeros(12), np.log(y.mean()))) > 1.1 * best
    assert result.predict(X) == pytest.approx(np.exp(result.decision_function(X)), rel=1e-6)
    # An objective 0.1 % above the best allows a mean that is 4 % off.
    assert result.predict(X).mean() == pytest.approx(y.mean(), rel=0.04)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("scale", [1.0, 1e3])
@pytest.mark.parametrize("q", [0.5, 0.9])
def test_quantile_comes_to_the_optimum_of_scikit_learn(
    q: float, scale: float, strategy: str, noisy: Problem
) -> None:
    X, y = noisy.X, (scale * noisy.values).astype(np.float32)
    model = ht.Linear(loss="quantile", q=q, l1=L1)
    objective = _objective_of(model, X, y)
    best = objective(_quantile_of_scikit_learn(q, scale))
    result = ht.train(model, (X, y), strategy=strategy, workers=2, epochs=800)
    found = objective(np.append(result.params["coef"], result.params["intercept"]))
    assert best * 0.99999 < found < 1.001 * best
    assert objective(np.append(np.zeros(12), np.quantile(y, q))) > 1.1 * best
    assert np.mean(y <= result.predict(X)) == pytest.approx(q, abs=0.03)


def test_counts_are_not_negative(problem: Problem) -> None:
    y = np.abs(problem.values)
    y[7] = -1
    with pytest.raises(ht.InvalidDataError, match=r">= 0 for poisson loss, found -1\.0 in row 7"):
        ht.train(ht.Linear(loss="poisson"), (problem.X, y))


def test_counts_that_are_all_zero_are_learned(problem: Problem) -> None:
    result = ht.train(ht.Linear(loss="poisson"), (problem.X, np.zeros(400)), workers=1)
    assert result.predict(problem.X).max() < 1e-3


@pytest.mark.parametrize("q", [0, 1, -0.1, np.nan, "0.5", True, None])
def test_a_level_is_within_0_and_1(q: Any) -> None:
    with pytest.raises(ht.InvalidSettingError, match="q must be"):
        ht.Linear(loss="quantile", q=q)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("optimizer", ["sgd", "adagrad"])
def test_targets_that_are_far_off_hardly_move_huber(
    strategy: str, optimizer: str, problem: Problem
) -> None:
    y = problem.values.copy()
    y[::20] = 1e4
    settings: dict[str, Any] = {"strategy": strategy, "optimizer": optimizer, "workers": 1}
    result = ht.train(ht.Linear(loss="huber", delta=0.5), (problem.X, y), epochs=40, **settings)
    kept = np.arange(400) % 20 != 0
    assert result.score(problem.X[kept], problem.values[kept]) > 0.9
    # And the reported loss is theirs: nothing is cut off.
    assert result.history[-1].loss == pytest.approx(0.5 * 1e4 / 20, rel=0.01)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.5, 0.99])
def test_the_first_intercept_of_hinge_is_between_those_of_the_classes(share: float) -> None:
    y = np.where(np.arange(1000) < 1000 * share, 1, -1).astype(np.float32)
    assert Hinge().first_intercept(y, None, 0) == pytest.approx(2 * share - 1)


def test_the_first_intercepts_of_softmax_give_the_shares_of_the_classes() -> None:
    y = np.repeat([0, 1, 2], [200, 300, 500]).astype(np.float32)
    found = Softmax().first_intercept(y, None, 3)
    assert np.exp(found) / np.exp(found).sum() == pytest.approx([0.2, 0.3, 0.5])
    assert found.sum() == pytest.approx(0.0, abs=1e-6)
