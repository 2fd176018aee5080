# SPDX-License-Identifier: BSD-3-Clause
"""Rows for other processes: by their files where they lie in one, else by a copy."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hybridtrain._core.attached import Mapping, MemoryFile
from hybridtrain._core.process import Process
from hybridtrain._core.rows import Rows
from hybridtrain.data.shared import SharedRows

N_ROWS, N_FEATURES = 300, 7
POINTERS = np.arange(N_ROWS + 1, dtype=np.int64) * 2
INDICES = np.tile(np.array([1, 4], np.int32), N_ROWS)
VALUES = np.random.default_rng(0).standard_normal(2 * N_ROWS).astype(np.float32)
TARGETS = np.sign(np.random.default_rng(1).standard_normal(N_ROWS)).astype(np.float32)


def _rows(**changes: Any) -> Rows:
    arrays = {"pointers": POINTERS, "indices": INDICES, "values": VALUES, "targets": TARGETS}
    return Rows(N_FEATURES, **{**arrays, **changes})


def _read(shared: SharedRows, name: str, dtype: Any) -> Any:
    place = shared.places[name]
    return np.frombuffer(Mapping(place.fd, place.offset, place.nbytes), dtype)


def _descriptors() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))


@pytest.fixture(autouse=True)
def _no_descriptor_is_left() -> Iterator[None]:
    before = _descriptors()
    yield
    assert _descriptors() == before


def test_arrays_in_memory_are_copied_once_and_cannot_be_written() -> None:
    weights = np.ones(N_ROWS, np.float32)
    shared = SharedRows(_rows(weights=weights))
    assert set(shared.places) == {"pointers", "indices", "values", "targets", "weights"}
    assert len(shared.fds()) == 1
    for name, array in (("pointers", POINTERS), ("values", VALUES), ("weights", weights)):
        copy = _read(shared, name, array.dtype)
        np.testing.assert_array_equal(copy, array)
        assert not copy.flags.writeable
        assert copy.ctypes.data % 64 == 0
    with pytest.raises(OSError, match="not permitted"):
        os.pwrite(shared.fds()[0], b"x", 0)
    shared.close()
    shared.close()


def test_rows_that_lie_in_files_are_not_copied(tmp_path: Path) -> None:
    np.save(tmp_path / "values.npy", VALUES)
    mapped = np.load(tmp_path / "values.npy", mmap_mode="r")
    shared = SharedRows(_rows(values=mapped))
    place = shared.places["values"]
    assert os.path.samefile(f"/proc/self/fd/{place.fd}", tmp_path / "values.npy")
    assert place.offset == mapped.offset
    np.testing.assert_array_equal(_read(shared, "values", np.float32), VALUES)
    assert place.fd != shared.places["indices"].fd
    shared.close()


def test_a_part_of_a_file_is_found_where_it_is(tmp_path: Path) -> None:
    long = np.concatenate([np.zeros(10_000, np.float32), VALUES])
    np.save(tmp_path / "values.npy", long)
    part = np.load(tmp_path / "values.npy", mmap_mode="r")[10_000:]
    shared = SharedRows(_rows(values=part))
    assert shared.places["values"].fd != shared.places["indices"].fd
    np.testing.assert_array_equal(_read(shared, "values", np.float32), VALUES)
    shared.close()


def test_a_file_that_has_moved_is_found(tmp_path: Path) -> None:
    path = tmp_path / "values.npy"
    np.save(path, VALUES)
    mapped = np.load(path, mmap_mode="r")
    path.rename(tmp_path / "moved to.npy")
    np.save(path, 2 * VALUES)
    shared = SharedRows(_rows(values=mapped))
    assert len(shared.fds()) == 2
    np.testing.assert_array_equal(_read(shared, "values", np.float32), VALUES)
    shared.close()


@pytest.mark.parametrize("how", ["removed", "replaced", "pipe", "private", "anonymous"])
def test_what_has_no_file_to_open_is_copied(how: str, tmp_path: Path) -> None:
    path = tmp_path / "values.npy"
    np.save(path, VALUES)
    mapped: Any = np.load(path, mmap_mode="c" if how == "private" else "r")
    expected = VALUES
    if how == "private":  # what is written there is not in the file
        mapped[0] = 77
        expected = np.array(mapped)
    elif how == "anonymous":
        mapped = np.frombuffer(mmap.mmap(-1, VALUES.nbytes), np.float32)
        expected = np.zeros_like(VALUES)
    else:
        path.unlink()
        named = tmp_path / "values.npy (deleted)"  # as the system calls the removed file
        if how == "replaced":
            np.save(path, 2 * VALUES)
            path.rename(named)
        elif how == "pipe":
            os.mkfifo(named)
    shared = SharedRows(_rows(values=mapped))
    assert len(shared.fds()) == 1
    np.testing.assert_array_equal(_read(shared, "values", np.float32), expected)
    shared.close()


def test_rows_without_elements_are_shared() -> None:
    rows = _rows(
        pointers=np.zeros(N_ROWS + 1, np.int64),
        indices=np.zeros(0, np.int32),
        values=np.zeros(0, np.float32),
    )
    shared = SharedRows(rows)
    assert shared.places["indices"].nbytes == shared.places["values"].nbytes == 0
    shared.close()


def test_rows_tell_what_they_were_made_of() -> None:
    hot = np.ones(N_ROWS, np.int32)
    assert set(_rows(hot=hot).arrays) == {"pointers", "indices", "values", "targets", "hot"}
    np.testing.assert_array_equal(np.asarray(_rows(hot=hot).arrays["hot"]), hot)
    assert (_rows(mapped=True).mapped, _rows().mapped, _rows(n_hot=3).n_hot) == (True, False, 3)


def test_memory_takes_what_fits_alone() -> None:
    memory = MemoryFile(100)
    memory.write(b"x" * 40, 60)
    memory.write(b"", 100)
    for contents, offset in ((b"x" * 41, 60), (b"x", 100), (b"", 101), (b"x" * 101, 0)):
        with pytest.raises(ValueError, match="within the memory"):
            memory.write(contents, offset)
    with pytest.raises(ValueError, match=r"."):
        Mapping(memory.fileno(), 0, 0)
    assert bytes(Mapping(memory.fileno(), 59, 3)) == b"\0xx"
    memory.freeze()
    with pytest.raises(OSError, match="not permitted"):
        memory.write(b"x", 0)
    memory.close()
    assert memory.fileno() == -1
    with pytest.raises(OSError, match="Bad file descriptor"):
        memory.freeze()


def test_a_process_is_one_program() -> None:
    process = Process()
    with pytest.raises(ValueError, match="too many descriptors"):
        process.execute([b"/bin/true"], [], list(range(17)))
    process.execute([b"/bin/true"], [], [])
    with pytest.raises(ValueError, match="started before"):
        process.execute([b"/bin/true"], [], [])
    assert process.reap(20.0) == ("exited", 0)
