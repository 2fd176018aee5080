# SPDX-License-Identifier: BSD-3-Clause
"""Messages to a link and to nodes, sums, values: broken, or whole with hostile numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
from fuzz.contract import Allowed, require
from fuzz.draw import Draw
from fuzz.model_files import damaged

from hybridtrain._core import leased
from hybridtrain._core.guest import GROUP, add, encode
from hybridtrain.nodes import messages
from hybridtrain.nodes.leases import Leases, count
from hybridtrain.nodes.meeting import Call, Invite, Join, Refused
from hybridtrain.nodes.notes import Note
from hybridtrain.nodes.reports import NO_REPORT, Report
from hybridtrain.nodes.wire import decode
from hybridtrain.nodes.wire import encode as messages_encode
from hybridtrain.transport.frame import (
    ACK,
    ASK,
    FIRST_KIND,
    GONE,
    PROBE,
    Envelope,
    Frame,
    FrameError,
    Message,
    pack,
)
from hybridtrain.transport.link import Link
from hybridtrain.transport.streams import Limits

_MEMBER = messages.Member(9, "a", "tcp://10.0.0.5:7000")
_TALLY = messages.Tally(loss=-(2**40), largest=0.5, rows=7, changes=(0.25, 1.0))
_CONTROL = [
    *map(
        messages_encode,
        [
            messages.Hello(member=_MEMBER, version="1.0", plan=b"p" * 32),
            messages.View(
                ballot=3,
                members=(_MEMBER,),
                source=9,
                label=messages.Label(5, 2),
                shares=(0, 65536),
            ),
            messages.Account(ballot=3, step=6, batch=5, tally=_TALLY),
            messages.Beat(ballot=3, steps=5, rate=1e5, waits_for=(9, 10)),
            messages.Done(ballot=3, label=messages.Label(9, 3), digest=b"d" * 32),
            messages.Order(epoch=2, what="go on", planned=7.5),
        ],
    ),
    Join(name="a", address="tcp://10.0.0.5:7000", version="1.0").frame(),
    Call(name="a", timeout=60.0, arguments="{}").frame(),
    NO_REPORT.frame(),
]
_JOB = bytes(16)
_HERE, _FRIEND = 7, 8
_EDGES = (0, 1, 2, 3, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 1)
_ADDRESSES = (b"", b"x:", b"\xff", b"a" * 300, b"hostile://1")


class _Feed:
    """A carrier of hostile messages, which takes some of the replies."""

    def __init__(self, draw: Draw) -> None:
        self.address = "feed:"
        self.refused: Counter[str] = Counter()
        self.messages: list[Message] = []
        self._draw = draw
        self._time = 0.0

    def now(self) -> float:
        self._time += 0.01
        return self._time

    def connect(self, peer: int, address: str) -> None:
        pass

    def disconnect(self, peer: int) -> None:
        pass

    def post(self, peer: int, message: Message) -> bool:
        return self._draw.chance(0.8)

    def wait(self, timeout: float, blocked: Collection[int]) -> list[Message]:
        messages, self.messages = self.messages, []
        return messages

    def wake(self) -> None:
        pass

    def close(self) -> None:
        pass


def _message(draw: Draw) -> Message:
    """Return a message of the right job, whole or not, with any numbers."""
    kind = draw.one([ACK, ASK, GONE, PROBE, 0, 5, FIRST_KIND, FIRST_KIND, FIRST_KIND])
    body = draw.one(_ADDRESSES) if kind == PROBE else draw.randbytes(draw.below(40))
    step = draw.one([*_EDGES, 2**64 - 1])
    envelope = Envelope(
        draw.one([_JOB, _JOB, _JOB, bytes(15) + b"\1"]),
        draw.one([0, _HERE, _FRIEND, 9, 2**64 - 1]),
        draw.one([0, _HERE, _HERE, 9]),
        draw.one(_EDGES),
        draw.one(_EDGES),
    )
    message = [bytes(part) for part in pack(envelope, Frame(kind, step=step, body=body))]
    if draw.chance(0.3):
        at = draw.below(len(message))
        message[at] = damaged(draw, message[at])
    if draw.chance(0.05):
        message = draw.one([[], [b""], message * 2, message[1:]])
    return message


def _to_a_link(draw: Draw) -> str:
    feed = _Feed(draw)
    link = Link(feed, _JOB, _HERE, Limits(kept=2000, under_way=1000, unacknowledged=500))
    link.connect(_FRIEND, "friend:")
    for _ in range(draw.below(30)):
        feed.messages += [_message(draw) for _ in range(draw.below(5))]
        if draw.chance(0.3):
            link.send(_FRIEND, Frame(FIRST_KIND, body=bytes(draw.below(300))))
        for _, frame in link.receive(0):
            require(frame.kind == GONE or frame.kind >= FIRST_KIND, f"{frame} was delivered")
    # Whatever they said, a stream that begins now arrives.
    sent = [Frame(FIRST_KIND, step=k, body=b"whole") for k in range(5)]
    feed.messages = [pack(Envelope(_JOB, 1234, _HERE, 1, k), frame) for k, frame in enumerate(sent)]
    found = [frame for sender, frame in link.receive(0) if sender == 1234]
    require(found == sent, f"of a sound stream {found} arrived")
    return "sound"


def _to_sums(draw: Draw) -> str:
    n_groups = draw.randint(1, 25)
    n = GROUP * n_groups
    marks = (draw.numbers.random(n_groups) < draw.random()).astype(np.uint8)
    sums = draw.numbers.integers(-(2**60), 2**60, n) >> draw.below(60)
    sums[np.repeat(marks, GROUP) == 0] = 0
    encoding, body = encode(sums, marks)
    body = damaged(draw, bytes(body)) if draw.chance(0.8) else draw.randbytes(draw.below(60))
    encoding = draw.one([encoding, encoding, 0, 1, 2, 3, 255])
    total, found = np.ones(n, np.int64), np.zeros_like(marks)
    try:
        add(body, encoding, total, found)
    except ValueError:
        require((total == 1).all() and not found.any(), "a refused body has changed sums")
        return "refused"
    require(len(total) == n, "sums were added elsewhere")
    return "sound"


def _to_nodes(draw: Draw) -> str:
    """Let damaged control messages be read; one that is read is as its type says."""
    frame = draw.one(_CONTROL)
    body = damaged(draw, bytes(frame.body))
    kind = draw.one([frame.kind, frame.kind, draw.below(FIRST_KIND + 40)])
    hostile = Frame(kind, frame.ballot, step=frame.step, flags=draw.below(3), body=body)
    words = [word.of(hostile) for word in (Invite, Join, Call, Refused, Report)]
    for word in words:
        if word is not None:
            again = type(word).of(word.frame())
            require(
                again is not None and again.frame() == word.frame(), f"{word} is read as another"
            )
    try:
        message = decode(hostile)
    except FrameError:
        return "refused" if not any(words) else "sound"
    sent = messages_encode(message)
    require(messages_encode(decode(sent)) == sent, f"{message} is read as another")
    return "sound"


def _to_values(draw: Draw) -> str:
    n, n_arrays = draw.randint(1, 200), draw.randint(1, 3)
    room = draw.below(5)
    base = draw.numbers.random((n_arrays, n + room), dtype=np.float32)
    values = base.copy()
    values[:, draw.numbers.random(n + room) < draw.random()] += 1
    first = draw.below(n)
    body = leased.encode(values, base, first, n)
    body = damaged(draw, body) if draw.chance(0.8) else draw.randbytes(draw.below(60))
    taken = base.copy()
    try:
        leased.decode(memoryview(body), taken, first, n)
    except ValueError:
        require(taken.tobytes() == base.tobytes(), "a refused body has changed values")
        return "refused"
    require(taken[:, :first].tobytes() == base[:, :first].tobytes(), "values before the stretch")
    require(taken[:, n:].tobytes() == base[:, n:].tobytes(), "values after the stretch")
    return "sound"


def _note(draw: Draw, who: int) -> Note:
    spans = [(draw.below(12), draw.below(12)) for _ in range(draw.below(3))]
    if draw.chance(0.1):
        spans.append((0, draw.one([2**31, 2**63, 2**64 - 1])))
    some = draw.below(len(spans) + 1)
    need = draw.one([0, 1, 5, 2**40])
    return Note(who, tuple(spans[:some]), tuple(spans[some:]), need, rows=draw.below(9))


def _to_leases(draw: Draw) -> str:
    """Send an account with notes, damaged or not, and settle them."""
    leases = Leases(10)
    leases.settle([Note(1), Note(2)])
    notes = tuple(_note(draw, draw.one([1, 2, 2, 3])) for _ in range(draw.below(4)))
    tally = messages.Tally(rows=1, notes=notes)
    frame = messages_encode(messages.Account(ballot=1, step=1, batch=0, tally=tally))
    if draw.chance(0.5):
        frame = Frame(frame.kind, frame.ballot, body=damaged(draw, bytes(frame.body)))
    try:
        message = decode(frame)
        require(isinstance(message, messages.Account), f"an account has become {message}")
        leases.settle(message.tally.notes)
    except (FrameError, ValueError):
        return "refused"
    held = [span for spans in leases.held.values() for span in spans]
    n_held, n_done = count(held), int(leases.done.sum())
    require(n_held == len({c for a, b in held for c in range(a, b)}), "two hold a chunk")
    require(n_held + n_done <= 10, "a chunk is held and done")
    require(leases.has_more or n_held + n_done == 10, "a chunk is lost")
    return "sound"


def case(draw: Draw, place: Path) -> tuple[Callable[[], str], Allowed]:
    """Make messages or a body, and take them."""
    del place
    bodies = {"sums": _to_sums, "values": _to_values, "notes": _to_leases}
    take = draw.named({"link": _to_a_link, "nodes": _to_nodes, **bodies})
    return lambda: take(draw), Allowed()
