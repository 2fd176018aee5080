# SPDX-License-Identifier: BSD-3-Clause
"""Comparisons: what is run, on which rows, and what is said meanwhile."""

from __future__ import annotations

import io
import re
import sys
from typing import Any

import numpy as np
import pytest
from reference.problems import Problem

import hybridtrain as ht
from hybridtrain.run.evaluate import auc
from hybridtrain.strategies.parse import strategy_name

ALL = ["sync", "hogwild", "hybrid"]


def _compare(problem: Problem, **settings: Any) -> ht.Comparison:
    defaults = {"strategies": ALL, "workers": 1, "epochs": 3, "repeats": 1, "progress": False}
    return ht.compare(ht.Linear(), (problem.X, problem.labels), **(defaults | settings))


def test_every_strategy_trains_as_train_does(problem: Problem) -> None:
    data, valid = (problem.X[:300], problem.labels[:300]), (problem.X[300:], problem.labels[300:])
    comparison = ht.compare(
        ht.Linear(l2=1e-3), data, strategies=ALL, workers=1, validation=valid, optimizer="adagrad"
    )
    assert [run.name for run in comparison.runs] == ALL
    for run in comparison.runs:
        alone = ht.train(
            ht.Linear(l2=1e-3),
            data,
            strategy=run.strategy,
            workers=1,
            validation=valid,
            optimizer="adagrad",
        )
        assert np.array_equal(run.result.params["coef"], alone.params["coef"])
        assert run.losses == tuple(record.validation_loss for record in alone.history)


def test_a_share_holds_out_the_rows_that_train_holds_out(problem: Problem) -> None:
    comparison = _compare(problem, validation=0.25, seed=7)
    data = (problem.X, problem.labels)
    alone = ht.train(
        ht.Linear(), data, strategy="sync", workers=1, validation=0.25, seed=7, epochs=3
    )
    assert np.array_equal(comparison.runs[0].result.params["coef"], alone.params["coef"])
    assert comparison.runs[0].losses == tuple(record.validation_loss for record in alone.history)
    assert comparison.data["rows"] == 300
    assert comparison.data["validation_rows"] == 100


def test_rows_that_must_be_converted_are_converted_once_for_all(problem: Problem) -> None:
    X = problem.X.astype(np.float64).tocsc()
    data = (X, problem.labels)
    comparison = ht.compare(
        ht.Linear(), data, strategies=ALL, workers=1, validation=data, progress=False
    )
    assert [run.result.settings["copied"] for run in comparison.runs] == [[], [], []]


def test_dense_rows_and_weights_are_compared(problem: Problem) -> None:
    weight = np.linspace(0.5, 2.0, len(problem.labels))
    data = (problem.X.toarray(), problem.labels, weight)
    comparison = ht.compare(
        ht.Linear(), data, strategies=["sync"], workers=1, validation=0.25, progress=False
    )
    alone = ht.train(ht.Linear(), data, strategy="sync", workers=1, validation=0.25)
    assert comparison.runs[0].losses == tuple(record.validation_loss for record in alone.history)


def test_the_baseline_is_one_worker_and_comes_first(problem: Problem) -> None:
    comparison = _compare(problem, workers=2, strategies=["sync", "hybrid"], baseline=True)
    assert [(run.name, run.workers) for run in comparison.runs] == [
        ("hybrid", 1),
        ("sync", 2),
        ("hybrid", 2),
    ]
    alone = _compare(problem, workers=1, strategies=["hybrid", "sync"], baseline=True)
    assert [run.name for run in alone.runs] == ["hybrid", "sync"]


@pytest.mark.parametrize("name", ["hybrid", "hybrid(every=64)", "sync(exact=False)"])
def test_a_run_is_named_as_it_is_asked_for(name: str, problem: Problem) -> None:
    run = _compare(problem, strategies=[name]).runs[0]
    assert run.name == strategy_name(run.strategy) == name


def test_short_comparisons_are_repeated(problem: Problem) -> None:
    assert _compare(problem, strategies=["sync"], repeats=None).repeats == 5


