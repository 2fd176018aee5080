# SPDX-License-Identifier: BSD-3-Clause
"""Each point x {killed, stopped and continued, stopped for ever} x each strategy x each start.

The normal suite does each cell once: all points of a strategy in one run. It leaves out workers of
`LocalSGD` and `Hierarchical` that are stopped for ever: those of `Sync` and `Async` take the same
way, and each costs the timeout.
The stress suite does each cell at least twenty times, in runs of its own.
"""

from __future__ import annotations

import functools
import os
from collections import Counter
from typing import Any

import pytest
from support.matrix import (
    SAME_BITS,
    STRATEGIES,
    bits,
    check_ledger,
    leaving_nothing,
    n_deaths,
    problem,
    train,
)

import hybridtrain as ht
from hybridtrain import chaos

APART = 100  # steps between two faults
FIRINGS, MOST_RUNS, A_RUN = 20, 20, 5
KINDS = ("kill", "stop", "stop for ever")
SYNC = [point for point, what in chaos.POINTS.items() if what.startswith("Sync")]
STREAM = [point for point in chaos.POINTS if point not in SYNC]
POINTS = {
    "sync": SYNC,
    "local_sgd": SYNC,
    "hybrid": [point for point in STREAM if point != "at_gate"],
    "hogwild": [point for point in STREAM if not point.startswith(("exchange", "at_gate"))],
    # The other points are those of hybrid, and so is what follows a fault there.
    "async": ["group_stepped", "at_gate", "exchange_locked", "exchange_committed"],
    "hierarchical": ["group_stepped", "at_gate", "exchange_locked", "exchange_committed"],
}
ONCE = [
    (kind, s)
    for s in STRATEGIES
    for kind in KINDS
    if kind != "stop for ever" or s not in ("local_sgd", "hierarchical")
]
CELLS = [(strategy, point) for strategy in STRATEGIES for point in POINTS[strategy]]


def _faults(kind: str, point: str, step: int) -> list[chaos.Kill | chaos.Stop]:
    """Return a fault at a point; an heir needs somebody to inherit from."""
    seconds = {"kill": None, "stop": 0.02, "stop for ever": None}[kind]
    fault: chaos.Kill | chaos.Stop = chaos.Kill(at=point, step=step)
    if kind != "kill":
        fault = chaos.Stop(at=point, step=step, seconds=seconds)
    first = [chaos.Kill(at="after_block_commit", step=step)] if point == "heir_copying" else []
    return [*first, fault]


def _settings(points: list[str]) -> dict[str, Any]:
    is_averaged = "in_averaging" in points
    return {"optimizer": ht.SGD(lr=0.5, average=is_averaged)}


@functools.cache
def _undisturbed(strategy: str) -> str:
    return bits(train(strategy, [], chaos=None, backend="threads"))


def _checked(
    strategy: str, kind: str, points: list[str], faults: list[Any], workers: int
) -> Counter[str]:
    """Do the faults to a run, check it, and return how often each point fired."""
    with leaving_nothing():
        result = train(strategy, faults, workers=workers, **_settings(points))
    check_ledger(result)
    assert result.settings["start"] == os.environ["HYBRIDTRAIN_START"]
    fired = [record for record in result.faults if record.fired]
    n_kills = sum(isinstance(record.fault, chaos.Kill) for record in fired)
    assert n_deaths(result) >= n_kills - workers  # the run may end before it hears of the last ones
    if kind == "stop" and "heir_copying" not in points:
        assert n_deaths(result) == 0
    if strategy in SAME_BITS:
        assert bits(result) == _undisturbed(strategy)
    else:
        assert result.score(problem.X, problem.labels) > 0.85
    return Counter(str(record.fault.at) for record in fired)


@pytest.mark.usefixtures("start")
@pytest.mark.parametrize(("kind", "strategy"), ONCE)
def test_each_point_once(kind: str, strategy: str) -> None:
    points = POINTS[strategy]
    faults = [
        fault
        for number, point in enumerate(points, 1)
        for fault in _faults(kind, point, APART * number)
    ]
    fired = _checked(strategy, kind, points, faults, 3)
    assert set(fired) == set(points)


@pytest.mark.stress
@pytest.mark.timeout(160)
@pytest.mark.parametrize(("strategy", "point"), CELLS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_point_twenty_times(kind: str, strategy: str, point: str, start: str) -> None:
    n_fired = 0
    for number in range(MOST_RUNS):
        faults = [
            fault for k in range(1, A_RUN + 1) for fault in _faults(kind, point, 2 * APART * k)
        ]
        workers = 2 + number % 2
        n_fired += _checked(strategy, kind, [point], faults, workers)[point]
        if n_fired >= FIRINGS:
            break
    print(f"{start} {strategy} {point} {kind}: {n_fired} firings in {number + 1} runs")
    assert n_fired >= FIRINGS
