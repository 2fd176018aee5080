# SPDX-License-Identifier: BSD-3-Clause
"""Random schedules of kills and stops, each a plan of `hybridtrain.chaos` drawn from its number.

HYBRIDTRAIN_SCHEDULES=0:1000 runs a thousand of them.
"""

from __future__ import annotations

import functools
import os
import random

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

from hybridtrain import chaos

pytestmark = pytest.mark.stress
FIRST, LAST = (int(x) for x in os.environ.get("HYBRIDTRAIN_SCHEDULES", "0:60").split(":"))
A_TEST = 20  # schedules
MOST_FAULTS = 6
MOST_STEP = 900
STREAM = [point for point, what in chaos.POINTS.items() if not what.startswith("Sync")]
ANYWHERE = [None] * 4  # a fault in a few has no point


@functools.cache
def _undisturbed(strategy: str) -> str:
    return bits(train(strategy, [], chaos=None, backend="threads"))


def _points(strategy: str) -> list[str | None]:
    if strategy in SAME_BITS:
        return ANYWHERE + [point for point in chaos.POINTS if point not in STREAM]
    absent = {
        "hybrid": ("in_averaging", "at_gate"),
        "hogwild": ("in_averaging", "at_gate", "exchange"),
        "async": ("in_averaging",),
        "hierarchical": ("in_averaging",),
    }[strategy]
    return ANYWHERE + [point for point in STREAM if not point.startswith(absent)]


def _schedule(number: int) -> tuple[str, int, list[chaos.Kill | chaos.Stop]]:
    """Return the strategy, the workers and the faults of a schedule."""
    chance = random.Random(number)
    strategy, workers = chance.choice(list(STRATEGIES)), chance.randint(2, 4)
    faults: list[chaos.Kill | chaos.Stop] = []
    for _ in range(chance.randint(1, MOST_FAULTS)):
        at, step = chance.choice(_points(strategy)), chance.randint(1, MOST_STEP)
        worker = chance.choice(["any", chance.randrange(workers)])
        if chance.random() < 0.6:
            faults.append(chaos.Kill(worker=worker, at=at, step=step))
        else:
            seconds = chance.choice([0.001, 0.01, 0.05, 0.05, None])
            faults.append(chaos.Stop(worker=worker, at=at, step=step, seconds=seconds))
    return strategy, workers, faults


@pytest.mark.timeout(160)
@pytest.mark.parametrize("first", range(FIRST, LAST, A_TEST))
def test_random_schedules_lose_nothing(first: int) -> None:
    numbers = range(first, min(first + A_TEST, LAST))
    deaths = fired = planned = 0
    for number in numbers:
        strategy, workers, faults = _schedule(number)
        with leaving_nothing():
            result = train(strategy, faults, workers=workers, seed=number)
        check_ledger(result)
        if strategy in SAME_BITS:
            assert bits(result) == _undisturbed(strategy), f"schedule {number}: {faults}"
        else:
            assert result.score(problem.X, problem.labels) > 0.85, f"schedule {number}: {faults}"
        deaths += n_deaths(result)
        fired += sum(record.fired for record in result.faults)
        planned += len(result.faults)
    print(f"schedules {numbers}: {fired} of {planned} faults fired, {deaths} processes died")
    assert fired > 0.7 * planned
    assert deaths > len(numbers) / 2
