# SPDX-License-Identifier: BSD-3-Clause
"""Comparisons of strategies whose workers are processes, which are killed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.problems import Problem, planted
from support.processes import beside, kill_one, workers_of

import hybridtrain as ht
from hybridtrain.cli import main
from hybridtrain.strategies.parse import default_strategies

EPOCHS = 40


@pytest.fixture(scope="module")
def large() -> Problem:
    return planted(5, 20_000, 300, longest=30)


def _compare(problem: Problem, **settings: Any) -> ht.Comparison:
    return ht.compare(
        ht.Linear(l2=1e-5),
        (problem.X, problem.labels),
        workers=2,
        epochs=EPOCHS,
        repeats=1,
        optimizer=ht.SGD(lr=0.3),
        progress=False,
        **settings,
    )


def test_killed_processes_are_named_and_change_no_bit_of_sync(large: Problem) -> None:
    with beside(kill_one(seed=0), pause=0.02) as kills:
        comparison = _compare(large, backend="processes", baseline=True)
    assert kills
    assert [run.workers for run in comparison.runs] == [1, *(2 for _ in default_strategies())]
    assert all(run.result.settings["backend"] == "processes" for run in comparison.runs)
    died = [run for run in comparison.runs if run.deaths]
    assert died
    assert all(set(run.deaths) == {"SIGKILL"} for run in died)
    notes = [note for note in comparison.notes() if "worker processes died" in note]
    assert [note.partition(":")[0] for note in notes] == [comparison.label(run) for run in died]
    assert notes[0].endswith(
        f": SIGKILL {len(died[0].deaths)} time" + "s" * (len(died[0].deaths) > 1)
    )
    sync = next(run for run in comparison.runs if run.name == "sync")
    (threads,) = _compare(large, strategies=["sync"]).runs
    assert threads.deaths == ()
    assert np.array_equal(sync.result.params["coef"], threads.result.params["coef"])
    assert workers_of(os.getpid()) == []


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ({"backend": "process"}, 'backend must be "threads" or "processes"'),
        ({"timeout": -1}, "timeout must be finite and > 0"),
    ],
)
def test_settings_out_of_range_are_refused(
    setting: dict[str, Any], text: str, large: Problem
) -> None:
    with pytest.raises(ht.InvalidSettingError, match=text):
        _compare(large, **setting)


def test_the_command_line_compares_processes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "figures.json"
    words = ["--backend", "processes", "--timeout", "30", "--workers", "2", "--repeats", "1"]
    words += ["--epochs", "15", "--json", str(figures), "--strategies", "sync,hybrid"]
    with beside(kill_one(seed=0), pause=0.05) as kills:
        assert main(["compare", *words]) == 0
    assert kills
    runs = json.loads(figures.read_text(encoding="utf-8"))["runs"]
    assert [run["settings"]["backend"] for run in runs] == ["processes"] * 3
    deaths = [
        cause for run in runs for report in run["worker_reports"] for cause in report["deaths"]
    ]
    assert set(deaths) == {"SIGKILL"}
    assert "worker processes died and were replaced" in capsys.readouterr().out
    assert main(["compare", "--backend", "processes", "--timeout", "0"]) == 1
    assert "--timeout must be finite and > 0, got 0" in capsys.readouterr().err
