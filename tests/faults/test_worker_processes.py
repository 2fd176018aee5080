# SPDX-License-Identifier: BSD-3-Clause
"""Sync with worker processes: the bits of threads, whatever is killed, stopped or interrupted."""

from __future__ import annotations

import _thread
import errno
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.problems import Problem, planted
from support.processes import MOST_KILLS, beside, kill_one, killing, state_of, stop_one, workers_of

import hybridtrain as ht
from hybridtrain.run.processes import WorkerProcesses

N_ROWS, EPOCHS = 20_000, 40


@pytest.fixture(scope="module")
def large() -> Problem:
    return planted(5, N_ROWS, 300, longest=30)


def _train(problem: Problem, **settings: Any) -> ht.Result:
    usual: dict[str, Any] = {
        "strategy": "sync",
        "optimizer": ht.SGD(lr=1.0),
        "backend": "processes",
        "workers": 2,
        "epochs": EPOCHS,
    }
    return ht.train(ht.Linear(l2=1e-5), (problem.X, problem.labels), **{**usual, **settings})


def _bits(result: ht.Result) -> tuple[bytes, float, tuple[float, ...]]:
    losses = tuple(record.loss for record in result.history)
    return result.params["coef"].tobytes(), result.params["intercept"], losses


@pytest.fixture(scope="module")
def undisturbed(large: Problem) -> ht.Result:
    return _train(large, backend="threads")


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _adds_up(result: ht.Result) -> None:
    assert all(ledger.trained == N_ROWS for ledger in result.ledger)
    assert all(ledger.dropped == 0 for ledger in result.ledger)
    assert sum(worker.rows for worker in result.workers) == N_ROWS * EPOCHS


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_processes_have_the_bits_of_threads(
    workers: int, start: str, large: Problem, undisturbed: ht.Result
) -> None:
    before = _descriptors()
    result = _train(large, workers=workers)
    assert result.settings["start"] == start
    assert _bits(result) == _bits(undisturbed)
    assert result.settings["backend"] == "processes"
    assert all(worker.deaths == () for worker in result.workers)
    _adds_up(result)
    assert workers_of(os.getpid()) == []
    assert _descriptors() == before


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("kind", ["dense", "softmax"])
def test_other_rows_and_losses_have_the_bits_of_threads(kind: str, exact: bool) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((3000, 20)).astype(np.float32)
    y = X[:, :3].argmax(axis=1) if kind == "softmax" else X[:, 0] > 0
    model = ht.Linear(loss="softmax" if kind == "softmax" else "logistic")
    results = [
        ht.train(model, (X, y), strategy=ht.Sync(exact=exact), backend=backend, workers=2, epochs=2)
        for backend in ("threads", "processes")
    ]
    assert results[0].params["coef"].tobytes() == results[1].params["coef"].tobytes()


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_killed_workers_change_no_bit(
    workers: int, start: str, large: Problem, undisturbed: ht.Result
) -> None:
    before = _descriptors()
    with beside(kill_one(seed=workers, most=MOST_KILLS[start]), pause=0.01) as kills:
        result = _train(large, workers=workers)
    assert kills
    assert _bits(result) == _bits(undisturbed)
    _adds_up(result)
    deaths = [cause for worker in result.workers for cause in worker.deaths]
    assert deaths
    assert set(deaths) == {"SIGKILL"}
    assert [worker.lost > 0 for worker in result.workers] == [
        bool(worker.deaths) for worker in result.workers
    ]
    assert workers_of(os.getpid()) == []
    assert _descriptors() == before


def test_all_workers_killed_at_once_change_no_bit(
    start: str, large: Problem, undisturbed: ht.Result
) -> None:
    kill_all = killing(lambda found: found, MOST_KILLS[start])
    with beside(kill_all, pause=0.03) as kills:
        result = _train(large, workers=3)
    assert kills
    assert _bits(result) == _bits(undisturbed)
    _adds_up(result)


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGSEGV, "SIGSEGV"), (signal.SIGRTMIN + 5, "signal 39")]
)
def test_a_worker_that_crashes_is_replaced_and_named(
    number: int, name: str, large: Problem, undisturbed: ht.Result
) -> None:
    def crash_one(found: list[int]) -> bool:
        os.kill(found[0], number)
        return True

    with beside(crash_one, pause=0.02) as crashes:
        result = _train(large)
    assert crashes
    assert name in result.workers[0].deaths + result.workers[1].deaths
    assert _bits(result) == _bits(undisturbed)


