# SPDX-License-Identifier: BSD-3-Clause
"""Plans of faults done to whole runs: each fires where it was planned, and is reported."""

from __future__ import annotations

import _thread
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.problems import Problem, planted
from scipy import sparse
from support.processes import workers_of

import hybridtrain as ht
from hybridtrain import chaos
from hybridtrain.strategies.parse import default_strategies

N_ROWS, EPOCHS = 20_000, 20


@pytest.fixture(scope="module")
def large() -> Problem:
    return planted(5, N_ROWS, 300, longest=30)


def _train(problem: Problem, *faults: Any, seed: int = 0, **settings: Any) -> ht.Result:
    usual: dict[str, Any] = {
        "strategy": "sync",
        "optimizer": ht.SGD(lr=0.5),
        "backend": "processes",
        "workers": 2,
        "epochs": EPOCHS,
        "chaos": chaos.Plan(faults, seed),
    }
    result = ht.train(ht.Linear(l2=1e-5), (problem.X, problem.labels), **{**usual, **settings})
    assert workers_of(os.getpid()) == []
    return result


@pytest.fixture(scope="module")
def undisturbed(large: Problem) -> bytes:
    return bytes(_train(large, backend="threads", chaos=None).params["coef"].tobytes())


@pytest.mark.parametrize("strategy", default_strategies())
def test_a_fault_without_a_point_fires_in_every_strategy(strategy: str, large: Problem) -> None:
    result = _train(large, chaos.Kill(step=3), strategy=strategy)
    assert [record.fired for record in result.faults] == [True]
    assert [sum(len(worker.deaths) for worker in result.workers)] == [1]


def test_faults_fire_where_they_were_planned(large: Problem, undisturbed: bytes) -> None:
    planned = [
        chaos.Kill(at="after commit", step=40),  # some worker comes there in each step
        chaos.Kill(worker=0, at="in_judging", step=300, signal="SIGSEGV"),
        chaos.Stop(worker=1, at="in_computing", step=600, seconds=0.02),
        chaos.Slow(worker=0, factor=1.5),
    ]
    result = _train(large, *planned)
    assert result.params["coef"].tobytes() == undisturbed
    found = {record.fault: record for record in result.faults}
    assert set(found) == set(planned)
    assert all(record.fired for record in result.faults)
    assert (found[planned[0]].step, found[planned[0]].epoch) == (40, 1)
    for fault, record in (
        (r.fault, r) for r in result.faults if not isinstance(r.fault, chaos.Slow)
    ):
        assert record.step is not None
        assert record.step >= (fault.step or 0)
        assert fault.worker in ("any", record.worker)
        assert record.seconds is not None
        assert record.cost is not None
        assert 0 < record.cost < 10
    assert "SIGSEGV" in result.workers[0].deaths
    assert sum((worker.deaths for worker in result.workers), ()).count("SIGKILL") == 1


@pytest.mark.parametrize("strategy", ["sync", "hybrid"])
def test_a_fault_without_a_point_is_done_in_its_step(
    strategy: str, large: Problem, undisturbed: bytes
) -> None:
    result = _train(
        large, chaos.Kill(step=70), chaos.Stop(worker=0, seconds=0.01), strategy=strategy
    )
    assert sum(len(worker.deaths) for worker in result.workers) == 1
    (kill,) = [record for record in result.faults if isinstance(record.fault, chaos.Kill)]
    assert kill.fired
    assert kill.step is not None
    assert kill.step >= 70
    if strategy == "sync":
        assert result.params["coef"].tobytes() == undisturbed


def test_what_did_not_fire_is_listed(large: Problem) -> None:
    late = chaos.Kill(at="before wake", step=10**6)
    heir = chaos.Stop(at="heir copying")
    result = _train(large, late, heir)
    assert [(record.fault, record.fired) for record in result.faults] == [
        (late, False),
        (heir, False),
    ]
    assert all(worker.deaths == () for worker in result.workers)


