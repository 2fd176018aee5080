# SPDX-License-Identifier: BSD-3-Clause
"""What every optimizer promises as an object; each one in the table of names runs the battery."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
from reference.problems import Problem
from support.optimizers import ALL, every_optimizer, has

import hybridtrain as ht
from hybridtrain._core import optimizer as core
from hybridtrain.cli.explanations import in_words
from hybridtrain.optimizers.base import Optimizer
from hybridtrain.optimizers.parse import OPTIMIZERS, parse_optimizer
from hybridtrain.optimizers.schedules import SCHEDULES
from hybridtrain.sklearn import LinearClassifier

every_name = pytest.mark.parametrize("name", OPTIMIZERS)


# ---- constants and their words


@every_optimizer
def test_it_cannot_be_changed_and_takes_only_keywords(optimizer: Any) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        optimizer.lr = 1.0
    with pytest.raises(TypeError):
        type(optimizer)(1.0)
    assert not hasattr(optimizer, "__dict__")
    assert optimizer == copy.copy(optimizer)
    assert hash(optimizer) == hash(copy.copy(optimizer))


@every_optimizer
def test_its_repr_is_a_call_of_what_the_package_exports(optimizer: Optimizer) -> None:
    assert eval(repr(optimizer), {name: getattr(ht, name) for name in ht.__all__}) == optimizer
    assert parse_optimizer(optimizer) is optimizer


@every_name
def test_its_word_alone_is_its_defaults(name: str) -> None:
    made = OPTIMIZERS[name]()
    assert parse_optimizer(name) == parse_optimizer(f" {name}() ") == made
    assert parse_optimizer(f"{name}(lr=0.5)") == dataclasses.replace(made, lr=0.5)


@every_name
def test_an_unknown_argument_is_refused_with_those_that_ithas(name: str) -> None:
    keys = ", ".join(field.name for field in dataclasses.fields(OPTIMIZERS[name]))
    with pytest.raises(ht.InvalidSettingError) as caught:
        parse_optimizer(f"{name}(unheard_of=1)")
    assert f"{name} has no 'unheard_of', it has {keys}" in str(caught.value)


@every_name
def test_the_command_line_says_it_in_its_words(name: str) -> None:
    assert in_words(f"use ht.{OPTIMIZERS[name].__name__}() here", []) == f"use {name} here"


@pytest.mark.parametrize("optimizer", ["unheard_of", "SGD", "", None, 1, ht.SGD, ht.Linear()])
def test_an_unknown_optimizer_is_refused_with_the_known_ones(
    optimizer: Any, problem: Problem
) -> None:
    with pytest.raises(ht.InvalidSettingError) as caught:
        ht.train(ht.Linear(), (problem.X, problem.labels), optimizer=optimizer)
    assert f"optimizer must be one of {', '.join(OPTIMIZERS)}" in str(caught.value)
    asked = "; did you mean 'sgd'?" if optimizer == "SGD" else ""
    assert str(caught.value).endswith(f"got {optimizer!r}{asked}")


@every_name
@pytest.mark.parametrize("lr", [0, 0.0, -1.0, float("nan"), float("inf")])
def test_a_learning_rate_is_positive_and_finite(name: str, lr: Any) -> None:
    with pytest.raises(ht.InvalidSettingError, match=f"lr must be finite and > 0, got {lr}"):
        dataclasses.replace(OPTIMIZERS[name](), lr=lr)


@every_name
@pytest.mark.parametrize("lr", [None, True, [0.1], 1j])
def test_a_learning_rate_is_a_number(name: str, lr: Any) -> None:
    with pytest.raises(ht.InvalidSettingError, match="lr must be a number > 0, got"):
        dataclasses.replace(OPTIMIZERS[name](), lr=lr)


@every_name
def test_a_learning_rate_as_text_can_only_be_auto(name: str) -> None:
    with pytest.raises(ht.InvalidSettingError) as caught:
        dataclasses.replace(OPTIMIZERS[name](), lr="0.1")
    assert str(caught.value) == 'lr must be "auto", "formula" or a number > 0, got \'0.1\''


@every_name
@pytest.mark.parametrize("lr", [np.float32(0.5), np.float64(0.5), np.int64(1)])
def test_a_learning_rate_of_numpy_becomes_one_of_python(name: str, lr: Any) -> None:
    made = dataclasses.replace(OPTIMIZERS[name](), lr=lr)
    assert made == dataclasses.replace(OPTIMIZERS[name](), lr=lr.item())
    assert type(made.lr) is type(lr.item())


@every_name
def test_its_other_numbers_and_switches_are_checked(name: str) -> None:
    for field in dataclasses.fields(OPTIMIZERS[name]):
        if field.name == "lr" or not isinstance(field.default, bool | float):
            continue
        refused: list[Any] = [None, "a", [0.5], float("nan"), float("inf"), -0.5]
        refused += [1, 0] if isinstance(field.default, bool) else [True]
        for value in refused:
            with pytest.raises(ht.InvalidSettingError, match=f"{field.name} must be"):
                OPTIMIZERS[name](**{field.name: value})


@every_name
def test_every_schedule_is_accepted_or_the_rate_is_constant(name: str, problem: Problem) -> None:
    made = OPTIMIZERS[name]()
    if not has(made, "schedule"):
        assert made.schedule == ht.Constant()
        return
    data = (problem.X, problem.labels)
    for schedule in [*SCHEDULES, *(kind() for kind in SCHEDULES.values()), ht.Warmup(epochs=0.5)]:
        optimizer = dataclasses.replace(made, schedule=schedule)
        result = ht.train(ht.Linear(), data, optimizer=optimizer, strategy="sync", epochs=1)
        assert np.any(result.params["coef"])
    for unknown in ("cosinus", 1, ht.Constant):
        with pytest.raises(ht.InvalidSettingError, match="schedule must"):
            dataclasses.replace(made, schedule=unknown)


# ---- what a plan and the core ask of it


def test_the_core_has_no_optimizer_that_no_setting_leads_to() -> None:
    assert {optimizer.number for optimizer in ALL} == set(core.OPTIMIZERS.values())


@every_optimizer
def test_its_constants_are_those_of_a_run_of_the_core(optimizer: Optimizer) -> None:
    constants = optimizer.constants()
    assert constants.keys() == {"optimizer", "decay1", "decay2", "beta", "averages_per_epoch"}
    assert constants["optimizer"] == optimizer.number
    assert 0 <= np.float32(constants["decay1"]) < 1
    assert 0 <= np.float32(constants["decay2"]) < 1


@every_optimizer
def test_it_needs_dense_steps_where_the_core_takes_them(optimizer: Optimizer) -> None:
    assert optimizer.needs_dense_steps == core.is_dense(optimizer.number)
    assert not (optimizer.needs_dense_steps and core.has_shares(optimizer.number))


@every_optimizer
def test_its_automatic_rates_are_finite_and_grow_with_the_batch(optimizer: Optimizer) -> None:
    known = {"norm2": 3.0, "l1": 2.0, "curvature": 0.25, "scale": 1.0}
    single = optimizer.auto_lr(**known)
    assert 0 < single < np.inf
    rates = [
        optimizer.batch_lr(single, batch=batch, norm2=3.0, largest=lambda: 0.5)
        for batch in (1, 10, 1000)
    ]
    assert rates[0] == single
    assert rates == sorted(rates)
    assert rates[-1] <= 1000 * single
    assert 0 < optimizer.path(1) < optimizer.path(100)


@every_optimizer
def test_an_estimator_trains_in_parts_where_the_parameters_are_the_state(
    optimizer: Optimizer,
) -> None:
    estimator = LinearClassifier(optimizer=optimizer)
    assert hasattr(estimator, "partial_fit") == optimizer.trains_in_parts
