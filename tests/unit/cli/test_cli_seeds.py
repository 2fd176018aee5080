# SPDX-License-Identifier: BSD-3-Clause
"""`hybridtrain compare --seeds`, and the strategies that it has by itself."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from reference.problems import Problem
from scipy import sparse

from hybridtrain.cli.entry import main
from hybridtrain.strategies.parse import STRATEGIES

QUICK = ["--repeats", "1", "--workers", "1"]


@pytest.fixture
def rows(problem: Problem, tmp_path: Path) -> Path:
    """Rows of two classes."""
    sparse.save_npz(tmp_path / "rows.npz", problem.X)
    np.save(tmp_path / "rows.y.npy", problem.labels.astype(np.float32))
    return tmp_path / "rows.npz"


def _said(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize(("word", "seeds"), [("1:3", [1, 2]), ("7,3", [7, 3])])
def test_compare_with_seeds_shows_medians_and_keeps_all_runs(
    word: str, seeds: list[int], rows: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    figures = tmp_path / "figures.json"
    words = ["--seeds", word, "--strategies", "sync,hybrid", "--no-baseline", "--epochs", "2"]
    code, out, _ = _said(capsys, "compare", rows, *QUICK, *words, "--json", figures)
    assert code == 0
    assert f"automatic learning rates, seeds {seeds[0]}, {seeds[1]}" in out
    assert re.search(r"^medians of 2 seeds +sync +hybrid$", out, re.MULTILINE)
    assert len(re.findall(r"^  highest +\S+ +\S+$", out, re.MULTILINE)) == 3
    assert "ended with the lowest loss" in out
    story = json.loads(figures.read_text())
    assert story["seeds"] == seeds
    assert [(run["strategy"], run["seed"]) for run in story["runs"]] == [
        (name, seed) for name in ("sync", "hybrid") for seed in seeds
    ]


def test_compare_with_one_seed_says_that_it_tells_no_spread(
    rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--strategies", "sync,hybrid", "--epochs", "1"]
    _, out, _ = _said(capsys, "compare", rows, *QUICK, *words)
    assert "automatic learning rates, seed 0\n" in out
    assert "One seed tells no spread: --seeds 0:5 would." in " ".join(out.split())


def test_the_help_of_compare_has_a_line_for_each_strategy(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, out, _ = _said(capsys, "compare", "--help")
    listed = out.partition("strategies:\n")[2].partition("  With arguments")[0]
    assert [line.split()[0] for line in listed.splitlines()] == list(STRATEGIES)
    assert all(len(line.split()) > 5 for line in listed.splitlines())
