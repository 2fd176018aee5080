# SPDX-License-Identifier: BSD-3-Clause
"""Sync: the same bits whoever works, however slowly; and what is refused."""

from __future__ import annotations

import functools
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from reference.problems import Problem, planted
from scipy import sparse

import hybridtrain as ht
from hybridtrain._core.point import ANY_WORKER, ROUND_POINTS
from hybridtrain._core.rows import isas
from hybridtrain._core.sync import SyncRun
from hybridtrain.data.matrix import canonical_rows
from hybridtrain.plan import problem as learning
from hybridtrain.plan.base import Settings
from hybridtrain.plan.round import RoundPlan

WORKERS = (1, 2, 3, 5, 8)
EPOCHS = 3
EPOCHS_HELD = 300  # of a run that a worker is held in: half a second
# Held here, a worker keeps the step from going on: a thread cannot be replaced.
HOLDS_THE_STEP = ("after_block_commit", "in_copying", "after_copy")
STEP_POINTS = tuple(p for p in ROUND_POINTS if p != "heir_copying")  # nobody dies here


def _digest(result: ht.Result) -> str:
    coef = result.params["coef"]
    assert np.any(coef)
    text = coef.tobytes() + np.float32(result.params["intercept"]).tobytes()
    return hashlib.sha256(text + repr([r.loss for r in result.history]).encode()).hexdigest()


def _wide() -> Problem:
    """Features of very different magnitude: one grid for all would lose the small ones."""
    problem = planted(1, 400, 200, longest=20)
    scale = np.logspace(-6, 6, 200).astype(np.float32)
    X = sparse.csr_matrix(problem.X.multiply(scale[None, :]), dtype=np.float32)
    return Problem(X, problem.coef, problem.labels, problem.values)


def _tall() -> Problem:
    return planted(7, 2500, 3000, longest=30)


KINDS: dict[str, tuple[Callable[[], Problem], ht.Linear, str, bool]] = {
    "logistic": (_tall, ht.Linear(), "sgd", False),
    "logistic-l2-weights": (_tall, ht.Linear(l2=1e-3), "sgd", True),
    "logistic-l1-adagrad": (_tall, ht.Linear(l1=1e-4), "adagrad", False),
    "squared": (_tall, ht.Linear(loss="squared", l2=1e-3), "sgd", False),
    "squared-adagrad-weights": (_tall, ht.Linear(loss="squared"), "adagrad", True),
    "hinge-l2-weights": (_tall, ht.Linear(loss="hinge", l2=1e-3), "sgd", True),
    "huber-weights": (_tall, ht.Linear(loss="huber", delta=0.5), "sgd", True),
    "wide": (_wide, ht.Linear(l2=1e-6), "adagrad", False),
}


def _train(kind: str, **settings: Any) -> ht.Result:
    make, model, optimizer, weighted = KINDS[kind]
    problem = make()
    n_rows = problem.X.shape[0]
    y: Any = problem.labels if model.is_classifier else problem.values
    weight = np.random.default_rng(0).uniform(0.5, 2, n_rows) if weighted else np.ones(n_rows)
    settings = {"strategy": "sync", "optimizer": optimizer, "epochs": EPOCHS, **settings}
    return ht.train(model, (problem.X, y, weight), progress=False, **settings)


