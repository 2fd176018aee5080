"""What do worker processes cost, and what does it cost when one of them is killed?

Sync on sparse rows with two workers: threads, processes, and processes of which one is
SIGKILLed when half of an undisturbed run's time is over. The bits of all three are equal,
else the benchmark fails. A round in which no kill fired in time is run again.
"""  # noqa: D400 - a question

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import hybridtrain as ht
from bench import ours
from bench.data import TINY, Dataset, load
from bench.harness import Figures, Sample, Side, interleave

EPOCHS = 100 if TINY else 10
NAMES = ("rcv1l", "ctrl")
THREADS, PROCESSES, KILLED = "threads", "processes", "processes, one killed"
_TRIES = 20


def _workers() -> list[int]:
    """Return the worker processes of this process."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            stat = (entry / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:  # gone meanwhile
            continue
        name, _, rest = stat.rpartition(")")
        if name.endswith("(ht-worker") and int(rest.split()[1]) == os.getpid():
            found.append(int(entry.name))
    return found


def _kill_after(seconds: float, is_over: threading.Event) -> None:
    """Kill a worker once the workers have trained for a while."""
    while not (found := _workers()):
        if is_over.wait(1e-4):
            return
    if not is_over.wait(seconds):
        try:
            os.kill(found[0], signal.SIGKILL)
        except ProcessLookupError:
            return


def _train(data: Dataset, backend: str) -> tuple[ht.Result, float]:
    started = time.perf_counter()
    result = ht.train(
        ht.Linear(l2=ours.L2),
        (data.X, data.y),
        strategy="sync",
        optimizer=ht.SGD(lr="formula"),
        workers=2,
        epochs=EPOCHS,
        backend=backend,
        progress=False,
    )
    return result, time.perf_counter() - started


def _sample(result: ht.Result, whole: float) -> Sample:
    return {
        "rate": ours.rate(result),
        "seconds": sum(record.seconds for record in result.history),
        "whole": whole,
        "bits": hash(result.params["coef"].tobytes()),
    }


def _undisturbed(data: Dataset, backend: str) -> Side:
    return lambda: _sample(*_train(data, backend))


def _killed(data: Dataset) -> Side:
    def run() -> Sample:
        half = _undisturbed(data, PROCESSES)()["seconds"] / 2
        for _ in range(_TRIES):
            is_over = threading.Event()
            killer = threading.Thread(target=_kill_after, args=(half, is_over))
            killer.start()
            result, whole = _train(data, PROCESSES)
            is_over.set()
            killer.join()
            if sum(len(worker.deaths) for worker in result.workers) == 1:
                return _sample(result, whole)
        raise AssertionError("no kill fired in time")

    return run


@pytest.mark.parametrize("name", NAMES)
def test_kill(benchmark: Any, figures: Figures, name: str) -> None:
    data = load(name)
    sides = {
        THREADS: _undisturbed(data, THREADS),
        PROCESSES: _undisturbed(data, PROCESSES),
        KILLED: _killed(data),
    }
    rounds = interleave(benchmark, sides, guarded=True)
    for who in sides:
        figures.side(name, who, **{"M rows/s": [r / 1e6 for r in rounds.values(who, "rate")]})
    assert len({b for who in sides for b in rounds.values(who, "bits")}) == 1, "bits differ"
    figures.answer(
        f"{name}: rows/s, processes over threads",
        rounds.ratio("rate", PROCESSES, THREADS),
        goal=0.97,
        goal_is="least",
        rounds=rounds,
    )
    for what, metric, sides_of, goal in (
        ("start", "whole", (PROCESSES, THREADS), 30.0),
        ("time lost by one SIGKILL", "seconds", (KILLED, PROCESSES), 20.0),
    ):
        pairs = zip(*(rounds.values(who, metric) for who in sides_of), strict=True)
        figures.answer(
            f"{name}: {what}, {sides_of[0]} less {sides_of[1]}",
            [1000.0 * (a - b) for a, b in pairs],
            unit="ms",
            goal=goal,
            goal_is="most",
            rounds=rounds,
        )
