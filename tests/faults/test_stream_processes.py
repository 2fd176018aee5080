# SPDX-License-Identifier: BSD-3-Clause
"""Hybrid, Hogwild and Async with worker processes: every row is trained, whatever is killed."""

from __future__ import annotations

import functools
import os
import signal
import time
from typing import Any

import numpy as np
import pytest
from reference.problems import Problem, planted
from support.processes import MOST_KILLS, beside, kill_one, stop_one, workers_of

import hybridtrain as ht
from hybridtrain.run.processes import WorkerProcesses

N_ROWS, EPOCHS = 20_000, 20
ROWS_IN_HAND = 4
STRATEGIES = [
    "hybrid",
    "hogwild",
    "hogwild(exact=True)",
    "hybrid(hot=20)",
    "async(every=16, staleness=2)",
]


@pytest.fixture(scope="module")
def large() -> Problem:
    return planted(5, N_ROWS, 300, longest=30)


def _train(problem: Problem, **settings: Any) -> ht.Result:
    usual: dict[str, Any] = {
        "optimizer": ht.SGD(lr=0.3),
        "backend": "processes",
        "workers": 2,
        "epochs": EPOCHS,
    }
    return ht.train(ht.Linear(l2=1e-5), (problem.X, problem.labels), **{**usual, **settings})


def _adds_up(result: ht.Result) -> None:
    assert all(ledger.trained == N_ROWS and ledger.dropped == 0 for ledger in result.ledger)
    n_deaths = sum(len(worker.deaths) for worker in result.workers)
    assert sum(ledger.repeated for ledger in result.ledger) <= ROWS_IN_HAND * n_deaths
    assert workers_of(os.getpid()) == []


@pytest.mark.usefixtures("start")
@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "ftrl", "sgd(average=True)"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_process_has_the_bits_of_one_thread(
    strategy: str, optimizer: str, large: Problem
) -> None:
    results = [
        _train(large, strategy=strategy, optimizer=optimizer, workers=1, epochs=2, backend=backend)
        for backend in ("threads", "processes")
    ]
    coefs = [result.params["coef"].tobytes() for result in results]
    assert coefs[0] == coefs[1]
    assert results[0].history[-1].loss == results[1].history[-1].loss
    _adds_up(results[1])


@functools.cache
def _undisturbed(strategy: str, workers: int) -> float:
    large = planted(5, N_ROWS, 300, longest=30)
    return _train(large, strategy=strategy, workers=workers, backend="threads").history[-1].loss


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_killed_workers_lose_no_row(
    strategy: str, workers: int, start: str, large: Problem
) -> None:
    with beside(kill_one(seed=workers, most=MOST_KILLS[start]), pause=0.01) as kills:
        result = _train(large, strategy=strategy, workers=workers)
    assert kills
    assert {cause for worker in result.workers for cause in worker.deaths} <= {"SIGKILL"}
    _adds_up(result)
    assert result.history[-1].loss == pytest.approx(_undisturbed(strategy, workers), rel=0.03)


@pytest.mark.parametrize(
    ("loss", "optimizer"),
    [("logistic", "adam"), ("softmax", "sgd"), ("squared", "adagrad"), ("softmax", "rmsprop")],
)
def test_killed_workers_of_dense_rows_lose_no_row(loss: str, optimizer: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N_ROWS, 20)).astype(np.float32)
    y: Any = X[:, :3].argmax(axis=1) if loss == "softmax" else X[:, 0] > 0
    y = X[:, 0] * 2 + X[:, 1] if loss == "squared" else y
    with beside(kill_one(seed=1), pause=0.01) as kills:
        result = ht.train(
            ht.Linear(loss=loss),
            (X, y),
            strategy=ht.Hybrid(every=64),
            optimizer=optimizer,
            backend="processes",
            workers=2,
            epochs=EPOCHS,
        )
    assert kills
    _adds_up(result)
    assert result.score(X, y) > 0.9


@pytest.mark.usefixtures("start")
def test_a_stopped_worker_is_killed_when_the_epoch_cannot_end(large: Problem) -> None:
    started = time.monotonic()
    with beside(stop_one(), pause=0.02) as stops:
        result = _train(large, strategy="hybrid", timeout=0.5)
    assert stops
    assert time.monotonic() - started < 30.0
    assert sorted(worker.deaths for worker in result.workers) == [(), ("SIGKILL",)]
    _adds_up(result)


@pytest.mark.usefixtures("no_back_off")
def test_a_place_that_stays_empty_is_named_and_the_others_go_on(
    large: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = WorkerProcesses._start

    def start_and_kill_one(self: WorkerProcesses, worker: int) -> None:
        really(self, worker)
        process = self._places[worker].process
        assert process is not None
        if worker == 1:
            process.signal(signal.SIGKILL)

    monkeypatch.setattr(WorkerProcesses, "_start", start_and_kill_one)
    result = _train(large, strategy="hybrid", epochs=40)
    assert len(result.workers[1].deaths) >= 3
    assert result.workers[0].deaths == ()
    assert sum(ledger.dropped for ledger in result.ledger) <= 512
    assert all(ledger.trained + ledger.dropped == N_ROWS for ledger in result.ledger)
    assert result.ledger[-1].trained == N_ROWS


@pytest.mark.usefixtures("no_back_off")
@pytest.mark.parametrize("strategy", ["hybrid", "hogwild"])
def test_workers_that_die_again_and_again_end_the_run(
    strategy: str, large: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = WorkerProcesses._start

    def start_and_kill(self: WorkerProcesses, worker: int) -> None:
        really(self, worker)
        process = self._places[worker].process
        assert process is not None
        process.signal(signal.SIGKILL)

    monkeypatch.setattr(WorkerProcesses, "_start", start_and_kill)
    with pytest.raises(ht.WorkersDiedError, match="no worker is left in epoch") as caught:
        _train(large, strategy=strategy, epochs=10_000)
    assert set(caught.value.causes) == {"SIGKILL"}
    result = caught.value.result
    assert result.settings["stopped"] == "died"
    assert all(ledger.trained + ledger.dropped == N_ROWS for ledger in result.ledger)
    assert result.ledger[-1].reason == "died"
    assert np.isfinite(result.params["coef"]).all()
    assert workers_of(os.getpid()) == []