def test_a_strategy_that_does_not_go_with_the_optimizer_is_left_out(problem: Problem) -> None:
    comparison = _compare(problem, optimizer="adam", strategies=["hybrid", "sync"])
    assert [run.name for run in comparison.runs] == ["sync"]
    [(name, reason)] = comparison.left_out
    assert name == "hybrid"
    assert "Adam" in reason
    assert f"hybrid is left out: {reason}" in str(comparison)
    with pytest.raises(ht.InvalidSettingError, match="Adam"):
        _compare(problem, optimizer="adam", strategies=["hybrid"])


def test_a_run_that_diverges_is_shown_as_such(problem: Problem) -> None:
    comparison = ht.compare(
        ht.Linear(),
        (problem.X, problem.labels),
        strategies=["hybrid"],
        workers=1,
        optimizer=ht.SGD(lr=1e38, schedule="constant"),
        progress=False,
    )
    assert comparison.best is None
    said = "the loss became infinite or NaN in epoch 1"
    assert comparison.runs[0].diverged.startswith(f"{said} at learning rate")
    assert "No run is best: all diverged" in comparison.verdict
    assert f"hybrid diverged: {said}" in str(comparison)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strategies": "sync"}, "strategies must be a list such as"),
        ({"strategies": []}, "strategies must be a list such as"),
        ({"strategies": ["hybird"]}, "strategy must be one of"),
        ({"validation": None}, "validation must be a share of the rows or data, got None"),
        ({"validation": 1.5}, "0 < share < 1"),
        ({"repeats": 0}, "repeats must be >= 1, got 0"),
        ({"seed": -1}, "seed must be >= 0, got -1"),
        ({"workers": 0}, "workers must be >= 1, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(
    problem: Problem, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ht.InvalidSettingError, match=message):
        _compare(problem, **settings)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("is_terminal", [True, False])
def test_long_comparisons_say_what_runs(
    is_terminal: bool, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = _Terminal() if is_terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    _compare(problem, strategies=["sync"], progress=None)
    assert stream.getvalue() == ""  # silent for the first second
    module = sys.modules["hybridtrain.comparison.announcer"]
    monkeypatch.setattr(module, "_QUIET_SECONDS", 0.0)
    monkeypatch.setattr(module, "_BLINK_SECONDS", 0.0)
    _compare(problem, strategies=["sync"], progress=False)
    assert stream.getvalue() == ""
    _compare(problem, strategies=["sync"], progress=None, epochs=1)
    if is_terminal:
        name, epoch, rest = stream.getvalue().split("\r\x1b[K")[1:]
        assert rest == ""  # cleared
    else:
        name, epoch = stream.getvalue().splitlines()
    assert name == "1 of 1: sync, workers: 1"
    assert re.fullmatch(rf"{name}: epoch 1, validation loss \d\.\d+", epoch)


def test_the_score_is_area_accuracy_or_r2(problem: Problem) -> None:
    X, three = problem.X, np.digitize(problem.values, [-0.5, 0.5])
    expected = {"logistic": "AUC", "softmax": "accuracy", "squared": "R^2"}
    targets = {"logistic": problem.labels, "softmax": three, "squared": problem.values}
    for loss, name in expected.items():
        data = (X, targets[loss])
        comparison = ht.compare(
            ht.Linear(loss=loss),  # type: ignore[arg-type]
            data,
            strategies=["sync"],
            workers=1,
            validation=data,
            progress=False,
        )
        result = comparison.runs[0].result
        assert comparison.score_name == name
        if name == "AUC":
            score = auc(result.decision_function(X), problem.labels)
        else:
            score = result.score(*data)
        assert comparison.runs[0].score == score


def test_the_machine_and_the_versions_are_noted(problem: Problem) -> None:
    machine = _compare(problem, strategies=["sync"]).machine
    assert machine["processor"]
    assert machine["cores"] >= 1
    assert {"hybridtrain", "numpy", "scipy", "python", "system"} <= set(machine)
