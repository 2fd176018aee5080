# SPDX-License-Identifier: BSD-3-Clause
"""The rows of all workers of a round are those that were trained, whatever happened on the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from hybridtrain._core.loss import LOSSES
from hybridtrain._core.point import ANY_WORKER
from hybridtrain._core.rows import Rows
from hybridtrain._core.sync import SyncRun

N_ROWS, N_FEATURES, EPOCHS = 2000, 20, 3


def _data() -> tuple[Any, Any]:
    random = np.random.default_rng(1)
    X = random.standard_normal((N_ROWS, N_FEATURES)).astype(np.float32)
    return X, (X @ random.standard_normal(N_FEATURES)).astype(np.float32)


def _run(workers: int, *, bound: float, exact: bool) -> SyncRun:
    X, y = _data()
    run = SyncRun(
        Rows(N_FEATURES, None, None, X.ravel(), y),
        loss=LOSSES["squared"],
        n_classes=0,
        optimizer=0,
        l1=0.0,
        l2=0.0,
        decay1=0.0,
        decay2=0.0,
        beta=0.0,
        isa=0,
        n_workers=workers,
        exact=exact,
        intercept=True,
        seed=0,
        task_rows=10,
        batch_tasks=10,
        averages_per_epoch=0,
        lrs_per_epoch=1,
        lrs=np.full(EPOCHS, 0.01, np.float32),
        inverse_share=None,
        scales=None,
        largest_value=float(np.abs(X).max()),
        bound=bound,
        is_bounded=False,
    )
    run.load(np.zeros(run.n_parameters, np.float32))
    return run


def _rows(run: SyncRun) -> int:
    return sum(run.report(w)["rows"] for w in range(run.n_workers))


def _await(run: SyncRun) -> None:
    deadline = time.monotonic() + 30.0
    while not run.await_rest(0.1):
        assert time.monotonic() < deadline


@contextmanager
def _works(run: SyncRun, *workers: int) -> Iterator[None]:
    threads = [threading.Thread(target=run.work, args=(w,)) for w in workers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        run.leave()
        for thread in threads:
            thread.join()


def _do_task(run: SyncRun, worker: int) -> bool:
    task = run.claim(worker)
    assert task is not None
    run.compute(worker, task)
    return run.commit(worker)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("point", ["after_commit", "in_adding", "after_add"])
def test_a_worker_that_is_revoked_is_not_credited(point: str, exact: bool) -> None:
    """It has counted one task, and is held with the next one until the epoch is over."""
    run = _run(2, bound=64.0, exact=exact)
    points = run.points()
    run.begin(1)
    assert _do_task(run, 1)
    points.arm(point, 1)
    verdicts: list[bool] = []
    late = threading.Thread(target=lambda: verdicts.append(_do_task(run, 1)))
    late.start()
    try:
        while not points.is_held(point):
            time.sleep(0.001)
        with _works(run, 0):
            _await(run)
            assert [run.report(w)["rows"] for w in range(2)] == [N_ROWS, 0]
            assert run.report(0)["revoked"] == 1
            points.release(point)
            late.join()
            assert verdicts == [False]
            assert _rows(run) == N_ROWS
            run.begin(2)
            if run.claim(1) is not None:  # it enters anew; the task is left to the other
                assert run.report(1)["steps"] >= 1
            _await(run)
            assert _rows(run) == 2 * N_ROWS
    finally:
        points.release(point)
        late.join()
    run.close()


@pytest.mark.parametrize("workers", [1, 3])
def test_a_refused_step_is_credited_to_nobody(workers: int) -> None:
    run = _run(workers, bound=1e-6, exact=True)
    with _works(run, *range(workers)):
        for epoch in range(1, EPOCHS + 1):
            run.begin(epoch)
            _await(run)
            assert run.epoch_report()["refused"] > 0
            assert _rows(run) == epoch * N_ROWS
    run.close()


def test_rows_add_up_when_an_epoch_is_stopped_and_resumed() -> None:
    run = _run(3, bound=1e-6, exact=True)
    points, stops = run.points(), 0
    with _works(run, 0, 1, 2):
        points.arm("after_block_commit", ANY_WORKER)  # holds the step until it is released
        run.begin(1)
        while not points.is_held("after_block_commit"):
            time.sleep(0.001)
        run.stop_epoch()
        points.release("after_block_commit")
        _await(run)
        assert 0 < run.epoch_report()["batches"] < run.steps_per_epoch()
        while run.epoch_report()["batches"] < run.steps_per_epoch():
            run.stop_epoch()
            _await(run)
            assert _rows(run) == run.epoch_report()["trained"]
            stops += 1
            run.resume()
        _await(run)
        assert stops > 0
        assert _rows(run) == N_ROWS
    run.close()
