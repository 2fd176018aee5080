# SPDX-License-Identifier: BSD-3-Clause
"""Workers that are programs: the bits of threads and forks, what they have, how they fail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.problems import Problem, planted
from support.processes import beside, killing, workers_of

import hybridtrain as ht
from hybridtrain.data import shared

EPOCHS = 5
ROOT = str(Path(ht.__file__).parents[1])
SCRIPT = """
    import numpy as np, hybridtrain as ht
    X = np.random.default_rng(0).standard_normal((2000, 30)).astype(np.float32)
    X @ X.T  # BLAS has its threads
    results = [
        ht.train(ht.Linear(), (X, X[:, 0] > 0), strategy="sync", workers=2, epochs=3,
                 backend=backend, progress=False)
        for backend in ("threads", "processes")
    ]
    assert results[1].settings["start"] == "exec"
    assert all(worker.deaths == () for worker in results[1].workers)
    print(*{result.params["coef"].tobytes().hex() for result in results})
"""


@pytest.fixture(autouse=True)
def _executed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRIDTRAIN_START", "exec")


@pytest.fixture(scope="module")
def large() -> Problem:
    return planted(5, 20_000, 300, longest=30)


def _train(data: Any, loss: str = "logistic", **settings: Any) -> ht.Result:
    usual: dict[str, Any] = {
        "strategy": "sync",
        "backend": "processes",
        "workers": 2,
        "epochs": EPOCHS,
        "progress": False,
    }
    return ht.train(ht.Linear(loss=loss, l2=1e-4), data, **{**usual, **settings})


def _dense(_: Path) -> tuple[Any, str]:
    X = np.random.default_rng(0).standard_normal((3000, 20)).astype(np.float32)
    return (X, X[:, 0] > 0), "logistic"


def _softmax(_: Path) -> tuple[Any, str]:
    X = np.random.default_rng(0).standard_normal((3000, 20)).astype(np.float32)
    return (X, X[:, :3].argmax(axis=1)), "softmax"


def _huber(_: Path) -> tuple[Any, str]:
    problem = planted(1, 3000, 60, longest=30)
    return (problem.X, problem.values * 3.7), "huber"


def _ones(_: Path) -> tuple[Any, str]:
    problem = planted(2, 3000, 60, longest=30, ones=True)
    return (problem.X, problem.labels), "logistic"


def _weighted(_: Path) -> tuple[Any, str]:
    problem = planted(1, 3000, 60, longest=30)
    return (problem.X, problem.labels, np.linspace(0.1, 3.0, 3000)), "logistic"


def _mapped(folder: Path) -> tuple[Any, str]:
    problem = planted(1, 3000, 60, longest=30)
    ht.save_directory(folder / "rows", problem.X, problem.labels)
    return str(folder / "rows"), "logistic"


def _mapped_dense(folder: Path) -> tuple[Any, str]:
    (X, y), loss = _dense(folder)
    np.save(folder / "X.npy", X)
    return (np.load(folder / "X.npy", mmap_mode="r"), y), loss


KINDS = [_dense, _softmax, _huber, _ones, _weighted, _mapped, _mapped_dense]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__[1:])
def test_all_kinds_of_rows_have_the_bits_of_threads_and_forks(
    kind: Callable[[Path], tuple[Any, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, loss = kind(tmp_path)
    for strategy, workers in (("sync", 2), ("hybrid", 1), ("hybrid(hot=16)", 1)):
        settings = {"strategy": strategy, "workers": workers, "epochs": 2}
        threads = _train(data, loss, backend="threads", **settings)
        monkeypatch.setenv("HYBRIDTRAIN_START", "fork")
        forked = _train(data, loss, **settings)
        monkeypatch.setenv("HYBRIDTRAIN_START", "exec")
        executed = _train(data, loss, **settings)
        assert executed.settings["start"] == "exec"
        bits = {r.params["coef"].tobytes() for r in (threads, forked, executed)}
        assert len(bits) == 1
        assert threads.history[-1].loss == executed.history[-1].loss


def _descriptors_of(pid: int) -> list[str]:
    return os.listdir(f"/proc/{pid}/fd")


def _looked_at(data: Any, look: Callable[[int], Any]) -> list[Any]:
    """Look at both workers of a run once they work: then they have closed all descriptors."""
    seen: list[Any] = []

    def works(pid: int) -> bool:
        name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
        return name == "ht-worker" and not _descriptors_of(pid)

    def callback(record: ht.EpochRecord) -> bool:
        deadline = time.monotonic() + 30
        while not all(works(pid) for pid in workers_of(os.getpid())):
            assert time.monotonic() < deadline
            time.sleep(0.001)
        seen.extend(look(pid) for pid in workers_of(os.getpid()))
        return True

    _train(data, callbacks=[callback])
    assert len(seen) == 2
    return seen


def test_a_worker_has_no_descriptor_and_ignores_signals_for_its_parent(large: Problem) -> None:
    def look(pid: int) -> tuple[str, int]:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
        named = dict(line.split(":", 1) for line in status)
        return named["Name"].strip(), int(named["SigIgn"], 16)

    for name, ignored in _looked_at((large.X, large.labels), look):
        assert name == "ht-worker"
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            assert ignored >> (number - 1) & 1


def _maps(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines()


def test_a_worker_imports_no_numpy_and_cannot_write_to_the_rows(large: Problem) -> None:
    for maps in _looked_at((large.X, large.labels), _maps):
        assert not [line for line in maps if "numpy" in line]
        rows = [line.split()[1] for line in maps if "memfd:hybridtrain-rows" in line]
        assert rows
        assert set(rows) == {"r--s"}
        assert [line.split()[1] for line in maps if "hybridtrain-segment" in line] == ["rw-s"]


def test_rows_of_files_are_mapped_and_not_copied(tmp_path: Path, large: Problem) -> None:
    ht.save_directory(tmp_path / "rows", large.X, large.labels)
    for maps in _looked_at(str(tmp_path / "rows"), _maps):
        flags = {Path(line.split()[-1]).name: line.split()[1] for line in maps if "rows/" in line}
        assert flags["indices.npy"] == flags["data.npy"] == "r--s"
        copied = [line.split()[0].split("-") for line in maps if "memfd:hybridtrain-rows" in line]
        assert copied
        for first, last in copied:
            assert int(last, 16) - int(first, 16) < large.X.indices.nbytes


def test_rows_of_files_that_change_are_named(tmp_path: Path, large: Problem) -> None:
    ht.save_directory(tmp_path / "rows", large.X, large.labels)

    def change(record: ht.EpochRecord) -> None:
        if record.epoch == 1:
            np.load(tmp_path / "rows" / "indices.npy", mmap_mode="r+")[7] = 2**31 - 1

    with pytest.raises(ht.DataChangedError, match="mapped file"):
        _train(str(tmp_path / "rows"), callbacks=[change])


def test_nothing_is_left_open(large: Problem, tmp_path: Path) -> None:
    ht.save_directory(tmp_path / "rows", large.X, large.labels)
    before = sorted(os.listdir("/proc/self/fd"))
    for data in ((large.X, large.labels), str(tmp_path / "rows")):
        _train(data, epochs=1)
    assert sorted(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("pause", [0.001, 0.01, 0.02, 0.04])
def test_workers_killed_while_they_start_change_no_bit(pause: float, large: Problem) -> None:
    data = large.X, large.labels
    with beside(killing(lambda found: found[-1:], 2), pause=pause) as kills:
        result = _train(data)
    assert kills
    deaths = [cause for worker in result.workers for cause in worker.deaths]
    assert set(deaths) == {"SIGKILL"}  # the second may hit a process that is dead already
    undisturbed = _train(data, backend="threads")
    assert result.params["coef"].tobytes() == undisturbed.params["coef"].tobytes()


@pytest.mark.parametrize("is_ignored", [True, False])
def test_what_a_program_does_with_its_children_disturbs_nothing(
    is_ignored: bool, large: Problem
) -> None:
    """Executed workers are ordinary children: SIGCHLD is sent, and others may take a status."""
    data = large.X, large.labels
    n_signals: list[int] = []

    def wait_for_any(number: int, frame: Any) -> None:
        n_signals.append(number)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass

    # Where the signal is ignored, the system keeps no status for anybody.
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN if is_ignored else wait_for_any)
    try:
        with beside(killing(lambda found: found[:1], 2), pause=0.05) as kills:
            result = _train(data, epochs=60)
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert kills
    deaths = {cause for worker in result.workers for cause in worker.deaths}
    unknown = "ended, and somebody else was told how"
    assert deaths == {unknown} if is_ignored else deaths <= {unknown, "SIGKILL"}
    assert deaths
    assert is_ignored or n_signals
    undisturbed = _train(data, backend="threads", epochs=60)
    assert result.params["coef"].tobytes() == undisturbed.params["coef"].tobytes()


@pytest.mark.parametrize("isolated", [True, False])
@pytest.mark.parametrize("in_thread", [True, False])
def test_a_script_without_a_guard_trains(isolated: bool, in_thread: bool, tmp_path: Path) -> None:
    """Also one that finds the package by a path of its own, and runs in a thread."""
    body = textwrap.dedent(SCRIPT)
    if in_thread:
        body = f"import threading\nthread = threading.Thread(target=exec, args=({body!r}, {{}}))\n"
        body += "thread.start()\nthread.join()\n"
    (tmp_path / "script.py").write_text(f"import sys\nsys.path.insert(0, {ROOT!r})\n{body}")
    # A module of the user's must not come before one of Python's own.
    (tmp_path / "enum.py").write_text("raise ImportError('of the user')")
    flags = ["-I"] if isolated else ["-P"]
    command = [sys.executable, *flags, str(tmp_path / "script.py")]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 1
    assert done.stderr == ""


def test_another_word_is_refused(large: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRIDTRAIN_START", "exce")
    expected = r"HYBRIDTRAIN_START must be one of fork, exec, got 'exce'; did you mean"
    with pytest.raises(ht.InvalidSettingError, match=expected):
        _train((large.X, large.labels))


@pytest.mark.parametrize("program", ["", None, "/nowhere/python"])
def test_a_python_without_a_program_is_named(
    program: Any, large: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", program)
    with pytest.raises(ht.InvalidSettingError, match=r"needs Python.s program in sys.executable"):
        _train((large.X, large.labels))
    assert workers_of(os.getpid()) == []


@pytest.mark.usefixtures("no_back_off")
def test_a_program_that_fails_ends_the_run(large: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    started = time.monotonic()
    with pytest.raises(ht.WorkersDiedError, match="ended with status 1") as caught:
        _train((large.X, large.labels))
    assert caught.value.causes == ("ended with status 1",) * 6
    assert time.monotonic() - started < 30


def test_rows_that_fit_no_second_time_are_named(
    large: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(shared, "available_memory", lambda: 1 << 20)
    with pytest.raises(ht.OutOfMemoryError, match=r"copies the rows once.*there are 1 MiB"):
        _train((large.X, large.labels))
    assert sorted(os.listdir("/proc/self/fd")) == before
