# SPDX-License-Identifier: BSD-3-Clause
"""The command line in processes of its own: the script, Ctrl-C, a reader that goes away."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from long_run import rows as long_rows
from reference.problems import Problem
from scipy import sparse

import hybridtrain as ht

_LOOP_EPOCHS = "5000"
_PROGRAM = (sys.executable, "-P", "-m", "hybridtrain")  # what is installed, wherever we stand


def _run(*words: object, **settings: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*_PROGRAM, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **settings,
    )


def test_the_module_and_the_script_are_the_same_program() -> None:
    script = Path(sys.executable).with_name("hybridtrain")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == _run("--version").stdout == f"hybridtrain {ht.__version__}\n"


def test_a_reader_that_goes_away_leaves_no_traceback(problem: Problem, tmp_path: Path) -> None:
    model, long = tmp_path / "model.npz", tmp_path / "long.npz"  # more lines than a pipe holds
    ht.train(ht.Linear(), (problem.X[:, :59], problem.labels), workers=1, epochs=1).save(model)
    sparse.save_npz(long, sparse.csr_matrix((600_000, 59), dtype=np.float32), compressed=False)
    command = f"{' '.join(_PROGRAM)} predict {model} {long} | head -n 1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout in ("False\n", "True\n")
    assert (done.returncode, done.stderr) == (141, "")


def test_every_row_of_a_pipe_is_read(problem: Problem, tmp_path: Path) -> None:
    lines = [f"{i % 2} {i + 1}:1 501:1\n" for i in range(500)]
    rows, model = tmp_path / "rows.svm", tmp_path / "model.npz"
    rows.write_text("".join(lines))
    script = (
        f"{' '.join(_PROGRAM)} train <(cat {rows}) --workers 1 --save {model} "
        f"--validation <(gzip -c {rows}) && gzip -c {rows} | {' '.join(_PROGRAM)} predict "
        f"<(cat {model}) - | wc -l"
    )
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {script}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert ": 500 rows, 501 features; two classes" in done.stdout
    assert done.stdout.splitlines()[-1] == "500"
    X, y = ht.read_data(rows)
    alone = ht.train(ht.Linear(), (X, y), workers=1)
    assert np.array_equal(ht.load(model).params["coef"], alone.params["coef"])


def test_a_full_device_is_told_with_its_name(problem: Problem, tmp_path: Path) -> None:
    ht.train(ht.Linear(), (problem.X, problem.labels), workers=1, epochs=1).save(tmp_path / "m")
    sparse.save_npz(tmp_path / "rows.npz", problem.X)
    done = _run("predict", tmp_path / "m.npz", tmp_path / "rows.npz", "--output", "/dev/full")
    assert done.returncode == 1
    assert done.stderr == "hybridtrain: /dev/full: No space left on device\n"


@pytest.mark.parametrize("saves", [True, False])
def test_ctrl_c_saves_what_was_trained(saves: bool, tmp_path: Path) -> None:
    X = long_rows()[:100_000]
    y = np.asarray(X[:, :20].sum(axis=1)).ravel() > 0
    ht.save_directory(tmp_path / "rows", X, y)
    target = tmp_path / "model.npz"
    words = ["train", str(tmp_path / "rows"), "--epochs", _LOOP_EPOCHS, "--workers", "2"]
    process = subprocess.Popen(
        [*_PROGRAM, *words, *(["--save", str(target)] if saves else [])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("epoch ")  # progress, after a second
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate(timeout=10)
    assert process.returncode == 130, err
    last = err.splitlines()[-1]
    assert re.match(r"hybridtrain: interrupted in epoch \d+; ", last)
    assert "Traceback" not in err
    assert " rows in " in out
    if saves:
        assert last.endswith(f"what was trained until then is saved in {target}")
        result = ht.load(target)
        assert result.score(X, y) > 0.6
    else:
        assert last.endswith("nothing was saved (no --save)")
        assert not target.exists()
