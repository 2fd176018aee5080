# SPDX-License-Identifier: BSD-3-Clause
"""Text from a path, a pipe or an open file: opened once, read once, unpacked, bounded."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import zipfile
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NoReturn

from hybridtrain.errors import InvalidDataError, MissingPackageError, is_systems, reason_of
from hybridtrain.machine import available_memory
from hybridtrain.paths import PathLike, path_text

Source = PathLike | BinaryIO
_BUFFER = 1 << 20
_PACKED_BUFFER = 1 << 10  # of zstandard: unpacked it is 32 MB at most
_START = 8
_LEAST_BOUND = 16 << 30
_LONGEST_NAME = 60  # of a member in a message
_NOT_READ = {
    b"\x04\x22\x4d\x18": "lz4",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"\x1f\x9d": "compress",
    b"Rar!": "RAR",
}


def source_name(source: Source) -> str:
    """Return what errors call a source: its path, or "standard input"."""
    if isinstance(source, str | os.PathLike):
        return path_text(source)
    if sys.stdin is not None and source is getattr(sys.stdin, "buffer", None):
        return "standard input"
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "the open file"


def read_up_to(file: Any, most_bytes: int, start: bytes = b"") -> io.BytesIO:
    """Read a file that cannot seek into one that can, a piece at a time.

    Parameters
    ----------
    file : binary file
    most_bytes : int
        Where reading ends. Memory is taken for the bytes read, not for this bound.
    start : bytes
        The bytes that were read from the file before.
    """
    whole = io.BytesIO()
    whole.write(start)
    while (left := most_bytes - whole.tell()) > 0 and (part := file.read(min(_BUFFER, left))):
        whole.write(part)
    whole.seek(0)
    return whole


@contextlib.contextmanager
def open_text(source: Source, max_bytes: int | None) -> Iterator[io.BufferedReader]:
    """Open text, plain or packed by gzip, bzip2, xz, lzma, zstandard or zip.

    The packing is known by the first bytes. What cannot go back, such as a pipe, is
    opened once and read once.

    Parameters
    ----------
    source : path-like or binary file
        A binary file is left open.
    max_bytes : int or None
        The most bytes of text, unpacked, that may be read; None: 16 GiB, or what
        this process can have of memory if that is more.

    Yields
    ------
    binary file
        Of the unpacked text. Reading raises InvalidDataError where the packing is
        damaged, or at the bound.

    Raises
    ------
    InvalidDataError
        When the packing is one that is not read.
    MissingPackageError
        When the library that unpacks it is not there.
    OSError
        When the file cannot be opened or read.
    """
    name = source_name(source)
    with contextlib.ExitStack() as stack:
        file: Any = source
        if isinstance(source, str | os.PathLike):
            file = stack.enter_context(open(source, "rb"))
        start = _read_start(file, name)
        bound = max(_LEAST_BOUND, available_memory() or 0) if max_bytes is None else max_bytes
        whole: Any = io.BufferedReader(_Rejoined(start, file), _BUFFER)
        if file is not source and file.seekable():
            file.seek(0)
            whole = file
        unpack = _unpacker(start, name, bound)
        text = whole if unpack is None else stack.enter_context(unpack(whole))
        yield io.BufferedReader(_Bounded(text, name, bound, unpack is not None), _BUFFER)


def _read_start(file: Any, name: str) -> bytes:
    start = b""
    while len(start) < _START:
        part = file.read(_START - len(start))
        if not isinstance(part, bytes):
            raise InvalidDataError(f"{name} must be open in binary mode, it gives text")
        if not part:
            break
        start += part
    return start


class _Rejoined(io.RawIOBase):
    """The first bytes, which were read, and then the rest."""

    def __init__(self, start: bytes, rest: Any) -> None:
        self._start = start
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = self._start[: len(buffer)] or self._rest.read(len(buffer))
        self._start = self._start[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)


class _Bounded(io.RawIOBase):
    """Read text up to a number of bytes; errors of unpackers become one error."""

    def __init__(self, text: Any, name: str, bound: int, is_packed: bool) -> None:
        self._text = text
        self._name = name
        self._bound = bound
        self._left = bound
        self._is_packed = is_packed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            count: int = self._text.readinto(buffer)
        except Exception as error:  # each library has its own
            if not self._is_packed or is_systems(error):
                raise
            _refuse_packed(self._name, error)
        self._left -= count
        if self._left < 0:
            _refuse_size(self._name, self._bound)
        return count


def _refuse_packed(name: str, error: Exception) -> NoReturn:
    raise InvalidDataError(
        f"{name} is compressed, but damaged or cut short: {reason_of(error)}"
    ) from error


def _refuse_size(name: str, bound: int) -> NoReturn:
    raise InvalidDataError(
        f"{name} holds more than {bound:,} bytes of text; allow more with max_bytes=..."
    )


_Unpack = Callable[[io.BufferedReader], contextlib.AbstractContextManager[Any]]


def _unpacker(start: bytes, name: str, bound: int) -> _Unpack | None:
    """Return the function that unpacks a file of these first bytes; None: not packed."""
    for magic, program in _NOT_READ.items():
        if start.startswith(magic):
            raise InvalidDataError(f"{name} is packed by {program}, which is not read: unpack it")
    try:
        if start.startswith(b"\x1f\x8b"):
            import gzip  # noqa: PLC0415 - a Python may be built without it, as without the others

            return lambda file: gzip.GzipFile(fileobj=file)
        if start.startswith(b"BZh"):
            import bz2  # noqa: PLC0415

            return bz2.BZ2File
        if start.startswith((b"\xfd7zXZ\x00", b"]\x00\x00")):
            import lzma  # noqa: PLC0415

            return lzma.LZMAFile
    except ImportError as error:
        raise MissingPackageError(f"{name}: this Python cannot unpack it: {error}") from error
    if start.startswith((b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18")):
        begin = _zstandard(name)
        return lambda file: _Zstandard(file, begin)
    if start.startswith(b"PK\x03\x04"):
        return lambda file: _open_member(file, name, bound)
    return None


@contextlib.contextmanager
def _open_member(file: io.BufferedReader, name: str, bound: int) -> Iterator[Any]:
    """Open the one file of a zip archive, which has its directory at its end."""
    packed: Any = file
    if not file.seekable():
        packed = read_up_to(file, bound + 1)
        if packed.getbuffer().nbytes > bound:
            _refuse_size(name, bound)
    try:
        with zipfile.ZipFile(packed) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            if len(members) != 1:
                names = ", ".join(member.filename[:_LONGEST_NAME] for member in members[:5])
                raise InvalidDataError(
                    f"{name} must be an archive of one text file, it holds {len(members)}: {names}"
                )
            opened = archive.open(members[0])
    except InvalidDataError:
        raise
    except Exception as error:  # damaged archives fail in many ways
        if is_systems(error):
            raise
        _refuse_packed(name, error)
    with opened:
        yield opened


def _zstandard(name: str) -> Callable[[], Any]:
    """Return what makes the unpacker of one frame."""
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd  # noqa: PLC0415 - only text packed like this needs it

            return zstd.ZstdDecompressor
        import zstandard  # noqa: PLC0415 - only text packed like this needs it
    except ImportError as error:
        raise MissingPackageError(
            f"{name} is packed by zstandard, which needs a package: pip install zstandard"
        ) from error
    return lambda: zstandard.ZstdDecompressor().decompressobj()


class _Zstandard(io.RawIOBase):
    """The text of zstandard's frames; a frame that is cut short is an error."""

    def __init__(self, file: io.BufferedReader, begin: Callable[[], Any]) -> None:
        self._file = file
        self._begin = begin
        self._frame: Any = None
        self._packed = b""
        self._text = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._text:
            self._packed = self._packed or self._file.read(_PACKED_BUFFER)
            if not self._packed:
                if self._frame is not None:
                    raise EOFError("the last frame has no end")
                return 0
            self._frame = self._frame or self._begin()
            self._text, self._packed = self._frame.decompress(self._packed), b""
            if self._frame.eof:
                self._packed, self._frame = self._frame.unused_data, None
        part = self._text[: len(buffer)]
        self._text = self._text[len(part) :]
        buffer[: len(part)] = part
        return len(part)
