# SPDX-License-Identifier: BSD-3-Clause
"""Compressed text: damaged, cut, doubled, very long once unpacked, or named as what it is not."""

from __future__ import annotations

import bz2
import gzip
import importlib
import io
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fuzz import text
from fuzz.contract import Allowed, UnsoundError, building, outcome_of, require
from fuzz.draw import Draw
from fuzz.model_files import damaged

import hybridtrain as ht

_BOMB_MB = 4


def _zip(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("rows.svm", content)
    return file.getvalue()


def _unzip(packed: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(packed)) as file:
        names = [name for name in file.namelist() if not name.endswith("/")]
        if len(names) != 1:
            raise ValueError(names)
        return file.read(names[0])


def _zstd() -> Any:
    return importlib.import_module("zstandard")


def _unzstd(packed: bytes) -> bytes:
    reader = _zstd().ZstdDecompressor().stream_reader(io.BytesIO(packed), read_across_frames=True)
    return bytes(reader.read())


_PACKERS: dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
    "gz": (gzip.compress, gzip.decompress),
    "bz2": (bz2.compress, bz2.decompress),
    "xz": (lzma.compress, lzma.decompress),
    "lzma": (lambda data: lzma.compress(data, lzma.FORMAT_ALONE), lzma.decompress),
    "zip": (_zip, _unzip),
    "zst": (lambda data: bytes(_zstd().ZstdCompressor().compress(data)), _unzstd),
}
_NEEDED = ("gz", "bz2", "xz")  # the others are read where there is a library for them


def _bomb(draw: Draw) -> bytes:
    what = draw.one([b"#", b"\n", b" ", b"1 1:1\n", b"1", b"\0", b"1 1:1 # x\n"])
    draw.note(f"bomb of {what!r}")
    return b"1 1:1\n-1 1:2\n" + what * ((_BOMB_MB << 20) // len(what))


def case(draw: Draw, place: Path) -> tuple[Callable[[], str], Allowed]:
    """Make a packed file, and read it."""
    form = draw.one(list(_PACKERS))
    try:
        _zstd()
    except ImportError:
        form = "gz" if form == "zst" else form
    pack, unpack = _PACKERS[form]
    draw.note(form)
    if draw.chance(0.02):
        return _case_of_bomb(draw, place, form), Allowed()
    with building():
        content = text.sound_text(draw)
        packed = pack(content)
        what = draw.one(
            ["sound", "damaged", "damaged twice", "joined", "garbage", "nested", "parts"]
        )
        draw.note(what)
        if what.startswith("damaged"):
            packed = damaged(draw, packed)
        elif what == "joined":
            packed += pack(content)
        elif what == "garbage":
            packed += draw.one([b"\0" * 99, b"garbage", draw.randbytes(20)])
        elif what == "nested":
            packed = draw.one(list(_PACKERS.values())[:5])[0](packed)
        elif what == "parts" and form == "zip":
            packed = _strange_zip(draw, content)
        suffix = draw.one([f".{form}", f".{form}", "", ".svm", ".gz", ".xz", ".zst"])
        file = place / f"rows{suffix or '.svm'}"
        file.write_bytes(packed)
    is_sound = what == "sound" and form in _NEEDED and suffix in (f".{form}", ".svm", "")
    return lambda: _use(file, packed, unpack, is_sound), Allowed()


def _strange_zip(draw: Draw, content: bytes) -> bytes:
    """Return a zip file of none, or several members, of folders, or with a password."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", draw.one([0, 8, 12, 14])) as target:
        for k in range(draw.randint(0, 2)):
            target.writestr(draw.one([f"{k}.svm", "../x", "folder/", "é", f"{k}.npy"]), content)
    data = bytearray(file.getvalue())
    if draw.chance(0.3) and len(data) > 8:
        data[6] |= 1  # says that it is encrypted
    return bytes(data)


def _use(file: Path, packed: bytes, unpack: Callable[[bytes], bytes], is_sound: bool) -> str:
    try:
        content = unpack(packed)
    except Exception:  # whatever the library says of a damaged file
        content = None
    if content is not None and not _is_packed(packed):
        content = None
    if content is not None:
        outcome = text.use(file, content, is_sound)
        return outcome
    try:
        X, y = ht.read_data(file)
    except Exception as error:
        return f"refused ({outcome_of(error, Allowed())})"
    try:  # text after all, without the first bytes of a packed file
        expected = text.read(packed)
    except text.UnreadableError as error:
        raise UnsoundError(f"a damaged file is read: {text._first_line(X, y)}") from error
    text._compare(X, y, expected, 1)
    return "text"


def _is_packed(packed: bytes) -> bool:
    """Whether the first bytes are those of a packed file."""
    magics = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x5d\0\0", b"PK", b"\x28\xb5\x2f\xfd")
    return packed.startswith(magics)


def _case_of_bomb(draw: Draw, place: Path, form: str) -> Callable[[], str]:
    with building():
        content = _bomb(draw)
        file = place / f"rows.svm.{form}"
        file.write_bytes(_PACKERS[form][0](content))

    def run() -> str:
        try:
            X, _ = ht.read_data(file)
        except Exception as error:
            return f"bomb refused ({outcome_of(error, Allowed())})"
        require(X.shape[1] == 1, f"a bomb is read as {X.shape}")
        return "bomb read"

    return run
