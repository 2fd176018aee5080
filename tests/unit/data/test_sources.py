# SPDX-License-Identifier: BSD-3-Clause
"""Text from pipes, packed files and open files: all of it, within a bound, or a refusal."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import sys
import threading
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hybridtrain as ht

zstandard = pytest.importorskip("zstandard", reason="Python 3.14 has its own")

Pack = Callable[[bytes], bytes]


def _zip(text: bytes, **others: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, held in {"rows.svm": text, **others}.items():
            archive.writestr(name, held)
    return file.getvalue()


def _lzma_alone(text: bytes) -> bytes:
    return lzma.compress(text, lzma.FORMAT_ALONE)


def _zstd(text: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(text)


def _zstd_stream(text: bytes) -> bytes:
    """Return frames that do not tell their size, one after the other."""
    half = text.index(b"\n", len(text) // 2) + 1
    parts = []
    for part in (text[:half], text[half:]):
        packer = zstandard.ZstdCompressor().compressobj()
        parts += [packer.compress(part), packer.flush()]
    return b"".join(parts)


PACKS: dict[str, Pack] = {
    "plain": bytes,
    "gz": gzip.compress,
    "gz in parts": lambda text: gzip.compress(text[:99]) + gzip.compress(text[99:]),
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "lzma": _lzma_alone,
    "zst": _zstd,
    "zst in parts": _zstd_stream,
    "zip": _zip,
}
N_ROWS = 10_000
TEXT = b"".join(b"%d 1:%d 3:.5\n" % (i % 2, i) for i in range(N_ROWS))


def _is_whole(rows: Any) -> bool:
    X, y = rows
    first = X[:, [0]].toarray().ravel()
    return (
        X.shape == (N_ROWS, 3)
        and bool((first == np.arange(N_ROWS)).all())
        and y.sum() == (N_ROWS // 2)
    )


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the text be some blocks."""
    monkeypatch.setattr("hybridtrain.data.svmlight._BLOCK_BYTES", 50_000)


@pytest.fixture
def through_pipe(tmp_path: Path) -> Any:
    """Give the bytes out through a FIFO, once, in small pieces at the start."""
    writers = []

    def give(content: bytes) -> Path:
        path = tmp_path / "pipe"
        os.mkfifo(path)

        def write() -> None:
            with path.open("wb", buffering=0) as file:
                try:
                    for start in (content[:1], content[1:3], content[3:]):
                        left = memoryview(start)
                        while left:
                            left = left[file.write(left) :]
                except BrokenPipeError:
                    pass

        writers.append(threading.Thread(target=write))
        writers[-1].start()
        return path

    yield give
    for writer in writers:
        writer.join(20)
        assert not writer.is_alive()


