# SPDX-License-Identifier: BSD-3-Clause
"""Many short runs of random settings, bounded by time: ledger, finiteness, no crash, no hang."""

from __future__ import annotations

import math
import random
import threading
import time
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from reference.problems import Problem, planted

import hybridtrain as ht

BUDGET_SECONDS = 20.0  # of this file
LEAST_RUNS = 20

pytestmark = [pytest.mark.stress, pytest.mark.timeout(300)]

PROBLEMS = [
    planted(1, 40, 10, longest=9),
    planted(2, 700, 60, longest=30),
    planted(3, 3000, 3000, longest=40, ones=True),
    planted(4, 6000, 200, longest=10),
]


def _settings(rng: random.Random) -> dict[str, Any]:
    """Return random arguments of train, exchanges far more frequent than anyone would ask for."""
    strategy: ht.Async | ht.Hogwild | ht.Hybrid
    kind = rng.random()
    if kind < 0.25:
        strategy = ht.Hogwild(exact=rng.random() < 0.5)
    elif kind < 0.5:
        strategy = ht.Async(
            every=rng.choice(["auto", 1, 2, 7]), staleness=rng.choice([None, 0, 1, 5])
        )
    else:
        strategy = ht.Hybrid(
            hot=rng.choice(["auto", 0, 1, 3, 0.3, 1.0]),
            every=rng.choice(["auto", 1, 2, 7, 64, 1000]),
        )
    return {
        "strategy": strategy,
        "optimizer": rng.choice(["sgd", "adagrad", "ftrl"]),
        "workers": rng.randint(1, 8),
        "epochs": rng.randint(1, 6),
        "seed": rng.getrandbits(64),
        "validation": rng.choice([None, None, 0.2]),
    }


def _train_once(rng: random.Random) -> None:
    problem: Problem = rng.choice(PROBLEMS)
    loss = rng.choice(["logistic", "logistic", "squared"])
    model = ht.Linear(
        loss=loss,
        l1=rng.choice([0.0, 0.0, 1e-3]),
        l2=rng.choice([0.0, 1e-3]),
        fit_intercept=rng.random() < 0.8,
    )
    n_rows = problem.X.shape[0]
    data: tuple[Any, ...] = (problem.X, problem.labels if loss == "logistic" else problem.values)
    if rng.random() < 0.3:
        data = (*data, np.random.default_rng(rng.getrandbits(32)).uniform(0.5, 2, n_rows))
    settings = _settings(rng)
    if loss == "squared":  # many workers in place need a smaller rate than the automatic one
        settings["optimizer"] = ht.SGD(lr=1e-3)
    n_trained = n_rows - (round(0.2 * n_rows) if settings["validation"] else 0)
    what = f"{model} {settings} {n_rows} rows"
    result = ht.train(model, data, progress=False, **settings)
    for record in result.ledger:
        assert (record.trained, record.dropped) == (n_trained, 0), what
    assert sum(worker.rows for worker in result.workers) == n_trained * settings["epochs"], what
    assert len(result.history) == settings["epochs"], what
    assert np.isfinite(result.params["coef"]).all(), what
    assert np.isfinite([record.loss for record in result.history]).all(), what
    assert result.staleness.max <= n_trained * settings["epochs"], what
    assert result.predict(problem.X).shape == (n_rows,), what


def _train_until(deadline: float, rng: random.Random) -> int:
    runs = 0
    while time.monotonic() < deadline or runs < LEAST_RUNS:
        _train_once(rng)
        runs += 1
    return runs


def test_random_runs_keep_their_ledger_and_stay_finite() -> None:
    seed = random.SystemRandom().getrandbits(32)
    print("seed", seed)
    assert _train_until(time.monotonic() + 0.6 * BUDGET_SECONDS, random.Random(seed)) >= LEAST_RUNS


def test_two_runs_at_once_do_not_disturb_each_other() -> None:
    """Runs share nothing: with one worker each, both give the bits of a run alone."""
    problem = PROBLEMS[3]
    alone: dict[int, Any] = {}
    errors: list[BaseException] = []

    def train(seed: int) -> Any:
        data = (problem.X, problem.labels)
        return ht.train(ht.Linear(), data, workers=1, seed=seed, progress=False).params["coef"]

    def repeat(seed: int, deadline: float) -> None:
        rng = random.Random(seed)
        try:
            while time.monotonic() < deadline:
                assert np.array_equal(train(seed), alone[seed])
                _train_once(rng)
        except BaseException as error:  # handed to the test's thread
            errors.append(error)

    for seed in (1, 2):
        alone[seed] = train(seed)
    deadline = time.monotonic() + 0.4 * BUDGET_SECONDS
    threads = [threading.Thread(target=repeat, args=(seed, deadline)) for seed in alone]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors


def test_ftrl_in_place_bears_workers_that_are_held_in_the_middle_of_a_step() -> None:
    """A worker without a core keeps an old sum of squares beside a new sum of gradients."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((900, 20), np.float32)
    y = np.argmax(X @ rng.standard_normal((20, 3)) + rng.standard_normal((900, 3)), axis=1)
    losses: list[float] = []
    deadline = time.monotonic() + 0.4 * BUDGET_SECONDS
    while time.monotonic() < deadline or len(losses) < LEAST_RUNS:
        strategy = ht.Hogwild(exact=len(losses) % 2 == 0)
        model = ht.Linear(loss="softmax", l2=0.02)
        settings: dict[str, Any] = {"strategy": strategy, "optimizer": "ftrl", "workers": 6}
        result = ht.train(model, (sp.csr_matrix(X), y), epochs=20, progress=False, **settings)
        losses.append(result.history[-1].loss)
    assert max(losses) < 0.5 * math.log(3), losses  # a model of no use has log(3)
