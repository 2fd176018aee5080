"""What do local steps save where a merge takes long: steps a second against Sync, and the loss?

Two worker processes share a run and wait 20 ms in each step of the round before they merge, as
over a slow network. Sync merges after each step of 32 rows, LocalSGD(every=16) after 16 steps of
two replicas with 16 rows each: equal rows in each step, and equal epochs.
"""  # noqa: D400 - a question

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

import hybridtrain as ht
from bench import ours
from bench.data import TINY, load
from bench.harness import Figures, Sample, Side, interleave
from hybridtrain._core.rows import isas
from hybridtrain._core.sync import SyncRun
from hybridtrain.data.matrix import canonical_rows
from hybridtrain.plan.base import Settings
from hybridtrain.plan.problem import Problem
from hybridtrain.plan.round import RoundPlan

WORKERS, EVERY, ROWS = 2, 16, 16  # rows of a local step
MERGE_SECONDS = 0.001 if TINY else 0.02
EPOCHS = 1 if TINY else 4
N_ROWS = 640 if TINY else 6400


def _work(run: SyncRun, worker: int) -> None:
    """Be a worker that waits before it merges, once in each step."""
    waited = 0
    while True:
        task = run.claim(worker)
        if task is not None:
            run.compute(worker, task)
            run.commit(worker)
            continue
        if run.progress() != waited:
            waited = run.progress()
            time.sleep(MERGE_SECONDS)
        while run.merge_next(worker):
            pass
        if not run.await_work(worker):
            return


def _plan(strategy: ht.Sync | ht.LocalSGD, batch_size: int) -> RoundPlan:
    data = load("a9a")
    rows = canonical_rows(data.X[:N_ROWS], threads=2)
    problem = Problem(ht.Linear(l2=ours.L2), rows, data.y[:N_ROWS], None, None)
    settings = Settings(
        optimizer=ht.SGD(),
        workers=WORKERS,
        epochs=EPOCHS,
        batch_size=batch_size,
        seed=0,
        isa=isas()[-1],
        backend="processes",
    )
    return strategy.plan(problem, settings)


def _side(plan: RoundPlan) -> Side:
    data = load("a9a")

    def run() -> Sample:
        handle = plan.open()
        handle.load(np.zeros(handle.n_parameters, np.float32))
        workers = []
        for w in range(WORKERS):
            pid = os.fork()
            if pid == 0:
                _work(handle, w)
                os._exit(0)
            workers.append(pid)
        started = time.perf_counter()
        for epoch in range(1, EPOCHS + 1):
            handle.set_rates(epoch, plan.rates.of_epoch(epoch))
            handle.begin(epoch)
            while not handle.await_rest(10.0):
                pass
        seconds = time.perf_counter() - started
        handle.leave()
        for pid in workers:
            os.waitpid(pid, 0)
        parameters = np.empty(handle.n_parameters, np.float32)
        handle.store(parameters)
        handle.close()
        coef, intercept = plan.from_trained(parameters)
        margins = (data.X_test @ coef + intercept) * np.where(data.y_test == data.y.max(), 1, -1)
        steps = EPOCHS * -(-N_ROWS // (ROWS * WORKERS))
        return {"steps/s": steps / seconds, "loss": float(np.logaddexp(0, -margins).mean())}

    return run


def test_slow_merges(benchmark: Any, figures: Figures) -> None:
    sides = {
        "Sync": _side(_plan(ht.Sync(), ROWS * WORKERS)),
        "LocalSGD(every=16)": _side(_plan(ht.LocalSGD(every=EVERY), ROWS)),
    }
    rounds = interleave(benchmark, sides, guarded=True)
    for who in sides:
        figures.side("20 ms a merge", who, **{"steps/s": rounds.values(who, "steps/s")})
    figures.answer(
        "20 ms a merge, 2 processes: steps a second, LocalSGD(every=16) over Sync",
        rounds.ratio("steps/s", "LocalSGD(every=16)", "Sync"),
        goal=5.0,
        rounds=rounds,
    )
    ratios = rounds.ratio("loss", "LocalSGD(every=16)", "Sync")
    figures.answer(
        "20 ms a merge, equal rows: test loss, LocalSGD(every=16) over Sync",
        [100 * (ratio - 1) for ratio in ratios],
        unit="%",
        goal=1.0,
        goal_is="most",
        rounds=rounds,
    )
