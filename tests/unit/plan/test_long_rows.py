# SPDX-License-Identifier: BSD-3-Clause
"""Rows many times as long as the mean one: their steps do not pass the minimum of their loss."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

import hybridtrain as ht
from hybridtrain.data.labelled import hold_out
from hybridtrain.optimizers.base import Optimizer
from hybridtrain.optimizers.parse import parse_optimizer
from hybridtrain.plan.problem import learn
from hybridtrain.plan.rates import reach_of_rows


@pytest.fixture(scope="module")
def rare() -> tuple[Any, Any]:
    """Return standardised columns, one of which 5 rows of 8,000 hold: each has 40 deviations."""
    rng = np.random.default_rng(0)
    X = np.hstack([rng.normal(size=(8000, 12)), np.zeros((8000, 1))])
    X[rng.choice(8000, 5, replace=False), 12] = 1
    X = ((X - X.mean(axis=0)) / X.std(axis=0)).astype(np.float32)
    return X, X[:, :12] @ rng.normal(size=12) + rng.normal(size=8000)


@pytest.mark.parametrize("loss", ["squared", "huber"])
@pytest.mark.parametrize(
    ("strategy", "optimizer"),
    [
        *product(
            ("hybrid", "hogwild", "local_sgd(replicas=3)", "sync"), ("sgd", "sgd(average=True)")
        ),
        *product(("hybrid", "sync"), ("sgd(momentum=0.5)",)),
    ],
)
def test_a_rare_standardised_column_wrecks_no_run(
    strategy: str, optimizer: str, loss: Any, rare: tuple[Any, Any]
) -> None:
    model = ht.Linear(loss=loss)
    result = ht.train(model, rare, strategy=strategy, optimizer=optimizer, workers=2, epochs=10)
    optimum = np.linalg.lstsq(rare[0], rare[1], rcond=None)[0]
    best = 1 - np.var(rare[1] - rare[0] @ optimum) / np.var(rare[1])
    assert result.score(*rare) > best - 0.01


def _reach(optimizer: Optimizer, loss: Any, weight: Any, batch: int) -> Any:
    X = np.array([[3.0, 4.0], [0.0, 2.0]], np.float32)
    rows, _ = hold_out(ht.Linear(loss=loss), (X, [1.0, 0.0], weight), None, seed=0, threads=1)
    problem, _ = learn(ht.Linear(loss=loss), rows, None, None)
    return reach_of_rows(problem, optimizer, batch=batch, threads=2)


def test_reach_is_the_squared_norm_with_the_intercept_over_the_batch() -> None:
    sgd = parse_optimizer("sgd")
    assert _reach(sgd, "squared", None, 1).tolist() == [26.0, 5.0]
    assert _reach(sgd, "squared", None, 4).tolist() == [6.5, 1.25]
    assert _reach(sgd, "squared", [1.5, 0.5], 1).tolist() == [39.0, 2.5]
    assert _reach(ht.SGD(momentum=0.5), "huber", None, 1).tolist() == [52.0, 10.0]


@pytest.mark.parametrize(
    ("optimizer", "loss"), [("adagrad", "squared"), ("sgd", "logistic"), ("sgd", "hinge")]
)
def test_other_steps_have_no_bound(optimizer: str, loss: str) -> None:
    assert _reach(parse_optimizer(optimizer), loss, None, 1) is None