@pytest.mark.parametrize("kind", KINDS)
def test_any_number_of_workers_and_any_instruction_set_gives_the_same_bits(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = {}
    for isa in isas():
        monkeypatch.setenv("HYBRIDTRAIN_ISA", isa)
        for workers in WORKERS:
            digests[isa, workers] = _digest(_train(kind, workers=workers))
    assert len(set(digests.values())) == 1, digests


def test_another_seed_gives_other_bits() -> None:
    assert _digest(_train("logistic", seed=0)) != _digest(_train("logistic", seed=1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_plain_sums_give_the_same_bits_for_the_same_number_of_workers(
    kind: str, workers: int
) -> None:
    strategy = ht.Sync(exact=False)
    first, second = (_train(kind, workers=workers, strategy=strategy) for _ in range(2))
    assert _digest(first) == _digest(second)


@pytest.mark.parametrize("kind", KINDS)
def test_exact_and_plain_sums_agree(kind: str) -> None:
    exact, plain = (_train(kind, workers=2, strategy=ht.Sync(exact=e)) for e in (True, False))
    for name in ("coef", "intercept"):
        found, expected = exact.params[name], plain.params[name]
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-5 * np.abs(expected).max())
    assert exact.history[-1].loss == pytest.approx(plain.history[-1].loss, rel=1e-4)


def test_gradients_above_the_bound_are_refused_and_done_again() -> None:
    """Residuals are far above what the spread of the targets lets expect."""
    problem = _tall()
    results = [
        ht.train(
            ht.Linear(loss="squared"),
            (problem.X, problem.values),
            strategy="sync",
            optimizer=ht.SGD(lr=0.05, schedule=ht.Constant()),
            workers=workers,
            epochs=4,
            init={"coef": np.full(3000, 50.0)},
        )
        for workers in (1, 3)
    ]
    assert results[0].settings["refused_steps"] > 0
    assert results[0].settings["refused_steps"] == results[1].settings["refused_steps"]
    assert _digest(results[0]) == _digest(results[1])
    assert [(r.trained, r.dropped) for r in results[0].ledger] == [(2500, 0)] * 4


def test_large_targets_are_not_taken_for_infinite_losses() -> None:
    problem = _tall()
    y = problem.values * 1e6
    result = ht.train(ht.Linear(loss="squared"), (problem.X, y), strategy="sync", epochs=5)
    assert 0 < result.history[-1].loss < result.history[0].loss < 1e14


@pytest.mark.parametrize("batch_size", [1, 2, 33, 64, 1000, 2500])
def test_a_batch_has_the_size_that_was_asked_for(batch_size: int) -> None:
    results = [_train("logistic", batch_size=batch_size, workers=w, epochs=2) for w in (1, 3)]
    assert results[0].settings["batch_size"] == batch_size
    assert batch_size % results[0].settings["task_rows"] == 0
    assert _digest(results[0]) == _digest(results[1])
    assert [(r.trained, r.repeated, r.dropped) for r in results[0].ledger] == [(2500, 0, 0)] * 2


@pytest.mark.parametrize("batch_size", [0, -1, 2501, 1.5, True, "many"])
def test_a_bad_batch_size_is_refused(batch_size: Any) -> None:
    with pytest.raises(ht.InvalidSettingError, match="batch_size"):
        _train("logistic", batch_size=batch_size)


def test_exact_must_be_a_bool() -> None:
    with pytest.raises(ht.InvalidSettingError, match="exact must be True or False, got 1"):
        ht.Sync(exact=1)  # type: ignore[arg-type]


def test_a_diverging_run_names_epoch_and_rate_and_keeps_the_last_good_parameters() -> None:
    with pytest.raises(ht.DivergedError, match="learning rate") as caught:
        _train("squared", optimizer=ht.AdaGrad(lr=1e30), epochs=50, workers=2)
    assert np.isfinite(caught.value.result.params["coef"]).all()
    assert caught.value.result.ledger[-1].reason == "diverged"
    assert caught.value.epoch >= 1


def test_sync_learns() -> None:
    problem = planted(4, 2000, 30, longest=10)
    result = ht.train(
        ht.Linear(), (problem.X, problem.labels), strategy="sync", workers=2, epochs=30
    )
    assert result.score(problem.X, problem.labels) > 0.9
    assert sum(report.rows for report in result.workers) >= 30 * 2000
    assert result.staleness.source == "none"
    assert result.staleness.max == 0


# ---- delays


def _plan(workers: int) -> RoundPlan:
    problem = _tall()
    matrix = canonical_rows(problem.X, threads=1)
    targets = np.where(problem.labels, 1, -1).astype(np.float32)
    return ht.Sync().plan(
        learning.Problem(ht.Linear(l2=1e-3), matrix, targets, None, None),
        Settings(
            optimizer=ht.SGD(),
            workers=workers,
            epochs=EPOCHS_HELD,
            batch_size=64,
            seed=0,
            isa=isas()[-1],
        ),
    )


@contextmanager
def _running(plan: RoundPlan, work: Callable[[SyncRun, int], None]) -> Iterator[SyncRun]:
    """Run a plan's workers, each in a thread with `work`; all have left at the end."""
    run = plan.open()
    run.load(np.zeros(run.n_parameters, np.float32))
    threads = [
        threading.Thread(target=work, args=(run, w), name=f"hybridtrain-{w}")
        for w in range(plan.workers)
    ]
    for thread in threads:
        thread.start()
    try:
        yield run
    finally:
        for point in ROUND_POINTS:
            run.points().release(point)
        run.leave()
        for thread in threads:
            thread.join()
        run.close()


def _in_c(run: SyncRun, worker: int) -> None:
    run.work(worker)


def _in_python(run: SyncRun, worker: int) -> None:
    while run.await_work(worker):
        while (task := run.claim(worker)) is not None:
            run.compute(worker, task)
            run.commit(worker)
        while run.merge_next(worker):
            pass


def _parameters(run: SyncRun) -> npt.NDArray[np.float32]:
    found = np.empty(run.n_parameters, np.float32)
    run.store(found)
    return found


def _trained(
    workers: int, work: Callable[[SyncRun, int], None], epochs: int
) -> npt.NDArray[np.float32]:
    with _running(_plan(workers), work) as run:
        run.begin(epochs)
        assert run.await_rest(30.0)
        return _parameters(run)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_loop_in_python_gives_the_bits_of_the_loop_in_c(workers: int) -> None:
    expected = _trained(1, _in_c, 5)
    assert np.any(expected)
    assert np.array_equal(_trained(workers, _in_python, 5), expected)


def test_a_slowed_worker_changes_nothing_but_its_share_of_the_rows() -> None:
    epochs = 200
    expected = _trained(1, _in_c, epochs)
    with _running(_plan(3), _in_c) as run:
        run.slow(2, 20.0)
        run.begin(epochs)
        assert run.await_rest(60.0)
        assert np.array_equal(_parameters(run), expected)
        rows = [run.report(w)["rows"] for w in range(3)]
    assert sum(rows) >= epochs * 2500
    assert rows[2] < max(rows[:2])  # on few cores, one of the others may never come to run


@functools.cache
def _never_held() -> npt.NDArray[np.float32]:
    return _trained(1, _in_c, EPOCHS_HELD)


@pytest.mark.parametrize("point", STEP_POINTS)
def test_a_worker_held_at_any_point_for_two_steps_changes_no_bit(point: str) -> None:
    times = 10
    with _running(_plan(3), _in_c) as run:
        points = run.points()
        run.begin(EPOCHS_HELD)
        held_over_steps = 0
        while points.fired(point) < times:
            points.arm(point, ANY_WORKER)
            while not points.is_held(point) and not run.await_rest(0.0005):
                pass
            assert points.is_held(point), "the run ended before the point fired often enough"
            since = run.epoch_report()["step"]
            patience = 0.002 if point in HOLDS_THE_STEP else 10.0
            deadline = time.monotonic() + patience
            while run.epoch_report()["step"] < since + 2 and time.monotonic() < deadline:
                time.sleep(0.0002)
                if run.await_rest(0.0):
                    break
            held_over_steps += run.epoch_report()["step"] >= since + 2
            points.release(point)
        assert run.await_rest(60.0)
        assert np.array_equal(_parameters(run), _never_held())
        assert points.fired(point) >= times
    if point not in HOLDS_THE_STEP:
        assert held_over_steps >= times - 1


@pytest.mark.parametrize("point", ["exchange_locked", "exchange_committed"])
def test_a_worker_held_in_an_exchange_does_not_hold_the_others(
    point: str, problem: Problem
) -> None:
    """Hybrid's others skip the block that it holds; at the end of the epoch they wait for it."""
    matrix = canonical_rows(problem.X, threads=1)
    targets = np.where(problem.labels, 1, -1).astype(np.float32)
    plan = ht.Hybrid(hot=1.0, every=1).plan(
        learning.Problem(ht.Linear(), matrix, targets, None, None),
        Settings(optimizer=ht.SGD(lr=0.1), workers=2, epochs=1, seed=0, isa=isas()[-1]),
    )
    stream = plan.open()
    points = stream.points()
    points.arm(point, ANY_WORKER)
    stream.load(np.zeros(stream.n_parameters, np.float32))
    threads = [threading.Thread(target=stream.work, args=(w,)) for w in range(2)]
    for thread in threads:
        thread.start()
    try:
        stream.begin(1)
        deadline = time.monotonic() + 20.0
        while sum(stream.report(w)["rows"] for w in range(2)) < 300:
            assert time.monotonic() < deadline, "the other worker does not go on"
            assert not stream.await_rest(0.01)
        assert points.is_held(point)
        points.release(point)
        assert stream.await_rest(10.0)
        assert stream.epoch_report()["trained"] == 400
        assert points.fired(point) == 1
    finally:
        points.release(point)
        stream.leave()
        for thread in threads:
            thread.join()
        stream.close()
