# SPDX-License-Identifier: BSD-3-Clause
"""Comparisons of runs: what is measured, what is said of it, what is drawn."""

from __future__ import annotations

import itertools
import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference.problems import Problem
from support.made_up import comparison_of, run_of

import hybridtrain as ht
from hybridtrain.comparison.chart import apart


def test_the_target_is_half_a_percent_above_the_best_loss_of_any_epoch() -> None:
    comparison = comparison_of(run_of([0.7, 0.4, 0.6]), run_of([0.5, math.inf]))
    assert comparison.target_loss == pytest.approx(0.402)


def test_times_count_whole_epochs_until_the_target() -> None:
    run = run_of([0.9, 0.4, 0.3, 0.5], seconds=0.25)
    assert run.seconds_to(0.4) == 0.5
    assert run.epochs_to(0.31) == 3
    assert run.seconds_to(0.2) is None
    assert run.seconds == 1.0
    assert run.rows_per_second == 4000.0


def test_shares_are_of_all_workers_time() -> None:
    run = run_of([0.5])
    assert (run.waiting, run.merging) == (0.375, 0.125)


@pytest.mark.parametrize(
    ("strategy", "workers", "again", "with_others"),
    [
        (ht.Sync(), 4, True, True),
        (ht.Sync(exact=False), 4, True, False),
        (ht.Hybrid(), 1, True, False),
        (ht.Hybrid(), 2, False, False),
        (ht.Hogwild(exact=True), 2, False, False),
    ],
)
def test_which_bits_are_reproducible(
    strategy: Any, workers: int, again: bool, with_others: bool
) -> None:
    run = run_of([0.5], strategy=strategy, workers=workers)
    assert (run.same_bits, run.same_bits_for_any_workers) == (again, with_others)


def test_the_verdict_names_the_first_and_how_much_later_the_others_are() -> None:
    comparison = comparison_of(
        run_of([0.5, 0.4], strategy=ht.Sync(), seconds=1.0),
        run_of([0.4], seconds=0.5),
        run_of([0.4], seconds=1.0, workers=1),
        run_of([0.603], strategy=ht.Hogwild()),
    )
    assert comparison.best is comparison.runs[1]
    assert comparison.verdict == (
        "hybrid with 2 workers reached the target loss of 0.40200 first: 0.500 s, 2.0x sooner than "
        "hybrid with 1 worker (1.00 s), 4.0x sooner than sync (2.00 s); not reached by hogwild "
        "(50 % above). One seed tells no spread: seeds=range(5) would."
    )


def test_the_verdict_does_not_call_a_close_race() -> None:
    close = comparison_of(
        run_of([0.4], strategy=ht.Sync(), seconds=1.0), run_of([0.4], seconds=1.09)
    )
    assert "1.1x sooner than hybrid (1.09 s); that is too close to call." in close.verdict
    nearer = comparison_of(
        run_of([0.4], strategy=ht.Sync(), seconds=1.0), run_of([0.4], seconds=1.01)
    )
    assert "first: 1.00 s, hardly sooner than hybrid (1.01 s)" in nearer.verdict
    clear = comparison_of(
        run_of([0.4], strategy=ht.Sync(), seconds=1.0), run_of([0.4], seconds=1.2)
    )
    assert "close" not in clear.verdict


def test_the_verdict_on_a_single_run_and_on_a_diverged_one() -> None:
    assert comparison_of(run_of([0.4])).verdict == (
        "hybrid reached the target loss of 0.40200 in 1.00 s; it is the only run."
    )
    two = comparison_of(run_of([0.4]), run_of([], strategy=ht.Sync(), diverged="infinite"))
    assert two.verdict == (
        "hybrid reached the target loss of 0.40200, as the only one, in 1.00 s; "
        "not reached by sync (diverged). One seed tells no spread: seeds=range(5) would."
    )


def test_runs_of_milliseconds_are_said_to_prove_little() -> None:
    assert "only milliseconds" in str(comparison_of(run_of([0.4], seconds=0.003)))
    assert "only milliseconds" not in str(comparison_of(run_of([0.4], seconds=0.03)))


