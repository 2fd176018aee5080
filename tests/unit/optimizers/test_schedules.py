# SPDX-License-Identifier: BSD-3-Clause
"""Schedules: their formulas, and the learning rates that a run gets."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference.problems import Problem

import hybridtrain as ht
from hybridtrain.optimizers.schedules import SCHEDULES, Rates, learning_rates, parse_schedule


def test_an_unknown_schedule_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ht.InvalidSettingError) as caught:
        ht.SGD(schedule="cosinus")
    names = "constant, linear, cosine, inverse_scaling, exponential"
    assert str(caught.value) == (
        f"schedule must be one of {names}, got 'cosinus'; did you mean 'cosine'?"
    )


@pytest.mark.parametrize("schedule", [0.9, object(), ht.Cosine])
def test_a_schedule_has_a_factor(schedule: Any) -> None:
    for take in (lambda s: ht.SGD(schedule=s), lambda s: ht.Warmup(1, then=s)):
        with pytest.raises(ht.InvalidSettingError, match=r"schedule must have a method factor"):
            take(schedule)


def test_schedules_give_their_formulas() -> None:
    assert ht.Constant().factor(7.3, 10) == 1
    assert ht.LinearDecay().factor(7.5, 10) == pytest.approx(0.25)
    assert ht.Exponential(decay=0.5).factor(3, 10) == pytest.approx(0.125)
    assert ht.InverseScaling(power=1, epochs=2).factor(2, 10) == pytest.approx(0.5)
    assert ht.InverseScaling().factor(3, 10) == pytest.approx(0.5)
    cosine = [ht.Cosine().factor(t, 12) for t in (0, 3, 4, 6, 8, 9)]
    half = math.sqrt(0.5) / 2
    assert cosine == pytest.approx([1, 0.5 + half, 0.75, 0.5, 0.25, 0.5 - half])


def test_a_warm_up_rises_to_the_schedule_that_follows_it() -> None:
    linear = [ht.Warmup(2).factor(t, 10) for t in (0, 1, 2, 4, 6, 9)]
    assert linear == pytest.approx([1 / 32, 33 / 64, 1, 0.75, 0.5, 0.125])
    cosine = [ht.Warmup(0.5, then="cosine").factor(t, 4.5) for t in (0.25, 0.5, 2.5)]
    assert cosine == pytest.approx([33 / 64, 1, 0.5])
    assert ht.Warmup(1, then=ht.Warmup(1)).factor(1.5, 3) == pytest.approx(33 / 64)


def test_a_run_may_end_within_its_warm_up() -> None:
    rates = learning_rates(ht.Warmup(4), 1.0, 2, 2)
    assert rates == pytest.approx([1 / 32 + 31 / 32 * k / 8 for k in range(4)])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ht.Exponential(decay=1.0), "decay must be below 1, got 1.0"),
        (lambda: ht.Exponential(decay=0.0), "decay must be finite and > 0, got 0.0"),
        (lambda: ht.InverseScaling(power=-1), "power must be finite and > 0, got -1"),
        (lambda: ht.InverseScaling(epochs=0), "epochs must be finite and > 0, got 0"),
        (lambda: ht.InverseScaling(power="1"), "power must be a number > 0, got '1'"),
        (lambda: ht.Warmup(0), "epochs must be finite and > 0, got 0"),
        (lambda: ht.Warmup(math.inf), "epochs must be finite and > 0, got inf"),
        (lambda: ht.Warmup(True), "epochs must be a number > 0, got True"),
    ],
)
def test_a_schedule_out_of_range_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ht.InvalidSettingError) as caught:
        make()
    assert str(caught.value) == message


def test_learning_rates_follow_the_schedule_within_epochs() -> None:
    rates = learning_rates("exponential", 2.0, 2, 4)
    assert rates == pytest.approx([2.0 * 0.7 ** (k / 4) for k in range(8)])
    assert learning_rates("linear", 2.0, 2, 2) == [2.0, 1.5, 1.0, 0.5]
    assert learning_rates(ht.Constant(), 3.0, 2, 2) == [3.0] * 4


class _Stepwise:
    """A user's own schedule."""

    def __init__(self, *factors: float) -> None:
        self.factors = factors

    def factor(self, epochs: float, total: int) -> float:
        assert epochs < total
        return self.factors[int(epochs)]


def test_a_users_own_schedule_is_used(problem: Problem) -> None:
    optimizer = ht.SGD(lr=0.5, schedule=_Stepwise(1.0, 0.25, 0.5))
    result = ht.train(
        ht.Linear(), (problem.X, problem.labels), optimizer=optimizer, workers=1, epochs=3
    )
    assert [record.lr for record in result.history] == [0.5, 0.125, 0.25]


def test_a_learning_rate_that_falls_to_zero_ends_the_learning(problem: Problem) -> None:
    def coef(epochs: int) -> list[float]:
        optimizer = ht.SGD(lr=0.5, schedule=_Stepwise(1.0, 0.0, 0.0))
        data = (problem.X, problem.labels)
        found = ht.train(ht.Linear(), data, optimizer=optimizer, workers=1, epochs=epochs)
        return found.params["coef"].tolist()

    assert coef(3) == coef(1)


@pytest.mark.parametrize("bad", [-0.1, float("nan"), float("inf")])
def test_a_users_schedule_that_gives_nonsense_is_refused(bad: float, problem: Problem) -> None:
    with pytest.raises(
        ht.InvalidSettingError, match=r"learning rates must be in 0 .. 3.4e\+38, got"
    ):
        ht.train(
            ht.Linear(),
            (problem.X, problem.labels),
            optimizer=ht.SGD(schedule=_Stepwise(1.0, bad)),
            epochs=2,
        )