@pytest.mark.parametrize("strategy", ["sync", "hybrid"])
@pytest.mark.parametrize("place", ["_start", "_look_for_stopped"])
def test_a_supervisor_that_fails_ends_the_run(
    place: str, strategy: str, large: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise RuntimeError("a fault of our own")

    monkeypatch.setattr(WorkerProcesses, place, fail)
    with pytest.raises(ht.WorkersDiedError, match=r"lost with the supervisor.*a fault of our own"):
        _train(large, strategy=strategy, epochs=100_000)
    assert workers_of(os.getpid()) == []


@pytest.mark.usefixtures("start")
def test_a_stopped_worker_delays_nobody(large: Problem, undisturbed: ht.Result) -> None:
    started = time.monotonic()
    with beside(stop_one(2), pause=0.03) as stops:
        result = _train(large, timeout=20.0)
    assert stops == [2]
    assert time.monotonic() - started < 15.0
    assert _bits(result) == _bits(undisturbed)
    _adds_up(result)
    assert workers_of(os.getpid()) == []


@pytest.mark.usefixtures("start")
def test_a_stopped_worker_goes_on_when_it_is_woken(large: Problem, undisturbed: ht.Result) -> None:
    def hold_one(found: list[int]) -> bool:
        try:
            os.kill(found[-1], signal.SIGSTOP)
            time.sleep(0.01)
        finally:
            os.kill(found[-1], signal.SIGCONT)
        return True

    with beside(hold_one, pause=0.02) as holds:
        result = _train(large)
    assert holds
    assert _bits(result) == _bits(undisturbed)
    assert all(worker.deaths == () for worker in result.workers)


@pytest.mark.usefixtures("start")
def test_the_only_worker_is_killed_if_it_stays_stopped(
    large: Problem, undisturbed: ht.Result
) -> None:
    with beside(stop_one(), pause=0.02) as stops:
        result = _train(large, workers=1, timeout=0.5)
    assert stops
    assert result.workers[0].deaths == ("SIGKILL",)
    assert _bits(result) == _bits(undisturbed)


@pytest.mark.usefixtures("start")
def test_workers_that_die_again_and_again_end_the_run(
    large: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = WorkerProcesses._start

    def start_and_kill(self: WorkerProcesses, worker: int) -> None:
        really(self, worker)
        process = self._places[worker].process
        assert process is not None
        process.signal(signal.SIGKILL)

    monkeypatch.setattr(WorkerProcesses, "_start", start_and_kill)
    with pytest.raises(
        ht.WorkersDiedError, match="no worker is left in epoch 1: SIGKILL"
    ) as caught:
        _train(large)
    assert caught.value.causes == ("SIGKILL",) * 6
    result = caught.value.result
    assert result.settings["stopped"] == "died"
    assert np.isfinite(result.params["coef"]).all()
    (ledger,) = result.ledger
    assert (ledger.trained, ledger.dropped, ledger.reason) == (0, N_ROWS, "died")
    assert workers_of(os.getpid()) == []


@pytest.mark.parametrize(
    ("number", "kind", "text"),
    [
        (errno.ENOSYS, ht.InvalidSettingError, "needs Linux 5.4 or newer"),
        (errno.EAGAIN, ht.OutOfMemoryError, "the system refused a worker process"),
    ],
)
def test_a_system_that_refuses_processes_is_named(
    number: int,
    kind: type[Exception],
    text: str,
    large: Problem,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    really = WorkerProcesses._start

    def start_one(self: WorkerProcesses, worker: int) -> None:
        if worker == 1:
            raise OSError(number, os.strerror(number))
        really(self, worker)

    monkeypatch.setattr(WorkerProcesses, "_start", start_one)
    with pytest.raises(kind, match=text):
        _train(large)
    assert workers_of(os.getpid()) == []


@pytest.mark.usefixtures("no_back_off")
def test_the_last_whole_steps_are_in_the_result(
    large: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Die for good in the middle of an epoch: rows and parameters fit each other."""
    really = WorkerProcesses._start
    is_deadly = threading.Event()

    def start_and_kill(self: WorkerProcesses, worker: int) -> None:
        really(self, worker)
        process = self._places[worker].process
        assert process is not None
        if is_deadly.is_set():
            process.signal(signal.SIGKILL)

    def kill_all(found: list[int]) -> bool:
        is_deadly.set()
        for pid in found:
            os.kill(pid, signal.SIGKILL)
        return True

    monkeypatch.setattr(WorkerProcesses, "_start", start_and_kill)
    with beside(kill_all, pause=0.05), pytest.raises(ht.WorkersDiedError) as caught:
        _train(large, epochs=1000)
    result = caught.value.result
    last = result.ledger[-1]
    assert last.trained + last.dropped == N_ROWS
    done = sum(ledger.trained for ledger in result.ledger)
    assert done > 0
    assert sum(worker.rows for worker in result.workers) == done
    same = _train(
        large,
        backend="threads",
        epochs=1000,
        callbacks=[lambda record: record.epoch == len(result.ledger) - 1],
    )
    whole = [ledger for ledger in result.ledger if ledger.dropped == 0]
    found = [record.loss for record in result.history[: len(whole)]]
    assert found == [record.loss for record in same.history[: len(whole)]]


@pytest.mark.usefixtures("start")
def test_ctrl_c_ends_the_run_and_leaves_no_process(large: Problem) -> None:
    def interrupt(found: list[int]) -> bool:
        del found
        if epochs and not sent:
            sent.append(1)
            _thread.interrupt_main()
        return True

    def note(record: ht.EpochRecord) -> None:
        epochs.append(record.epoch)

    sent: list[int] = []
    epochs: list[int] = []
    with beside(interrupt, pause=0.1), pytest.raises(ht.TrainingInterrupted) as caught:
        _train(large, epochs=10_000, callbacks=[note])
    assert sent
    assert caught.value.result.history
    assert workers_of(os.getpid()) == []


@pytest.mark.usefixtures("start")
def test_a_killed_training_process_leaves_no_worker(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import numpy as np, hybridtrain as ht
        X = np.random.default_rng(0).standard_normal((20000, 50)).astype(np.float32)
        ht.train(ht.Linear(), (X, X[:, 0] > 0), strategy="sync", backend="processes", workers=2,
                 epochs=100_000)
    """)
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path)
    try:
        deadline = time.monotonic() + 60
        while len(workers_of(parent.pid)) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        workers = workers_of(parent.pid)
    finally:
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 1
    while any(state_of(pid) not in {"", "Z", "X"} for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_death_is_named_also_when_all_workers_leave(large: Problem) -> None:
    def kill(record: ht.EpochRecord) -> None:
        if record.epoch == 3:
            os.kill(workers_of(os.getpid())[0], signal.SIGKILL)

    result = _train(large, epochs=3, callbacks=[kill])
    assert sorted(worker.deaths for worker in result.workers) == [(), ("SIGKILL",)]


@pytest.mark.usefixtures("start")
def test_a_fork_within_a_callback_does_not_disturb_the_workers(
    large: Problem, undisturbed: ht.Result
) -> None:
    children: list[int] = []

    def fork(record: ht.EpochRecord) -> None:
        if record.epoch == 3:
            child = os.fork()
            if child == 0:
                os._exit(0)
            children.append(child)

    result = _train(large, callbacks=[fork])
    os.waitpid(children[0], 0)
    assert _bits(result) == _bits(undisturbed)


@pytest.mark.usefixtures("start")
def test_runs_in_threads_have_processes_of_their_own(
    large: Problem, undisturbed: ht.Result
) -> None:
    results: list[ht.Result] = []
    threads = [
        threading.Thread(target=lambda: results.append(_train(large, workers=2))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [_bits(result) for result in results] == [_bits(undisturbed)] * 2


@pytest.mark.parametrize("backend", ["process", None, 2])
def test_what_is_no_backend_is_refused(backend: Any, large: Problem) -> None:
    with pytest.raises(ht.InvalidSettingError, match='backend must be "threads" or "processes"'):
        _train(large, backend=backend)


@pytest.mark.parametrize("timeout", [0, -1.0, "long"])
def test_what_is_no_timeout_is_refused(timeout: Any, large: Problem) -> None:
    with pytest.raises(ht.InvalidSettingError, match="timeout must be"):
        _train(large, timeout=timeout)
