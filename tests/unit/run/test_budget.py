# SPDX-License-Identifier: BSD-3-Clause
"""`seconds`: the end in time, rests within an epoch, and rates that fill the time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from reference.problems import Problem
from support.long_run import rows

import hybridtrain as ht
from hybridtrain.optimizers.schedules import learning_rates
from hybridtrain.run.budget import Budget, ToldBudget
from hybridtrain.run.cooling import Cooling

STRATEGIES = ["hybrid", "hybrid(hot=9)", "hogwild", "sync", "sync(exact=False)"]


class _Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    clock = _Clock()
    monkeypatch.setattr("hybridtrain.run.budget.time", SimpleNamespace(perf_counter=clock))
    return clock


def _opened(clock: _Clock, seconds: float, epochs: int, **changes: Any) -> Budget:
    budget = Budget(seconds, clock.now)
    settings: dict[str, Any] = {"schedule": ht.LinearDecay(), "lr": 2.0, "extra_share": 0.0}
    budget.open(epochs=epochs, **{**settings, **changes})
    return budget


def test_a_told_budget_has_the_rates_of_the_epochs_that_it_was_told(clock: _Clock) -> None:
    settings: dict[str, Any] = {"schedule": ht.LinearDecay(), "lr": 2.0, "extra_share": 0.0}
    early, late = ToldBudget(10.0, clock.now), ToldBudget(10.0, clock.now - 7)
    early.open(epochs=1000, **settings)
    first = early.begins(0.0).copy()
    early.rests(0.5)
    clock.now += 3
    early.tell(8.0)
    early.tell(0.0)  # not known
    late.recall(2.0, 8.0)
    late.open(epochs=1000, **settings)  # of a node that comes in the middle of the epoch
    rates = early.begins(4.0).copy()
    assert (rates == late.begins(4.7)).all()
    assert rates[0] == pytest.approx(1.0)
    assert first[0] == pytest.approx(2.0)
    clock.now += 1000
    assert (early.due(), early.is_over(), early.wait(0.2)) == ("", False, 0.2)
    early.end()
    assert early.is_over()


def test_a_told_budget_with_time_enough_has_the_rates_of_none(clock: _Clock) -> None:
    budget = ToldBudget(10.0, clock.now)
    budget.open(schedule=ht.LinearDecay(), lr=2.0, epochs=4, extra_share=0.0)
    budget.tell(60.0)
    alone = learning_rates(ht.LinearDecay(), 2.0, 4, 1)
    assert budget.begins(2.0)[0] == alone[2]


def test_workers_rest_after_a_fiftieth_and_then_after_each_twentieth(clock: _Clock) -> None:
    budget = _opened(clock, 10.0, 5)
    budget.begins(0)
    assert budget.due() == ""
    assert budget.wait(1.0) == pytest.approx(0.2)
    assert budget.wait(0.1) == 0.1
    clock.now += 0.2 + 1e-9
    assert budget.due() == "pause"
    assert budget.wait(1.0) == 0
    budget.rests(0.1)
    assert budget.due() == ""
    assert budget.wait(1.0) == pytest.approx(0.5)
    clock.now += 9.8
    assert (budget.due(), budget.is_over(), budget.wait(1.0)) == ("seconds", True, 0)


def test_the_epochs_are_planned_from_the_measured_speed(clock: _Clock) -> None:
    budget = _opened(clock, 10.0, 1000)
    lrs = budget.begins(0)
    assert lrs == pytest.approx([2 * (1 - k / 32 / 50) for k in range(32)])
    clock.now += 0.2
    budget.rests(0.05)  # a quarter of an epoch a second
    assert budget.planned == pytest.approx(2.5)
    lrs = budget.begins(0.05)
    assert lrs[1] == pytest.approx(2 * (1 - 0.05 / 2.5))  # the open share: from here
    assert lrs[2:] == pytest.approx([2 * (1 - k / 32 / 2.5) for k in range(2, 32)])
    assert budget.begins(1) == pytest.approx([2 * (1 - (1 + k / 32) / 2.5) for k in range(32)])


def test_measuring_between_epochs_takes_of_the_time(clock: _Clock) -> None:
    budget = _opened(clock, 10.0, 1000, extra_share=0.5)
    budget.begins(0)
    clock.now += 1.0
    budget.rests(1)  # first guess: half a second for rows that are half as many
    # 9 s left: 0.5 s now being spent, then six times 1.5 s leave none
    assert budget.planned == pytest.approx(1 + 6, rel=1e-5)
    clock.now += 2.0
    budget.begins(1)  # it took two
    clock.now += 1.0
    budget.rests(2)  # 6 s left: two epochs of 3 s
    assert budget.planned == pytest.approx(4, rel=1e-5)
    assert not budget.is_over()
    clock.now += 4.0
    assert budget.is_over()  # two seconds are left, for measuring alone


def test_the_newest_speed_counts_half(clock: _Clock) -> None:
    budget = _opened(clock, 10.0, 1000)
    budget.begins(0)
    clock.now += 1.0
    budget.rests(0.5)
    budget.begins(0.5)
    clock.now += 1.0
    budget.rests(0.75)  # 0.5, then 0.25 epochs a second: 0.375 for the other 8 s
    assert budget.planned == pytest.approx(0.75 + 8 * 0.375)


def test_rows_beyond_the_plan_have_a_small_rate(clock: _Clock) -> None:
    budget = _opened(clock, 1.0, 1000)
    budget.begins(0)
    clock.now += 0.5
    budget.rests(0.25)
    lrs = budget.begins(0.25)
    assert budget.planned == pytest.approx(0.5)
    assert lrs[15] == pytest.approx(2 / 16)
    assert lrs[16:32] == pytest.approx([2 / 64] * 16)


def test_a_budget_with_time_to_spare_leaves_the_rates_as_they_are(clock: _Clock) -> None:
    budget = _opened(clock, 1000.0, 3)
    lrs = np.empty(3 * 32, np.float32)
    for done in (0, 0.013, 0.5, 1, 1.3, 2):
        epoch = int(done)
        lrs[32 * epoch : 32 * epoch + 32] = budget.begins(done)
        clock.now += 1.0
        budget.rests(done + 0.01)
    expected = np.array(learning_rates("linear", 2.0, 3, 32), np.float32)
    assert lrs.tolist() == expected.tolist()


def test_a_fall_ends_where_it_is_planned_or_with_the_time(clock: _Clock) -> None:
    budget = _opened(clock, 10.0, 1000, schedule=ht.Constant())
    for done in range(4):
        budget.begins(done)
        clock.now += 0.5
        budget.rests(done + 1)
    budget.cool(Cooling(begins=4, share=0.5), 12)
    assert budget.planned == 12
    assert budget.begins(4) == pytest.approx([1 - k / 32 / 8 for k in range(32)])
    clock.now += 4.0
    budget.rests(5)  # 4 s left, and an epoch has become slower
    planned = budget.planned
    assert 5 < planned < 12
    expected = [1 - (1 + k / 32) / (planned - 4) for k in range(32)]
    assert budget.begins(5) == pytest.approx(expected)


@pytest.mark.parametrize("schedule", ["cosine", "constant", ht.Warmup(0.5), "exponential"])
def test_any_schedule_is_planned(schedule: Any, problem: Problem) -> None:
    optimizer = ht.SGD(schedule=schedule)
    data = (problem.X, problem.labels)
    result = ht.train(ht.Linear(), data, optimizer=optimizer, seconds=20, workers=1)
    assert result.score(*data) > 0.8


@pytest.fixture(scope="module")
def long() -> tuple[Any, Any]:
    """Rows that take at least a hundredth of a second an epoch."""
    X = rows()
    return X, np.asarray(X[:, :20].sum(axis=1)).ravel() > 0


@pytest.mark.parametrize("strategy", ["hybrid", "hogwild", "sync"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_ends_in_time(strategy: str, workers: int, long: tuple[Any, Any]) -> None:
    started = time.perf_counter()
    result = ht.train(ht.Linear(), long, strategy=strategy, workers=workers, seconds=0.8)
    took = time.perf_counter() - started
    assert 0.7 < took < 1.8
    assert result.settings["stopped"] == "seconds"
    assert {report.ended for report in result.workers} == {"seconds"}
    assert [record.trained + record.dropped for record in result.ledger] == [
        long[0].shape[0]
    ] * len(result.ledger)
    assert [record.reason for record in result.ledger[:-1]] == [""] * (len(result.ledger) - 1)
    assert result.score(*long) > 0.9


def test_a_time_that_preparing_takes_leaves_the_first_parameters(
    problem: Problem, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="hybridtrain"):
        result = ht.train(ht.Linear(), (problem.X, problem.labels), seconds=1e-6, validation=0.2)
    assert "nothing is trained: preparing took all of the 1e-06 seconds" in caplog.text
    assert not result.params["coef"].any()
    assert (result.history, result.ledger) == ((), ())
    assert result.settings["stopped"] == "seconds"


def test_at_most_a_thousand_epochs_fill_a_time(problem: Problem) -> None:
    result = ht.train(ht.Linear(), (problem.X, problem.labels), seconds=60, workers=1)
    assert len(result.history) == 1000
    assert result.settings["stopped"] is None


@pytest.mark.parametrize("strategy", ["hybrid", "sync"])
def test_a_million_epochs_leave_the_time_for_training(strategy: str, problem: Problem) -> None:
    started = time.perf_counter()
    result = ht.train(
        ht.Linear(),
        (problem.X, problem.labels),
        strategy=strategy,
        workers=1,
        epochs=10**6,
        seconds=0.5,
        callbacks=[lambda record: record.epoch == 20],
    )
    assert len(result.history) == 20
    assert time.perf_counter() - started < 5


def test_a_time_ends_what_would_have_more_steps_than_a_run_of_sync_can(problem: Problem) -> None:
    settings: dict[str, Any] = {"strategy": "sync", "batch_size": 1, "workers": 1}
    data = problem.X, problem.labels
    with pytest.raises(ht.InvalidSettingError, match="must make at most"):
        ht.train(ht.Linear(), data, epochs=10**8, **settings)
    result = ht.train(
        ht.Linear(), data, epochs=10**8, seconds=60, callbacks=[lambda record: True], **settings
    )
    assert result.settings["stopped"] == "callback"


def test_the_epochs_are_five_without_a_time(problem: Problem) -> None:
    assert len(ht.train(ht.Linear(), (problem.X, problem.labels)).history) == 5


class _Restless(Budget):
    """Rests as often as can be, counts the rests, and is over after some of them."""

    rests_until_end = 1 << 62
    interrupts_at = 1 << 62
    paused = 0
    resumed = 0

    def wait(self, most: float) -> float:
        del most
        return 0.0

    def due(self) -> Any:
        type(self).paused += 1
        return "pause" if self.paused < self.rests_until_end else "seconds"

    def begins(self, done: float) -> Any:
        if self.paused >= self.interrupts_at:
            raise KeyboardInterrupt
        type(self).resumed += done != int(done)
        return super().begins(done)


@pytest.fixture
def restless(monkeypatch: pytest.MonkeyPatch) -> type[_Restless]:
    kind = type("_Own", (_Restless,), {})
    monkeypatch.setenv("HYBRIDTRAIN_ISA", "baseline")  # epochs long enough to be looked at
    monkeypatch.setattr("hybridtrain.run.partner.Budget", kind)
    return kind


@pytest.fixture(scope="module")
def tall(long: tuple[Any, Any]) -> tuple[Any, Any]:
    X, y = long
    return X[:100_000], y[:100_000]


def _check_rows(result: ht.Result, strategy: str) -> None:
    """Compare the workers' rows with the ledger; tasks of `Sync` may be done twice."""
    by_workers = sum(report.rows for report in result.workers)
    trained = sum(record.trained for record in result.ledger)
    assert by_workers >= trained if strategy.startswith("sync") else by_workers == trained