@pytest.mark.parametrize("epochs", [2, 2.3])
def test_a_run_may_end_within_an_epoch(epochs: float) -> None:
    rates = learning_rates("linear", 1.0, epochs, 4)
    assert rates == pytest.approx([1 - k / 4 / epochs for k in range(math.ceil(4 * epochs))])


def test_a_rate_that_is_zero_in_the_whole_run_is_refused(problem: Problem) -> None:
    data = (problem.X, problem.labels)
    with pytest.raises(ht.InvalidSettingError, match=r"got 0 everywhere: lr is 0.1, its largest"):
        ht.train(ht.Linear(), data, optimizer=ht.SGD(lr=0.1, schedule=_Stepwise(0.0)), epochs=1)
    with pytest.raises(ht.InvalidSettingError, match="got 0 everywhere: lr is 1e-60"):
        ht.train(ht.Linear(), data, optimizer=ht.SGD(lr=1e-60), epochs=1)


def test_a_rate_that_float32_cannot_hold_is_refused(problem: Problem) -> None:
    with pytest.raises(ht.InvalidSettingError, match=r"got 1e\+39 after 0 epochs: lr is 1e\+39"):
        ht.train(ht.Linear(), (problem.X, problem.labels), optimizer=ht.SGD(lr=1e39))


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_has_a_name(name: str, problem: Problem) -> None:
    data = (problem.X, problem.labels)
    runs = [
        ht.train(ht.Linear(), data, optimizer=ht.SGD(lr=0.5, schedule=schedule), workers=1)
        for schedule in (name, parse_schedule(name))
    ]
    assert [record.lr for record in runs[0].history] == [record.lr for record in runs[1].history]
    assert runs[0].params["coef"].tolist() == runs[1].params["coef"].tolist()


_basic = st.one_of(
    st.sampled_from([ht.Constant(), ht.LinearDecay(), ht.Cosine()]),
    st.builds(ht.InverseScaling, power=st.floats(0.01, 3), epochs=st.floats(0.01, 100)),
    st.builds(ht.Exponential, decay=st.floats(0.01, 0.99)),
)


@given(schedule=_basic, total=st.floats(0.01, 1e4), steps=st.lists(st.floats(0, 0.999)))
def test_a_rate_without_warm_up_never_rises_and_stays_in_range(
    schedule: Any, total: float, steps: list[float]
) -> None:
    factors = [schedule.factor(share * total, total) for share in sorted(steps)]
    assert all(0 <= factor <= 1 for factor in factors)
    assert factors == sorted(factors, reverse=True)
    assert schedule.factor(0.0, total) == 1


@given(
    schedule=_basic,
    epochs=st.floats(0.01, 10),
    total=st.floats(0.01, 20),
    share=st.floats(0, 0.999),
)
def test_a_warm_up_rises_and_then_is_the_schedule_of_the_rest(
    schedule: Any, epochs: float, total: float, share: float
) -> None:
    warm = ht.Warmup(epochs, then=schedule)
    t = share * total
    if t >= epochs:
        assert warm.factor(t, total) == schedule.factor(t - epochs, total - epochs)
    else:
        assert 1 / 32 <= warm.factor(t, total) <= 1
        assert warm.factor(t, total) >= warm.factor(t / 2, total)


@given(
    schedule=_basic,
    lr=st.floats(1e-6, 1e6),
    epochs=st.integers(1, 12),
    per_epoch=st.integers(1, 32),
)
def test_a_run_has_rates_for_each_step_of_each_epoch(
    schedule: Any, lr: float, epochs: int, per_epoch: int
) -> None:
    rates = learning_rates(schedule, lr, epochs, per_epoch)
    assert len(rates) == epochs * per_epoch
    assert rates[0] == lr
    assert np.isfinite(rates).all()
    assert min(rates) >= 0


@pytest.mark.parametrize("schedule", [*SCHEDULES, ht.Warmup(2)])
def test_rates_made_by_the_epoch_are_those_of_the_whole_run(schedule: Any) -> None:
    epochs = 1003  # more than are made ahead
    expected = np.array(learning_rates(schedule, 0.3, epochs, 4), np.float32)
    rates = Rates(schedule, 0.3, epochs, 4)
    found = [rates.of_epoch(epoch) for epoch in range(1, epochs + 1)]
    assert np.array_equal(np.concatenate(found), expected)


def test_a_million_epochs_cost_no_more_than_a_thousand() -> None:
    made: list[float] = []

    class Counted:
        def factor(self, epochs: float, total: float) -> float:
            made.append(epochs)
            return 1.0

    rates = Rates(Counted(), 0.3, 10**6, 32)
    assert len(made) == 32_000
    assert rates.of_epoch(10**6).tolist() == [np.float32(0.3)] * 32


def test_a_rate_out_of_range_is_refused_before_the_run_or_in_its_epoch() -> None:
    class Late:
        def __init__(self, epoch: int) -> None:
            self.epoch = epoch

        def factor(self, epochs: float, total: float) -> float:
            return math.nan if epochs >= self.epoch else 1.0

    with pytest.raises(ht.InvalidSettingError, match="after 900 epochs"):
        Rates(Late(900), 0.3, 10**6, 4)
    rates = Rates(Late(2000), 0.3, 10**6, 4)
    with pytest.raises(ht.InvalidSettingError, match="after 2000 epochs"):
        rates.of_epoch(2001)
