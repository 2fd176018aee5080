# SPDX-License-Identifier: BSD-3-Clause
"""Async: changes that add up as they come, how far workers run ahead, and what is told of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.problems import Problem, planted

import hybridtrain as ht
from hybridtrain import chaos
from hybridtrain._core.rows import isas
from hybridtrain.data.matrix import canonical_rows
from hybridtrain.plan import problem as learning
from hybridtrain.plan.adding import Adding
from hybridtrain.plan.base import Settings
from hybridtrain.strategies.parse import parse_strategy

WORKERS, EVERY = 3, 4
SPARSE = ["sgd", "sgd(average=True)", "adagrad", "ftrl"]
DENSE = ["sgd(momentum=0.9)", "adam", "rmsprop"]
MERGES = 10_000


@pytest.fixture(scope="module")
def tall() -> Problem:
    """Rows for MERGES merges in all epochs."""
    return planted(1, 10_000, 60, longest=20)


def _train(problem: Problem, strategy: Any, **settings: Any) -> ht.Result:
    usual: dict[str, Any] = {"workers": WORKERS, "epochs": 3, "progress": False}
    X = settings.pop("X", problem.X)
    return ht.train(
        ht.Linear(l2=1e-4), (X, problem.labels), strategy=strategy, **{**usual, **settings}
    )


@pytest.mark.parametrize("optimizer", [*SPARSE, *DENSE])
@pytest.mark.parametrize("every", ["auto", 7])
def test_one_worker_has_the_bits_of_hybrid_with_all_features_hot(
    every: Any, optimizer: str, problem: Problem
) -> None:
    X = problem.X.toarray() if optimizer in DENSE else problem.X
    settings = {"workers": 1, "optimizer": optimizer, "X": X}
    hybrid = _train(problem, ht.Hybrid(hot=1.0, every=every), **settings)
    for gate in ({}, {"staleness": 0}, {"compensate": None}):
        ours = _train(problem, ht.Async(every=every, **gate), **settings)
        assert np.any(ours.params["coef"])
        assert np.array_equal(ours.params["coef"], hybrid.params["coef"])
        assert ours.params["intercept"] == hybrid.params["intercept"]
        assert [r.loss for r in ours.history] == [r.loss for r in hybrid.history]
        assert ours.settings["lr"] == hybrid.settings["lr"]


@pytest.mark.parametrize("staleness", [0, 1, 4])
def test_nobody_runs_further_ahead_than_the_bound(staleness: int, tall: Problem) -> None:
    """With workers slowed up to 20 times; the rows of others in a merge follow from the bound."""
    result = _train(
        tall,
        ht.Async(every=EVERY, staleness=staleness),
        chaos=chaos.Plan([chaos.Slow(worker=1, factor=20.0), chaos.Slow(worker=2, factor=3.0)]),
        epochs=4,
    )
    assert sum(worker.merges for worker in result.workers) >= MERGES
    assert all(worker.ahead <= staleness for worker in result.workers)
    if staleness:
        assert max(worker.ahead for worker in result.workers) > 0
    most = (WORKERS - 1) * (2 * staleness + 2) * EVERY
    assert 0 < result.staleness.max <= most
    assert all(r.staleness is not None and r.staleness.max <= most for r in result.history)
    assert all(w.staleness is not None and w.staleness.max <= most for w in result.workers)
    assert all(ledger.trained == tall.X.shape[0] for ledger in result.ledger)


def test_without_a_bound_a_worker_runs_ahead_of_a_slow_one(tall: Problem) -> None:
    result = _train(
        tall, ht.Async(every=EVERY), chaos=chaos.Plan([chaos.Slow(worker=1, factor=50.0)])
    )
    assert max(worker.ahead for worker in result.workers) > 8


@pytest.mark.parametrize("strategy", ["async(every=16, staleness=2)", "hybrid", "hogwild"])
def test_staleness_of_workers_and_of_epochs_adds_up(strategy: str, tall: Problem) -> None:
    result = _train(tall, strategy)
    by_worker = [worker.staleness for worker in result.workers]
    by_epoch = [record.staleness for record in result.history]
    assert len(by_epoch) == 3
    for parts in (by_worker, by_epoch):
        assert ht.Staleness.add([part for part in parts if part is not None]) == result.staleness
    assert sum(result.staleness.counts) > 0


def test_sync_has_no_staleness_to_tell(problem: Problem) -> None:
    result = _train(problem, "sync")
    assert [worker.staleness for worker in result.workers] == [None] * WORKERS
    assert [record.staleness for record in result.history] == [None] * 3


def test_staleness_is_saved_and_goes_on_after_an_interrupt(tall: Problem, tmp_path: Path) -> None:
    def interrupt(record: ht.EpochRecord) -> None:
        if record.epoch == 2:
            raise KeyboardInterrupt

    settings: dict[str, Any] = {"epochs": 4, "checkpoint": tmp_path / "run"}
    with pytest.raises(ht.TrainingInterrupted) as caught:
        _train(tall, "async(every=16)", callbacks=[interrupt], **settings)
    part = caught.value.result
    result = _train(tall, "async(every=16)", resume=True, **settings)
    assert [r.staleness for r in result.history[:2]] == [r.staleness for r in part.history]
    parts = [r.staleness for r in result.history if r.staleness is not None]
    assert len(parts) == 4
    assert ht.Staleness.add(parts) == result.staleness
    result.save(tmp_path / "model.npz")
    read = ht.load(tmp_path / "model.npz")
    assert (read.history, read.workers) == (result.history, result.workers)


# ---- what it takes


@pytest.mark.parametrize("optimizer", DENSE)
def test_dense_steps_go_with_dense_rows_alone(optimizer: str, problem: Problem) -> None:
    X = problem.X.toarray()
    result = _train(problem, "async(every=8)", optimizer=optimizer, X=X, epochs=10)
    assert result.score(X, problem.labels) > 0.9
    with pytest.raises(ht.InvalidSettingError) as caught:
        _train(problem, "async", optimizer=optimizer)
    said = "changes every parameter in every step, and a step of Async on a sparse row touches its"
    assert said in str(caught.value)


@pytest.mark.parametrize("value", [-1, 1.5, True, "none", 1 << 20])
def test_what_is_no_staleness_is_refused(value: Any) -> None:
    with pytest.raises(ht.InvalidSettingError, match="staleness must be"):
        ht.Async(staleness=value)


@pytest.mark.parametrize("value", ["none", "dc_asgd", True, False, 0.5, ""])
def test_what_is_no_compensation_is_refused(value: Any) -> None:
    with pytest.raises(ht.InvalidSettingError, match='compensate must be "auto" or None, got'):
        ht.Async(compensate=value)


def test_texts_of_numpy_leave_no_trace_in_the_strategy() -> None:
    given: Any = np.str_("auto")
    assert repr(ht.Async(every=given, compensate=given)) == repr(ht.Async())


def test_words_turn_compensation_off(problem: Problem) -> None:
    assert parse_strategy("async(compensate=None)") == ht.Async(compensate=None)
    settings = _train(problem, "async(every=64, compensate=None)").settings
    assert settings["compensation"] is None
    assert ht.Async(compensate=None).describe({"every": None}) == ["no compensation"]


@pytest.mark.parametrize("optimizer", [*SPARSE, *DENSE])
def test_the_settings_say_how_changes_are_compensated(optimizer: str, problem: Problem) -> None:
    X = problem.X.toarray() if optimizer in DENSE else problem.X
    told = _train(problem, "async(every=64)", optimizer=optimizer, X=X).settings["compensation"]
    revised = ", revised by the newest sums of squares"
    assert told == "delay-adaptive steps" + revised * (optimizer in ("adagrad", "ftrl"))


@pytest.mark.parametrize("value", [0, -4, 2.5, True, None, "often", 1 << 32])
def test_what_is_no_number_of_rows_is_refused(value: Any) -> None:
    with pytest.raises(ht.InvalidSettingError, match="every must be"):
        ht.Async(every=value)


def test_it_is_described_by_its_merges_and_its_gate(problem: Problem) -> None:
    strategy = ht.Async(every=64, staleness=1000)
    settings = _train(problem, strategy).settings
    assert strategy.describe(settings) == ["merges every 64 rows", "at most 1,000 merges ahead"]
    assert ht.Async().describe({"every": None}) == []


# ---- rows between merges, and the rate


def _adding(**changes: Any) -> Adding:
    usual = {
        "workers": 4,
        "every": 0,
        "speed": 1.0,
        "is_adaptive": False,
        "keeps_rate": False,
        "usual": 5000,
        "least": 20,
    }
    return Adding(**{**usual, **changes})


def test_workers_merge_more_often_at_high_rates_and_then_the_rate_falls() -> None:
    adding = _adding()
    rates = [1e-6, 1e-3, 1e-2, 0.1, 1.0]
    periods = [adding.period(lr) for lr in rates]
    assert periods == [5000, 470, 47, 20, 20]
    shares = [adding.share(lr) for lr in rates]
    assert shares == pytest.approx([1.0, 1.0, 1.0, 0.235, 0.0235], 1e-3)


def test_two_workers_may_train_alone_for_longer() -> None:
    adding = _adding(workers=2)
    assert [adding.period(lr) for lr in (1e-6, 1e-3, 1e-2)] == [5000, 1386, 138]
    assert adding.share(1.0) == pytest.approx(0.0693, 1e-3)


def test_the_users_period_stays_and_an_automatic_rate_gives_way() -> None:
    adding = _adding(every=1000)
    assert adding.period(0.01) == adding.period(1e-6) == 1000
    assert adding.share(1e-6) == 1.0
    assert adding.share(0.001) == pytest.approx(0.47, 1e-3)
    assert adding.share(10.0) == pytest.approx(0.47e-4, 1e-3)


def test_where_every_rate_is_stable_only_the_period_gives_way() -> None:
    adding = _adding(keeps_rate=True)
    assert adding.period(0.01) == _adding().period(0.01) == 47
    assert adding.share(100.0) == 1.0


@pytest.mark.parametrize("optimizer", [ht.AdaGrad(), ht.FTRL(), ht.SGD()])
def test_sums_of_squares_keep_the_rate_of_one_worker_where_changes_are_compensated(
    optimizer: Any, tall: Problem
) -> None:
    rows = canonical_rows(tall.X, threads=1)
    targets = tall.labels * np.float32(2) - np.float32(1)
    problem = learning.Problem(ht.Linear(), rows, targets, None, np.array([-1, 1]))
    settings = Settings(
        optimizer=optimizer, workers=8, epochs=1, batch_size=None, seed=0, isa=isas()[-1]
    )
    compensations: list[Any] = ["auto", None]
    shares = {}
    for compensate in compensations:
        plan = ht.Async(every=400, compensate=compensate).plan(problem, settings)
        shares[compensate] = plan.at_factor(1.0).choices["lr"] / plan.choices["lr"]
    assert shares[None] < 1
    assert shares["auto"] == (shares[None] if isinstance(optimizer, ht.SGD) else 1)


def test_adaptive_steps_count_as_those_of_one_rate() -> None:
    adding = _adding(is_adaptive=True, speed=0.01)
    assert adding.period(1e-6) == adding.period(100.0) == 47


def test_many_workers_and_long_periods_do_not_diverge(tall: Problem) -> None:
    steep = {"X": tall.X.toarray() + 1.0, "scale": None, "epochs": 5}
    for every, most in (("auto", 0.3), (400, 0.65)):  # steps are small where periods are long
        result = _train(tall, ht.Async(every=every, staleness=1), workers=8, **steep)
        assert result.history[-1].loss < most
    alone = _train(tall, "async", workers=1, **steep).settings["lr"]
    usual = {"workers": 8, "optimizer": ht.SGD(lr=alone), **steep}
    with pytest.raises(ht.DivergedError):
        _train(tall, "async(every=1250, staleness=0, compensate=None)", **usual)
    compensated = _train(tall, "async(every=1250, staleness=0)", **usual)
    assert compensated.history[-1].loss < 0.65


def test_a_rate_of_the_users_is_taken_as_it_is(tall: Problem) -> None:
    result = _train(tall, "async(every=2000)", optimizer=ht.SGD(lr=0.25), workers=8, epochs=1)
    assert result.settings["lr"] == 0.25
