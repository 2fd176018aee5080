# SPDX-License-Identifier: BSD-3-Clause
"""A run that is over for all processes that could save it: one of them does, once."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from hybridtrain.run import checkpoint
from hybridtrain.run.checkpoint import Checkpoint, Keeper, newest
from hybridtrain.run.snapshot import Snapshot


def _snapshot(batches: int = 3) -> Snapshot:
    job = {"parts": [], "course": {}, "epoch_seconds": 0.0, "ended": ""}
    numbers = {"batches": batches}
    return Snapshot({}, job, numbers, np.zeros((1, 2, 1), np.float32), np.zeros(0, np.uint8), None)


def _keeper(folder: Path, *, is_writer: bool = False) -> Keeper:
    return Keeper(Checkpoint(folder), continues=True, is_writer=lambda: is_writer)


def test_of_several_processes_one_saves_whoever_was_to_write(tmp_path: Path) -> None:
    for batches in (3, 4):
        keeper = _keeper(tmp_path)
        keeper.rescue(lambda batches=batches: _snapshot(batches))  # type: ignore[misc]  # a default
        keeper.close()
    [name] = os.listdir(tmp_path)
    assert newest(tmp_path)[1].numbers == {"batches": 3}
    os.utime(tmp_path / name, (0, 0))  # of a time when the run went on
    keeper = _keeper(tmp_path)
    keeper.rescue(lambda: _snapshot(5))
    keeper.close()
    assert newest(tmp_path)[1].numbers == {"batches": 5}


def test_one_waits_for_another_that_is_writing_and_then_need_not(tmp_path: Path) -> None:
    writer = _keeper(tmp_path, is_writer=True)
    writer.keep(_snapshot, is_last=True)
    other = _keeper(tmp_path)
    thread = threading.Thread(target=other.rescue, args=(lambda: _snapshot(9),))
    thread.start()
    thread.join(0.2)
    assert thread.is_alive()
    writer.close()
    thread.join(20)
    assert not thread.is_alive()
    other.close()
    assert newest(tmp_path)[1].numbers == {"batches": 3}
    assert other.failures == []


def test_a_folder_that_is_not_free_or_not_there_is_a_failure_that_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "_RESCUE_SECONDS", 0.1)
    writer = _keeper(tmp_path / "run", is_writer=True)
    writer.keep(_snapshot, is_last=True)
    other = _keeper(tmp_path / "run")
    other.rescue(_snapshot)
    assert "another run writes its checkpoints" in other.failures[0]
    writer.close()
    (tmp_path / "run").rename(tmp_path / "moved")
    other.rescue(_snapshot)
    assert "the run was not saved: " in other.failures[1]
    other.close()
