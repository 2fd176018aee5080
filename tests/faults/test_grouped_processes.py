# SPDX-License-Identifier: BSD-3-Clause
"""Groups of worker processes: each runs on its group's cores, and kills lose no row."""

from __future__ import annotations

import contextlib
import os
import time

import pytest
from reference.problems import planted
from support.processes import MOST_KILLS, beside, kill_one, workers_of

import hybridtrain as ht
from hybridtrain.machine import usable_core_numbers

N_ROWS, EPOCHS, ROWS_IN_HAND = 20_000, 20, 4


def _cores_of(pids: list[int]) -> set[frozenset[int]]:
    cores = set()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # killed meanwhile
            cores.add(frozenset(os.sched_getaffinity(pid)))
    return cores


@pytest.mark.parametrize("between", ["hybrid(hot=40, every=64)", "async(every=16, staleness=2)"])
def test_killed_members_lose_no_row_and_the_next_ones_run_on_their_cores(
    between: str, start: str
) -> None:
    problem = planted(5, N_ROWS, 300, longest=30)
    cores = usable_core_numbers()
    groups = [{cores[0]}, set(cores[1:])] if len(cores) > 1 else [{cores[0]}]
    expected = {frozenset(group) for group in groups}
    seen: list[set[frozenset[int]]] = []

    def look(record: ht.EpochRecord) -> None:
        """Wait until every worker runs on its cores: the last ones may have just been started."""
        deadline = time.monotonic() + 10.0
        while record.epoch == EPOCHS // 2:
            seen.append(_cores_of(workers_of(os.getpid())))
            if seen[-1] <= expected or time.monotonic() > deadline:
                break
            time.sleep(0.01)

    with beside(kill_one(seed=2, most=MOST_KILLS[start]), pause=0.01) as kills:
        result = ht.train(
            ht.Linear(l2=1e-5),
            (problem.X, problem.labels),
            strategy=ht.Hierarchical(groups=groups, between=between),
            optimizer=ht.SGD(lr=0.3),
            backend="processes",
            workers=5,
            epochs=EPOCHS,
            callbacks=[look],
            progress=False,
        )
    assert kills
    assert seen[-1]
    assert seen[-1] <= expected
    assert all(ledger.trained == N_ROWS and ledger.dropped == 0 for ledger in result.ledger)
    n_deaths = sum(len(worker.deaths) for worker in result.workers)
    assert sum(ledger.repeated for ledger in result.ledger) <= ROWS_IN_HAND * n_deaths
    assert result.score(problem.X, problem.labels) > 0.9
    assert workers_of(os.getpid()) == []
