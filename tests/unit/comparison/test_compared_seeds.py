# SPDX-License-Identifier: BSD-3-Clause
"""Comparisons with several seeds: what is run in which order, what is shown and said of it."""

from __future__ import annotations

import itertools
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from reference.problems import Problem
from support.made_up import comparison_of, run_of, runs_of

import hybridtrain as ht
from hybridtrain.strategies.parse import STRATEGIES, default_strategies

LOW = [0.400, 0.401, 0.402, 0.403, 0.404]
ABOVE = [0.4001, 0.4011, 0.4020, 0.4031, 0.4040]
TIMES = [1.00, 1.10, 0.90, 1.05, 0.95]
LATER = [2.02, 2.18, 1.82, 2.08, 1.92]


def _sync(losses: list[float], seconds: list[float] | None = None) -> ht.ComparedStrategy:
    return runs_of(losses, seconds=seconds, strategy=ht.Sync())


def _compare(problem: Problem, **settings: Any) -> ht.Comparison:
    defaults = {"strategies": ["sync", "hybrid"], "workers": 1, "epochs": 2, "progress": False}
    return ht.compare(ht.Linear(), (problem.X, problem.labels), **(defaults | settings))


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Put made-up runs in the place of training; the list has (strategy, seed) of each."""
    calls: list[tuple[str, int]] = []

    def train(*_: Any, strategy: ht.Strategy, seed: int, **__: Any) -> ht.Result:
        calls.append((type(strategy).__name__, seed))
        return run_of([0.5], seed=seed).result

    monkeypatch.setattr("hybridtrain.comparison.compare.train", train)
    monkeypatch.setattr("hybridtrain.comparison.compare._score", lambda *_: 0.5)
    return calls


# ---- what is run


def test_every_strategy_trains_as_train_does_with_every_seed(problem: Problem) -> None:
    comparison = _compare(problem, seeds=range(3, 5), validation=0.25)
    assert [(run.name, run.seed) for run in comparison.runs] == list(
        itertools.product(["sync", "hybrid"], [3, 4])
    )
    assert comparison.seeds == (3, 4)
    assert comparison.repeats == 1
    # The rows are split once, by the first seed.
    alone = ht.train(
        ht.Linear(),
        (problem.X, problem.labels),
        strategy="sync",
        workers=1,
        validation=0.25,
        seed=3,
        epochs=2,
    )
    first, second = comparison.strategies[0].runs
    assert np.array_equal(first.result.params["coef"], alone.params["coef"])
    assert not np.array_equal(second.result.params["coef"], alone.params["coef"])
    again = _compare(problem, seed=3, validation=0.25, repeats=1, strategies=["sync"])
    assert again.runs[0].losses == first.losses
    assert again.seeds == (3,)


def test_strategies_take_turns_seed_by_seed(
    trained: list[tuple[str, int]], problem: Problem
) -> None:
    _compare(problem, seeds=[7, 3], repeats=2)
    turn = [("Sync", 7), ("Hybrid", 7), ("Sync", 3), ("Hybrid", 3)]
    assert trained == turn * 2
    trained.clear()
    _compare(problem, seeds=[7, 3])
    assert trained == turn
    trained.clear()
    _compare(problem, seeds=[7])  # one seed: as many repeats as with `seed`
    assert trained == turn[:2] * 5


@pytest.mark.parametrize("make", [list, tuple, np.array, iter, pd.Series])
def test_seeds_may_be_any_ints_in_any_order(
    make: Any, trained: list[tuple[str, int]], problem: Problem
) -> None:
    seeds = make([2**40, 0])
    assert _compare(problem, strategies=["sync"], seeds=seeds).seeds == (2**40, 0)
    assert trained == [("Sync", 2**40), ("Sync", 0)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": range(2), "seed": 0}, "seeds must be given without a seed, got both"),
        ({"seeds": []}, r"seeds must be ints such as range\(5\), got \[\]"),
        ({"seeds": 5}, r"seeds must be ints such as range\(5\), got 5"),
        ({"seeds": "12"}, r"seeds must be ints such as range\(5\), got '12'"),
        ({"seeds": np.array(3)}, r"seeds must be ints such as range\(5\), got array\(3\)"),
        ({"seeds": [0, 1, 0]}, "seeds must differ from each other, got 0 twice"),
        ({"seeds": [0, -1]}, r"seeds\[1\] must be >= 0, got -1"),
        ({"seeds": [0, 0.5]}, r"seeds\[1\] must be an int >= 0, got 0\.5"),
        ({"seeds": [True]}, r"seeds\[0\] must be an int >= 0, got True"),
        ({"seeds": [2**64]}, r"seeds\[0\] must be at most 18446744073709551615"),
        ({"seeds": itertools.count()}, "seeds must be at most 1,000 ints, got more"),
    ],
)
def test_seeds_that_cannot_be_are_refused_before_anything_runs(
    settings: dict[str, Any], message: str, trained: list[tuple[str, int]], problem: Problem
) -> None:
    with pytest.raises(ht.InvalidSettingError, match=message):
        _compare(problem, **settings)
    assert trained == []


def test_by_default_all_strategies_run_that_need_no_arguments(
    trained: list[tuple[str, int]], problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [STRATEGIES[name].__name__ for name in default_strategies()]
    _compare(problem, strategies=None, repeats=1)
    assert [name for name, _ in trained] == expected

    class Needy:
        __dataclass_fields__ = ht.Checkpoint.__dataclass_fields__  # its folder has no default

    monkeypatch.setitem(STRATEGIES, "needy", Needy)  # type: ignore[arg-type]
    trained.clear()
    _compare(problem, strategies=None, repeats=1)
    assert [name for name, _ in trained] == expected


@pytest.mark.parametrize(
    "error", [ht.InvalidSettingError, ht.InvalidDataError, ht.OutOfMemoryError]
)
@pytest.mark.parametrize("at", [0, 1])
def test_a_strategy_that_refuses_is_left_out_with_its_reason(
    error: Any, at: int, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def train(*_: Any, strategy: ht.Strategy, seed: int, **__: Any) -> ht.Result:
        tried.append((type(strategy).__name__, seed))
        if isinstance(strategy, ht.Hybrid) and seed == at:
            raise error("not these rows")
        return run_of([0.5], seed=seed).result

    monkeypatch.setattr("hybridtrain.comparison.compare.train", train)
    monkeypatch.setattr("hybridtrain.comparison.compare._score", lambda *_: 0.5)
    comparison = _compare(problem, strategies=["hybrid", "sync"], seeds=range(3))
    assert [strategy.name for strategy in comparison.strategies] == ["sync"]
    assert comparison.left_out == (("hybrid", "not these rows"),)
    assert comparison.seeds == (0, 1, 2)
    assert "hybrid is left out: not these rows" in comparison.notes()
    assert tried.count(("Hybrid", 2)) == 0
    with pytest.raises(error, match="not these rows"):
        _compare(problem, strategies=["hybrid"], seeds=range(3))


def test_rows_that_change_end_the_comparison(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*_: Any, strategy: ht.Strategy, seed: int, **__: Any) -> ht.Result:
        if isinstance(strategy, ht.Hybrid):
            raise ht.DataChangedError("changed")
        return run_of([0.5], seed=seed).result

    monkeypatch.setattr("hybridtrain.comparison.compare.train", train)
    monkeypatch.setattr("hybridtrain.comparison.compare._score", lambda *_: 0.5)
    with pytest.raises(ht.DataChangedError, match="changed"):
        _compare(problem)


# ---- what is said of it


def test_the_target_and_the_best_are_of_medians() -> None:
    fast = runs_of([0.3, 0.402, 0.5], seconds=[0.2, 0.1, 0.1])
    steady = _sync([0.401, 0.400, 0.402], seconds=[2.0, 3.0, 1.0])
    comparison = comparison_of(fast, steady)
    assert comparison.target_loss == pytest.approx(0.401 * 1.005)  # not of the one run at 0.3
    assert comparison.best is fast.runs[0]  # times: 0.1, 0.2, never
    assert comparison_of(steady).best is steady.runs[0]
    even = comparison_of(runs_of([0.1, 0.2, 0.3, 0.4], seconds=[1.0, 2.0, 3.0, 4.0]))
    assert even.best is even.runs[1]


def test_the_verdict_tells_differences_from_spread() -> None:
    comparison = comparison_of(
        _sync(LOW, TIMES), runs_of(ABOVE, seconds=LATER), runs_of(LOW, seconds=LATER, workers=1)
    )
    assert comparison.verdict == (
        "sync reached the target loss of 0.40401 first: 1.00 s, 2.0x sooner than hybrid with 2 "
        "workers (2.02 s, clearly), 2.0x sooner than hybrid with 1 worker (2.02 s, clearly). "
        "sync ended with the lowest loss, 0.40200; then hybrid with 2 workers (0.40200, not "
        "clearly), hybrid with 1 worker (0.40200, not clearly)."
    )
    assert "Clearly: by more than the spread" in comparison.notes()[-1]


def test_a_wide_spread_is_not_called() -> None:
    shuffled = [1.3, 0.8, 1.6, 0.7, 1.2]
    comparison = comparison_of(_sync(LOW, TIMES), runs_of([0.45, *LOW[1:]], seconds=shuffled))
    assert "1.2x sooner than hybrid (1.20 s" in comparison.verdict
    assert "clearly)" not in comparison.verdict.replace("not clearly)", "")


def test_seeds_that_missed_the_target_or_diverged_are_counted() -> None:
    missed = comparison_of(
        _sync(LOW[:3]), runs_of([0.4, 0.9, 0.4]), runs_of([0.4, 0.9, 0.9], workers=1)
    )
    assert "hardly sooner than hybrid with 2 workers (1.00 s with 2 of 3 seeds)" in missed.verdict
    assert "not reached by hybrid with 1 worker (only with 1 of 3 seeds)" in missed.verdict
    lost = ht.ComparedStrategy(
        runs=(run_of([0.39]), *(run_of([], seed=k, diverged="infinite") for k in (1, 2)))
    )
    diverged = comparison_of(_sync(LOW[:3]), lost)
    assert "not reached by hybrid (diverged with 2 of 3 seeds)" in diverged.verdict
    assert diverged.verdict.endswith(
        "sync ended with the lowest loss, 0.40100; then hybrid (diverged with 2 of 3 seeds)."
    )
    assert "hybrid, seed 1 diverged: infinite" in diverged.notes()
    unsafe = ht.ComparedStrategy(
        runs=(*runs_of([0.3, 0.3]).runs, run_of([0.3], seed=2, diverged="infinite"))
    )
    assert comparison_of(unsafe, _sync(LOW[:3])).verdict.endswith(
        "sync ended with the lowest loss, 0.40100; then hybrid (diverged with 1 of 3 seeds)."
    )
    half = ht.ComparedStrategy(runs=(run_of([0.39]), lost.runs[1]))
    assert comparison_of(half).target_loss == pytest.approx(0.39 * 1.005)
    assert comparison_of(half).verdict.startswith(
        "No strategy is best: all diverged with half of the seeds or more; try a smaller lr"
    )
    nobody = comparison_of(runs_of([math.nan, math.nan], diverged="infinite"))
    assert nobody.best is None
    assert nobody.verdict.startswith("No run is best: all diverged")


def test_one_strategy_with_several_seeds() -> None:
    comparison = comparison_of(_sync(LOW, TIMES))
    assert comparison.verdict == (
        "sync reached the target loss of 0.40401 in 1.00 s; it is the only strategy."
    )
    assert not any(note.startswith("Clearly") for note in comparison.notes())


def test_the_table_has_medians_and_bands_and_says_so() -> None:
    comparison = comparison_of(_sync(LOW, TIMES), runs_of([0.41, 0.9, 0.42, 0.40, 0.43]))
    lines = [re.split(r"\s{2,}", line.strip()) for line in comparison.table().splitlines()]
    assert lines[0] == ["medians of 5 seeds", "sync", "hybrid"]
    at = {label: k for k, (label, *_) in enumerate(lines)}

    def band(label: str) -> list[list[str]]:
        return lines[at[label] + 1 : at[label] + 3]

    assert lines[at["time to the target loss, s"]][1:] == ["1.00", "-"]
    assert band("time to the target loss, s") == [
        ["lowest", "0.900", "1.00"],
        ["highest", "1.10", "-"],
    ]
    assert lines[at["validation loss at the end"]][1:] == ["0.40200", "0.42000"]
    assert band("validation loss at the end") == [
        ["lowest", "0.40000", "0.40000"],
        ["highest", "0.40400", "0.90000"],
    ]
    assert lines[at["staleness: largest, rows"]][1:] == ["3", "3"]


def test_the_file_keeps_all_seeds_all_runs_and_all_differences(tmp_path: Path) -> None:
    comparison = comparison_of(
        _sync(LOW, TIMES), runs_of(LOW, seconds=LATER), runs_of([0.4, 0.9, 0.4, 0.9, 0.9])
    )
    comparison.save(tmp_path / "figures.json")
    story = json.loads((tmp_path / "figures.json").read_text())
    assert story["format"] == "hybridtrain-comparison-1"
    assert story["seeds"] == [0, 1, 2, 3, 4]
    assert [(run["strategy"], run["seed"]) for run in story["runs"]] == [
        (name, seed) for name in ("sync", "hybrid", "hybrid") for seed in range(5)
    ]
    assert story["strategies"][0]["seconds_to_target"] == {
        "median": 1.0,
        "lowest": 0.9,
        "highest": 1.1,
    }
    assert story["strategies"][2]["seconds_to_target"]["median"] is None
    differences = [
        (pair["seconds_to_target"], pair["validation_loss"]) for pair in story["differences"]
    ]
    assert differences == [(True, False), (None, False), (None, False)]


def test_the_chart_has_a_band_for_each_strategy(tmp_path: Path) -> None:
    def fills(comparison: ht.Comparison) -> int:
        path = tmp_path / "chart.svg"
        comparison.plot(path)
        filled = r'id="FillBetweenPolyCollection_\d+">\s*<defs>\s*<path'
        return len(re.findall(filled, path.read_text()))

    several = comparison_of(_sync(LOW), runs_of(ABOVE))
    assert fills(several) == 2
    assert "medians and bands of 5 seeds" in (tmp_path / "chart.svg").read_text()
    assert fills(comparison_of(run_of([0.5, 0.4]), run_of([0.4], strategy=ht.Sync()))) == 0
    assert fills(comparison_of(runs_of([0.4, 0.41, math.inf]), _sync(LOW[:3]))) == 2
    lost = [run_of([], seed=seed, diverged="infinite") for seed in (1, 2)]
    half = ht.ComparedStrategy(runs=(run_of([0.4]), lost[0]))
    assert fills(comparison_of(half, ht.ComparedStrategy(runs=tuple(lost)))) == 1


# ---- frames


def test_a_frame_has_a_row_for_each_run_and_epoch(problem: Problem) -> None:
    comparison = _compare(problem, seeds=range(2), validation=0.25)
    frame = comparison.to_frame()
    expected = [
        (run.name, 1, run.seed, record.epoch, record.validation_loss)
        for run in comparison.runs
        for record in run.result.history
    ]
    columns = ["strategy", "workers", "seed", "epoch", "validation_loss"]
    assert list(frame[columns].itertuples(index=False, name=None)) == expected
    assert (frame["trained"] == 300).all()
    assert frame["trained"].equals(frame["rows"])
    assert (frame[["repeated", "dropped"]] == 0).all(axis=None)
    assert frame.groupby("strategy")["validation_loss"].count().to_dict() == {
        "hybrid": 4,
        "sync": 4,
    }
    assert frame["seed"].dtype == np.uint64
    alone = comparison.runs[0].result.to_frame()
    assert alone.equals(frame[:2].drop(columns=["strategy", "workers", "seed"]))
