# SPDX-License-Identifier: BSD-3-Clause
"""Runs that are saved, and interrupted after an epoch, for the tests of checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.problems import Problem

import hybridtrain as ht

EPOCHS = 6
OFTEN = 1e-6  # seconds: at every rest


def train_part(problem: Problem, **settings: Any) -> ht.Result:
    known: dict[str, Any] = {"workers": 1, "epochs": EPOCHS, "optimizer": "sgd(lr=0.1)"}
    model = settings.pop("model", ht.Linear(l2=1e-3))
    y = settings.pop("y", problem.labels)
    return ht.train(model, (problem.X, y), **{**known, **settings})


def interrupted_after(epoch: int) -> Callable[[ht.EpochRecord], None]:
    def interrupt(record: ht.EpochRecord) -> None:
        if record.epoch == epoch:
            raise KeyboardInterrupt

    return interrupt


def in_parts(problem: Problem, folder: Path, *parts: dict[str, Any], **settings: Any) -> ht.Result:
    """Train until the end of epochs 1, 2, ..., a part with each of the further settings."""
    each = {"checkpoint": ht.Checkpoint(folder, every_seconds=OFTEN), "resume": True, **settings}
    for epoch, more in enumerate(parts, 1):
        with pytest.raises(ht.TrainingInterrupted) as caught:
            train_part(problem, **{**each, **more}, callbacks=[interrupted_after(epoch)])
        assert len(caught.value.result.history) == epoch
        assert caught.value.result.settings["checkpoint"]["failed"] == 0
    result = train_part(problem, **each)
    assert result.settings["resumed"] is not None
    return result


def check_same(result: ht.Result, whole: ht.Result) -> None:
    for name in ("coef", "intercept"):
        assert np.array_equal(result.params[name], whole.params[name])
    assert result.ledger == whole.ledger
    for ours, theirs in zip(result.history, whole.history, strict=True):
        # Losses are summed up to the pause and after it.
        assert ours.loss == pytest.approx(theirs.loss, rel=1e-12)
        # So is staleness, and a pause adds merges.
        same = {"loss": 0, "seconds": 0, "staleness": None}
        assert replace(ours, **same) == replace(theirs, **same)
    assert result.settings["best_epoch"] == whole.settings["best_epoch"]
    assert result.settings["stopped"] == whole.settings["stopped"]


def newest_file(folder: Path) -> Path:
    return max(folder.glob("*.checkpoint"))
