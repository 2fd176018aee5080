# SPDX-License-Identifier: BSD-3-Clause
"""The bound of staleness with worker processes: one is killed at the gate, the others are slow."""

from __future__ import annotations

import os
from typing import Any

import pytest
from reference.problems import planted
from support.processes import workers_of

import hybridtrain as ht
from hybridtrain import chaos

N_ROWS, EPOCHS, EVERY, STALENESS, MERGES = 20_000, 6, 8, 2, 10_000


@pytest.mark.usefixtures("start")
@pytest.mark.parametrize(
    "fault",
    [
        chaos.Kill(worker=2, at="at gate", step=60),
        chaos.Stop(worker=2, at="at gate", step=60),
    ],
    ids=["killed", "stopped for ever"],
)
def test_a_dead_worker_holds_up_nobody_and_nobody_runs_ahead(fault: Any) -> None:
    problem = planted(5, N_ROWS, 100, longest=20)
    result = ht.train(
        ht.Linear(),
        (problem.X, problem.labels),
        strategy=ht.Async(every=EVERY, staleness=STALENESS),
        optimizer=ht.SGD(lr=0.2),
        backend="processes",
        workers=4,
        epochs=EPOCHS,
        timeout=0.5,
        chaos=chaos.Plan([chaos.Slow(worker=0, factor=20.0), fault]),
        progress=False,
    )
    assert [record.fired for record in result.faults if record.fault == fault] == [True]
    assert result.workers[2].deaths == ("SIGKILL",)
    assert sum(worker.merges for worker in result.workers) >= MERGES
    assert 0 < max(worker.ahead for worker in result.workers) <= STALENESS
    assert all(ledger.trained == N_ROWS and ledger.dropped == 0 for ledger in result.ledger)
    assert result.score(problem.X, problem.labels) > 0.85
    assert workers_of(os.getpid()) == []
