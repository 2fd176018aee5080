# SPDX-License-Identifier: BSD-3-Clause
"""Writing files: the old one or the new one, never half of one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

import hybridtrain as ht
from hybridtrain.cli.entry import main
from hybridtrain.writing import remove_abandoned, write_text, writing

_LIMIT = 16 << 10
_NOBODY = 65534


@contextmanager
def _small_files() -> Iterator[None]:
    """No file may grow past 16 kB: a full disk, for this process alone."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (_LIMIT, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def _names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


# ---- the function


def test_a_whole_file_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with writing(target) as file:
        file.write(b"new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert _names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("raised", [KeyboardInterrupt, ValueError, MemoryError, SystemExit])
@pytest.mark.parametrize("is_there", [True, False])
def test_whatever_is_raised_leaves_the_old_file(
    raised: type[BaseException], is_there: bool, tmp_path: Path
) -> None:
    target = tmp_path / "a.txt"
    if is_there:
        target.write_text("old")

    def interrupted() -> None:
        with writing(target) as file:
            file.write(b"new")
            raise raised

    with pytest.raises(raised):
        interrupted()
    assert _names(tmp_path) == (["a.txt"] if is_there else [])
    assert not is_there or target.read_text() == "old"


def test_a_full_disk_is_told_with_the_users_name(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with _small_files(), pytest.raises(OSError, match="File too large") as caught:
        write_text(target, "x" * (2 * _LIMIT))
    assert caught.value.filename == str(target)
    assert ".part" not in str(caught.value)
    assert (_names(tmp_path), target.read_text()) == (["a.txt"], "old")


def test_a_folder_that_is_missing_is_told_with_the_users_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        write_text(tmp_path / "no" / "a.txt", "x")
    assert caught.value.filename == str(tmp_path / "no" / "a.txt")


@pytest.fixture
def place_of_user(tmp_path: Path) -> Iterator[Path]:
    """Be a user who may not write everywhere, as root may, with a folder of its own."""
    if os.geteuid() != 0:
        yield tmp_path
        return
    place = Path(tempfile.mkdtemp())  # root's temporary folders are for root alone
    os.chown(place, _NOBODY, -1)
    os.seteuid(_NOBODY)
    try:
        yield place
    finally:
        os.seteuid(0)
        shutil.rmtree(place)


def test_what_may_not_be_written_stays(place_of_user: Path) -> None:
    folder, target = place_of_user / "kept", place_of_user / "kept.txt"
    folder.mkdir(mode=0o500)
    target.write_text("old")
    target.chmod(0o400)
    for path in (folder / "a.txt", target):
        with pytest.raises(PermissionError) as caught:
            write_text(path, "new")
        assert caught.value.filename == str(path)
    assert target.read_text() == "old"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        write_text(tmp_path, "x")


def test_permissions_are_those_of_the_old_file_or_of_any_new_one(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("x")
    old.chmod(0o640)
    umask = os.umask(0o027)
    try:
        write_text(old, "y")
        write_text(new, "y")
    finally:
        os.umask(umask)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (old, new)] == [0o640, 0o640]
    old.chmod(0o604)
    write_text(old, "z")
    assert stat.S_IMODE(old.stat().st_mode) == 0o604


def test_the_file_behind_links_is_replaced_and_the_links_stay(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    real, link, outer = tmp_path / "store" / "real", tmp_path / "link", tmp_path / "outer"
    link.symlink_to(Path("store") / "real")
    outer.symlink_to(link)
    for text in ("first", "second"):  # the first time it points to nothing
        write_text(outer, text)
        assert link.is_symlink()
        assert outer.is_symlink()
        assert not real.is_symlink()
        assert real.read_text() == text
    assert _names(tmp_path / "store") == ["real"]


def test_a_circle_of_links_is_the_systems_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(OSError, match="symbolic links"):
        write_text(tmp_path / "a", "x")


def test_what_is_no_regular_file_is_written_in_place(tmp_path: Path) -> None:
    write_text(os.devnull, "x")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_text()))
    reader.start()
    write_text(pipe, "through")
    reader.join(10)
    assert found == ["through"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_device_that_is_full_is_told_with_its_name() -> None:
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_text("/dev/full", "x")
    assert caught.value.filename == "/dev/full"


def test_an_open_file_is_written_in_place(tmp_path: Path) -> None:
    """/dev/stdout of `> file`: the name behind it is another program's."""
    with (tmp_path / "out").open("w+b") as file:
        before = os.stat(tmp_path / "out").st_ino
        write_text(f"/dev/fd/{file.fileno()}", "text")
        assert os.stat(tmp_path / "out").st_ino == before
        assert (tmp_path / "out").read_text() == "text"


def test_long_names_and_two_writers_at_once_have_files_of_their_own(tmp_path: Path) -> None:
    target = tmp_path / ("ä" * 120 + ".txt")
    with writing(target) as first, writing(target) as second:
        first.write(b"first")
        second.write(b"second")
    assert target.read_text() == "first"
    assert len(_names(tmp_path)) == 1


# ---- those who use it


def _result(n_features: int = 4) -> ht.Result:
    rng = np.random.default_rng(0)
    X = sparse.random(60, n_features, density=0.5, format="csr", dtype=np.float32, rng=rng)
    return ht.train(ht.Linear(), (X, np.arange(60) % 2), workers=1, epochs=1)


@pytest.mark.parametrize("name", ["model.npz", "model"])
def test_a_model_survives_a_save_that_fails(name: str, tmp_path: Path) -> None:
    _result().save(tmp_path / name)
    before = (tmp_path / "model.npz").read_bytes()
    large = _result(20_000)
    with _small_files(), pytest.raises(OSError, match="File too large") as caught:
        large.save(tmp_path / name)
    assert caught.value.filename == str(tmp_path / "model.npz")
    assert (tmp_path / "model.npz").read_bytes() == before
    assert _names(tmp_path) == ["model.npz"]


def test_a_model_survives_ctrl_c_in_the_middle_of_a_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _result().save(tmp_path / "model.npz")
    before = (tmp_path / "model.npz").read_bytes()

    def interrupted(file: Any, **arrays: Any) -> None:
        file.write(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _result(7).save(tmp_path / "model.npz")
    assert (tmp_path / "model.npz").read_bytes() == before
    assert _names(tmp_path) == ["model.npz"]


@pytest.mark.parametrize("X", [np.ones((3000, 4)), sparse.csr_matrix(np.ones((3000, 4)))])
@pytest.mark.parametrize("is_there", [True, False])
def test_half_a_directory_is_never_left(X: Any, is_there: bool, tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    if is_there:
        folder.mkdir()
    with _small_files(), pytest.raises(OSError, match="File too large") as caught:
        ht.save_directory(folder, X, np.arange(3000) % 2)
    assert str(folder) in caught.value.filename
    assert ".part" not in caught.value.filename
    assert _names(tmp_path) == (["rows"] if is_there else [])
    assert not is_there or _names(folder) == []
    ht.save_directory(folder, X, np.arange(3000) % 2)
    assert ht.read_data(folder)[0].shape == (3000, 4)


@pytest.mark.parametrize("write", ["save", "plot"])
def test_figures_survive_a_write_that_fails(write: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X = sparse.random(200, 9, density=0.5, format="csr", dtype=np.float32, rng=rng)
    comparison = ht.compare(
        ht.Linear(), (X, np.arange(200) % 2), strategies=["hybrid"], epochs=99, workers=1, repeats=1
    )
    target = tmp_path / "figures.svg"
    target.write_text("old")
    out: Callable[[Path], None] = getattr(comparison, write)
    with _small_files(), pytest.raises(OSError, match="File too large"):
        out(target)
    assert (_names(tmp_path), target.read_text()) == (["figures.svg"], "old")
    out(target)
    assert target.stat().st_size > _LIMIT


def test_half_of_the_predictions_are_not_left_under_the_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _result().save(tmp_path / "model.npz")
    sparse.save_npz(tmp_path / "rows.npz", sparse.csr_matrix((9000, 4), dtype=np.float32))
    target = tmp_path / "out.txt"
    words = ["predict", str(tmp_path / "model.npz"), str(tmp_path / "rows.npz")]
    with _small_files():
        assert main([*words, "--output", str(target)]) == 1
    assert capsys.readouterr().err == f"hybridtrain: {target}: File too large\n"
    assert _names(tmp_path) == ["model.npz", "rows.npz"]
    assert main([*words, "--output", str(target)]) == 0
    assert len(target.read_text().splitlines()) == 9000


def test_a_fork_that_fails_while_its_parent_writes_leaves_the_parents_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    stack = contextlib.ExitStack()
    file = stack.enter_context(writing(path))
    child = os.fork()
    if child == 0:
        with contextlib.suppress(RuntimeError):
            stack.__exit__(RuntimeError, RuntimeError(), None)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    file.write(b"whole")
    stack.close()
    assert path.read_bytes() == b"whole"


def test_what_a_killed_writer_has_left_is_removed_and_no_other_file(tmp_path: Path) -> None:
    target, other = tmp_path / "a.txt", tmp_path / ".b.txt.00aa.part"
    killed = f"""
import os, signal
from hybridtrain.writing import writing
with writing({str(target)!r}) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", killed], check=False).returncode == -9
    other.write_text("of another name")
    (left,) = set(_names(tmp_path)) - {other.name}
    with writing(target) as file:
        file.write(b"whole")
        assert len(_names(tmp_path)) == 3
        remove_abandoned(target)  # a living process writes the other one
        assert len(_names(tmp_path)) == 2
        assert left not in _names(tmp_path)
    assert target.read_text() == "whole"
    assert _names(tmp_path) == [other.name, "a.txt"]
    remove_abandoned(tmp_path / "nowhere" / "a.txt")


def test_a_file_that_is_taken_for_abandoned_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, locks = tmp_path / "a.txt", []
    lock = fcntl.flock

    def removed_before(handle: Any, operation: int) -> None:
        if not locks:
            (tmp_path / _names(tmp_path)[0]).unlink()
        locks.append(operation)
        lock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", removed_before)
    write_text(target, "whole")
    assert len(locks) == 2
    assert target.read_text() == "whole"
    assert _names(tmp_path) == ["a.txt"]
