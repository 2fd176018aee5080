# SPDX-License-Identifier: BSD-3-Clause
"""The frames that carry messages.

A control message is MessagePack in the body of one frame. The numbers of `Sum`, `Total` and `State`
stand in the header.
"""

from __future__ import annotations

import msgspec

from hybridtrain.nodes.messages import MAX_CONTROL_BYTES, Control, Message, State, Sum, Total
from hybridtrain.transport.frame import Frame, FrameError

_LAST = 1  # flag: no further part of this shard, or of this state, follows

_DECODERS = {each.kind: msgspec.msgpack.Decoder(each) for each in Control.__subclasses__()}
_encode = msgspec.msgpack.Encoder().encode


def encode(message: Message) -> Frame:
    """Return the frame that carries a message."""
    if isinstance(message, Control):
        return Frame(message.kind, message.ballot, body=_encode(message))
    flags = _LAST if message.is_last else 0
    if isinstance(message, State):
        return Frame(
            message.kind, message.ballot, chunk=message.chunk, flags=flags, body=message.body
        )
    return Frame(
        kind=message.kind,
        ballot=message.ballot,
        step=message.step,
        shard=message.shard,
        chunk=message.chunk,
        encoding=message.encoding,
        flags=flags,
        body=message.body,
    )


def decode(frame: Frame) -> Message:
    """Return the message that a frame carries.

    Raises
    ------
    FrameError
        For an unknown kind, a control message that is too long, damaged or not as its type says,
        and an unknown flag.
    """
    if frame.kind in _DECODERS:
        return _decode_control(frame)
    if frame.flags & ~_LAST:
        raise FrameError("flags", f"a frame of kind {frame.kind} has the flags {frame.flags:#x}")
    is_last = bool(frame.flags & _LAST)
    if frame.kind == State.kind:
        return State(ballot=frame.ballot, chunk=frame.chunk, is_last=is_last, body=frame.body)
    for each in (Sum, Total):
        if frame.kind == each.kind:
            return each(
                ballot=frame.ballot,
                step=frame.step,
                shard=frame.shard,
                chunk=frame.chunk,
                is_last=is_last,
                encoding=frame.encoding,
                body=frame.body,
            )
    raise FrameError("kind", f"a frame has the unknown kind {frame.kind}")


def _decode_control(frame: Frame) -> Control:
    n_bytes = memoryview(frame.body).nbytes
    if n_bytes > MAX_CONTROL_BYTES:
        raise FrameError(
            "control",
            f"a control message has {n_bytes:,} bytes, at most {MAX_CONTROL_BYTES:,}",
        )
    try:
        message: Control = _DECODERS[frame.kind].decode(frame.body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise FrameError(
            "control", f"a message of kind {frame.kind} is damaged: {error}"
        ) from error
    if message.ballot != frame.ballot:
        raise FrameError(
            "control", f"a header names ballot {frame.ballot}, its message {message.ballot}"
        )
    return message
