# SPDX-License-Identifier: BSD-3-Clause
"""Callbacks and early stopping: when a run ends, and with which parameters."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.problems import Problem, planted

import hybridtrain as ht

STRATEGIES = ["hybrid", "hogwild", "sync"]


def _train(problem: Problem, **settings: Any) -> ht.Result:
    data = (problem.X, problem.labels)
    return ht.train(ht.Linear(), data, **{"workers": 1, "epochs": 6, **settings})


def _coef(result: ht.Result) -> list[float]:
    return [*result.params["coef"].tolist(), result.params["intercept"]]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("workers", [1, 2])
def test_each_callback_sees_each_epoch(strategy: str, workers: int, problem: Problem) -> None:
    seen: tuple[list[Any], list[Any]] = ([], [])
    callbacks = [seen[0].append, seen[1].append]
    result = _train(problem, strategy=strategy, workers=workers, callbacks=callbacks)
    assert tuple(seen[0]) == tuple(seen[1]) == result.history
    assert len(result.history) == 6
    assert result.settings["stopped"] is None
    assert result.settings["best_epoch"] is None


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("answer", [True, 1, "stop", np.True_])
def test_a_true_answer_ends_the_run_after_the_epoch(
    *, strategy: str, workers: int, answer: Any, problem: Problem
) -> None:
    later: list[int] = []
    callbacks = (
        lambda record: answer if record.epoch == 2 else None,
        lambda record: later.append(record.epoch),
    )
    result = _train(problem, strategy=strategy, workers=workers, callbacks=callbacks)
    assert later == [1, 2]  # the others are called as well
    assert [record.epoch for record in result.history] == [1, 2]
    assert [record.trained for record in result.ledger] == [400, 400]
    assert result.settings["stopped"] == "callback"
    assert {report.ended for report in result.workers} == {"callback"}


def test_a_run_that_a_callback_ends_has_the_parameters_of_that_epoch(problem: Problem) -> None:
    optimizer = ht.SGD(lr=0.1, schedule="constant")
    stopped = _train(problem, optimizer=optimizer, callbacks=[lambda record: record.epoch == 3])
    assert _coef(stopped) == _coef(_train(problem, optimizer=optimizer, epochs=3))


def test_a_true_answer_after_the_last_epoch_changes_nothing(problem: Problem) -> None:
    result = _train(problem, callbacks=[lambda record: record.epoch == 6])
    assert result.settings["stopped"] is None
    assert {report.ended for report in result.workers} == {"finished"}


class _OwnError(Exception):
    pass


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("workers", [1, 2])
def test_an_exception_in_a_callback_is_passed_on_as_it_is(
    strategy: str, workers: int, problem: Problem
) -> None:
    error = _OwnError("mine")
    seen = []

    def fail(record: Any) -> None:
        seen.append(record.epoch)
        if record.epoch == 2:
            raise error

    with pytest.raises(_OwnError) as caught:  # no worker is left: see conftest.py
        _train(problem, strategy=strategy, workers=workers, callbacks=[fail])
    assert caught.value is error
    assert error.__cause__ is None
    assert seen == [1, 2]


def test_ctrl_c_in_a_callback_gives_the_partial_result(problem: Problem) -> None:
    def interrupt(record: Any) -> None:
        if record.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(ht.TrainingInterrupted, match="in epoch 2 of 6") as caught:
        _train(problem, callbacks=[interrupt])
    assert [record.epoch for record in caught.value.result.history] == [1, 2]
    assert caught.value.result.settings["stopped"] == "interrupted"


@pytest.mark.parametrize("callbacks", [print, [1], 5, "ab", [None], {1: 2}])
def test_what_is_no_sequence_of_functions_is_refused(callbacks: Any, problem: Problem) -> None:
    with pytest.raises(ht.InvalidSettingError, match="callbacks must be a sequence of functions"):
        _train(problem, callbacks=callbacks)


class _Steps:
    """A schedule that worsens the parameters after the second epoch, and mends them later."""

    def factor(self, epochs: float, total: float) -> float:
        del total
        return 1.0 if epochs < 2 or epochs >= 5 else 1e3


@pytest.fixture
def overshooting() -> Callable[..., ht.Result]:
    """Train so that the validation loss is least after epoch 2."""
    problem = planted(1, 400, 60, longest=30)
    valid = planted(1, 400, 60, longest=30)

    def train(**settings: Any) -> ht.Result:
        optimizer = ht.SGD(lr=0.05, schedule=_Steps())
        return _train(
            problem,
            optimizer=optimizer,
            validation=(valid.X, valid.labels),
            **{"epochs": 9, **settings},
        )

    return train


@pytest.mark.parametrize("strategy", ["hybrid", "sync(exact=False)"])
@pytest.mark.parametrize("patience", [1, 2, 3])
def test_a_run_ends_when_the_patience_does_and_has_the_best_parameters(
    strategy: str, patience: int, overshooting: Callable[..., ht.Result]
) -> None:
    settings = {"strategy": strategy, "epochs": 30, "patience": patience}
    result = overshooting(**settings)
    losses = [record.validation_loss for record in result.history]
    assert int(np.argmin(losses[: 2 + patience])) == 1
    assert len(losses) == 2 + patience + 16  # in the last sixteen the rate falls
    assert result.settings["stopped"] == "patience"
    assert {report.ended for report in result.workers} == {"patience"}
    best = result.settings["best_epoch"]
    assert losses[best - 1] < 1.005 * min(losses)
    assert _coef(result) == _coef(overshooting(**settings, callbacks=[lambda r: r.epoch == best]))


def test_a_run_whose_patience_lasts_has_the_best_parameters_too(
    overshooting: Callable[..., ht.Result],
) -> None:
    result = overshooting(patience=9)
    losses = [record.validation_loss for record in result.history]
    assert len(losses) == 9
    assert result.settings["stopped"] is None
    assert result.settings["best_epoch"] == 1 + int(np.argmin(losses))


def test_the_best_parameters_survive_an_interruption(
    overshooting: Callable[..., ht.Result],
) -> None:
    def interrupt(record: Any) -> None:
        if record.epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(ht.TrainingInterrupted) as caught:
        overshooting(patience=5, callbacks=[interrupt])
    assert _coef(caught.value.result) == _coef(overshooting(epochs=2))
    assert caught.value.result.settings["best_epoch"] == 2


def test_a_callback_comes_before_the_patience(overshooting: Callable[..., ht.Result]) -> None:
    result = overshooting(patience=1, callbacks=[lambda record: record.epoch == 3])
    assert result.settings["stopped"] == "callback"
    assert result.settings["best_epoch"] == 2


def test_patience_needs_validation(problem: Problem) -> None:
    with pytest.raises(ht.InvalidSettingError, match="patience needs validation data"):
        _train(problem, patience=3)


@pytest.mark.parametrize("patience", [0, -1, 1.5, True, "2"])
def test_patience_is_a_positive_int(patience: Any, problem: Problem) -> None:
    with pytest.raises(ht.InvalidSettingError, match="patience must be"):
        _train(problem, patience=patience, validation=0.25)


def test_how_a_run_ended_is_kept_in_a_file(
    overshooting: Callable[..., ht.Result], tmp_path: Path
) -> None:
    result = overshooting(patience=np.int64(2))
    result.save(tmp_path / "a.npz")
    assert ht.load(tmp_path / "a.npz").settings == json.loads(json.dumps(result.settings))