def test_the_table_holds_the_figures() -> None:
    comparison = comparison_of(run_of([0.5, 0.4], strategy=ht.Sync(), seconds=0.5), run_of([0.9]))
    lines = [re.split(r"\s{2,}", line) for line in comparison.table().splitlines()]
    rows = {label: cells for label, *cells in lines}
    assert rows[""] == ["sync", "hybrid"]
    assert rows["workers"] == ["2", "2"]
    assert rows["speed, thousand rows/s"] == ["2.00", "1.00"]
    assert rows["time to the target loss, s"] == ["1.00", "-"]
    assert rows["validation loss at the end"] == ["0.40000", "0.90000"]
    assert rows["AUC on validation rows"] == ["0.7500", "0.7500"]
    assert rows["waiting, % of workers' time"] == ["37.5", "37.5"]
    assert rows["merging, % of workers' time"] == ["12.5", "12.5"]
    assert rows["staleness: mean, rows"] == ["2", "2"]
    assert rows["staleness: largest, rows"] == ["3", "3"]
    assert rows["same bits when run again"] == ["yes", "no"]
    assert rows["same bits with other workers"] == ["yes", "no"]


def test_a_comparison_is_stored_as_json_without_nan(tmp_path: Path) -> None:
    runs = run_of([0.4, math.nan]), run_of([], strategy=ht.Sync(), diverged="infinite")
    comparison = comparison_of(*runs)
    comparison.save(tmp_path / "figures.json")

    def refuse(word: str) -> None:
        raise AssertionError(f"JSON has no {word}")

    story = json.loads((tmp_path / "figures.json").read_text(), parse_constant=refuse)
    assert story["verdict"] == comparison.verdict
    assert story["target_loss"] == comparison.target_loss
    assert story["machine"] == {"processor": "none"}
    first, second = story["runs"]
    assert [record["validation_loss"] for record in first["history"]] == [0.4, None]
    assert first["settings"] == {"lr": 0.5, "limit": None}
    assert first["seconds_to_target"] == 1.0
    assert second["diverged"] == "infinite"
    assert second["validation_loss"] is None


@pytest.mark.parametrize(
    ("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".PDF", b"%PDF")]
)
def test_a_chart_is_drawn_in_the_format_of_its_suffix(
    suffix: str, start: bytes, tmp_path: Path
) -> None:
    path = tmp_path / f"chart{suffix}"
    diverged = run_of([], strategy=ht.Hogwild(), diverged="infinite")
    comparison_of(run_of([0.5, 0.4]), run_of([math.nan, 0.9], strategy=ht.Sync()), diverged).plot(
        path
    )
    assert path.read_bytes().startswith(start)


def test_a_chart_names_its_axes_its_lines_and_the_target(tmp_path: Path) -> None:
    path = tmp_path / "chart.svg"
    comparison_of(run_of([0.5, 0.4]), run_of([0.8, 0.9], strategy=ht.Sync(), workers=1)).plot(path)
    text = path.read_text()  # words are drawn as shapes, with the words as comments
    for words in (
        "training time [s]",
        "validation loss",
        "hybrid, 2 workers",
        "sync, 1 worker",
        "target 0.402",
        "Logistic loss while training on 1,000 rows",
    ):
        assert f"<!-- {words} -->" in text


def test_a_chart_needs_a_known_suffix_and_matplotlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparison = comparison_of(run_of([0.5, 0.4]))
    with pytest.raises(ht.InvalidSettingError, match=r"must end with \.png, \.svg, \.pdf, got"):
        comparison.plot(tmp_path / "chart.jpg")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ht.MissingPackageError, match=r"pip install 'hybridtrain\[plot\]'"):
        comparison.plot(tmp_path / "chart.png")


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12).map(sorted))
def test_labels_do_not_overlap_and_stay_in_order(places: list[float]) -> None:
    moved = apart(places, 0.1)
    assert all(b - a > 0.1 - 1e-9 for a, b in itertools.pairwise(moved))
    assert np.mean(moved) == pytest.approx(np.mean(places))
    if all(b - a > 0.1 for a, b in itertools.pairwise(places)):
        assert moved == pytest.approx(places)


def test_the_run_of_median_time_is_kept(monkeypatch: pytest.MonkeyPatch, problem: Problem) -> None:
    seconds = iter([3.0, 1.0, 2.0])

    def told(*_: Any, **__: Any) -> ht.Result:
        return run_of([0.5], seconds=next(seconds)).result

    monkeypatch.setattr("hybridtrain.comparison.compare.train", told)
    monkeypatch.setattr("hybridtrain.comparison.compare._score", lambda *_: 0.5)
    data = (problem.X, problem.labels)
    comparison = ht.compare(ht.Linear(), data, strategies=["sync"], repeats=3, progress=False)
    assert comparison.runs[0].seconds == 2.0
    assert comparison.repeats == 3
    assert "median of 3 runs" in str(comparison)
