# SPDX-License-Identifier: BSD-3-Clause
"""Random runs of Async for a while: nobody runs ahead of the bound, and nobody waits for ever.

HYBRIDTRAIN_BOUND_SECONDS=600 runs them for ten minutes.
"""

from __future__ import annotations

import os
import random
import time
from typing import Any

import pytest
from reference.problems import planted

import hybridtrain as ht
from hybridtrain import chaos

pytestmark = pytest.mark.stress
SECONDS = float(os.environ.get("HYBRIDTRAIN_BOUND_SECONDS", "20"))
N_ROWS, MOST_FACTOR, LAST_STEP = 6_000, 20.0, 40
POINTS = ["at gate", "chunk begun", "exchange locked", "exchange committed", None]


def _fault(chance: random.Random, workers: int) -> Any:
    worker, at, step = (
        chance.randrange(workers),
        chance.choice(POINTS),
        chance.randint(1, LAST_STEP),
    )
    if chance.random() < 0.5:
        return chaos.Kill(worker=worker, at=at, step=step)
    return chaos.Stop(worker=worker, at=at, step=step, seconds=chance.choice([0.01, 0.1, None]))


@pytest.mark.timeout(SECONDS + 120)
def test_random_runs_keep_the_bound_and_end() -> None:
    problem, chance = planted(5, N_ROWS, 80, longest=20), random.Random(0)
    n_merges = n_fired = n_runs = 0
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        workers, staleness = chance.randint(2, 6), chance.choice([0, 1, 2, 5])
        is_apart = chance.random() < 0.7
        faults = [_fault(chance, workers) for _ in range(chance.randint(0, 3) * is_apart)]
        slow = [
            chaos.Slow(worker=w, factor=chance.uniform(1.0, MOST_FACTOR))
            for w in range(workers)
            if chance.random() < 0.4
        ]
        result = ht.train(
            ht.Linear(),
            (problem.X, problem.labels),
            strategy=ht.Async(every=chance.choice([1, 3, 16]), staleness=staleness),
            optimizer=ht.SGD(lr=0.1),
            backend="processes" if is_apart else "threads",
            workers=workers,
            epochs=4,
            seed=n_runs,
            timeout=0.3,
            chaos=chaos.Plan([*slow, *faults]),
            progress=False,
        )
        assert max(worker.ahead for worker in result.workers) <= staleness
        assert all(ledger.trained + ledger.dropped == N_ROWS for ledger in result.ledger)
        n_merges += sum(worker.merges for worker in result.workers)
        n_fired += sum(record.fired for record in result.faults)
        n_runs += 1
    print(f"{n_runs} runs, {n_merges} merges, {n_fired} faults fired")
    assert n_runs > 0
    assert n_merges >= 10_000
    assert n_fired > 0
