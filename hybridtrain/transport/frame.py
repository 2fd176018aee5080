# SPDX-License-Identifier: BSD-3-Clause
"""Frames: what one node sends to another, and the header of 96 bytes before each body.

All numbers are little endian::

    magic 4, version 2, kind 2, job 16, sender 8, receiver 8, session 4, sequence 4, ballot 16,
    step 8, shard 4, chunk 4, encoding 1, flags 3, bytes of the body 4, checksum 4, spare 4

The checksum is zlib's CRC-32 of the 88 bytes before it and of the body; Python's library has no
CRC-32C. A CRC of 4 MB at both ends would cost half of a fast connection's speed, so a long body
enters folded: the sums, modulo 2**64, of its rows of 513 words of 8 bytes, and then what remains.
A change within any 4,104 bytes in a row is noticed as by a CRC. So are pages in a wrong order,
since a row is no multiple of a page.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from hybridtrain.errors import HybridTrainError

HEADER_BYTES = 96
MAX_BODY_BYTES = 4 << 20  # ZeroMQ moves one frame of 64 MB at a third of this one's speed
JOB_BYTES = 16
ANYONE = 0  # as a receiver: the link at the address, whatever its incarnation is

ACK, ASK, GONE, PROBE = 1, 2, 3, 4  # transport's own kinds
FIRST_KIND = 16  # of those above transport

Buffer: TypeAlias = bytes | memoryview
Message: TypeAlias = Sequence[Buffer]  # of each frame a header and, unless it is empty, a body

_MAGIC = b"HTfr"
_VERSION = 1
_FIELDS = struct.Struct("<4sHH16sQQII16sQIIB3sI")
_CHECKSUM = struct.Struct("<I4x")
_NBYTES, _NBYTES_AT = struct.Struct("<I"), _FIELDS.size - 4  # of the body, in the header
_FOLDED_BYTES = 65_536  # bodies from this length on are folded
_ROW = 513  # words of 8 bytes
_BITS = {
    "kind": 16,
    "ballot": 128,
    "step": 64,
    "shard": 32,
    "chunk": 32,
    "encoding": 8,
    "flags": 24,
}


class FrameError(HybridTrainError, ValueError):
    """What arrived is no frame for this link; it is dropped and counted.

    Attributes
    ----------
    reason : str
        One word, for counters: "size", "magic", "version", "job", "receiver", "checksum"...
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Frame:
    """What one node sends to another.

    Attributes
    ----------
    kind : int
        0 .. 65535; below FIRST_KIND it is transport's own.
    ballot : int
        Of the view, 0 .. 2**128 - 1.
    step : int
        0 .. 2**64 - 1.
    shard, chunk : int
        Which part of the parameters, 0 .. 2**32 - 1.
    encoding : int
        How the body is written, 0 .. 255.
    flags : int
        0 .. 2**24 - 1.
    body : bytes or memoryview
        At most MAX_BODY_BYTES, contiguous.
    """

    kind: int
    ballot: int = 0
    step: int = 0
    shard: int = 0
    chunk: int = 0
    encoding: int = 0
    flags: int = 0
    body: Buffer = b""


@dataclass(frozen=True, slots=True)
class Envelope:
    """From whom a frame is, to whom, and its place in the stream between them.

    Attributes
    ----------
    job : bytes
        JOB_BYTES that only the links of one job know.
    sender, receiver : int
        Incarnations; the receiver may be ANYONE.
    session, sequence : int
        Which stream of the sender, and which frame of it, both modulo 2**32.
    """

    job: bytes
    sender: int
    receiver: int
    session: int = 0
    sequence: int = 0


