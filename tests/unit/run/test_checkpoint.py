# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints in files: written whole, few are kept, and others' or damaged ones are refused."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.problems import Problem
from support.files import have_same_bits
from support.saved_runs import EPOCHS, OFTEN, train_part

import hybridtrain as ht
from hybridtrain import chaos
from hybridtrain.run import checkpoint, saving
from hybridtrain.run.identity import differences


@pytest.fixture
def writes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse the thread that writes: each rest then has its checkpoint."""
    monkeypatch.setattr(checkpoint, "start_thread", lambda thread: RuntimeError("can't start"))


@pytest.mark.usefixtures("writes_at_once")
def test_thenewest_file_are_kept_and_what_a_killed_run_was_writing_goes(
    problem: Problem, tmp_path: Path
) -> None:
    part = tmp_path / ".000007.checkpoint.0123456789abcdef.part"
    part.write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("mine", encoding="ascii")
    often = ht.Checkpoint(tmp_path, every_seconds=OFTEN, keep=3)
    result = train_part(problem, checkpoint=often)
    names = sorted(path.name for path in tmp_path.iterdir())
    written = result.settings["checkpoint"]["written"]
    assert written >= EPOCHS
    kept = [f"{written - k:06d}.checkpoint" for k in (2, 1, 0)]
    assert names == [*kept, "notes.txt"]
    assert result.settings["checkpoint"]["last"] == kept[-1]


@pytest.mark.usefixtures("writes_at_once")
@pytest.mark.parametrize("n_damaged", [1, 2])
@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "text"])
def test_a_damaged_checkpoint_is_not_used(
    damage: str, n_damaged: int, problem: Problem, tmp_path: Path
) -> None:
    saved = ht.Checkpoint(tmp_path, every_seconds=OFTEN)
    whole = train_part(problem, checkpoint=saved)
    files = sorted(tmp_path.glob("*.checkpoint"))
    assert len(files) == 2
    for file in files[-n_damaged:]:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        changed = {"flip": content, "cut": content[:-40], "empty": b"", "text": b"1 1:1\n" * 50}
        file.write_bytes(changed[damage])
    if n_damaged == 1:
        result = train_part(problem, checkpoint=saved, resume=True)
        assert result.settings["resumed"] == str(files[0])
        assert have_same_bits(result, whole)
        return
    with pytest.raises(ht.CheckpointError, match="no checkpoint is whole") as caught:
        train_part(problem, checkpoint=saved, resume=True)
    assert all(str(file) in str(caught.value) for file in files)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": ht.Linear(l2=1e-2)}, "model: Linear(loss='logistic', l1=0.0, l2=0.001"),
        ({"strategy": "sync"}, "strategy: Hybrid("),
        ({"optimizer": "adagrad"}, "optimizer: SGD("),
        ({"epochs": 7}, "epochs: 6 there, 7 here"),
        ({"seed": 1}, "seed: 0 there, 1 here"),
        ({"scale": None}, "scale: auto there, None here"),
        ({"validation": 0.2}, "content of the validation data: None there"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_with_what_differs(
    change: dict[str, Any], said: str, problem: Problem, tmp_path: Path
) -> None:
    train_part(problem, checkpoint=tmp_path)
    with pytest.raises(ht.CheckpointError) as caught:
        train_part(problem, checkpoint=tmp_path, resume=True, **change)
    assert said in str(caught.value)


def test_of_long_texts_the_place_that_differs_is_shown() -> None:
    saved, now = (
        f"Hierarchical({'before, ' * 9}between=Hybrid(hot=1.0, every={every}), groups=2)"
        for every in (64, 128)
    )
    (said,) = differences({"strategy": saved}, {"strategy": now})
    start = "..., before, between=Hybrid(hot=1.0, every="
    assert said == f"strategy: {start}64), groups=2) there, {start}128), groups=2) here"
    (said,) = differences({"strategy": saved * 2}, {"strategy": saved})
    assert said.count("groups=2)") == 2
    assert "groups=2)Hierarchical(" in said


@pytest.mark.parametrize("part", ["value", "label", "row", "weight", "version"])
def test_a_checkpoint_of_other_data_or_another_version_is_refused(
    part: str, problem: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = problem.X.copy(), problem.labels.copy()
    ht.train(ht.Linear(), (X, y), checkpoint=tmp_path, workers=1)
    data: tuple[Any, ...] = X, y
    if part == "value":
        X.data[7] *= 2
    elif part == "label":
        y[7] = 1 - y[7]
    elif part == "row":
        data = X[1:], y[1:]
    elif part == "weight":
        data = X, y, np.linspace(1, 2, len(y))
    else:
        monkeypatch.setattr("importlib.metadata.version", lambda name: "9.9")
    said = {"row": "rows: ", "version": "version of hybridtrain: 0"}.get(
        part, "content of the data"
    )
    with pytest.raises(ht.CheckpointError, match=said):
        ht.train(ht.Linear(), data, checkpoint=tmp_path, resume=True, workers=1)


def test_a_new_run_does_not_touch_the_checkpoints_of_another(
    problem: Problem, tmp_path: Path
) -> None:
    train_part(problem, checkpoint=tmp_path)
    with pytest.raises(ht.InvalidSettingError, match="has checkpoints of an earlier run"):
        train_part(problem, checkpoint=tmp_path)


def test_two_runs_cannot_write_to_one_folder(problem: Problem, tmp_path: Path) -> None:
    said: list[str] = []

    def train_beside(record: ht.EpochRecord) -> None:
        if record.epoch == 1:
            with pytest.raises(ht.InvalidSettingError) as caught:
                train_part(problem, checkpoint=tmp_path, resume=True)
            said.append(str(caught.value))

    train_part(problem, checkpoint=tmp_path, callbacks=[train_beside])
    assert "another run writes its checkpoints to" in said[0]
    train_part(problem, checkpoint=tmp_path, resume=True)  # now it may


@pytest.mark.usefixtures("writes_at_once")
def test_a_full_disk_costs_a_checkpoint_and_not_the_run(
    problem: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, n_refused = os.fsync, []

    def refuse(handle: int) -> None:
        if len(n_refused) < 2:
            n_refused.append(handle)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(handle)

    monkeypatch.setattr(os, "fsync", refuse)
    result = train_part(problem, checkpoint=ht.Checkpoint(tmp_path, every_seconds=OFTEN))
    assert len(n_refused) == 2
    assert result.settings["checkpoint"]["failed"] == 2
    assert [w for w in result.settings["warnings"] if "No space left on device" in w]
    assert have_same_bits(result, train_part(problem))
    assert all(path.suffix == ".checkpoint" for path in tmp_path.iterdir())
    checkpoint.newest(tmp_path)


def test_memory_for_no_copy_costs_the_checkpoints_and_not_the_run(
    problem: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def take(*args: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(saving, "take", take)
    saved = ht.Checkpoint(tmp_path, every_seconds=OFTEN)
    result = train_part(problem, checkpoint=saved)
    assert result.settings["checkpoint"]["failed"] > 0
    assert any("the run was not saved: MemoryError" in w for w in result.settings["warnings"])
    assert have_same_bits(result, train_part(problem))
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("writes_at_once")
def test_a_full_disk_can_be_rehearsed(problem: Problem, tmp_path: Path) -> None:
    plan = chaos.Plan([chaos.Fail("ENOSPC", at="checkpoint", time=2)])
    saved = ht.Checkpoint(tmp_path, every_seconds=OFTEN)
    result = train_part(problem, checkpoint=saved, chaos=plan)
    (record,) = result.faults
    assert record.fired
    assert result.settings["checkpoint"]["failed"] == 1
    assert result.settings["checkpoint"]["written"] >= EPOCHS - 1
    assert any("(a fault of the chaos plan)" in text for text in result.settings["warnings"])
    assert have_same_bits(result, train_part(problem, checkpoint=saved, resume=True))


@pytest.mark.usefixtures("writes_at_once")
def test_a_system_without_threads_to_spare_writes_all_the_same(
    problem: Problem, tmp_path: Path
) -> None:
    result = train_part(problem, checkpoint=ht.Checkpoint(tmp_path, every_seconds=OFTEN))
    assert result.settings["checkpoint"]["written"] >= EPOCHS - 1


def test_the_fault_of_a_run_leaves_its_checkpoints_and_the_folder_free(
    problem: Problem, tmp_path: Path
) -> None:
    def fail(record: ht.EpochRecord) -> None:
        if record.epoch == 3:
            raise ZeroDivisionError

    saved = ht.Checkpoint(tmp_path, every_seconds=OFTEN)
    with pytest.raises(ZeroDivisionError):
        train_part(problem, checkpoint=saved, callbacks=[fail])
    assert not [t for t in threading.enumerate() if t.name == "hybridtrain-checkpoint"]
    assert have_same_bits(train_part(problem, checkpoint=saved, resume=True), train_part(problem))


def test_a_diverged_state_is_not_saved(problem: Problem, tmp_path: Path) -> None:
    y = np.asarray(problem.X[:, :3].sum(axis=1)).ravel()
    settings = {"model": ht.Linear(loss="squared"), "y": y, "strategy": "sync", "epochs": 50}
    with pytest.raises(ht.DivergedError):
        train_part(problem, checkpoint=tmp_path, optimizer="adagrad(lr=1e30)", **settings)
    assert not list(tmp_path.iterdir())


# ---- arguments


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"checkpoint": 3}, "checkpoint must be a Checkpoint or the path of a folder, got 3"),
        ({"resume": True}, "resume=True needs checkpoint="),
        ({"resume": 1}, "resume must be True, False or a path, got 1"),
        ({"resume": None}, "resume must be True, False or a path, got None"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    settings: dict[str, Any], said: str, problem: Problem
) -> None:
    with pytest.raises(ht.InvalidSettingError) as caught:
        train_part(problem, **settings)
    assert said in str(caught.value)


@pytest.mark.parametrize("field", ["every_seconds", "keep"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), "1", None, True])
def test_a_checkpoint_refuses_what_is_out_of_range(field: str, value: Any) -> None:
    with pytest.raises(ht.InvalidSettingError, match=f"^{field}"):
        ht.Checkpoint("run", **{field: value})


def test_a_folder_that_cannot_be_written_to_is_refused_before_the_data_are_read(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileExistsError):
        ht.train(ht.Linear(), "no such file", checkpoint=tmp_path / "file")


def test_numbers_of_a_state_that_no_run_saves_are_refused(
    problem: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_part(problem, checkpoint=tmp_path, strategy="sync")
    name, whole = saving.newest(tmp_path)
    changes: list[Callable[[Any], Any]] = [
        lambda s: s.numbers.update(epoch=0),
        lambda s: s.numbers.update(epoch=-1),
        lambda s: s.numbers.update(batches=1 << 40),
        lambda s: s.numbers.update(bound=-1.0),
        lambda s: s.numbers.pop("loss"),
        lambda s: s.job["course"].update(epochs=[{}]),
        lambda s: s.job["course"].update(cooling={"begins": 1}),
    ]
    for change in changes:
        snapshot = saving.newest(tmp_path)[1]
        change(snapshot)
        monkeypatch.setattr(saving, "newest", lambda path, s=snapshot: (name, s))
        with pytest.raises(ht.CheckpointError, match="does not hold a state of this run"):
            train_part(problem, checkpoint=tmp_path, strategy="sync", resume=True)
        monkeypatch.undo()
    assert whole.arrays.shape[1:] == (problem.X.shape[1] + 1, 1)
