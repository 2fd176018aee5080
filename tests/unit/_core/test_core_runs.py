# SPDX-License-Identifier: BSD-3-Clause
"""Runs of the core: wrong arguments give errors, and never touch memory that is not theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from support.core_edges import N_FEATURES, N_ROWS, make_rows, open_stream, open_sync

from hybridtrain._core.loss import LOSSES, MAX_CLASSES
from hybridtrain._core.optimizer import (
    OPTIMIZERS,
    has_shares,
    hot_nbytes,
    intercept_rate,
    is_dense,
)
from hybridtrain._core.rows import isas
from hybridtrain._core.stream import MAX_WORKERS
from hybridtrain._core.sync import MAX_TASK_ROWS, MAX_TASKS, SyncRun


@pytest.fixture(params=[open_stream, open_sync], ids=["stream", "sync"])
def run(request: pytest.FixtureRequest) -> Iterator[Any]:
    opened = request.param()
    yield opened
    opened.close()


@pytest.mark.parametrize("optimizer", [-1, max(OPTIMIZERS.values()) + 1, 2**31 - 1])
def test_an_unknown_optimizer_is_refused(optimizer: int) -> None:
    calls: list[Callable[[], object]] = [
        lambda: has_shares(optimizer),
        lambda: is_dense(optimizer),
        lambda: hot_nbytes(optimizer, False),
        lambda: intercept_rate(optimizer, False),
        lambda: open_stream(optimizer=optimizer),
        lambda: open_sync(optimizer=optimizer),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"."):
            call()


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": -1},
        {"loss": 77},
        {"loss": LOSSES["huber"], "loss_parameter": 0.0},
        {"n_classes": 1},
        {"n_classes": -5},
        {"n_classes": MAX_CLASSES + 1},
        {"n_workers": 0},
        {"n_workers": MAX_WORKERS + 1},
        {"n_workers": 2**32 - 1},
        {"isa": -1},
        {"isa": len(isas())},
        {"lrs": np.ones(5, np.float32)},
        {"lrs": np.ones(0, np.float32)},
        {"lrs_per_epoch": 0},
        {"inverse_share": np.ones(N_FEATURES, np.float32)},
        {"l2": 0.1},
    ],
)
def test_a_run_with_settings_that_do_not_fit_is_refused(changes: dict[str, Any]) -> None:
    for open_run in (open_stream, open_sync):
        with pytest.raises(ValueError, match=r"."):
            open_run(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"rows_in_flight": 0},
        {"rows_in_flight": 17},
        {"strips": 0},
        {"strips": 17},
        {"n_hot": -1},
        {"n_hot": N_FEATURES + 2, "curvature": np.ones(N_FEATURES + 2, np.float32)},
        {"n_hot": 2},
        {"n_hot": 2, "curvature": np.ones(1, np.float32)},
        {"n_hot": 2, "curvature": np.ones(2, np.float32)},  # rows do not say what is hot
        {"team_of": np.zeros(2, np.uint32)},  # no replica to share
        {"team_of": np.zeros(3, np.uint32)},
    ],
)
def test_a_stream_with_settings_that_do_not_fit_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        open_stream(**changes)


@pytest.mark.parametrize(("row", "count"), [(0, -1), (7, 4), (N_ROWS - 1, 2**31 - 1)])
def test_a_row_with_more_hot_elements_than_elements_is_refused(row: int, count: int) -> None:
    hot = np.ones(N_ROWS, np.int32)
    curvature = np.ones(3, np.float32)
    open_stream(make_rows(hot=hot), n_hot=3, curvature=curvature).close()
    hot[row] = count
    with pytest.raises(ValueError, match=r"."):
        open_stream(make_rows(hot=hot), n_hot=3, curvature=curvature)


@pytest.mark.parametrize(
    "changes",
    [
        {"task_rows": 0},
        {"task_rows": MAX_TASK_ROWS + 1},
        {"batch_tasks": 0},
        {"batch_tasks": MAX_TASKS + 1},
        {"bound": 0.0},
        {"bound": np.nan},
        {"bound": np.inf},
        {"largest_value": -1.0},
        {"largest_value": np.nan},
        {"scales": np.ones(0)},
    ],
)
def test_a_synchronous_run_with_settings_that_do_not_fit_is_refused(
    changes: dict[str, Any],
) -> None:
    with pytest.raises(ValueError, match=r"."):
        open_sync(**changes)


def test_epochs_count_from_one(run: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        run.begin(0)


@pytest.mark.parametrize("epoch", [2**31, 2**32 - 1])
def test_a_synchronous_run_has_no_more_steps_than_it_can_count(epoch: int) -> None:
    with pytest.raises(ValueError, match="more steps than a run can have"):
        open_sync().begin(epoch)


def test_an_epoch_that_was_never_opened_cannot_be_resumed() -> None:
    with pytest.raises(ValueError, match=r"."):
        open_stream().resume()


@pytest.mark.parametrize("worker", [2, 1024, 2**32 - 1])
def test_a_worker_that_does_not_exist_is_refused(run: Any, worker: int) -> None:
    calls = [run.report, run.work, lambda w: run.slow(w, 2.0)]
    if isinstance(run, SyncRun):
        calls += [run.claim, run.commit, run.merge_next, run.await_work]
        calls += [lambda w: run.compute(w, 0)]
    for call in calls:
        with pytest.raises(ValueError, match="no such worker"):
            call(worker)


@pytest.mark.parametrize("size", [0, N_FEATURES, N_FEATURES + 2])
def test_parameters_of_another_number_are_refused(run: Any, size: int) -> None:
    for call in (run.load, run.store):
        with pytest.raises(ValueError, match="number of parameters"):
            call(np.zeros(size, np.float32))


@pytest.mark.parametrize("factor", [0.0, -1.0, np.nan, np.inf, 1e7])
def test_a_factor_out_of_range_is_refused(run: Any, factor: float) -> None:
    with pytest.raises(ValueError, match="factor"):
        run.slow(0, factor)


def test_chunks_that_do_not_exist_are_refused() -> None:
    stream = open_stream()
    stream.begin(1)
    assert sorted(row for k in range(stream.n_chunks()) for row in stream.rows_of(k)) == list(
        range(N_ROWS)
    )
    for position in (stream.n_chunks(), 2**63, 2**64 - 1):
        with pytest.raises(ValueError, match="no such chunk"):
            stream.rows_of(position)


def test_a_task_is_computed_once_claimed_and_committed_once_computed() -> None:
    run = open_sync()
    run.load(np.zeros(run.n_parameters, np.float32))
    run.begin(1)
    with pytest.raises(ValueError, match=r"."):
        run.compute(0, 0)
    with pytest.raises(ValueError, match=r"."):
        run.commit(0)
    task = run.claim(0)
    assert task is not None
    for wrong in (task + 1, 2**32 - 1):
        with pytest.raises(ValueError, match=r"."):
            run.compute(0, wrong)
    with pytest.raises(ValueError, match=r"."):
        run.commit(0)
    run.compute(0, task)
    assert run.commit(0)
    with pytest.raises(ValueError, match=r"."):
        run.commit(0)


@pytest.mark.parametrize("seconds", [-1.0, -np.inf, 0.0])
def test_a_wait_of_no_time_ends_at_once(run: Any, seconds: float) -> None:
    assert run.await_rest(seconds)  # nobody works yet
    with pytest.raises(ValueError, match="nan"):
        run.await_rest(np.nan)


def test_what_is_closed_is_refused(run: Any) -> None:
    points = run.points()
    points.arm("in_adding", 0)
    assert not points.is_held("in_adding")
    assert points.held("in_adding") is None
    run.close()
    run.close()
    for call in (run.points, run.leave, run.stop_epoch, run.epoch_report, run.resume):
        with pytest.raises(ValueError, match="closed"):
            call()
    with pytest.raises(ValueError, match="closed"):
        points.arm("in_adding", 0)
    for name in ("release", "held", "is_held", "fired"):
        with pytest.raises(ValueError, match="closed"):
            getattr(points, name)("in_adding")


def test_points_of_no_run_are_refused(run: Any) -> None:
    with pytest.raises(ValueError, match="closed"):
        type(run.points())().fired("in_adding")