def pack(envelope: Envelope, frame: Frame) -> tuple[Buffer, ...]:
    """Return a frame as a message; the body is not copied.

    Raises
    ------
    FrameError
        When a field is outside its range, or the body too long.
    """
    body = frame.body if isinstance(frame.body, bytes) else memoryview(frame.body).cast("B")
    if len(body) > MAX_BODY_BYTES:
        raise FrameError("size", f"a body has at most {MAX_BODY_BYTES} bytes, got {len(body)}")
    try:
        fields = _FIELDS.pack(
            _MAGIC,
            _VERSION,
            frame.kind,
            envelope.job,
            envelope.sender,
            envelope.receiver,
            envelope.session % 2**32,
            envelope.sequence % 2**32,
            frame.ballot.to_bytes(16, "little"),
            frame.step,
            frame.shard,
            frame.chunk,
            frame.encoding,
            frame.flags.to_bytes(3, "little"),
            len(body),
        )
    except (struct.error, OverflowError) as error:
        raise FrameError("range", _what_is_out_of_range(frame)) from error
    header = fields + _CHECKSUM.pack(_checksum(fields, body))
    return (header, body) if len(body) else (header,)


def _checksum(fields: Buffer, body: Buffer) -> int:
    start = zlib.crc32(fields)
    if len(body) < _FOLDED_BYTES:
        return zlib.crc32(body, start)
    n_rows = len(body) // (8 * _ROW)
    words = np.frombuffer(body, "<u8", n_rows * _ROW).reshape(n_rows, _ROW)
    folded = np.add.reduce(words, axis=0)
    rest = memoryview(body)[words.nbytes :]
    return zlib.crc32(rest, zlib.crc32(folded.data, start))


def _what_is_out_of_range(frame: Frame) -> str:
    for name, bits in _BITS.items():
        if not 0 <= getattr(frame, name) < 2**bits:
            return f"{name} of a frame must be 0 .. 2**{bits} - 1, got {getattr(frame, name)}"
    return "sender and receiver of a frame must be 0 .. 2**64 - 1"


def frames_of(message: Message) -> list[Message]:
    """Return the frames of a message of several, as messages; of whatever else at least one."""
    frames, at = list[Message](), 0
    while at < len(message) or not frames:
        header = message[at] if message else b""
        is_whole = len(header) == HEADER_BYTES
        has_body = is_whole and _NBYTES.unpack_from(header, _NBYTES_AT)[0] > 0
        end = at + 1 + has_body if is_whole else len(message)
        frames.append(message[at:end])
        at = max(end, at + 1)
    return frames


def unpack(message: Message, job: bytes, receiver: int) -> tuple[Envelope, Frame]:
    """Return a message's envelope and frame; the body is a view of it.

    Parameters
    ----------
    message : sequence of bytes or memoryview
        As it arrived, from whomever.
    job : bytes
        Of this link.
    receiver : int
        This link's incarnation.

    Raises
    ------
    FrameError
        When it is no whole frame of this version and job to this receiver.
    """
    header = message[0] if message else b""
    if len(header) != HEADER_BYTES or len(message) > 2:
        raise FrameError(
            "size",
            f"a message has a header of {HEADER_BYTES} bytes and at most one body, got "
            f"{len(message)} parts, the first of {len(header)} bytes",
        )
    fields = _FIELDS.unpack_from(header)
    magic, version, kind, its_job, sender, its_receiver, session, sequence = fields[:8]
    ballot, step, shard, chunk, encoding, flags, nbytes = fields[8:]
    if magic != _MAGIC:
        raise FrameError("magic", f"a frame begins with {_MAGIC!r}, got {magic!r}")
    if version != _VERSION:
        raise FrameError("version", f"this link speaks version {_VERSION}, got {version}")
    if its_job != job:
        raise FrameError("job", "the frame is another job's")
    if its_receiver not in (receiver, ANYONE):
        raise FrameError(
            "receiver", f"this link is {receiver:#x}, the frame is to {its_receiver:#x}"
        )
    body = message[1] if len(message) == 2 else b""
    if len(body) != nbytes or nbytes > MAX_BODY_BYTES:
        raise FrameError(
            "size",
            f"a body has the {nbytes} bytes that its header says, at most {MAX_BODY_BYTES}, got "
            f"{len(body)}",
        )
    (checksum,) = _CHECKSUM.unpack_from(header, _FIELDS.size)
    if _checksum(header[: _FIELDS.size], body) != checksum:
        raise FrameError("checksum", "header or body was changed on its way")
    return Envelope(job, sender, its_receiver, session, sequence), Frame(
        kind,
        int.from_bytes(ballot, "little"),
        step,
        shard,
        chunk,
        encoding,
        int.from_bytes(flags, "little"),
        body,
    )
