# SPDX-License-Identifier: BSD-3-Clause
"""HYBRIDTRAIN_ISA chooses the instruction set of training, validation and prediction."""

from __future__ import annotations

from typing import Any

import pytest
from reference.problems import Problem

import hybridtrain as ht
from hybridtrain._core.rows import Rows, isas


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Collect the instruction sets that multiply rows by parameters."""
    names: set[str] = set()

    class Noting(Rows):
        def margins(self, parameters: Any, n_outputs: int, isa: int, *rest: Any) -> None:
            names.add(isas()[isa])
            super().margins(parameters, n_outputs, isa, *rest)

    monkeypatch.setattr("hybridtrain.data.matrix.Rows", Noting)
    return names


@pytest.mark.parametrize("strategy", ["hybrid", "sync"])
def test_training_and_validation_use_the_forced_set(
    strategy: str, isa: str, used: set[str], problem: Problem
) -> None:
    data = (problem.X, problem.labels)
    result = ht.train(ht.Linear(), data, strategy=strategy, validation=0.2, epochs=1, workers=1)
    assert result.settings["isa"] == isa
    assert used == {isa}


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_prediction_uses_the_forced_set(
    method: str, isa: str, used: set[str], problem: Problem
) -> None:
    result = ht.train(ht.Linear(), (problem.X, problem.labels), epochs=1, workers=1)
    used.clear()
    getattr(result, method)(problem.X)
    assert used == {isa}


def test_prediction_refuses_a_set_that_the_machine_lacks(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = ht.train(ht.Linear(), (problem.X, problem.labels), epochs=1, workers=1)
    monkeypatch.setenv("HYBRIDTRAIN_ISA", "mmx")
    with pytest.raises(ht.InvalidSettingError, match=r"HYBRIDTRAIN_ISA must be one of .*got 'mmx'"):
        result.predict(problem.X)
