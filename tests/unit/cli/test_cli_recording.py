# SPDX-License-Identifier: BSD-3-Clause
"""`hybridtrain train --record`: what it prints, and what it refuses before a file is read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hybridtrain as ht
from hybridtrain.cli.entry import main
from hybridtrain.observe.recording import Recorder

ASYNC = ["--strategy", "async(every=8)", "--workers", "2", "--epochs", "2"]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Text whose indices count from 0."""
    chance = np.random.default_rng(0)
    lines = [f"{k % 2 * 2 - 1} 0:{chance.normal() + k % 2:.3f} 3:1" for k in range(200)]
    path = tmp_path / "rows.svm"
    path.write_text("\n".join(lines) + "\n")
    return path


def _said(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main(["train", *map(str, words)])
    out, err = capsys.readouterr()
    return code, out, " ".join(err.split())


def test_it_says_how_to_train_the_run_again(
    rows: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file, target = tmp_path / "run.htr", tmp_path / "model.npz"
    words = ["--zero-based", "--record", file, "--save", target]
    code, out, _ = _said(capsys, rows, *ASYNC, *words)
    assert code == 0
    told = re.search(r"Recorded: (.*), ([\d,]+) bytes; in Python, train it again: (.*)", out)
    assert told is not None
    assert told[1] == str(file)
    assert int(told[2].replace(",", "")) == file.stat().st_size
    again = eval(told[3], {"ht": ht})
    assert np.array_equal(ht.load(target).params["coef"], again.params["coef"])


def test_it_says_where_the_record_of_a_diverged_run_is(
    rows: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "run.htr"
    words = ["--lr", "1e30", "--zero-based", "--record", file]
    code, out, err = _said(capsys, rows, *ASYNC, *words)
    assert code == 1
    assert "try a smaller --lr" in err
    assert f"Recorded: {file}, " in out


def test_it_says_that_the_disk_was_full(
    rows: Path,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(self: Recorder, kind: int, number: int, content: Any) -> None:
        if number:  # an epoch
            raise OSError(28, "No space left on device")
        write_piece(self, kind, number, content)

    write_piece = Recorder._write_piece
    monkeypatch.setattr(Recorder, "_write_piece", full)
    file = tmp_path / "run.htr"
    code, out, _ = _said(capsys, rows, *ASYNC, "--zero-based", "--record", file)
    assert code == 0
    assert "was not recorded: [Errno 28] No space left on device" in " ".join(out.split())
    assert "Recorded:" not in out
    assert not file.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--checkpoint", "saved", "--resume"], "leave out --resume"),
        (["--strategy", "sync"], "depend on the seed"),
        (["--strategy", "local_sgd"], "depend on the seed"),
        (["--strategy", "hogwild", "--workers", 1], "depend on the seed alone"),
        (["--strategy", "hogwild", "--workers", 2], "use async, or 'hybrid(hot=1.0)', whose"),
        (["--record", ""], "--record must be the path of a file, got ''"),
    ],
)
def test_what_cannot_be_recorded_is_refused_before_the_file_is_read(
    words: list[Any], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "run.htr"
    code, _, err = _said(capsys, tmp_path / "missing.svm", *ASYNC, "--record", file, *words)
    assert code == 1
    assert said in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["rows.svm", "folder/X.npy", "folder"])
def test_it_does_not_overwrite_what_is_read(
    name: str, rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = rows.with_name("folder")
    ht.save_directory(folder, np.eye(4, dtype=np.float32), np.arange(4) % 2)
    words = ["--validation", folder, "--record", rows.parent / name]
    code, _, err = _said(capsys, rows, *ASYNC, *words)
    assert code == 1
    assert re.search(r"it is read (as|with)|it is a folder", err)
