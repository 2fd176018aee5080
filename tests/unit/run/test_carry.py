# SPDX-License-Identifier: BSD-3-Clause
"""The state that a part of a run leaves to the next one, array by array."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.problems import Problem

import hybridtrain as ht
from hybridtrain._core.optimizer import OPTIMIZERS, contents
from hybridtrain._core.rows import isas
from hybridtrain.data.matrix import canonical_rows
from hybridtrain.optimizers.parse import parse_optimizer
from hybridtrain.plan import problem as learning
from hybridtrain.plan.base import Plan, Settings
from hybridtrain.run.faults import Faults
from hybridtrain.run.snapshot import Snapshot, take
from hybridtrain.run.stage import Stage

N_ROWS, BATCH, EPOCHS = 400, 40, 2
SYNC, HYBRID, HOGWILD = ht.Sync(), ht.Hybrid(hot=4), ht.Hogwild()
DENSE = ht.Hybrid()
LINEAR = ht.Linear()


def _plan(
    problem: Problem, strategy: Any, optimizer: str, model: ht.Linear = LINEAR, workers: int = 1
) -> Plan:
    classes = np.arange(3 if model.loss == "softmax" else 2)
    targets = np.arange(N_ROWS) % 3 if len(classes) == 3 else np.where(problem.labels, 1, -1)
    matrix = canonical_rows(problem.X.toarray() if strategy is DENSE else problem.X, threads=1)
    learned = learning.Problem(model, matrix, targets.astype(np.float32), None, classes)
    settings = Settings(
        optimizer=parse_optimizer(optimizer),
        workers=workers,
        epochs=5,
        seed=1,
        isa=isas()[-1],
        batch_size=BATCH,
    )
    plan: Plan = strategy.plan(learned, settings)
    return plan


def _trained(plan: Plan) -> Stage:
    """Return a stage whose worker rests after two epochs."""
    stage = Stage.open(plan, Faults())
    of_classes = (3,) if plan.problem.n_classes else ()
    coef = np.zeros((*of_classes, plan.rows.shape[1]), np.float32)
    stage.run.load(plan.to_trained(coef, 0.0))
    stage.workers.start()
    for epoch in range(1, EPOCHS + 1):
        stage.run.set_rates(epoch, plan.rates.of_epoch(epoch))
        stage.run.begin(epoch)
        assert stage.run.await_rest(60.0)
    return stage


def _carried(old: Plan, new: Plan) -> tuple[Snapshot, Snapshot]:
    """Return what a stage leaves, and what the next one has before its first step.

    The parameters of both are checked to be the same ones.
    """
    stage = _trained(old)
    saved, before = take(stage.run, old, {}, {}, None), stage.parameters()
    following = stage.next(new, Faults())
    stage.run.close()
    assert following is not None
    got, after = take(following.run, new, {}, {}, None), following.parameters()
    following.workers.leave()
    following.run.close()
    assert saved is not None
    assert got is not None
    assert np.any(before[0])
    for ours, theirs in zip(before, after, strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-7)
    return saved, got


@pytest.mark.parametrize("optimizer", ["sgd", "sgd(average=True)", "adagrad", "ftrl"])
@pytest.mark.parametrize(
    "model",
    [LINEAR, ht.Linear(l1=1e-3, l2=1e-2), ht.Linear(loss="softmax", l2=1e-3)],
    ids=["plain", "penalised", "softmax"],
)
@pytest.mark.parametrize(
    "strategies",
    [(SYNC, HYBRID), (HYBRID, SYNC), (SYNC, HOGWILD), (HOGWILD, HYBRID), (HYBRID, HOGWILD)],
    ids=lambda pair: "".join(type(each).__name__ for each in pair),
)
def test_the_parameters_stay(
    strategies: tuple[Any, Any], model: ht.Linear, optimizer: str, problem: Problem
) -> None:
    """Also under FTRL, which holds none, with penalties of all gradients so far, in other units."""
    _carried(*(_plan(problem, each, optimizer, model) for each in strategies))


def _arrays(plan: Plan, snapshot: Snapshot) -> dict[str, Any]:
    names = contents(plan.optimizer.number)
    if len(names) < len(snapshot.arrays) and names[0] == "z":
        names = ("w", *names)
    return dict(zip((*names, "average"), snapshot.arrays, strict=False))


@pytest.mark.parametrize("optimizer", ["adagrad", "ftrl"])
def test_a_sum_of_squares_is_of_rows_or_of_means_over_a_batch(
    optimizer: str, problem: Problem
) -> None:
    plans = [_plan(problem, each, optimizer) for each in (SYNC, HYBRID)]
    for old, new, factor in ((*plans, BATCH**2), (*plans[::-1], BATCH**-2)):
        saved, got = _carried(old, new)
        squares = [_arrays(old, saved), _arrays(new, got)]
        ours, theirs = (each["sum of squares"] for each in squares)
        assert np.any(ours)
        np.testing.assert_allclose(theirs, ours * factor, rtol=1e-6)


@pytest.mark.parametrize(("old", "new"), [(SYNC, DENSE), (DENSE, SYNC)])
def test_means_keep_the_way_that_is_left_and_are_corrected_by_their_own_counts(
    old: Any, new: Any, problem: Problem
) -> None:
    """A step is lr m / sqrt(v), both divided by 1 - decay^t."""
    plans = [
        _plan(problem, old, "adam(lr=0.01)"),
        _plan(problem, new, "adam(lr=0.01)").at_rate(0.05),
    ]
    snapshots = _carried(*plans)
    batch_steps, row_steps = EPOCHS * N_ROWS // BATCH, EPOCHS * N_ROWS
    steps = {SYNC: batch_steps, DENSE: row_steps}
    way = []
    means = []
    for strategy, plan, snapshot in zip((old, new), plans, snapshots, strict=True):
        arrays, t = _arrays(plan, snapshot), steps[strategy]
        assert {snapshot.numbers.get("batches"), snapshot.numbers.get("rows")} == {t, None}
        m = arrays["mean"].astype(np.float64) / (1 - 0.9**t)
        v = arrays["mean of squares"].astype(np.float64) / (1 - 0.999**t)
        seen = v > 0
        assert seen.any()
        way.append(plan.choices["lr"] * m[seen] / np.sqrt(v[seen]))
        means.append(v[seen])
    np.testing.assert_allclose(way[1], way[0], rtol=1e-4)
    factor = BATCH if old is SYNC else 1 / BATCH
    np.testing.assert_allclose(means[1], means[0] * factor, rtol=1e-4)


def test_a_velocity_keeps_the_way_that_is_left(problem: Problem) -> None:
    plans = [
        _plan(problem, SYNC, "sgd(lr=0.1, momentum=0.9)"),
        _plan(problem, DENSE, "sgd(lr=0.1, momentum=0.9)").at_rate(0.02),
    ]
    ours, theirs = (
        _arrays(plan, snapshot)["velocity"]
        for plan, snapshot in zip(plans, _carried(*plans), strict=True)
    )
    assert np.any(ours)
    np.testing.assert_allclose(theirs * 0.02, ours * 0.1, rtol=1e-5)


@pytest.mark.parametrize("workers", [1, 3])
def test_an_average_has_the_weight_of_the_epochs_before(workers: int, problem: Problem) -> None:
    """The next strategy's own epochs would have given it the same weight."""
    plans = [_plan(problem, each, "sgd(average=True)", workers=workers) for each in (SYNC, HYBRID)]
    saved, got = _carried(*plans)
    assert np.array_equal(saved.arrays[-1], got.arrays[-1])
    assert not np.array_equal(saved.arrays[0], saved.arrays[-1])
    numbers = got.numbers
    assert numbers["average_last"] == 16 * EPOCHS
    expected = sum(np.prod(np.arange(k, k + 11, dtype=float)) for k in range(1, 16 * EPOCHS + 1))
    assert numbers["cold_weight"] == pytest.approx(expected, rel=1e-6)
    assert numbers["hot_weight"] == pytest.approx(expected * workers, rel=1e-6)


@pytest.mark.parametrize("number", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_every_array_of_an_optimizer_has_a_rule(number: int) -> None:
    """A new content of an array needs one: what the next strategy's steps take it for."""
    known = {"w", "z", "velocity", "mean", "mean of squares", "sum of squares"}
    assert set(contents(number)) <= known
