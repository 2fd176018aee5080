# SPDX-License-Identifier: BSD-3-Clause
"""Recorded runs of worker processes, with stragglers and kills, and their replay."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from reference.problems import Problem
from support.recorded_runs import N_ROWS, record_and_replay, require_equal, sparse_problem

import hybridtrain as ht
from hybridtrain import chaos
from hybridtrain.run.processes import WorkerProcesses

SEEDS = range(12)


@pytest.fixture(scope="module")
def sparse() -> Problem:
    return sparse_problem()


def test_replays_have_the_bits_of_runs_with_stragglers_and_kills(
    sparse: Problem, tmp_path: Path
) -> None:
    n_deaths, n_slowed = 0, 0
    for seed in SEEDS:
        result = record_and_replay(sparse, seed, tmp_path / "run.htr")
        n_deaths += sum(len(worker.deaths) for worker in result.workers)
        n_slowed += sum(f.fired and isinstance(f.fault, chaos.Slow) for f in result.faults)
    assert n_deaths >= len(SEEDS) // 2
    assert n_slowed >= len(SEEDS) // 4


@pytest.mark.usefixtures("start")
def test_a_kill_of_a_program_is_replayed(sparse: Problem, tmp_path: Path) -> None:
    data, file = (sparse.X, sparse.labels), tmp_path / "run.htr"
    result = ht.train(
        ht.Linear(),
        data,
        strategy="async(every=16, staleness=2)",
        workers=2,
        epochs=2,
        backend="processes",
        chaos=chaos.Plan([chaos.Kill(at="exchange_committed", step=9)]),
        record=file,
    )
    assert sum(len(worker.deaths) for worker in result.workers) == 1
    require_equal(result, ht.replay(file, data))


@pytest.mark.parametrize("doomed", [{1}, {0, 1}])
def test_places_that_nobody_takes_again_are_replayed(
    doomed: set[int], sparse: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, file = (sparse.X, sparse.labels), tmp_path / "run.htr"
    points = "group_finished", "exchange_locked"  # after some rows
    really = WorkerProcesses._start

    def start(self: WorkerProcesses, worker: int) -> None:
        if self._run.work_of(worker) > 0:  # the place had a process, which has died
            self._places[worker].n_idle = 9
            raise OSError("a system without processes")
        really(self, worker)

    def train() -> ht.Result:
        return ht.train(
            ht.Linear(),
            data,
            strategy="async(every=16)",
            workers=2,
            epochs=40,  # in one of them the other worker comes to its rows
            backend="processes",
            chaos=chaos.Plan([chaos.Kill(at=points[w], worker=w, step=9) for w in doomed]),
            record=file,
        )

    monkeypatch.setattr(WorkerProcesses, "_start", start)
    if len(doomed) == 1:
        result = train()
        assert 0 < sum(record.dropped for record in result.ledger) <= 512
    else:
        with pytest.raises(ht.WorkersDiedError) as caught:
            train()
        result = caught.value.result
        assert result.ledger[-1].trained < N_ROWS
    assert all(
        list(result.workers[w].deaths) == ["SIGKILL", "not replaced: a system without processes"]
        for w in doomed
    )
    again = ht.replay(file, data)
    assert again.settings["stopped"] == (None if len(doomed) == 1 else "died")
    require_equal(result, again)


def test_the_loss_at_a_point_has_the_rows_of_a_worker_that_was_killed(tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(2000, 8)).astype(np.float32)
    data, file = (X, np.arange(2000) % 2), tmp_path / "run.htr"
    result = ht.train(
        ht.Linear(fit_intercept=False),
        data,
        strategy="async(every=64)",
        optimizer="sgd(lr=1e-20)",
        workers=2,
        epochs=1,
        backend="processes",
        chaos=chaos.Plan([chaos.Kill(at="group_finished", step=1)]),
        record=file,
    )
    assert sum(len(worker.deaths) for worker in result.workers) == 1
    for row in range(1, 16):
        record = ht.replay(file, data, until=(1, row)).history[0]
        assert record.loss == pytest.approx(math.log(2), rel=1e-6), row
