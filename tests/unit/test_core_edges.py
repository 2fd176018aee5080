# SPDX-License-Identifier: BSD-3-Clause
"""The core's edge: wrong arguments give errors, and never touch memory that is not theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from hybridtrain._core.loss import (
    LOSSES,
    MAX_CLASSES,
    loss_curvature,
    loss_sum,
    outputs,
    softmax,
    softmax_sum,
)
from hybridtrain._core.rows import Rows, isas
from hybridtrain._core.stream import (
    MAX_WORKERS,
    OPTIMIZERS,
    Stream,
    has_shares,
    hot_nbytes,
    intercept_rate,
    is_dense,
)
from hybridtrain._core.sync import MAX_TASK_ROWS, MAX_TASKS, SyncRun

N_ROWS, N_FEATURES = 40, 6


def _f32(*values: float) -> Any:
    return np.array(values, np.float32)


def _arrays(**changes: Any) -> dict[str, Any]:
    """Sparse rows of three elements each, and what a test changes about them."""
    random = np.random.default_rng(0)
    indices = np.sort([random.permutation(N_FEATURES)[:3] for _ in range(N_ROWS)], axis=1)
    arrays = {
        "n_features": N_FEATURES,
        "pointers": np.arange(N_ROWS + 1, dtype=np.int64) * 3,
        "indices": indices.astype(np.int32).ravel(),
        "values": np.ones(3 * N_ROWS, np.float32),
        "targets": np.where(np.arange(N_ROWS) % 2, 1, -1).astype(np.float32),
    }
    return {**arrays, **changes}


def _dense(**changes: Any) -> dict[str, Any]:
    values = np.ones(N_ROWS * N_FEATURES, np.float32)
    return _arrays(pointers=None, indices=None, values=values, **changes)


def _rows(**changes: Any) -> Rows:
    return Rows(**_arrays(**changes))


# ---- rows


@pytest.mark.parametrize(
    "changes",
    [
        {"n_features": 0},
        {"n_features": -1},
        {"n_features": -(2**62)},
        {"n_features": 2**31},
        {"pointers": np.array([0], np.int64)},
        {"pointers": np.array([], np.int64)},
        {"pointers": np.arange(1, N_ROWS + 2, dtype=np.int64) * 3},
        {"pointers": np.arange(N_ROWS + 1, dtype=np.int64) * 3 + 1},
        {"pointers": None},
        {"indices": None},
        {"values": np.ones(5, np.float32)},
        {"targets": np.ones(N_ROWS - 1, np.float32)},
        {"weights": np.ones(N_ROWS + 1, np.float32)},
        {"hot": np.ones(1, np.int32)},
        {"n_hot": -1},
        {"n_hot": N_FEATURES + 1},
    ],
)
def test_rows_of_other_shapes_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        _rows(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"n_features": 0},
        {"n_features": 7},
        {"n_features": N_ROWS * N_FEATURES + 1},
        {"values": None},
        {"values": np.ones(0, np.float32)},
        {"indices": np.zeros(N_ROWS * N_FEATURES, np.int32)},
        {"hot": np.zeros(N_ROWS, np.int32)},
    ],
)
def test_dense_rows_of_other_shapes_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Rows(**{**_dense(), **changes})


RANGES = [(-1, 3), (0, N_ROWS + 1), (5, 4), (-(2**62), 2**62), (2**62, 2**62), (N_ROWS + 1, 0)]


@pytest.mark.parametrize(("first", "last"), RANGES)
@pytest.mark.parametrize("make", [_arrays, _dense])
def test_rows_that_do_not_exist_are_refused(
    make: Callable[..., dict[str, Any]], first: int, last: int
) -> None:
    rows = Rows(**make())
    weight, curvature = np.zeros(N_FEATURES), np.zeros(N_FEATURES)
    largest, z = np.zeros(N_FEATURES, np.float32), np.zeros(N_ROWS, np.float32)
    parameters = np.zeros(N_FEATURES + 1, np.float32)
    rank = np.arange(N_FEATURES, dtype=np.int32)
    indices, hot = np.zeros(rows.n_elements, np.int32), np.zeros(N_ROWS, np.int32)
    values = np.zeros(rows.n_elements, np.float32)
    calls: list[Callable[[], object]] = [
        lambda: rows.find_fault(first, last),
        lambda: rows.count(first, last, True, weight, curvature),
        lambda: rows.count(first, last, True, None, None),
        lambda: rows.raise_largest(first, last, largest),
        lambda: rows.renumber(rank, 2, first, last, indices, values, hot),
        lambda: rows.margins(parameters, 1, 0, first, last, z),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"."):
            call()


@pytest.mark.parametrize("bad", [-1, N_FEATURES, -(2**31), 2**31 - 1])
def test_a_rank_that_is_no_feature_is_refused(bad: int) -> None:
    rows = _rows()
    rank = np.arange(N_FEATURES, dtype=np.int32)
    rank[3] = bad
    out = np.zeros(rows.n_elements, np.int32), np.zeros(rows.n_elements, np.float32)
    with pytest.raises(ValueError, match=r"."):
        rows.renumber(rank, 2, 0, N_ROWS, *out, np.zeros(N_ROWS, np.int32))


@pytest.mark.parametrize("n_hot", [-1, N_FEATURES + 1, 2**40])
def test_more_hot_features_than_there_are_are_refused(n_hot: int) -> None:
    rows = _rows()
    rank = np.arange(N_FEATURES, dtype=np.int32)
    out = np.zeros(rows.n_elements, np.int32), np.zeros(rows.n_elements, np.float32)
    with pytest.raises(ValueError, match=r"."):
        rows.renumber(rank, n_hot, 0, N_ROWS, *out, np.zeros(N_ROWS, np.int32))


def test_values_are_renumbered_where_the_rows_have_them_and_not_elsewhere() -> None:
    rank = np.arange(N_FEATURES, dtype=np.int32)
    for values, out_values in ((None, np.zeros(3 * N_ROWS, np.float32)), (..., None)):
        rows = _rows() if values is ... else _rows(values=None)
        indices, hot = np.zeros(rows.n_elements, np.int32), np.zeros(N_ROWS, np.int32)
        with pytest.raises(ValueError, match="values"):
            rows.renumber(rank, 2, 0, N_ROWS, indices, out_values, hot)


def test_half_of_a_pair_of_sums_is_refused() -> None:
    with pytest.raises(ValueError, match="weight and curvature"):
        _rows().count(0, N_ROWS, True, np.zeros(N_FEATURES), None)


@pytest.mark.parametrize(
    ("n_outputs", "isa"),
    [(0, 0), (-1, 0), (2, 0), (15, 0), (17, 0), (2**40, 0), (1, -1), (1, len(isas())), (1, 99)],
)
def test_outputs_and_instruction_sets_that_do_not_exist_are_refused(
    n_outputs: int, isa: int
) -> None:
    size = max(1, min(n_outputs, 64))
    parameters = np.zeros((N_FEATURES + 1) * size, np.float32)
    with pytest.raises(ValueError, match=r"."):
        _rows().margins(parameters, n_outputs, isa, 0, N_ROWS, np.zeros(N_ROWS * size, np.float32))


# ---- losses, classes


@pytest.mark.parametrize("loss", [-1, max(LOSSES.values()) + 1, 2**31 - 1, -(2**31)])
def test_an_unknown_loss_is_refused(loss: int) -> None:
    with pytest.raises(ValueError, match="loss"):
        loss_sum(loss, _f32(1, 2), _f32(1, 1), None)
    with pytest.raises(ValueError, match="loss"):
        loss_curvature(loss)


@pytest.mark.parametrize(
    ("z", "y", "weight"), [((1, 2), (1,), None), ((1,), (1, 1), None), ((1, 2), (1, 1), (1,))]
)
def test_losses_need_arrays_of_one_length(z: Any, y: Any, weight: Any) -> None:
    with pytest.raises(ValueError, match="length"):
        loss_sum(0, _f32(*z), _f32(*y), None if weight is None else _f32(*weight))


@pytest.mark.parametrize("n_classes", [-16, -1, 0, 1, MAX_CLASSES + 1, 5000, 2**40])
def test_classes_that_the_core_has_no_room_for_are_refused(n_classes: int) -> None:
    width = max(16, min(-(-n_classes // 16) * 16, 5008))
    z, p = np.zeros((2, width), np.float32), np.zeros((2, max(1, min(n_classes, 5000))), np.float32)
    with pytest.raises(ValueError, match=r"."):
        softmax(n_classes, z, p)
    with pytest.raises(ValueError, match=r"."):
        softmax_sum(n_classes, z, _f32(0, 0), None)


@pytest.mark.parametrize("target", [-1, 3, 0.5, 1e30, -1e30, np.nan, np.inf, 2**31, 2.0**62])
def test_a_target_that_is_no_class_is_refused(target: float) -> None:
    z = np.zeros((3, 16), np.float32)
    with pytest.raises(ValueError, match=r"."):
        softmax_sum(3, z, _f32(0, target, 2), None)
    targets = np.arange(N_ROWS, dtype=np.float32) % 3
    targets[17] = target
    for open_run in (_stream, _sync):
        with pytest.raises(ValueError, match=r"."):
            open_run(_rows(targets=targets), n_classes=3)


def test_softmax_sums_are_the_formula() -> None:
    random = np.random.default_rng(3)
    for n_classes in (2, 5, 17, MAX_CLASSES):
        z = np.zeros((9, outputs(n_classes)), np.float32)
        z[:, :n_classes] = random.standard_normal((9, n_classes))
        y, weight = random.integers(0, n_classes, 9), random.uniform(0.5, 2, 9)
        exact = z[:, :n_classes].astype(float)
        losses = np.log(np.exp(exact).sum(axis=1)) - exact[np.arange(9), y]
        found = softmax_sum(n_classes, z, y.astype(np.float32), weight.astype(np.float32))
        assert found == pytest.approx((losses * weight).sum(), rel=1e-5)
        with pytest.raises(ValueError, match="length"):
            softmax_sum(n_classes, z, y.astype(np.float32), weight[:8].astype(np.float32))


@pytest.mark.parametrize("optimizer", [-1, max(OPTIMIZERS.values()) + 1, 2**31 - 1])
def test_an_unknown_optimizer_is_refused(optimizer: int) -> None:
    calls: list[Callable[[], object]] = [
        lambda: has_shares(optimizer),
        lambda: is_dense(optimizer),
        lambda: hot_nbytes(optimizer, False),
        lambda: intercept_rate(optimizer, False),
        lambda: _stream(optimizer=optimizer),
        lambda: _sync(optimizer=optimizer),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"."):
            call()


# ---- runs

COMMON: dict[str, Any] = {
    "loss": 0, "n_classes": 0, "optimizer": 0, "l1": 0.0, "l2": 0.0, "decay1": 0.9,
    "decay2": 0.99, "beta": 1.0, "isa": 0, "n_workers": 2, "intercept": True, "seed": 0,
    "averages_per_epoch": 0, "average_from": 0, "lrs_per_epoch": 2,
    "lrs": np.full(6, 0.1, np.float32), "inverse_share": None,
}  # fmt: skip


def _stream(rows: Rows | None = None, **changes: Any) -> Stream:
    settings = {
        **COMMON, "rows_in_flight": 1, "every": 0, "exact": False, "n_hot": 0, "strips": 1,
        "curvature": None, **changes,
    }  # fmt: skip
    return Stream(_rows() if rows is None else rows, **settings)


def _sync(rows: Rows | None = None, **changes: Any) -> SyncRun:
    settings = {
        **COMMON, "exact": True, "task_rows": 4, "batch_tasks": 2, "scales": None,
        "largest_value": 1.0, "bound": 1.5, "is_bounded": True, **changes,
    }  # fmt: skip
    return SyncRun(_rows() if rows is None else rows, **settings)


@pytest.fixture(params=[_stream, _sync], ids=["stream", "sync"])
def run(request: pytest.FixtureRequest) -> Iterator[Any]:
    opened = request.param()
    yield opened
    opened.close()


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
    for open_run in (_stream, _sync):
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
    ],
)
def test_a_stream_with_settings_that_do_not_fit_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        _stream(**changes)


@pytest.mark.parametrize(("row", "count"), [(0, -1), (7, 4), (N_ROWS - 1, 2**31 - 1)])
def test_a_row_with_more_hot_elements_than_elements_is_refused(row: int, count: int) -> None:
    hot = np.ones(N_ROWS, np.int32)
    curvature = np.ones(3, np.float32)
    _stream(_rows(hot=hot), n_hot=3, curvature=curvature).close()
    hot[row] = count
    with pytest.raises(ValueError, match=r"."):
        _stream(_rows(hot=hot), n_hot=3, curvature=curvature)


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
        _sync(**changes)


def test_epochs_count_from_one(run: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        run.begin(0)


@pytest.mark.parametrize("epoch", [2**31, 2**32 - 1])
def test_a_synchronous_run_has_no_more_steps_than_it_can_count(epoch: int) -> None:
    with pytest.raises(ValueError, match="more steps than a run can have"):
        _sync().begin(epoch)


def test_an_epoch_that_was_never_opened_cannot_be_resumed() -> None:
    with pytest.raises(ValueError, match=r"."):
        _stream().resume()


@pytest.mark.parametrize("worker", [2, 1024, 2**32 - 1])
def test_a_worker_that_does_not_exist_is_refused(run: Any, worker: int) -> None:
    calls = [run.report, run.work]
    if isinstance(run, SyncRun):
        calls += [run.claim, run.commit, run.merge_next, run.await_work]
        calls += [lambda w: run.compute(w, 0), lambda w: run.slow(w, 2.0)]
    for call in calls:
        with pytest.raises(ValueError, match="no such worker"):
            call(worker)


@pytest.mark.parametrize("size", [0, N_FEATURES, N_FEATURES + 2])
def test_parameters_of_another_number_are_refused(run: Any, size: int) -> None:
    for call in (run.load, run.store):
        with pytest.raises(ValueError, match="number of parameters"):
            call(np.zeros(size, np.float32))


@pytest.mark.parametrize("factor", [0.0, -1.0, np.nan, np.inf, 1e7])
def test_a_factor_out_of_range_is_refused(factor: float) -> None:
    with pytest.raises(ValueError, match="factor"):
        _sync().slow(0, factor)


def test_chunks_that_do_not_exist_are_refused() -> None:
    stream = _stream()
    stream.begin(1)
    assert sorted(row for k in range(stream.n_chunks()) for row in stream.rows_of(k)) == list(
        range(N_ROWS)
    )
    for position in (stream.n_chunks(), 2**63, 2**64 - 1):
        with pytest.raises(ValueError, match="no such chunk"):
            stream.rows_of(position)


def test_a_task_is_computed_once_claimed_and_committed_once_computed() -> None:
    run = _sync()
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
    run.close()
    run.close()
    for call in (run.points, run.leave, run.stop_epoch, run.epoch_report, run.resume):
        with pytest.raises(ValueError, match="closed"):
            call()
    with pytest.raises(ValueError, match="closed"):
        points.arm("in_adding", 0)
    for name in ("release", "is_held", "fired"):
        with pytest.raises(ValueError, match="closed"):
            getattr(points, name)("in_adding")


def test_points_of_no_run_are_refused(run: Any) -> None:
    with pytest.raises(ValueError, match="closed"):
        type(run.points())().fired("in_adding")
