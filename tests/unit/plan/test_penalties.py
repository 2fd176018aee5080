# SPDX-License-Identifier: BSD-3-Clause
"""Penalties are on the user's coefficients, whatever the coordinates of the run."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import logsumexp

import hybridtrain as ht

RNG = np.random.default_rng(0)
N = 6000
SIZES = np.array([1e-3, 1, 50, 1e4])
X = RNG.normal(size=(N, 4)) * SIZES + [0, 1e5, 3, -1e5]
SPARSE = RNG.normal(size=(N, 4)) * SIZES * (RNG.random((N, 4)) < [0.2, 0.5, 0.9, 1])
PENALTIES = [(0.0, 1e-6), (0.0, 1.0), (1e-4, 0.0), (0.2, 0.0), (1e-3, 1e-6), (0.2, 1.0)]
ALL = [
    *[("hybrid", name) for name in ("sgd", "adagrad", "ftrl", "adam", "sgd(momentum=0.9)")],
    *[("hogwild(exact=True)", name) for name in ("sgd", "adagrad", "ftrl")],
    *[("sync", name) for name in ("sgd", "adagrad", "ftrl", "adam", "rmsprop")],
]


def _objective(result: ht.Result, rows: npt.NDArray[Any], y: npt.NDArray[Any]) -> float:
    coef, model = result.params["coef"].astype(np.float64), result.model
    error = rows @ coef + result.params["intercept"] - y
    penalty = model.l1 * np.abs(coef).sum() + model.l2 / 2 * (coef**2).sum()
    return float((error**2).mean() / 2 + penalty)


def _least(l1: float, l2: float, rows: npt.NDArray[Any], y: npt.NDArray[Any]) -> float:
    """Return the least objective, by steps on one coordinate at a time."""
    deviation, center = rows.std(axis=0), rows.mean(axis=0)
    columns = (rows - center) / deviation
    square, product = columns.T @ columns / len(y), columns.T @ (y - y.mean()) / len(y)
    v = np.zeros(rows.shape[1])
    for _ in range(500):
        for j in range(len(v)):
            rest = product[j] - square[j] @ v + square[j, j] * v[j]
            size = max(abs(rest) - l1 / deviation[j], 0.0)
            v[j] = np.sign(rest) * size / (square[j, j] + l2 / deviation[j] ** 2)
    error = columns @ v - (y - y.mean())
    coef = v / deviation
    return float((error**2).mean() / 2 + l1 * np.abs(coef).sum() + l2 / 2 * (coef**2).sum())


def _target(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return (rows - rows.mean(axis=0)) @ (1 / SIZES) + 0.3 * RNG.normal(size=N) + 7


@pytest.mark.parametrize(("strategy", "optimizer"), ALL)
@pytest.mark.parametrize(("l1", "l2"), PENALTIES)
def test_a_run_on_scaled_columns_ends_at_the_users_optimum(
    l1: float, l2: float, strategy: str, optimizer: str
) -> None:
    y = _target(X)
    model = ht.Linear(loss="squared", l1=l1, l2=l2)
    result = ht.train(
        model, (X, y), strategy=strategy, optimizer=optimizer, workers=1, epochs=30, progress=False
    )
    assert result.settings["scale"]["scaled"] == 4
    assert _objective(result, X, y) < 1.04 * _least(l1, l2, X, y)


@pytest.mark.parametrize(
    "strategy", ["hybrid", "hybrid(hot=2)", "hogwild", "local_sgd(replicas=3)", "sync"]
)
@pytest.mark.parametrize("optimizer", ["sgd", "adagrad"])
@pytest.mark.parametrize(("l1", "l2"), PENALTIES[:4])
def test_sparse_rows_have_one_penalty_by_their_scale(
    l1: float, l2: float, strategy: str, optimizer: str
) -> None:
    y = _target(SPARSE)
    model = ht.Linear(loss="squared", l1=l1, l2=l2)
    result = ht.train(
        model,
        (sparse.csr_matrix(SPARSE), y),
        strategy=strategy,
        optimizer=optimizer,
        workers=1,
        epochs=40,
        progress=False,
    )
    assert result.settings["scale"]["scaled"] == 4
    assert _objective(result, SPARSE, y) < 1.05 * _least(l1, l2, SPARSE, y)


@pytest.mark.parametrize(
    "strategy", ["hybrid", "hogwild", "hogwild(exact=True)", "local_sgd(replicas=3)", "sync"]
)
def test_softmax_ends_at_the_users_optimum(strategy: str) -> None:
    y = np.digitize((X - X.mean(axis=0)) @ (1 / SIZES), [-1, 1])
    columns, deviation = (X - X.mean(axis=0)) / X.std(axis=0), X.std(axis=0)
    l2 = 1e-2

    def objective(packed: npt.NDArray[Any]) -> tuple[float, npt.NDArray[Any]]:
        v, b = packed[:12].reshape(3, 4), packed[12:]
        z = columns @ v.T + b
        total = logsumexp(z, axis=1)
        gradient = np.exp(z - total[:, None]) - np.eye(3)[y]
        of_v = gradient.T @ columns / N + l2 * v / deviation**2
        loss = (total - z[np.arange(N), y]).mean() + l2 / 2 * ((v / deviation) ** 2).sum()
        return float(loss), np.append(of_v, gradient.mean(axis=0))

    result = ht.train(
        ht.Linear(loss="softmax", l2=l2), (X, y), strategy=strategy, workers=1, epochs=20
    )
    coef, intercept = result.params["coef"].astype(np.float64), result.params["intercept"]
    found = np.append(coef * deviation, intercept + coef @ X.mean(axis=0))
    assert objective(found)[0] < 1.01 * minimize(objective, np.zeros(15), jac=True).fun
