# SPDX-License-Identifier: BSD-3-Clause
"""Frames of a run's epochs: their columns and types, and what is missing in them."""

from __future__ import annotations

import sys
from typing import Any

import pandas as pd
import pytest
from reference.problems import Problem
from support.made_up import comparison_of, run_of

import hybridtrain as ht

TYPES = {
    "epoch": "int64",
    "seconds": "float64",
    "rows": "Int64",
    "lr": "float64",
    "loss": "float64",
    "validation_loss": "float64",
    "trained": "Int64",
    "repeated": "Int64",
    "dropped": "Int64",
    "staleness_mean": "float64",
    "staleness_max": "Int64",
}
OF_RUNS = {"strategy": "object", "workers": "int64", "seed": "uint64"}


def _ledger(epoch: int, trained: int, dropped: int = 0) -> ht.LedgerRecord:
    return ht.LedgerRecord(
        epoch=epoch, trained=trained, repeated=3, dropped=dropped, reason="made up"
    )


def _types(frame: Any) -> dict[str, str]:
    return {name: str(dtype) for name, dtype in frame.dtypes.items()}


def test_history_and_ledger_are_joined_by_epoch() -> None:
    ledger = [_ledger(1, 1000), _ledger(2, 900, 100), _ledger(3, 0, 1000)]
    run = run_of([0.5, 0.4], ledger=ledger)
    frame = run.result.to_frame()
    assert _types(frame) == TYPES
    assert frame["epoch"].tolist() == [1, 2, 3]
    assert frame["trained"].tolist() == [1000, 900, 0]
    assert frame["dropped"].tolist() == [0, 100, 1000]
    assert frame["validation_loss"].tolist()[:2] == [0.5, 0.4]
    # The third epoch diverged: it has a record in the ledger alone.
    assert (
        frame.iloc[2][["seconds", "rows", "lr", "loss", "validation_loss", "staleness_max"]]
        .isna()
        .all()
    )
    assert frame["staleness_mean"].tolist()[:2] == [1.5, 2.0]
    assert frame["staleness_max"].tolist()[:2] == [3, 3]


def test_what_is_not_known_is_missing() -> None:
    unseen = ht.Staleness((0, 0), 0, 0, "sampled")
    frame = run_of([None], staleness=unseen).result.to_frame()  # type: ignore[list-item]
    assert _types(frame) == TYPES
    unknown = [name for name in TYPES if frame[name].isna().all()]
    assert unknown == [
        "validation_loss",
        "trained",
        "repeated",
        "dropped",
        "staleness_mean",
        "staleness_max",
    ]


def test_the_staleness_of_sync_is_known_to_be_zero(problem: Problem) -> None:
    data = (problem.X, problem.labels)
    known = ht.train(ht.Linear(), data, strategy="sync", workers=1, epochs=1).to_frame()
    assert (known["staleness_mean"][0], known["staleness_max"][0]) == (0.0, 0)
    assert known["validation_loss"].isna().all()


def test_frames_without_epochs_have_the_same_columns() -> None:
    run = run_of([], diverged="infinite")
    assert len(run.result.to_frame()) == 0
    assert _types(run.result.to_frame()) == TYPES
    frame = comparison_of(run).to_frame()
    assert len(frame) == 0
    assert _types(frame) == OF_RUNS | TYPES


def test_the_largest_seed_is_kept() -> None:
    frame = comparison_of(run_of([0.5], seed=2**64 - 1)).to_frame()
    assert frame["seed"].tolist() == [2**64 - 1]
    assert frame["strategy"].tolist() == ["hybrid"]


def test_without_pandas_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = comparison_of(run_of([0.5]))
    assert isinstance(comparison.to_frame(), pd.DataFrame)
    monkeypatch.setitem(sys.modules, "pandas", None)
    for frame in (comparison.to_frame, comparison.runs[0].result.to_frame):
        with pytest.raises(ht.MissingPackageError, match="to_frame needs pandas: pip install pan"):
            frame()
