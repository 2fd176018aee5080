# SPDX-License-Identifier: BSD-3-Clause
"""Names that no file can have: refused by name wherever a path is taken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hybridtrain as ht
from hybridtrain.cli.entry import main
from hybridtrain.comparison.chart import require_chart
from hybridtrain.writing import write_text

X = np.eye(6, dtype=np.float32)
Y = np.arange(6) % 2
NO_NAMES = {"a\0b": r"'a\x00b", "\ud800": r"'\ud800", "x" * 500 + "\0": "'xxx"}


def _train(data: Any = (X, Y), **settings: Any) -> ht.Result:
    return ht.train(ht.Linear(), data, workers=1, epochs=1, progress=False, **settings)


USES: dict[str, Callable[[str], object]] = {
    "train": _train,
    "validation": lambda path: _train(validation=path),
    "compare": lambda path: ht.compare(ht.Linear(), (X, Y), validation=path, progress=False),
    "read_data": ht.read_data,
    "read_data of a path": lambda path: ht.read_data(Path(path)),
    "archive": lambda path: ht.read_data(f"{path}.npz"),
    "load": ht.load,
    "save": lambda path: _train().save(path),
    "save_directory": lambda path: ht.save_directory(path, X, Y),
    "text": lambda path: write_text(path, "text"),
    "chart": lambda path: require_chart(f"{path}.png"),
}


@pytest.mark.parametrize("name", NO_NAMES, ids=lambda name: ascii(name[-3:]))
@pytest.mark.parametrize("use", USES)
def test_what_no_file_can_be_called_is_refused_and_shown(use: str, name: str) -> None:
    with pytest.raises(ht.InvalidSettingError, match="a path must hold no") as caught:
        USES[use](name)
    assert NO_NAMES[name] in str(caught.value)
    assert str(caught.value).isascii()
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("name", NO_NAMES, ids=lambda name: ascii(name[-3:]))
def test_labels_have_the_name_of_a_file(name: str, tmp_path: Path) -> None:
    ht.save_directory(tmp_path / "rows", X)
    with pytest.raises(ht.InvalidSettingError, match="a path must hold no"):
        ht.read_data(tmp_path / "rows", labels=name)


def test_bytes_that_are_no_text_are_a_name(tmp_path: Path) -> None:
    path = tmp_path / "\udcff\n.svm"  # as Python has the byte 255 of a name
    write_text(path, "1 1:1\n")
    assert ht.read_data(path)[0].shape == (1, 1)


@pytest.mark.parametrize("option", ["--save", "--validation"])
def test_the_command_line_refuses_such_names(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_text(tmp_path / "rows.svm", "1 1:1\n-1 2:1\n")
    assert main(["train", str(tmp_path / "rows.svm"), option, "a\0b"]) == 1
    assert "a path must hold no" in capsys.readouterr().err
