# SPDX-License-Identifier: BSD-3-Clause
"""Two hundred recorded runs of 2 to 4 workers, with stragglers and kills, and their replay."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.recorded_runs import record_and_replay, sparse_problem

N_RUNS, FIRST = 200, 1000

pytestmark = pytest.mark.stress


@pytest.mark.timeout(900)
def test_two_hundred_replays_have_the_bits_of_their_runs(tmp_path: Path) -> None:
    problem, n_deaths = sparse_problem(), 0
    for seed in range(FIRST, FIRST + N_RUNS):
        result = record_and_replay(problem, seed, tmp_path / "run.htr")
        n_deaths += sum(len(worker.deaths) for worker in result.workers)
    assert n_deaths >= N_RUNS // 2
