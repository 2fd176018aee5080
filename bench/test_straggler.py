"""What does a step of Sync take when one of two workers is five times as slow?"""  # noqa: D400 - a question

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest

import hybridtrain as ht
from bench import ours
from bench.data import TINY, load
from bench.harness import Figures, Sample, Side, interleave
from hybridtrain._core.rows import isas
from hybridtrain.data import canonical_rows
from hybridtrain.problem import Problem
from hybridtrain.round_plan import RoundPlan, plan_round

FACTOR = 5.0
EPOCHS = 1 if TINY else 3
# Tasks of 64 rows in a step; most step time of the slowed run over the undisturbed one.
MOST = {32: 1.85, 128: 1.75}


def _plan(name: str, batch_size: int) -> RoundPlan:
    data = load(name)
    return plan_round(
        Problem(ht.Linear(l2=ours.L2), canonical_rows(data.X, threads=2), data.y, None, None),
        strategy=ht.Sync(),
        optimizer=ht.SGD(),
        workers=2,
        epochs=EPOCHS,
        batch_size=batch_size,
        seed=0,
        isa=isas()[-1],
    )


def _side(plan: RoundPlan, factor: float) -> Side:
    def run() -> Sample:
        handle = plan.open()
        handle.load(np.zeros(handle.n_parameters, np.float32))
        if factor > 1:
            handle.slow(1, factor)
        threads = [threading.Thread(target=handle.work, args=(w,)) for w in range(2)]
        for thread in threads:
            thread.start()
        started = time.perf_counter()
        handle.begin(EPOCHS)
        while not handle.await_rest(10.0):
            pass
        seconds = time.perf_counter() - started
        handle.leave()
        for thread in threads:
            thread.join()
        parameters = np.empty(handle.n_parameters, np.float32)
        handle.store(parameters)
        steps = EPOCHS * handle.steps_per_epoch()
        handle.close()
        return {"step": seconds / steps, "bits": hash(parameters.tobytes())}

    return run


@pytest.mark.parametrize("tasks", MOST)
def test_slowed(benchmark: Any, figures: Figures, tasks: int) -> None:
    plan = _plan("rcv1l", 64 * tasks if not TINY else tasks)
    sides = {"undisturbed": _side(plan, 1.0), "one slowed 5x": _side(plan, FACTOR)}
    rounds = interleave(benchmark, sides, guarded=True)
    for who in sides:
        micros = [1e6 * s for s in rounds.values(who, "step")]
        figures.side(f"{tasks} tasks a step", who, **{"us a step": micros})
    bits = {b for who in sides for b in rounds.values(who, "bits")}
    assert len(bits) == 1, "the parameters differ"
    figures.answer(
        f"{tasks} tasks a step: step time, one slowed 5x over undisturbed",
        rounds.ratio("step", "one slowed 5x", "undisturbed"),
        goal=MOST[tasks],
        goal_is="most",
        rounds=rounds,
    )