def _coef(result: ht.Result) -> list[float]:
    return [*result.params["coef"].tolist(), result.params["intercept"]]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("workers", [1, 3])
def test_an_epoch_with_rests_trains_every_row_once(
    strategy: str, workers: int, restless: type[_Restless], tall: tuple[Any, Any]
) -> None:
    model = ht.Linear(l1=1e-6)  # slow kernels

    def trained(ends: Callable[[ht.EpochRecord], bool], **more: Any) -> ht.Result:
        settings: dict[str, Any] = {"strategy": strategy, "workers": workers, "epochs": 50}
        return ht.train(model, tall, callbacks=[ends], **settings, **more)

    # A supervisor that waits for a core may sleep through an epoch.  The time is for all epochs on
    # a machine that has others to do: else the rates are other ones.
    rested = trained(lambda record: record.epoch > 1 and restless.resumed > 0, seconds=100_000)
    assert restless.resumed > 0
    n_epochs = len(rested.history)
    assert [record.trained for record in rested.ledger] == [100_000] * n_epochs
    assert [record.rows for record in rested.history] == [100_000] * n_epochs
    _check_rows(rested, strategy)
    plain = trained(lambda record: record.epoch == n_epochs)
    exact = strategy == "sync" or (strategy.startswith("sync") and workers < 3)
    if exact or (strategy == "hogwild" and workers == 1):
        assert _coef(rested) == _coef(plain)
        assert [r.loss for r in rested.history] == pytest.approx([r.loss for r in plain.history])
    # The losses of 40 asynchronous runs of three workers on two cores: 0.072 to 0.090.
    near = 0.1 if workers == 1 or exact else 0.5
    assert rested.history[-1].loss == pytest.approx(plain.history[-1].loss, rel=near)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_time_may_end_within_an_epoch(
    strategy: str, restless: type[_Restless], tall: tuple[Any, Any]
) -> None:
    restless.rests_until_end = 3
    result = ht.train(ht.Linear(), tall, strategy=strategy, seconds=1000, validation=tall)
    trained, dropped = result.ledger[-1].trained, result.ledger[-1].dropped
    assert trained + dropped == 100_000
    assert result.ledger[-1].reason == ("seconds" if dropped else "")
    if dropped:
        assert result.settings["stopped"] == "seconds"
    if trained:
        losses = [record.validation_loss for record in result.history]
        assert result.settings["best_epoch"] == 1 + int(np.argmin(losses))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_ctrl_c_while_the_workers_rest_gives_the_partial_result(
    strategy: str, restless: type[_Restless], tall: tuple[Any, Any]
) -> None:
    restless.interrupts_at = 2
    with pytest.raises(ht.TrainingInterrupted) as caught:
        ht.train(ht.Linear(), tall, strategy=strategy, seconds=1000, epochs=500)
    result = caught.value.result
    assert result.ledger[-1].trained + result.ledger[-1].dropped == 100_000
    _check_rows(result, strategy)


@pytest.mark.parametrize(
    ("seconds", "message"),
    [
        (0, "seconds must be finite and > 0, got 0"),
        (-1.0, "seconds must be finite and > 0, got -1.0"),
        (float("nan"), "seconds must be finite and > 0, got nan"),
        (float("inf"), "seconds must be finite and > 0, got inf"),
        (True, "seconds must be a number > 0 or None, got True"),
        ("1", "seconds must be a number > 0 or None, got '1'"),
    ],
)
def test_a_time_out_of_range_is_refused(seconds: Any, message: str, problem: Problem) -> None:
    with pytest.raises(ht.InvalidSettingError) as caught:
        ht.train(ht.Linear(), (problem.X, problem.labels), seconds=seconds)
    assert str(caught.value) == message
