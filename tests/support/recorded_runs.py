# SPDX-License-Identifier: BSD-3-Clause
"""Recorded runs, drawn at random, and what their replay must have in common with them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
from reference.problems import Problem, planted

import hybridtrain as ht
from hybridtrain import chaos

N_ROWS, EPOCHS, MOST_STEP = 6000, 3, 40
STRATEGIES = (
    "async(every=16)",
    "async(every=50, staleness=1)",
    "async",
    "hybrid(hot=1.0, every=20)",
    "hybrid(hot=1.0, every=1)",
    "hybrid(hot=1.0)",
)
OPTIMIZERS = ("sgd", "adagrad", "ftrl", "sgd(average=True)")
POINTS = (
    "chunk_claimed",
    "chunk_begun",
    "group_stepped",
    "group_finished",
    "exchange_locked",
    "exchange_committed",
)


def sparse_problem() -> Problem:
    """Return rows with more than a block of features."""
    return planted(5, N_ROWS, 3000, longest=20)


def drawn_settings(seed: int) -> dict[str, Any]:
    """Return the settings of a run of 2 to 4 workers with a straggler, kills, or both."""
    chance = random.Random(seed)
    workers, strategy = chance.randint(2, 4), STRATEGIES[seed % len(STRATEGIES)]
    backend = "threads" if seed % 4 == 3 else "processes"
    faults: list[Any] = []
    if backend == "threads" or chance.random() < 0.5:
        slowed = chance.randrange(workers)
        faults.append(chaos.Slow(worker=slowed, factor=chance.choice([2.0, 5.0])))
    for _ in range(chance.randint(1, 3) * (backend == "processes")):
        at = chance.choice([None, *POINTS])
        faults.append(chaos.Kill(at=at, step=chance.randint(1, MOST_STEP)))
    return {
        "strategy": strategy,
        "optimizer": OPTIMIZERS[seed // len(STRATEGIES) % len(OPTIMIZERS)],
        "workers": workers,
        "backend": backend,
        "chaos": chaos.Plan(faults),
        "seed": seed,
        "epochs": EPOCHS,
        "validation": chance.choice([None, 0.2]),
    }


def require_equal(first: ht.Result, again: ht.Result) -> None:
    """Require the same bits and the same records of two results."""
    for name in ("coef", "intercept"):
        pair = [np.asarray(result.params[name]).tobytes() for result in (first, again)]
        assert pair[0] == pair[1], name
    assert first.ledger == again.ledger
    assert first.staleness == again.staleness
    pairs = list(zip(first.history, again.history, strict=True))
    assert all(a.loss == b.loss and a.lr == b.lr and a.rows == b.rows for a, b in pairs)


def record_and_replay(problem: Problem, seed: int, file: Path) -> ht.Result:
    """Record a run, replay it, require equal bits, and return the recorded run's result."""
    data = problem.X, problem.labels
    first = ht.train(ht.Linear(l2=1e-5), data, record=file, **drawn_settings(seed))
    again = ht.replay(file, data)
    require_equal(first, again)
    losses = [[record.validation_loss for record in each.history] for each in (first, again)]
    assert losses[0] == losses[1]
    return first