@pytest.mark.parametrize("pack", PACKS)
def test_every_row_of_a_packed_file_is_read_whatever_its_name(pack: str, tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_bytes(PACKS[pack](TEXT))
    assert _is_whole(ht.read_data(tmp_path / "rows.txt"))


@pytest.mark.parametrize("pack", PACKS)
def test_every_row_of_a_pipe_is_read(pack: str, through_pipe: Any) -> None:
    assert _is_whole(ht.read_data(through_pipe(PACKS[pack](TEXT))))


@pytest.mark.parametrize("pack", ["plain", "gz", "zip"])
def test_an_open_file_is_read_from_where_it_stands_and_left_open(pack: str) -> None:
    file = io.BytesIO(b"skip" + PACKS[pack](TEXT))
    file.seek(4)
    assert _is_whole(ht.read_data(file))
    assert not file.closed


def test_a_file_open_as_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.svm").write_bytes(TEXT)
    with (
        (tmp_path / "rows.svm").open() as file,
        pytest.raises(ht.InvalidDataError, match=r"rows\.svm must be open in binary mode"),
    ):
        ht.read_data(file)  # type: ignore[arg-type]  # that is the fault
    with pytest.raises(ht.InvalidSettingError, match="a path or an open file, got 3"):
        ht.read_data(3)  # type: ignore[arg-type]  # that is the fault


@pytest.mark.parametrize("pack", PACKS)
@pytest.mark.parametrize("line", [7, 9_000])
def test_a_broken_line_of_a_pipe_is_named_with_its_number(
    pack: str, line: int, through_pipe: Any
) -> None:
    lines = TEXT.splitlines(keepends=True)
    lines[line - 1] = b"1 3:x\n"
    with pytest.raises(ht.InvalidDataError, match=rf"pipe, line {line} has '3:x' in place of"):
        ht.read_data(through_pipe(PACKS[pack](b"".join(lines))))
    lines[line - 1] = b"1 3:nan\n"
    with pytest.raises(ht.InvalidDataError, match=rf", line {line} has a value that is NaN"):
        ht.read_data(io.BytesIO(PACKS[pack](b"".join(lines))))


@pytest.mark.parametrize("pack", [name for name in PACKS if name != "plain"])
def test_a_packed_text_that_is_cut_short_is_refused(pack: str, tmp_path: Path) -> None:
    whole = PACKS[pack](TEXT)
    for kept in (len(whole) // 2, len(whole) - 5):
        (tmp_path / "rows.svm").write_bytes(whole[:kept])
        with pytest.raises(ht.InvalidDataError, match=r"rows\.svm is compressed, but damaged or"):
            ht.read_data(tmp_path / "rows.svm")


def test_packed_text_with_changed_bytes_is_whole_or_refused() -> None:
    rng = np.random.default_rng(3)
    text = TEXT[:20_000].rpartition(b"\n")[0]
    for pack in PACKS.values():
        whole = pack(text)
        for place in rng.integers(0, len(whole), 20).tolist():
            changed = bytearray(whole)
            changed[place] ^= 1 << int(rng.integers(8))
            try:
                ht.read_data(io.BytesIO(changed))
            except ht.HybridTrainError as error:
                assert "the open file" in str(error)  # noqa: PT017 - it need not be raised


def test_an_archive_of_several_files_is_refused_with_their_names(tmp_path: Path) -> None:
    (tmp_path / "rows.zip").write_bytes(_zip(TEXT, more=b"1 1:1"))
    with pytest.raises(ht.InvalidDataError, match=r"one text file, it holds 2: rows\.svm, more"):
        ht.read_data(tmp_path / "rows.zip")


@pytest.mark.parametrize(
    ("start", "says"),
    [
        (b"\x04\x22\x4d\x18....", "is packed by lz4, which is not read: unpack it"),
        (b"7z\xbc\xaf\x27\x1c..", "is packed by 7-Zip"),
        (b"rows.svm" + bytes(92), "is no text: its first line holds bytes of value 0"),
        (bytes(1 << 22), "is no text: its first line holds bytes of value 0"),
        ("1 1:1\n".encode("utf-16"), "is text in UTF-16.*iconv"),
        ("1 1:1\n".encode("utf-16-be"), "is no text"),
        (gzip.compress(b"rows.svm" + bytes(999)), "is no text: .* tar archives"),
    ],
    ids=["lz4", "7-Zip", "binary", "zeros", "UTF-16", "UTF-16 without a mark", "tar"],
)
def test_what_is_no_svmlight_text_is_refused_by_name(start: bytes, says: str) -> None:
    with pytest.raises(ht.InvalidDataError, match=f"the open file {says}"):
        ht.read_data(io.BytesIO(start))


def test_an_archive_that_points_before_its_start_is_refused(tmp_path: Path) -> None:
    """The system refuses to seek there: its error is about what is read."""
    for at in (-10, -9, -6):  # size and place of the directory, at the end of the archive
        packed = bytearray(_zip(TEXT))
        packed[at] ^= 0x40
        (tmp_path / "rows.zip").write_bytes(packed)
        for source in (tmp_path / "rows.zip", io.BytesIO(packed)):
            with pytest.raises(ht.InvalidDataError, match="compressed, but damaged or cut short"):
                ht.read_data(source)


def test_an_archive_through_a_pipe_takes_the_memory_that_it_needs(through_pipe: Any) -> None:
    tracemalloc.start()
    assert _is_whole(ht.read_data(through_pipe(_zip(TEXT))))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 << 20


def test_an_endless_device_is_no_text() -> None:
    with pytest.raises(ht.InvalidDataError, match="/dev/zero is no text"):
        ht.read_data("/dev/zero")


@pytest.mark.parametrize("library", ["zstandard", "lzma", "bz2"])
def test_a_library_that_is_missing_is_named(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pack = {"zstandard": _zstd, "lzma": lzma.compress, "bz2": bz2.compress}[library]
    packed = pack(TEXT)
    monkeypatch.setitem(sys.modules, library, None)
    says = "pip install zstandard" if library == "zstandard" else f"cannot unpack it: .*{library}"
    with pytest.raises(ht.MissingPackageError, match=says):
        ht.read_data(io.BytesIO(packed))


# ---- the bound


@pytest.mark.parametrize("pack", PACKS)
def test_text_beyond_the_bound_is_refused_with_the_bound(pack: str) -> None:
    packed = PACKS[pack](TEXT)
    assert _is_whole(ht.read_data(io.BytesIO(packed), max_bytes=len(TEXT)))
    with pytest.raises(ht.InvalidDataError, match=r"more than [\d,]+ bytes of text; .*max_bytes"):
        ht.read_data(io.BytesIO(packed), max_bytes=len(TEXT) - 1)


@pytest.mark.parametrize("pack", ["gz", "bz2", "zst", "zip"])
def test_a_small_file_does_not_fill_the_memory(pack: str) -> None:
    """64 MB without an end of line, and 64 MB of empty lines."""
    for byte in (b"1", b"\n"):
        bomb = PACKS[pack](byte * (61 << 18))
        assert len(bomb) < 1 << 20
        tracemalloc.start()
        with pytest.raises(ht.InvalidDataError, match="more than 262,144 bytes of text"):
            ht.read_data(io.BytesIO(bomb), max_bytes=1 << 18)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 40 << 20


@pytest.mark.parametrize("max_bytes", [0, -1, 1.5, True, "1G"])
def test_a_bound_is_a_number_of_bytes(max_bytes: Any) -> None:
    with pytest.raises(ht.InvalidSettingError, match="max_bytes must be"):
        ht.read_data(io.BytesIO(TEXT), max_bytes=max_bytes)
