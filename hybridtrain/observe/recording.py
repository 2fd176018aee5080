# SPDX-License-Identifier: BSD-3-Clause
"""The order of an asynchronous run, in a file.

A file is a start, pieces, and the SHA-256 of all bytes before it. A piece is its kind, a number,
its length in bytes, and its content:

========  ===============  ======================================================================
kind      number           content
========  ===============  ======================================================================
HEADER    0                JSON: what the run was given; the first piece
BEGIN     epoch, from 1    its rates, float32: the supervisor wakes the workers. The epoch before,
                           or the next one
ENTRIES   worker           of its log (csrc/share/ht_log.h), 8 bytes each
DEATH     worker           a snapshot of its place (csrc/run/ht_snapshot.h)
END       0                JSON: what the run has come to; the last piece
========  ===============  ======================================================================
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from hybridtrain.paths import PathLike, path_text
from hybridtrain.writing import remove_abandoned, writing

logger = logging.getLogger(__name__)

_START = b"hybridtrain record 1\n"
_PIECE = struct.Struct("<IIQ")
_HEADER, _BEGIN, _ENTRIES, _DEATH, _END = range(1, 6)
_HASH = hashlib.sha256
_DIGEST_NBYTES = _HASH().digest_size
_ENTRY = np.dtype("<u8")
_RATE = np.dtype("<f4")
_MOST_WORKERS = 1 << 10


class Recorder:
    """Write the record of one run.

    A write that fails ends the recording, and not the run.

    Parameters
    ----------
    path : path-like
        The file, which appears when it is whole, and replaces an older one.

    Attributes
    ----------
    failure : str
        Why nothing more is recorded; "": no reason.
    whole : context manager
        For notes that belong together; the recording fails if the block raises.

    Notes
    -----
    **Thread safety.** The thread that called `train` and the supervisor's may call `note_entries`,
    `note_death` and `fail` at the same time. The former alone calls the other methods.
    """

    def __init__(self, path: PathLike) -> None:
        self.path = path_text(path)
        self.failure = ""
        self.nbytes = 0
        self._process = os.getpid()
        self._stack = contextlib.ExitStack()
        self._file: BinaryIO | None = None
        self._digest = _HASH()
        self._writing = threading.Lock()
        self.whole = _Whole(self)

    def open(self, header: dict[str, Any]) -> None:
        """Begin the file with what the run was given; remove what killed recorders have left.

        Raises
        ------
        OSError
            When it cannot be written.
        """
        remove_abandoned(self.path)
        with contextlib.ExitStack() as stack:
            self._file = stack.enter_context(writing(self.path))
            self._write(_START)
            self._write_piece(_HEADER, 0, json.dumps(header).encode())
            self._stack = stack.pop_all()

    def begin(self, epoch: int, rates: bytes) -> None:
        """Note that the workers train an epoch, or go on with it, at these rates."""
        self._note(_BEGIN, epoch, rates)

    def note_entries(self, worker: int, entries: memoryview | bytes) -> None:
        """Note what a worker has done."""
        self._note(_ENTRIES, worker, memoryview(entries).cast("B"))

    def note_death(self, worker: int, snapshot: bytes | bytearray) -> None:
        """Note what a dead worker has left."""
        self._note(_DEATH, worker, snapshot)

    def fail(self, reason: str) -> None:
        """End the recording; the run goes on."""
        if not self.failure:
            self.failure = f"{self.path} was not recorded: {reason}"
            logger.warning("%s", self.failure)

    def close(self, end: dict[str, Any]) -> None:
        """End the file with what the run has come to; without a file if something failed."""
        if self._file is None or os.getpid() != self._process:  # nothing, or a fork's copy
            return
        self._note(_END, 0, json.dumps(end).encode())
        try:
            with self._stack:
                if self.failure:
                    raise _FailedError
                self._write(self._digest.digest())
        except _FailedError:
            pass
        except OSError as error:
            self.fail(str(error))
        self._file = None

    def _note(self, kind: int, number: int, content: Any) -> None:
        with self._writing:
            if self.failure or self._file is None or os.getpid() != self._process:
                return
            try:
                self._write_piece(kind, number, content)
            except OSError as error:
                self.fail(str(error))

    def _write_piece(self, kind: int, number: int, content: Any) -> None:
        self._write(_PIECE.pack(kind, number, len(content)))
        self._write(content)
        assert self._file is not None
        self._file.flush()  # a fork would write what is left once more

    def _write(self, content: Any) -> None:
        assert self._file is not None
        self._digest.update(content)
        self._file.write(content)
        self.nbytes += len(content)


class _Whole:
    """A ``with`` block of notes that belong together, and of what they tell of.

    If a handler of a signal raises within it, the recording has failed.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is not None:
            self._recorder.fail("interrupted while it was written")


