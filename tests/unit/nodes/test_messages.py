# SPDX-License-Identifier: BSD-3-Clause
"""Messages and the frames that carry them: what comes out is what went in, or a FrameError."""

from __future__ import annotations

import dataclasses
import random

import msgspec
import pytest

from hybridtrain.nodes import messages
from hybridtrain.nodes.messages import (
    MAX_CONTROL_BYTES,
    Control,
    Label,
    Member,
    Message,
    Part,
    Tally,
    View,
    split,
)
from hybridtrain.nodes.wire import decode, encode
from hybridtrain.transport.frame import FIRST_KIND, Frame, FrameError

A = Member(2**64 - 1, "a", "tcp://127.0.0.1:4000")
B = Member(2, "b", "ipc:///b")
TALLY = Tally(-5, 0.25, 7, (1.0, 2.5), 1)
MESSAGES: list[Message] = [
    messages.Hello(member=A, version="1.0", plan=b"plan", label=Label(3, 2)),
    messages.Refuse(reason="another version"),
    messages.Freeze(ballot=7),
    messages.Frozen(ballot=7, label=Label(9, 6), installed=6),
    View(ballot=7, members=(A, B), source=2, label=Label(9, 6), shares=(0, 30_000, 65_536)),
    messages.Installed(ballot=7),
    messages.Start(ballot=7),
    messages.Copy(ballot=7, label=Label(9, 6)),
    messages.Account(ballot=7, step=10, batch=8, tally=TALLY),
    messages.Outcome(ballot=7, step=10, batch=8, tally=TALLY),
    messages.Suspect(ballot=7, about=2, is_reachable=False, reason="silent"),
    messages.Beat(ballot=7, steps=10, rate=1e6, waits_for=(2,)),
    messages.Drain(),
    messages.Next(part=1),
    messages.Done(ballot=7, label=Label(10, 7), digest=bytes(32)),
    messages.Finish(ending="done", reason=""),
    messages.Bye(reason="done"),
    messages.Epoch(epoch=2, seconds=0.5, rows=9, lr=0.1, loss=0.7, validation_loss=None),
    messages.Order(epoch=2, what="go on"),
    messages.Failed(error="OSError", text="no such file"),
    messages.Sum(ballot=7, step=10, shard=1, chunk=2, is_last=True, encoding=3, body=b"sums"),
    messages.Total(ballot=7, step=10, shard=1, chunk=0, is_last=False, encoding=1, body=b""),
    messages.State(ballot=7, chunk=5, is_last=True, body=b"state"),
]
KINDS = [type(message).__name__ for message in MESSAGES]


@pytest.mark.parametrize("message", MESSAGES, ids=KINDS)
def test_a_message_comes_out_as_it_went_in(message: Message) -> None:
    frame = encode(message)
    assert decode(frame) == message
    assert decode(dataclasses.replace(frame, body=memoryview(frame.body))) == message


def test_every_kind_has_a_number_of_its_own_above_those_of_transport() -> None:
    kinds = [message.kind for message in MESSAGES]
    assert sorted(kinds) == list(range(FIRST_KIND, FIRST_KIND + len(kinds)))
    assert {each.kind for each in Control.__subclasses__()} < set(kinds)


def _control(body: bytes, kind: int = messages.Frozen.kind, ballot: int = 7) -> Frame:
    return Frame(kind, ballot, body=body)


@pytest.mark.parametrize(
    ("frame", "wrong"),
    [
        (Frame(FIRST_KIND + 99), "unknown kind"),
        (Frame(messages.Sum.kind, flags=6), "the flags 0x6"),
        (_control(bytes(MAX_CONTROL_BYTES + 1)), "1,048,577 bytes, at most 1,048,576"),
        (_control(b""), "damaged"),
        (_control(b"\xc1"), "damaged"),
        (_control(msgspec.msgpack.encode([[9, 6], 6, 7, 1])), "damaged"),
        (_control(msgspec.msgpack.encode([[9, 6]])), "damaged"),
        (_control(msgspec.msgpack.encode([[9, -6], 6, 7])), "damaged"),
        (_control(msgspec.msgpack.encode([["9", 6], 6, 7])), "damaged"),
        (_control(msgspec.msgpack.encode([[9, 6], 6, 8])), "ballot 7, its message 8"),
    ],
)
def test_what_is_no_message_is_refused(frame: Frame, wrong: str) -> None:
    with pytest.raises(FrameError, match=wrong):
        decode(frame)


@pytest.mark.parametrize(
    "change",
    [
        {"source": 3},
        {"members": (A, A)},
        {"shares": (0, 65_536)},
        {"shares": (0, 70_000, 65_536)},
        {"shares": (1, 2, 65_536)},
        {"shares": (0, 2, 65_535)},
    ],
)
def test_a_view_that_contradicts_itself_is_refused(change: dict[str, object]) -> None:
    view = {"members": (A, B), "source": 2, "label": Label(0, 0), "shares": (0, 1, 65_536)}
    fields = {**view, "gone": (), "ballot": 7}
    decode(_control(msgspec.msgpack.encode(list(fields.values())), View.kind))
    with pytest.raises(FrameError, match=r"a view has|the shares of a view"):
        decode(_control(msgspec.msgpack.encode(list((fields | change).values())), View.kind))


def test_damaged_bytes_are_refused_or_are_another_message() -> None:
    chance = random.Random(1)
    n_refused = 0
    for _ in range(5_000):
        frame = encode(chance.choice(MESSAGES[:16]))
        body = bytearray(frame.body)
        for _ in range(chance.randint(1, 3)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        body = body[: chance.randint(0, len(body))] if chance.random() < 0.3 else body
        try:
            decode(dataclasses.replace(frame, body=bytes(body)))
        except FrameError:
            n_refused += 1
    assert n_refused > 3_000


def test_the_parts_of_a_shard_end_with_the_last_one() -> None:
    parts = split(messages.Sum, 7, 10, 1, [Part(0, b"a"), Part(2, b"b")])
    assert [(part.chunk, part.is_last, part.encoding) for part in parts] == [
        (0, False, 0),
        (1, True, 2),
    ]
    with pytest.raises(ValueError, match="shard 1 has no part"):
        split(messages.Sum, 7, 10, 1, [])
