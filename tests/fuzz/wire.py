# SPDX-License-Identifier: BSD-3-Clause
"""Messages to a link, and bodies of sums: broken ones, and whole ones with hostile numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
from fuzz.contract import Allowed, require
from fuzz.draw import Draw
from fuzz.model_files import damaged

from hybridtrain._core.guest import GROUP, add, encode
from hybridtrain.transport.frame import (
    ACK,
    ASK,
    FIRST_KIND,
    GONE,
    PROBE,
    Envelope,
    Frame,
    Message,
    pack,
)
from hybridtrain.transport.link import Link
from hybridtrain.transport.streams import Limits

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


def case(draw: Draw, place: Path) -> tuple[Callable[[], str], Allowed]:
    """Make messages or a body, and take them."""
    del place
    take = draw.named({"link": _to_a_link, "sums": _to_sums})
    return lambda: take(draw), Allowed()
