# SPDX-License-Identifier: BSD-3-Clause
"""One worker equals the sequential reference bit for bit, on each instruction set."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from reference import feed, lanes, loss, stream
from reference.problems import Problem, planted, unsorted

import hybridtrain as ht
from hybridtrain._core.loss import LOSSES, loss_sum, sigmoid
from hybridtrain._core.optimizer import OPTIMIZERS
from hybridtrain._core.rows import Rows, isas
from hybridtrain._core.stream import Stream

LRS_PER_EPOCH = 32
HYBRID_ROWS_IN_FLIGHT = 4
STRATEGIES: list[ht.Async | ht.Hogwild | ht.Hybrid] = [
    ht.Hybrid(),
    ht.Hybrid(every=7),
    ht.Hybrid(hot=9),
    ht.Hybrid(hot=9, every=7),
    ht.Hybrid(hot=0),
    ht.Hogwild(),
    ht.Hogwild(exact=True),
    ht.Async(every=7, staleness=0),
]
STEEP = {("sgd", "squared"): 0.008, ("sgd", "squared_hinge"): 0.008, ("sgd", "poisson"): 0.0005}
SMOOTH = ("logistic", "squared")  # in every arithmetic; the others in a part of them
PENALTIES = [(0.0, 0.0), (0.0, 0.02), (0.01, 0.02)]


@dataclass(frozen=True)
class Case:
    """One setting to compare."""

    model: ht.Linear
    optimizer: str
    strategy: ht.Async | ht.Hogwild | ht.Hybrid
    ones: bool
    weighted: bool
    clustered: bool
    n_rows: int = 70
    epochs: int = 3
    seed: int = 11
    is_unsorted: bool = False


_planted = functools.cache(planted)


def _data(case: Case) -> tuple[Problem, npt.NDArray[Any], npt.NDArray[np.float32] | None]:
    n_features = 75
    problem = _planted(7, case.n_rows, n_features, longest=60, ones=case.ones)
    y = problem.labels if case.model.is_classifier else problem.values
    y = np.abs(y) if case.model.loss == "poisson" else y
    if case.clustered:
        order = np.argsort(problem.values, kind="stable")
        problem, y = replace(problem, X=problem.X[order]), y[order]
    if case.is_unsorted:
        problem = replace(problem, X=unsorted(problem.X))
    weights = np.random.default_rng(3).uniform(0, 2, case.n_rows) if case.weighted else None
    return problem, y, None if weights is None else weights.astype(np.float32)


def _lr(case: Case) -> float:
    """Return a rate at which no rows diverge: rows in flight add up."""
    return STEEP.get((case.optimizer, case.model.loss), 0.25)


def _lrs(case: Case) -> npt.NDArray[np.float32]:
    steps = np.arange(case.epochs * LRS_PER_EPOCH) / LRS_PER_EPOCH
    decay = 0.7**steps if case.optimizer == "sgd" else np.ones_like(steps)
    return (_lr(case) * decay).astype(np.float32)


def _trained(case: Case, init: dict[str, Any] | None = None) -> ht.Result:
    problem, y, weights = _data(case)
    schedule = ht.Exponential(decay=0.7) if case.optimizer == "sgd" else ht.Constant()
    kind = ht.SGD if case.optimizer == "sgd" else ht.AdaGrad
    return ht.train(
        case.model,
        (problem.X, y) if weights is None else (problem.X, y, weights),
        strategy=case.strategy,
        optimizer=kind(lr=_lr(case), schedule=schedule),
        workers=1,
        epochs=case.epochs,
        seed=case.seed,
        init={"coef": np.zeros(problem.X.shape[1])} if init is None else init,
    )


def _expected(
    case: Case, init: tuple[npt.NDArray[np.float32], float] | None = None
) -> tuple[npt.NDArray[np.float32], np.float32, list[float]]:
    problem, y, weights = _data(case)
    targets = np.where(y, 1, -1) if case.model.is_classifier else y
    if weights is not None:
        weights = (weights / weights.astype(np.float64).mean()).astype(np.float32)
    hot, every = 0, None
    if not isinstance(case.strategy, ht.Hogwild):
        of_features = getattr(case.strategy, "hot", "auto")
        hot = problem.X.shape[1] if of_features == "auto" else int(of_features)
        every = None if case.strategy.every == "auto" else case.strategy.every
    run = stream.Run(
        loss=case.model.loss,
        optimizer=case.optimizer,
        lrs=_lrs(case),
        lrs_per_epoch=LRS_PER_EPOCH,
        rows_in_flight=1 if isinstance(case.strategy, ht.Hogwild) else HYBRID_ROWS_IN_FLIGHT,
        hot=hot,
        every=every,
        strips=16 if case.clustered else 1,
        seed=case.seed,
        l1=case.model.l1,
        l2=case.model.l2,
        intercept=case.model.fit_intercept,
        parameter=case.model.loss_object.parameter(targets),
    )
    return stream.train(problem.X, targets.astype(np.float32), weights, run, init)


def _bits(values: Any) -> npt.NDArray[np.uint32]:
    return np.asarray(values, np.float32).view(np.uint32)


def _require_equal(result: ht.Result, expected: tuple[Any, Any, list[float]]) -> None:
    coef, intercept, losses = expected
    assert np.any(coef), "nothing was learned: the comparison would be empty"
    assert np.array_equal(_bits(result.params["coef"]), _bits(coef))
    assert _bits([result.params["intercept"]]) == _bits([intercept])
    assert [record.loss for record in result.history] == pytest.approx(losses, rel=2e-6)


def _cases() -> list[Any]:
    """Every arithmetic with every strategy; clustered and not in turn."""
    arithmetic = itertools.product(
        ("sgd", "adagrad"), PENALTIES, (True, False), (False, True), (False, True), SMOOTH
    )
    cornered = itertools.cycle(name for name in LOSSES if name not in SMOOTH)
    found = []
    for i, (optimizer, (l1, l2), intercept, weighted, ones, loss_name) in enumerate(arithmetic):
        model = ht.Linear(loss=loss_name, l1=l1, l2=l2, fit_intercept=intercept)
        if i % 2 == 0:
            name = next(cornered)
            other = replace(model, loss=name, **loss.OWN.get(name, {}))
            case = Case(other, optimizer, ht.Hybrid(hot=9, every=7), ones, weighted, i % 4 == 0)
            found += [replace(case, strategy=strategy) for strategy in STRATEGIES]
        for k, strategy in enumerate(STRATEGIES):
            case = Case(model, optimizer, strategy, ones, weighted, clustered=(i // 2 + k) % 2 == 0)
            found.append(case)
    return found


GROUPS = [
    pytest.param(optimizer, strategy, id=f"{optimizer}-{strategy!r}")
    for optimizer in ("sgd", "adagrad")
    for strategy in STRATEGIES
]


@pytest.mark.parametrize(("optimizer", "strategy"), GROUPS)
def test_one_worker_equals_the_reference_bit_for_bit_on_each_instruction_set(
    optimizer: str, strategy: ht.Async | ht.Hogwild | ht.Hybrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [c for c in _cases() if c.optimizer == optimizer and c.strategy == strategy]
    assert {c.clustered for c in cases} == {True, False}
    for case in cases:
        expected = _expected(case)  # slow: once for all instruction sets
        for name in isas():
            monkeypatch.setenv("HYBRIDTRAIN_ISA", name)
            result = _trained(case)
            assert result.settings["isa"] == name
            assert result.settings["clustered"] is case.clustered, case
            _require_equal(result, expected)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
def test_strips_of_several_rows_and_groups_of_four_equal_the_reference(
    strategy: ht.Async | ht.Hogwild | ht.Hybrid, isa: str
) -> None:
    model = ht.Linear(l2=0.01)
    case = Case(model, "sgd", strategy, False, False, clustered=False, n_rows=2100, epochs=1)
    result = _trained(case)
    assert result.settings["isa"] == isa
    _require_equal(result, _expected(case))


@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
def test_a_run_from_given_parameters_equals_the_reference(
    strategy: ht.Async | ht.Hogwild | ht.Hybrid, isa: str
) -> None:
    case = Case(ht.Linear(l1=0.02), "adagrad", strategy, False, True, clustered=True)
    coef = np.random.default_rng(5).standard_normal(75).astype(np.float32)
    result = _trained(case, init={"coef": coef, "intercept": 0.5})
    assert result.settings["isa"] == isa
    _require_equal(result, _expected(case, (coef, 0.5)))


@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
def test_rows_in_any_order_equal_the_reference(
    strategy: ht.Async | ht.Hogwild | ht.Hybrid, isa: str
) -> None:
    case = Case(ht.Linear(l2=0.02), "sgd", strategy, False, False, clustered=True, is_unsorted=True)
    result = _trained(case)
    assert result.settings["isa"] == isa
    _require_equal(result, _expected(case))


def test_another_seed_is_another_order_and_gives_other_bits() -> None:
    case = Case(ht.Linear(), "adagrad", ht.Hybrid(), False, False, clustered=False)
    assert not np.array_equal(
        _bits(_trained(case).params["coef"]), _bits(_expected(replace(case, seed=12))[0])
    )


@pytest.mark.parametrize("n_rows", [1, 2, 15, 16, 17, 511, 512, 1023, 1024, 5000, 270_000])
@pytest.mark.parametrize("strips", [1, 3, 16])
def test_the_feed_hands_out_the_rows_of_the_reference(n_rows: int, strips: int) -> None:
    empty = np.zeros(0, np.int32)
    rows = Rows(1, np.zeros(n_rows + 1, np.int64), empty, None, np.ones(n_rows, np.float32))
    opened = Stream(
        rows,
        loss=LOSSES["logistic"],
        n_classes=0,
        optimizer=OPTIMIZERS["sgd"],
        l1=0.0,
        l2=0.0,
        decay1=0.0,
        decay2=0.0,
        beta=0.0,
        averages_per_epoch=0,
        isa=0,
        n_workers=1,
        rows_in_flight=1,
        every=0,
        exact=False,
        intercept=True,
        n_hot=0,
        seed=5,
        strips=strips,
        lrs_per_epoch=1,
        lrs=np.ones(2, np.float32),
        inverse_share=None,
        curvature=None,
    )
    expected = feed.chunks(n_rows, 5, 1, strips)
    assert sorted(row for chunk in expected for row in chunk) == list(range(n_rows))
    opened.begin(1)
    found = [opened.rows_of(position) for position in range(opened.n_chunks())]
    opened.close()
    assert found == expected


def test_own_exp_of_the_reference_is_close_to_the_true_one() -> None:
    x = np.linspace(-87, 87, 100_001, dtype=np.float32)
    relative = loss.exp(x).astype(np.float64) / np.exp(x.astype(np.float64)) - 1
    assert np.abs(relative).max() < 2.5e-7
    assert np.array_equal(loss.exp(np.float32([90, -90])), loss.exp(np.float32([87, -87])))


def test_sigmoid_of_the_core_has_the_bits_of_the_reference() -> None:
    z = np.random.default_rng(0).normal(0, 20, 10_001).astype(np.float32)
    p = np.empty_like(z)
    sigmoid(z, p)
    assert np.array_equal(_bits(p), _bits(np.float32(1) / (loss.exp(-z) + np.float32(1))))


@pytest.mark.parametrize("name", LOSSES)
def test_the_summed_loss_of_the_core_is_that_of_the_formula(name: str) -> None:
    rng = np.random.default_rng(0)
    z, weight = rng.normal(0, 5, 1003).astype(np.float32), rng.random(1003).astype(np.float32)
    y = np.where(rng.random(1003) < 0.5, 0 if name == "poisson" else -1, 1).astype(np.float32)
    for parameter in (0.25, 0.5) if name == "quantile" else (0.5, 1.0, 3.0):
        expected = loss.value(name, z, y, parameter)
        for given in (None, weight):
            found = loss_sum(LOSSES[name], z, y, given, parameter)
            total = expected.sum() if given is None else (expected * weight).sum()
            assert found == pytest.approx(total, rel=1e-6)


@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 31, 32, 33, 60])
def test_margins_of_the_core_are_sums_over_16_lanes(n: int, isa: str) -> None:
    rng = np.random.default_rng(n)
    w, x = rng.standard_normal((2, max(n, 1))).astype(np.float32)
    index = np.arange(n, dtype=np.int32)
    for values in (None, x[:n].copy()):
        rows = Rows(len(w), np.array([0, n], np.int64), index, values)
        z = np.empty(1, np.float32)
        rows.margins(np.append(np.float32(0.25), w), 1, isas().index(isa), 0, 1, z)
        assert _bits(z) == _bits([lanes.dot(w[:n], values) + np.float32(0.25)])
