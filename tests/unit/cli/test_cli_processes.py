# SPDX-License-Identifier: BSD-3-Clause
"""The command line in processes of its own: the script, Ctrl-C, a reader that goes away."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.problems import Problem
from scipy import sparse
from support.long_run import rows as long_rows
from support.processes import state_of

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


@pytest.mark.parametrize(
    ("number", "code", "saves"),
    [
        (signal.SIGINT, 130, True),
        (signal.SIGINT, 130, False),
        (signal.SIGTERM, 143, True),
        (signal.SIGHUP, 129, True),
    ],
)
def test_a_signal_saves_what_was_trained(
    number: signal.Signals, code: int, saves: bool, tmp_path: Path
) -> None:
    X = long_rows()
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
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate(timeout=10)
    assert process.returncode == code, err
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


@pytest.mark.parametrize(
    "words",
    [
        ["train", "FIFO", "--save", "OUT"],
        ["compare", "FIFO", "--json", "OUT"],
        ["predict", "MODEL", "FIFO", "--output", "OUT"],
    ],
    ids=lambda words: words[0],
)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_reading_ends_at_once(
    number: signal.Signals, code: int, words: list[str], problem: Problem, tmp_path: Path
) -> None:
    names = {name: str(tmp_path / f"{name.lower()}.npz") for name in ("OUT", "MODEL")}
    names["FIFO"] = str(tmp_path / "rows.svm")
    os.mkfifo(names["FIFO"])  # nobody will write to it
    ht.train(ht.Linear(), (problem.X, problem.labels), epochs=1).save(names["MODEL"])
    process = subprocess.Popen(
        [*_PROGRAM, *(names.get(word, word) for word in words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _await_read(process.pid)
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate(timeout=10)
    assert (process.returncode, out, err) == (code, "", "hybridtrain: interrupted\n")
    assert not Path(names["OUT"]).exists()


def _await_read(pid: int) -> None:
    """Wait until a process waits for the other end of a FIFO."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        place = Path(f"/proc/{pid}/wchan").read_text(encoding="ascii")
        if any(word in place for word in ("fifo", "pipe", "partner")):
            return
        if place == "0" and state_of(pid) == "S" and _is_asleep(pid):  # the system does not tell
            return
        time.sleep(0.02)
    pytest.fail("it does not read")


def _is_asleep(pid: int) -> bool:
    """Return whether it has used no processor time for half a second."""
    times = []
    for _ in range(2):
        times.append(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").split()[13:15])
        time.sleep(0.5)
    return times[0] == times[1] and times[0] != ["0", "0"]


@pytest.fixture
def rows(problem: Problem, tmp_path: Path) -> Path:
    """Rows in a folder."""
    ht.save_directory(tmp_path / "rows", problem.X, problem.labels)
    return tmp_path / "rows"


@pytest.mark.parametrize(
    ("redirection", "code", "said"),
    [
        ("> /dev/full", 1, "standard output: No space left on device; the model is saved in "),
        (">&-", 0, ""),
        ("2>&-", 0, None),
        ("2> /dev/full", 0, None),
        ("> /dev/full 2> /dev/full", 1, None),
        (">&- 2>&-", 0, None),
        ("| true", 141, ""),
    ],
)
def test_the_model_is_saved_whatever_becomes_of_the_output(
    redirection: str, code: int, said: str | None, rows: Path, tmp_path: Path
) -> None:
    target = tmp_path / "model.npz"
    words = [*_PROGRAM, "train", str(rows), "--save", str(target), "--workers", "1"]
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {shlex.join(words)} {redirection}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},  # the first line fails already
    )
    assert done.returncode == code, done.stderr
    if said is not None:
        assert done.stderr.startswith(f"hybridtrain: {said}" if said else "")
        assert len(done.stderr.splitlines()) == bool(said)
    assert len(ht.load(target).history) == 5


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_path_that_cannot_be_shown_is_shown_with_backslashes(
    encoding: str, rows: Path, tmp_path: Path
) -> None:
    target = tmp_path / os.fsdecode("modèle-".encode() + b"\xff.npz")
    done = subprocess.run(
        [*_PROGRAM, "train", str(rows), "--save", str(target), "--workers", "1"],
        capture_output=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    shown = b"mod\\xe8le-" if encoding == "ascii" else "modèle-".encode()
    assert shown + b"\\udcff.npz; use it with" in done.stdout
    assert target.exists()


def test_labels_that_cannot_be_shown_are_an_error_that_says_what_to_do(
    problem: Problem, tmp_path: Path
) -> None:
    model, rows = tmp_path / "model.npz", tmp_path / "rows.npz"
    labels = np.where(problem.labels, "früh", "spät")
    ht.train(ht.Linear(), (problem.X, labels), workers=1).save(model)
    sparse.save_npz(rows, problem.X)
    done = _run("predict", model, rows, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 1
    assert "encoding, ascii, has no" in done.stderr
    assert "--output" in done.stderr
    assert _run("predict", model, rows, "--output", tmp_path / "text").returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_python_imports_leaves_no_traceback(number: signal.Signals) -> None:
    """The first of the package's modules has been read, most of them have not."""
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", *_PROGRAM[1:], "--version"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    err = ""
    try:
        assert process.stderr is not None
        for line in process.stderr:
            err += line
            if "hybridtrain.quiet" in line:
                time.sleep(0.02)
                process.send_signal(number)
                break
        err += process.communicate(timeout=30)[1]
    finally:
        process.kill()
        process.wait(timeout=10)
    assert process.returncode == 128 + number, err
    assert "Traceback" not in err
