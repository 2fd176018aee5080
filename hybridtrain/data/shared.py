# SPDX-License-Identifier: BSD-3-Clause
"""Rows that worker processes map: by the files that they lie in, or by one copy in memory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybridtrain._core.attached import MemoryFile
from hybridtrain._core.rows import Rows
from hybridtrain.errors import OutOfMemoryError
from hybridtrain.machine import available_memory

_LINE = 128  # bytes; arrays begin on lines of their own


@dataclass(frozen=True, slots=True)
class Place:
    """Where an array lies: so many bytes of a descriptor, from an offset on."""

    fd: int
    offset: int
    nbytes: int


class SharedRows:
    """Hold descriptors by which other processes map the arrays of rows.

    An array that lies in a mapped file, of `numpy.memmap` for example, is mapped by that file.
    The others are copied, once, to memory that nobody can write to.

    Parameters
    ----------
    rows : Rows

    Attributes
    ----------
    places : dict of str to Place
        By the names of `Rows.arrays`.

    Raises
    ------
    OutOfMemoryError
        When there is no memory for the copy.
    OSError
        When the system refuses a descriptor.
    """

    def __init__(self, rows: Rows) -> None:
        self.places: dict[str, Place] = {}
        self._files: list[int] = []
        self._memory: MemoryFile | None = None
        try:
            self._map(rows.arrays)
        except BaseException:
            self.close()
            raise

    def fds(self) -> list[int]:
        """Return the descriptors that a process needs."""
        return sorted({place.fd for place in self.places.values()})

    def close(self) -> None:
        """Close the descriptors; processes that have mapped the rows keep them."""
        while self._files:
            os.close(self._files.pop())
        if self._memory is not None:
            self._memory.close()

    def _map(self, arrays: dict[str, memoryview]) -> None:
        mappings = _mappings()
        copied: dict[str, int] = {}
        nbytes = 0
        for name, array in arrays.items():
            place = self._place_in_file(array, mappings)
            if place is not None:
                self.places[name] = place
            else:
                copied[name] = nbytes
                nbytes += -(-array.nbytes // _LINE) * _LINE
        _require(nbytes)
        memory = self._memory = MemoryFile(max(nbytes, 1))
        for name, offset in copied.items():
            memory.write(arrays[name], offset)
            self.places[name] = Place(memory.fileno(), offset, arrays[name].nbytes)
        memory.freeze()

    def _place_in_file(self, array: memoryview, mappings: list[_Mapping]) -> Place | None:
        """Return where an array lies in a file, of which a descriptor is opened."""
        address = np.asarray(array).ctypes.data
        for each in mappings:
            if each.first <= address and address + array.nbytes <= each.last:
                fd = each.open()
                if fd is None:
                    return None
                self._files.append(fd)
                return Place(fd, each.offset + address - each.first, array.nbytes)
        return None


@dataclass(frozen=True, slots=True)
class _Mapping:
    """A shared mapping in this process: its addresses, and the file as the system names it."""

    first: int
    last: int
    offset: int
    device: int
    inode: int
    path: bytes

    def open(self) -> int | None:
        """Return a descriptor of the same file; None if it has no path any more."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return None
        found = os.fstat(fd)
        if (found.st_dev, found.st_ino) == (self.device, self.inode):
            return fd
        os.close(fd)
        return None


def _mappings() -> list[_Mapping]:
    """Return the shared mappings of files in this process: they hold what the files hold."""
    found = []
    for line in Path("/proc/self/maps").read_bytes().splitlines():
        addresses, flags, offset, device, inode, *path = line.split(maxsplit=5)
        if flags.endswith(b"s") and path and path[0].startswith(b"/"):
            first, last = (int(address, 16) for address in addresses.split(b"-"))
            number = os.makedev(*(int(part, 16) for part in device.split(b":")))
            found.append(_Mapping(first, last, int(offset, 16), number, int(inode), path[0]))
    return found


def _require(nbytes: int) -> None:
    available = available_memory()
    if available is not None and nbytes > available:
        raise OutOfMemoryError(
            f"HYBRIDTRAIN_START=exec copies the rows once, for all workers: {nbytes >> 20} MiB, "
            f'there are {available >> 20} MiB; use HYBRIDTRAIN_START=fork, or backend="threads"',
            needed=nbytes,
            available=available,
        )
