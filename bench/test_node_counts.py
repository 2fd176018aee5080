"""What does a step cost each node, of one, two, three and more?

All nodes are processes of this machine with one worker each. A run is trained with a few steps and
with many more, and the difference counts: so the start does not. Bytes are exact. CPU time is that
of all processes over nodes and steps; it says what a node's own cores are busy with, also where
more nodes than cores share this machine and the time of a step says nothing.
"""  # noqa: D400 - a question

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hybridtrain as ht
from bench.data import TINY
from bench.harness import Figures, Side, interleave

COUNTS = (1, 2) if TINY else (1, 2, 3, 4, 8)
TASKS = 16  # rows of a step
STEPS = {8: (20, 40)} if TINY else {8: (200, 1200), 16_384: (10, 40)}  # a short run and a long one
_ESTABLISHED = "01"


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _connections() -> int:
    """Return the ends of TCP connections that the children of this process hold."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    sockets = {f"socket:[{line[9]}]" for line in lines if line[3] == _ESTABLISHED}
    tasks = Path("/proc/self/task").iterdir()
    pids = {pid for task in tasks for pid in (task / "children").read_text().split()}
    links = [os.readlink(fd) for pid in pids for fd in Path("/proc", pid, "fd").iterdir()]
    return sum(link in sockets for link in links)


def _run(n_features: int, nodes: int, steps: int) -> dict[str, float]:
    X = np.random.default_rng(0).random((TASKS * steps, n_features), np.float32)
    y = np.where(X[:, 0] > X[:, 1], 1, -1)
    connections: list[int] = []

    def count(record: ht.EpochRecord) -> None:
        connections.append(_connections())

    before = _cpu_seconds()
    result = ht.train(
        ht.Linear(),
        (X, y),
        strategy="sync",
        optimizer=ht.SGD(lr=0.1 / n_features),
        batch_size=TASKS,
        workers=1,
        epochs=1,
        nodes=nodes,
        scale=None,
        callbacks=[count],
        progress=False,
    )
    n = len(result.nodes)
    assert n == nodes
    return {
        "steps": steps,
        "connections": connections[0] / n,
        "cpu": (_cpu_seconds() - before) / n,
        "bytes": sum(report.bytes_sent for report in result.nodes) / n,
        "step": 1000 * result.history[0].seconds / steps,
    }


def _side(n_features: int, nodes: int) -> Side:
    def run() -> dict[str, Any]:
        short, long = (_run(n_features, nodes, steps) for steps in STEPS[n_features])
        more = long["steps"] - short["steps"]
        return {
            "cpu": 1000 * (long["cpu"] - short["cpu"]) / more,
            "bytes": (long["bytes"] - short["bytes"]) / more,
            "step": long["step"],
            "connections": long["connections"],
        }

    return run


@pytest.mark.parametrize("n_features", STEPS)
def test_steps_of_more_nodes(n_features: int, benchmark: Any, figures: Figures) -> None:
    name = f"{n_features:,} dense features"
    sides = {f"{n} nodes": _side(n_features, n) for n in COUNTS}
    rounds = interleave(benchmark, sides, guarded=False, repetitions=1 if TINY else 3)
    for who in sides:
        figures.side(
            name,
            who,
            **{
                "bytes that a node sends a step": rounds.values(who, "bytes"),
                "TCP connections of a node": rounds.values(who, "connections"),
                "CPU ms of a node a step": rounds.values(who, "cpu"),
                "ms a step, all on this machine": rounds.values(who, "step"),
            },
        )
    for count in COUNTS[1:]:
        figures.answer(
            f"{name}: bytes that a node sends a step, of {count} nodes",
            rounds.values(f"{count} nodes", "bytes"),
            unit="bytes",
        )
