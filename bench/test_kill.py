"""What do worker processes cost, and what does it cost when one of them is killed?

Sync on sparse rows with two workers: threads, processes, and processes of which one is
SIGKILLed when half of an undisturbed run's time is over. The bits of all three are equal,
else the benchmark fails.

Softmax regression on mnist to a test accuracy of 0.92, ours and peers, one of two workers
SIGKILLed at half time: seconds from when all workers are ready until the model is there. Each has
as many epochs as an accuracy of 0.925 needs undisturbed (test_dense.py), so that it may lose rows
and reach 0.92 all the same. That the worker died is in our result, and seen from outside for a
peer (peers/killed.py). A peer that takes longer than a limit is ended, and said to hang.

A run in which no kill fired in time is run again.
"""  # noqa: D400 - a question

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import hybridtrain as ht
from bench import ours, softmax
from bench.data import TINY, Dataset, load
from bench.harness import Figures, Sample, Side, interleave
from bench.peers import killed, pytorch

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


@contextmanager
def _killing(seconds: float | None) -> Iterator[None]:
    """Kill a worker once the workers have trained for a while; None: kill nobody."""
    if seconds is None:
        yield
        return
    is_over = threading.Event()
    killer = threading.Thread(target=_kill_after, args=(seconds, is_over))
    killer.start()
    try:
        yield
    finally:
        is_over.set()
        killer.join()


def _kill_after(seconds: float, is_over: threading.Event) -> None:
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
            with _killing(half):
                result, whole = _train(data, PROCESSES)
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


ACCURACY = 0.0 if TINY else 0.92
OURS: dict[str, dict[str, Any]] = {
    "Sync, Adam()": {"strategy": "sync", "optimizer": ht.Adam(), "epochs": 3},
    "Hybrid": {"strategy": ht.Hybrid(every=16) if TINY else "hybrid", "epochs": 5},
}
_FOLDER = Path(killed.__file__).parent
_TORCH = str(_FOLDER / "pytorch_killed.py")
_TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--local-addr=localhost"]
_TORCHRUN += ["--nproc-per-node=2", "--max-restarts=3"]
JOBLIB: dict[str, tuple[list[str], dict[str, Any]]] = {
    "joblib, averaged each epoch": (
        [str(_FOLDER / "joblib_killed.py")],
        {"epochs": 8, "batch": 64, "lr": 1.0},
    ),
}
PYTORCH: dict[str, tuple[list[str], dict[str, Any]]] = {
    "PyTorch, Hogwild": (
        [_TORCH, "hogwild"],
        {"epochs": 8, "batch": 256, "lr": 0.2, "momentum": 0.9},
    ),
    "PyTorch, DDP by torchrun": (
        [*_TORCHRUN, _TORCH, "ddp"],
        {"epochs": 12, "batch": 512, "lr": 1.0, "momentum": 0.9},
    ),
}
Fit = Callable[[float | None], dict[str, Any]]  # of the seconds after which one is killed


def _ours(data: Dataset, settings: dict[str, Any]) -> Fit:
    more = {"epochs": 300 * settings["epochs"]} if TINY else {}  # else it is over before the kill

    def fit(kill_after: float | None) -> dict[str, Any]:
        with _killing(kill_after):
            result = ht.train(
                ht.Linear(loss="softmax"),
                (data.X, data.y),
                workers=2,
                backend="processes",
                progress=False,
                **{**settings, **more},
            )
        deaths = [cause for worker in result.workers for cause in worker.deaths]
        return {
            **result.params,
            "seconds": sum(record.seconds for record in result.history),
            "rows": sum(record.trained for record in result.ledger),
            "killed": deaths == ["SIGKILL"],
            "fate": "a new process takes its place" if deaths else "",
        }

    return fit


def _peer(rows: Path, command: list[str], settings: dict[str, Any]) -> Fit:
    tiny = {"epochs": 100, "batch": 16} if TINY else {}
    job = {**settings, **tiny, "data": str(rows)}
    return lambda kill_after: killed.run([sys.executable, *command], job, kill_after)


def _pair(data: Dataset, fit: Fit) -> Side:
    """Return a side that fits undisturbed, and with one worker killed at half of that time."""

    def measured(found: dict[str, Any]) -> dict[str, Any]:
        if "coef" not in found:
            return {**found, "accuracy": math.nan}
        return {**found, **softmax.measured(data, found["coef"], found["intercept"])}

    def run() -> Sample:
        plain = measured(fit(None))
        assert plain["accuracy"] >= ACCURACY, f"{plain['accuracy']}, {plain['fate']}"
        for _ in range(_TRIES):
            disturbed = measured(fit(plain["seconds"] / 2))
            if disturbed["killed"]:
                break
        else:
            raise AssertionError("no kill fired in time")
        if not disturbed["accuracy"] >= ACCURACY:
            disturbed["seconds"] = math.nan
        return {
            "plain": plain["seconds"],
            "killed": disturbed["seconds"],
            "accuracy": disturbed["accuracy"],
            "rows": disturbed["rows"] / plain["rows"],
            "fate": disturbed["fate"] or "the program does not notice",
        }

    return run


def test_time_to_accuracy(benchmark: Any, figures: Figures, tmp_path: Path) -> None:
    data = load("mnist")
    rows = pytorch.write(data.X, data.y, tmp_path)
    peers = {**JOBLIB, **(PYTORCH if pytorch.is_there() else {})}
    fits = {who: _ours(data, settings) for who, settings in OURS.items()}
    fits |= {who: _peer(rows, *peer) for who, peer in peers.items()}
    sides = {who: _pair(data, fit) for who, fit in fits.items()}
    rounds = interleave(benchmark, sides, guarded=True, repetitions=1 if TINY else 3)
    name = f"mnist, accuracy {ACCURACY}"
    for who in sides:
        fates = dict.fromkeys(rounds.values(who, "fate"))
        figures.side(
            name,
            who,
            **{
                "s, one of two killed": rounds.values(who, "killed"),
                "s, undisturbed": rounds.values(who, "plain"),
                "test accuracy, one killed": rounds.values(who, "accuracy"),
                "rows in the model, of undisturbed": rounds.values(who, "rows"),
                "what happens": "; or: ".join(fates),
            },
        )
    if not pytorch.is_there():
        figures.side(name, "PyTorch", **{"left out": "not installed"})
    for who in sides:
        pairs = list(zip(rounds.values(who, "killed"), rounds.values(who, "plain"), strict=True))
        what = f"{name}: {who}, one of two killed"
        figures.answer(f"{what}, over undisturbed", [a / b for a, b in pairs], rounds=rounds)
        lost = [a - b for a, b in pairs]
        figures.answer(f"{what}, less undisturbed", lost, unit="s", rounds=rounds)
