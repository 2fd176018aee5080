# SPDX-License-Identifier: BSD-3-Clause
"""What is chosen for a synchronous run: functions of the data alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from reference.problems import Problem, planted
from scipy import sparse

import hybridtrain as ht
from hybridtrain._core.rows import isas
from hybridtrain.data.matrix import canonical_rows
from hybridtrain.plan import problem as learning
from hybridtrain.plan.base import Settings
from hybridtrain.plan.costs import LEAST_TASKS, most_task_rows, tasks_of_batch
from hybridtrain.plan.round import RoundPlan


def _plan(X: Any, y: Any = None, **changes: Any) -> RoundPlan:
    matrix = canonical_rows(sparse.csr_matrix(X, dtype=np.float32), threads=1)
    n_rows = X.shape[0]
    targets = np.where(np.arange(n_rows) % 2, 1, -1) if y is None else y
    model = changes.pop("model", ht.Linear())
    learned = learning.Problem(model, matrix, targets.astype(np.float32), None, None)
    settings = Settings(optimizer=ht.SGD(), workers=1, epochs=1, seed=0, isa=isas()[-1])
    return ht.Sync().plan(learned, replace(settings, **changes))


@pytest.fixture(scope="module")
def tall() -> Problem:
    return planted(3, 5000, 400, longest=30)


def test_nothing_depends_on_the_number_of_workers(tall: Problem) -> None:
    plans = [_plan(tall.X, workers=w, model=ht.Linear(l2=0.01)) for w in (1, 2, 3, 8)]
    for plan in plans[1:]:
        assert plan.choices["lr"] == plans[0].choices["lr"]
        assert (plan.task_rows, plan.batch_tasks) == (plans[0].task_rows, plans[0].batch_tasks)
        assert plan.inverse_share is not None
        assert np.array_equal(plan.inverse_share, plans[0].inverse_share)
        assert (plan.bound, plan.largest_value) == (plans[0].bound, plans[0].largest_value)


def test_a_batch_is_larger_where_merging_costs_more() -> None:
    batches = []
    for n_features in (100, 10_000, 100_000):
        columns = np.sort(np.arange(200_000).reshape(20_000, 10) * 7919 % n_features, axis=1)
        pointers = np.arange(0, 200_001, 10)
        ones = np.ones(200_000, np.float32)
        X = sparse.csr_matrix((ones, columns.ravel(), pointers), shape=(20_000, n_features))
        matrix = canonical_rows(X, threads=1)
        targets = np.ones(20_000, np.float32)
        task_rows, batch_tasks = tasks_of_batch(
            learning.Problem(ht.Linear(), matrix, targets, None, None)
        )
        batches.append(task_rows * batch_tasks)
        assert batch_tasks >= LEAST_TASKS
    assert batches == sorted(batches)
    assert batches[0] < batches[-1] <= 20_000 // 32


def test_a_task_of_dense_rows_may_be_larger_where_neighbours_are_not_alike() -> None:
    rng = np.random.default_rng(0)
    rows = rng.uniform(1, 2, (6400, 20)).astype(np.float32)
    shuffled = rng.choice([-1.0, 1.0], 6400).astype(np.float32)
    most = {}
    for form, X in (("dense", rows), ("sparse", sparse.csr_matrix(rows))):
        for order, y in (("shuffled", shuffled), ("sorted", np.sort(shuffled))):
            problem = learning.Problem(ht.Linear(), canonical_rows(X, threads=1), y, None, None)
            task_rows, _ = tasks_of_batch(problem)
            most[form, order] = most_task_rows(problem) / task_rows
    assert most.pop(("dense", "shuffled")) > 1
    assert set(most.values()) == {1}


def test_a_large_batch_steps_further_where_a_class_is_rare() -> None:
    rows = np.random.default_rng(0).uniform(1, 2, (4000, 20)).astype(np.float32)  # one direction
    rates = []
    for n_rare in (2000, 400, 40):
        y = np.where(np.arange(4000) % (4000 // n_rare), -1.0, 1.0)
        rates.append(_plan(rows, y, batch_size=1024).choices["lr"])
    assert rates[1] == pytest.approx(rates[0] / (4 * 0.1 * 0.9), rel=0.2)
    assert rates[2] == pytest.approx(rates[0] / (4 * 0.01 * 0.99), rel=0.5)


@pytest.mark.parametrize("n_rows", [1, 2, 31, 33, 100])
def test_few_rows_still_make_a_batch(n_rows: int) -> None:
    plan = _plan(np.eye(n_rows, 7, dtype=np.float32))
    assert 1 <= plan.task_rows * plan.batch_tasks <= n_rows


def test_the_rate_grows_with_the_batch_up_to_a_limit(tall: Problem) -> None:
    rates = [_plan(tall.X, batch_size=size).choices["lr"] for size in (1, 4, 16, 256, 2048, 4096)]
    single = ht.train(ht.Linear(), (tall.X, tall.labels), workers=1, epochs=1).settings["lr"]
    assert rates[0] == pytest.approx(single, rel=0.01)
    assert rates == sorted(rates)
    assert rates[1] > 2 * rates[0]
    assert rates[-1] < 1.2 * rates[-2]


def test_squared_loss_is_stable_at_the_chosen_rate_with_the_whole_data_as_one_batch(
    tall: Problem,
) -> None:
    model = ht.Linear(loss="squared")
    settings: dict[str, Any] = {"strategy": "sync", "batch_size": 5000, "epochs": 30}
    result = ht.train(model, (tall.X, tall.values), **settings)
    losses = [record.loss for record in result.history]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.5 * losses[0]


def test_a_penalty_is_shared_by_the_batches_that_touch_a_feature() -> None:
    X = np.zeros((100, 3), np.float32)
    X[:, 0] = 1
    X[:25, 1] = 1
    plan = _plan(X, model=ht.Linear(l2=0.1), batch_size=2)
    assert plan.inverse_share is not None
    np.testing.assert_allclose(plan.inverse_share, [0, 1, 1 / (1 - 0.75**2), 0], rtol=1e-6)


def test_features_of_like_size_share_one_scale(tall: Problem) -> None:
    X = sparse.csr_matrix(np.where(np.eye(50, 130), 3.0, 0.0))
    plan = _plan(X)
    assert plan.scales is None
    assert plan.largest_value == 3.0


def test_features_of_different_size_have_scales_that_lift_them_to_the_largest() -> None:
    values = np.ones(200)
    values[:70] = 1e-9
    values[150:] = 1e9
    plan = _plan(np.vstack([np.diag(values), np.diag(values)]))
    assert plan.scales is not None
    assert len(plan.scales) == 4
    assert np.all(np.log2(plan.scales) == np.floor(np.log2(plan.scales)))
    largest = [max(1.0, 1e-9), 1.0, 1e9, 1e9]  # the intercept's 1 is in the first 64
    lifted = np.array(largest) * plan.scales
    assert np.all(lifted <= plan.largest_value)
    assert np.all(lifted > plan.largest_value / 2)


def test_the_bound_is_a_power_of_two_that_no_logistic_gradient_exceeds() -> None:
    assert _plan(np.eye(5)).bound == 1.0
    plan = _plan(np.eye(5), y=np.array([1, -2, 3, -4, 100.0]), model=ht.Linear(loss="squared"))
    assert plan.bound >= 100
    assert np.log2(plan.bound) % 1 == 0


@pytest.mark.parametrize(
    ("model", "bound", "is_bounded"),
    [
        (ht.Linear(), 1.0, True),
        (ht.Linear(loss="hinge"), 1.0, True),
        (ht.Linear(loss="squared_hinge"), 4.0, False),
        (ht.Linear(loss="squared"), 32.0, False),
        (ht.Linear(loss="huber", delta=3.0), 4.0, True),
        (ht.Linear(loss="huber", delta=1e-4), 2.0**-7, True),  # for the losses
        (ht.Linear(loss="huber", delta=1000.0), 32.0, False),  # as squared
    ],
)
def test_the_bound_is_that_of_the_loss(model: ht.Linear, bound: float, is_bounded: bool) -> None:
    y = None if model.is_classifier else np.array([2, -2, 2, -2, 10.0])
    plan = _plan(np.eye(5), y=y, model=model)
    assert (plan.bound, plan.is_bounded) == (bound, is_bounded)


def test_more_steps_than_the_words_can_count_are_refused() -> None:
    with pytest.raises(ht.InvalidSettingError, match="at most 2147483647 steps, got 5000000000"):
        _plan(np.eye(5), batch_size=1, epochs=10**9)