@pytest.mark.parametrize("strategy", ["sync", "hybrid", "hogwild"])
def test_random_faults_come_at_the_steps_that_the_seed_draws(
    strategy: str, large: Problem, undisturbed: bytes
) -> None:
    planned = chaos.Random(kill=0.01, stop=0.01, seconds=0.01)
    steps = []
    for _ in range(2):
        result = _train(large, planned, seed=3, strategy=strategy)
        kinds = {type(record.fault) for record in result.faults}
        assert kinds == {chaos.Kill, chaos.Stop}
        assert all(record.fired for record in result.faults)
        kills = [r.fault.step for r in result.faults if isinstance(r.fault, chaos.Kill)]
        steps.append(kills[0])
        n_deaths = sum(len(worker.deaths) for worker in result.workers)
        assert 0 <= len(kills) - n_deaths <= 2  # of the last ones, the run may not hear any more
        assert all(ledger.trained == N_ROWS for ledger in result.ledger)
        if strategy == "sync":
            assert result.params["coef"].tobytes() == undisturbed
    assert steps[0] == steps[1]


def test_a_worker_that_is_stopped_for_ever_is_killed_after_the_timeout(large: Problem) -> None:
    stop = chaos.Stop(worker=0, at="exchange locked", step=200)
    result = _train(large, stop, strategy="hybrid", timeout=0.5)
    assert result.workers[0].deaths == ("SIGKILL",)
    (record,) = result.faults
    assert record.fired
    assert record.cost is not None
    assert record.cost > 0.4
    assert all(ledger.trained == N_ROWS for ledger in result.ledger)


@pytest.mark.parametrize("strategy", ["sync", "hybrid"])
def test_ctrl_c_leaves_no_stopped_and_no_held_worker(strategy: str, large: Problem) -> None:
    timer = threading.Timer(0.4, _thread.interrupt_main)
    planned = chaos.Random(kill=0.02, stop=0.05, seconds=0.05)
    timer.start()
    started = time.monotonic()
    with pytest.raises(ht.TrainingInterrupted) as caught:
        _train(large, planned, strategy=strategy, epochs=100_000)
    assert time.monotonic() - started < 20
    assert caught.value.result.faults
    assert workers_of(os.getpid()) == []


def test_an_exception_in_a_callback_leaves_no_stopped_worker(large: Problem) -> None:
    def fail(record: ht.EpochRecord) -> None:
        raise RuntimeError("of the user")

    with pytest.raises(RuntimeError, match="of the user"):
        _train(large, chaos.Stop(at="before claim", step=5), callbacks=[fail])
    assert workers_of(os.getpid()) == []


def test_a_plan_can_be_used_again_and_a_saved_result_forgets_it(
    large: Problem, tmp_path: Path
) -> None:
    plan = chaos.Plan([chaos.Kill(at="in adding", step=20)])
    results = [_train(large, chaos=plan) for _ in range(2)]
    assert [result.faults[0].step for result in results] == [20, 20]
    results[0].save(tmp_path / "model.npz")
    assert ht.load(tmp_path / "model.npz").faults == ()


def test_the_command_line_says_what_fired(tmp_path: Path) -> None:
    X = np.random.default_rng(0).random((4000, 9), np.float32)
    ht.save_directory(tmp_path / "rows", sparse.csr_matrix(X), X[:, 0] > X[:, 1])
    command = [sys.executable, "-m", "hybridtrain", "train", "rows", "--lr", "0.5"]
    words = ["--strategy", "sync", "--workers", "2", "--epochs", "20", "--chaos"]

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *words, *more],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    done = run("kill:0.05,stop:0.05")
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    found = re.search(r"chaos: (\d+) kills? and (\d+) stops? fired; a worker worked again", said)
    assert found
    assert int(found[1]) > 0
    assert "worker processes died and were replaced: SIGKILL" in said
    assert "no fault fired" in run("kill:0").stdout
    refused = run("kill:0.01", "--backend", "threads")
    assert refused.returncode == 1
    assert "Random needs --backend processes" in refused.stderr
    assert "did you mean 'kill'" in run("kil:0.1").stderr
