"""What does a step cost between two nodes?

Both nodes are processes of this machine with one worker each, beside one node of two workers: so
the two sides have the same cores. Each node is also measured on a core of its own, where its
threads do not wait for those of the other. An empty step trains rows of 8 features in batches of
two tasks; what it takes is the exchange. A step of replicas is that of two, each of which makes
64 steps by itself. The bits of all sides are equal, else the benchmark fails.
"""  # noqa: D400 - a question

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

import hybridtrain as ht
from bench import ours
from bench.data import TINY, Dataset, load
from bench.harness import EPOCHS, Figures, Rounds, Side, interleave

ONE, TWO, PINNED = "1 node of 2 workers", "2 nodes of 1 worker", "2 nodes, a core for each"
BATCH = 64 if TINY else 4096
EMPTY_BATCH, EMPTY_STEPS = 32, 50 if TINY else 1000
EVERY, LOCAL_BATCH = 2 if TINY else 64, 16
REPLICAS = {"strategy": f"local_sgd(every={EVERY}, replicas=2)", "batch_size": LOCAL_BATCH}


def _pin(record: ht.EpochRecord) -> None:
    """Give each process that this one has started a core, in the order of their numbers."""
    if record.epoch > 1:
        return
    tasks = Path("/proc/self/task")
    pids = [pid for task in tasks.iterdir() for pid in (task / "children").read_text().split()]
    cores = sorted(os.sched_getaffinity(0))
    for k, pid in enumerate(sorted(pids, key=int)):
        for task in Path("/proc", pid, "task").iterdir():
            os.sched_setaffinity(int(task.name), {cores[k % len(cores)]})


SIDES: dict[str, dict[str, Any]] = {
    ONE: {"workers": 2},
    TWO: {"workers": 1, "nodes": 2},
    PINNED: {"workers": 1, "nodes": 2, "callbacks": [_pin]},
}


def _side(data: Dataset, of_step: int, settings: dict[str, Any]) -> Side:
    def run() -> dict[str, Any]:
        result = ht.train(
            ht.Linear(l2=ours.L2),
            (data.X, data.y),
            epochs=EPOCHS + 1,  # the first one, before `_pin`, is not the fastest
            progress=False,
            **settings,
        )
        steps = -(-len(data.y) // of_step)
        return {
            "step": 1000 * min(record.seconds for record in result.history) / steps,
            "bytes": max((report.bytes_per_step for report in result.nodes), default=0.0),
            "bits": hash(result.params["coef"].tobytes()),
        }

    return run


def _empty() -> Dataset:
    rng = np.random.default_rng(0)
    X = rng.random((EMPTY_BATCH * EMPTY_STEPS, 8), np.float32)
    y = np.where(X[:, 0] > X[:, 1], np.float32(1), np.float32(-1))
    return Dataset("empty", X, y, X[:1], y[:1])


def _measure(
    benchmark: Any, figures: Figures, data: Dataset, of_step: int, **trained: Any
) -> Rounds:
    sides = {who: _side(data, of_step, {**trained, **where}) for who, where in SIDES.items()}
    rounds = interleave(benchmark, sides, guarded=True)
    assert len({bits for who in sides for bits in rounds.values(who, "bits")}) == 1
    for who in sides:
        columns = {
            "ms a step, of the fastest epoch": rounds.values(who, "step"),
            "bytes a node sends a step": rounds.values(who, "bytes"),
        }
        figures.side(f"{data.name}, {of_step} rows a step", who, **columns)
    return rounds


def test_sparse_step(benchmark: Any, figures: Figures) -> None:
    rounds = _measure(benchmark, figures, load("rcv1l"), BATCH, strategy="sync", batch_size=BATCH)
    for two in (TWO, PINNED):
        figures.answer(
            f"rcv1l, batch {BATCH}: steps a second of {two} over {ONE}",
            rounds.ratio("step", ONE, two),
            goal=0.5,
            rounds=rounds,
        )


def test_replicas(benchmark: Any, figures: Figures) -> None:
    rounds = _measure(benchmark, figures, load("rcv1l"), 2 * EVERY * LOCAL_BATCH, **REPLICAS)
    for two in (TWO, PINNED):
        figures.answer(
            f"rcv1l, 2 replicas, merged every {EVERY} steps: steps a second of {two} over {ONE}",
            rounds.ratio("step", ONE, two),
            rounds=rounds,
        )


def test_empty_step(benchmark: Any, figures: Figures) -> None:
    rounds = _measure(
        benchmark, figures, _empty(), EMPTY_BATCH, strategy="sync", batch_size=EMPTY_BATCH
    )
    for two in (TWO, PINNED):
        figures.answer(
            f"an empty step, {two}",
            rounds.values(two, "step"),
            unit="ms",
            goal=1.0,
            goal_is="most",
            rounds=rounds,
        )