class _FailedError(Exception):
    """The recording has failed: the file is removed."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Hold what the workers did from one rest to the next.

    Attributes
    ----------
    epoch : int
    rates : float32 array
    events : list, for each worker, of uint64 array or int
        Its entries; an int is the number, in `Record.snapshots`, of what it left when it died.
    """

    epoch: int
    rates: npt.NDArray[np.float32]
    events: list[list[npt.NDArray[np.uint64] | int]]


@dataclass(frozen=True, slots=True)
class Record:
    """Hold a record as it was read; numbers of workers, epochs and lengths are checked.

    Attributes
    ----------
    header, end : dict
        What the run was given, and what it has come to.
    stretches : list of Stretch
        Their epochs are 1, or as before, or one more.
    snapshots : list of uint8 array
    """

    header: dict[str, Any]
    stretches: list[Stretch]
    snapshots: list[npt.NDArray[np.uint8]]
    end: dict[str, Any]


def read_record(path: PathLike) -> Record:
    """Read what a `Recorder` wrote.

    Raises
    ------
    OSError
        When it cannot be read.
    ValueError
        When it is something else, or damaged.
    """
    with open(path_text(path), "rb") as file:
        start = file.read(len(_START))
        if start != _START:
            raise ValueError(f"a start of {_START!r} expected, found {start!r}")
        content = memoryview(start + file.read())
    body = content[:-_DIGEST_NBYTES]
    if len(content) < len(_START) + _DIGEST_NBYTES or _HASH(body).digest() != bytes(
        content[-_DIGEST_NBYTES:]
    ):
        raise ValueError("its content does not go with its hash: it is damaged, or a part of it")
    pieces = list(_pieces(body[len(_START) :]))
    kinds = [kind for kind, _, _ in pieces]
    if len(pieces) < 2 or [kinds[0], kinds[-1]] != [_HEADER, _END]:
        raise ValueError("a header as the first piece and an end as the last one expected")
    header, end = _json(pieces[0][2]), _json(pieces[-1][2])
    workers = header.get("workers")
    if type(workers) is not int or not 1 <= workers <= _MOST_WORKERS:
        raise ValueError(f"1 to {_MOST_WORKERS} workers expected, found {workers!r}")
    stretches: list[Stretch] = []
    snapshots: list[npt.NDArray[np.uint8]] = []
    for kind, number, part in pieces[1:-1]:
        if kind == _BEGIN:
            before = stretches[-1].epoch if stretches else 0
            if number not in {max(before, 1), before + 1}:
                raise ValueError(f"epoch {number} follows epoch {before}")
            events: list[list[npt.NDArray[np.uint64] | int]] = [[] for _ in range(workers)]
            stretches.append(Stretch(number, np.frombuffer(part, _RATE), events))
        elif kind not in {_ENTRIES, _DEATH} or number >= workers or not stretches:
            raise ValueError(f"a piece of kind {kind} and number {number} in the wrong place")
        elif kind == _ENTRIES:
            stretches[-1].events[number].append(np.frombuffer(part, _ENTRY))
        else:
            stretches[-1].events[number].append(len(snapshots))
            snapshots.append(np.frombuffer(part, np.uint8))
    return Record(header, stretches, snapshots, end)


def _pieces(body: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    at = 0
    while at < len(body):
        if len(body) - at < _PIECE.size:
            raise ValueError("the last piece is not whole")
        kind, number, nbytes = _PIECE.unpack_from(body, at)
        at += _PIECE.size
        if nbytes > len(body) - at:
            raise ValueError(f"a piece of {nbytes} bytes is larger than the file")
        yield kind, number, body[at : at + nbytes]
        at += nbytes


def _json(content: memoryview) -> dict[str, Any]:
    told = json.loads(bytes(content))
    if not isinstance(told, dict):
        raise ValueError(f"a JSON object expected, found {type(told).__name__}")
    return told
