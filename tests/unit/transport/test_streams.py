# SPDX-License-Identifier: BSD-3-Clause
"""One stream, step by step: who asks when, what is sent again, and how numbers go on."""

from __future__ import annotations

from itertools import pairwise

import pytest

from hybridtrain.transport.frame import (
    ACK,
    ASK,
    GONE,
    PROBE,
    Envelope,
    Frame,
    Message,
    frames_of,
    unpack,
)
from hybridtrain.transport.streams import Incoming, Limits, Outgoing

JOB = bytes(16)
KIND = 16
LIMITS = Limits(kept=96 * 8, under_way=96 * 4, unacknowledged=96 * 2)


class Stream:
    """Both ends; what is posted lies here until the test lets it arrive."""

    def __init__(self, first: int = 0, limits: Limits = LIMITS) -> None:
        self.out = Outgoing(Envelope(JOB, 1, 2, session=1), "here", limits, first)
        self.into = Incoming(limits, first)
        self.time = 0.0
        self.under_way: list[Message] = []
        self.arrived: list[int] = []
        self.dropped: list[str] = []
        self.gone = 0

    def send(self, *steps: int) -> None:
        for step in steps:
            self.out.put(Frame(KIND, step=step))
        self.pump()

    def pump(self) -> list[tuple[int, int]]:
        """Post what is due; return its kinds and steps."""
        before = len(self.under_way)
        self.out.pump(lambda sent: self.under_way.extend(frames_of(sent)) or True, self.time)
        return [(frame.kind, frame.step) for _, frame in map(_read, self.under_way[before:])]

    def pass_on(self) -> None:
        """Let all that is under way arrive."""
        under_way, self.under_way = self.under_way, []
        for message in under_way:
            envelope, frame = _read(message)
            session, sequence = envelope.session, envelope.sequence
            if frame.kind == PROBE:
                self.into.probe(session, sequence, frame.step)
            elif frame.kind == GONE:
                self.gone += self.into.skip(session, sequence)[1]
            elif reason := self.into.admit(session, sequence, 96, self.time):
                self.dropped.append(reason)
            else:
                self.arrived.append(frame.step)

    def lose(self) -> None:
        assert self.under_way
        self.under_way.clear()

    def reply(self, *, is_lost: bool = False) -> int:
        """Let the reply that is owed arrive, or get lost; return its kind, 0: none is."""
        reply = self.into.reply(self.time)
        if reply is None:
            return 0
        self.into.replied()
        kind, session, sequence, attempt = reply
        assert session == self.out.session
        if not is_lost and kind == ACK:
            self.out.acknowledge(sequence % 2**32, self.time)
        elif not is_lost:
            self.out.answer(sequence % 2**32, attempt, self.time)
        return kind


def _read(message: Message) -> tuple[Envelope, Frame]:
    return unpack(message, JOB, 2)


def test_a_stream_begins_with_a_probe_that_says_where_it_comes_from() -> None:
    stream = Stream()
    stream.send(0)
    [probe, frame] = map(_read, stream.under_way)
    assert (probe[1].kind, probe[1].body) == (PROBE, b"here")
    assert frame[1].kind == KIND


@pytest.mark.parametrize("first", [0, 2**32 - 3, 2**31 - 3])
def test_numbers_go_on_beyond_32_bits_even_over_losses(first: int) -> None:
    stream = Stream(first)
    for step in range(8):
        stream.send(step)
        if step in (1, 4):
            stream.lose()
        stream.pass_on()
        while stream.reply():
            stream.pump()
            stream.pass_on()
    assert stream.arrived == list(range(8))
    assert stream.out.kept_bytes == 0


def test_a_frame_beyond_the_expected_one_is_asked_for_once() -> None:
    stream = Stream()
    stream.send(0)
    stream.lose()
    stream.send(1, 2)
    stream.pass_on()
    assert stream.dropped == ["early", "early"]
    assert stream.reply() == ASK
    assert stream.reply() == 0
    assert stream.pump() == [(KIND, 0), (KIND, 1), (KIND, 2)]
    stream.pass_on()
    assert stream.arrived == [0, 1, 2]


def test_no_more_is_under_way_than_may_be() -> None:
    stream = Stream()
    stream.send(*range(6))
    stream.pass_on()
    assert stream.arrived == [0, 1, 2, 3]
    assert stream.reply() == ACK
    assert stream.pump() == [(KIND, 4), (KIND, 5)]


def test_a_lost_last_frame_is_found_by_a_probe() -> None:
    stream = Stream()
    stream.send(0)
    stream.lose()
    stream.time = 0.1
    assert stream.pump() == []
    stream.time = 0.3
    assert stream.pump() == [(PROBE, 0)]
    stream.pass_on()
    assert stream.reply() == ASK
    assert stream.out.again_bytes == 0
    assert stream.pump() == [(KIND, 0)]
    assert stream.out.again_bytes == 96


def test_a_lost_request_is_repeated_and_answered_once() -> None:
    stream = Stream()
    stream.send(0)
    stream.lose()
    stream.send(1)
    stream.pass_on()
    assert stream.reply(is_lost=True) == ASK
    stream.time = 1.0
    assert stream.pump() == [(PROBE, 0)]  # it has seen no request yet
    stream.pass_on()
    assert stream.reply() == ASK
    late = stream.pump()
    assert late == [(KIND, 0), (KIND, 1)]
    stream.out.answer(0, 1, stream.time)  # the first one, which was only late
    assert stream.pump() == []


def test_a_lost_answer_is_asked_for_anew() -> None:
    stream = Stream()
    stream.send(0)
    stream.lose()
    stream.send(1)
    stream.pass_on()
    assert stream.reply() == ASK
    assert stream.pump() == [(KIND, 0), (KIND, 1)]
    stream.lose()
    stream.time = 1.0
    assert stream.pump() == [(PROBE, 1)]  # the first attempt has been answered
    stream.pass_on()
    assert stream.reply() == ASK
    assert stream.pump() == [(KIND, 0), (KIND, 1)]
    stream.pass_on()
    assert stream.arrived == [0, 1]


def test_frames_that_were_under_way_while_it_asked_prove_nothing() -> None:
    stream = Stream()
    stream.send(0)
    stream.lose()
    stream.send(1)
    stream.time = 0.3
    assert stream.pump() == [(PROBE, 0)]  # posted before the request was heard
    first, probe = stream.under_way
    stream.under_way = [first]
    stream.pass_on()
    assert stream.reply() == ASK
    assert stream.pump() == [(KIND, 0), (KIND, 1)]
    again, stream.under_way = stream.under_way, [probe]
    stream.pass_on()
    assert stream.reply() == ASK  # only repeated: it may have been lost
    assert stream.pump() == []  # and not answered again
    stream.under_way = again
    stream.pass_on()
    assert stream.arrived == [0, 1]


def test_a_lost_acknowledgement_is_given_again() -> None:
    stream = Stream()
    stream.send(0, 1)
    stream.pass_on()
    assert stream.reply(is_lost=True) == ACK
    stream.time = 1.0
    assert stream.pump() == [(PROBE, 0)]
    stream.pass_on()
    assert stream.reply() == ACK
    assert stream.out.kept_bytes == 0


def test_a_few_bytes_are_acknowledged_a_little_later() -> None:
    stream = Stream()
    stream.pump()
    stream.pass_on()
    assert stream.reply() == ACK  # of the first probe
    stream.send(0)
    stream.pass_on()
    assert stream.reply() == 0
    stream.time = 0.06
    assert stream.reply() == ACK


def test_what_was_forgotten_is_gone_and_the_rest_arrives() -> None:
    stream = Stream()
    stream.send(0)
    stream.lose()
    stream.send(*range(1, 12))  # of twelve, eight are kept
    stream.pass_on()
    assert stream.reply() == ASK
    assert stream.pump()[0] == (GONE, 1)
    stream.pass_on()
    while stream.reply():
        stream.pump()
        stream.pass_on()
    assert stream.gone == 4
    assert stream.arrived == list(range(4, 12))


def test_an_older_session_is_stale_and_a_newer_one_begins_anew() -> None:
    into = Incoming(LIMITS)
    assert into.admit(2, 0, 96, 0.0) is None
    assert into.admit(1, 1, 96, 0.0) == "stale"
    assert into.admit(2, 0, 96, 0.0) == "repeated"
    assert into.admit(3, 1, 96, 0.0) == "early"
    assert into.reply(0.0) == (ASK, 3, 0, 1)
    assert into.admit(2, 1, 96, 0.0) == "stale"
    assert into.admit(3, 0, 96, 0.0) is None


def test_probes_come_at_longer_intervals_until_something_is_acknowledged() -> None:
    stream = Stream()
    stream.send(0, 1)
    times = []
    for k in range(1, 60):
        stream.time = k / 10 + 0.001
        if stream.pump():
            times.append(k)
    gaps = [after - before for before, after in pairwise([0, *times])]
    assert gaps == pytest.approx([2, 4, 8, 10, 10, 10, 10], abs=1.01)  # tenths of a second
    stream.out.acknowledge(1, stream.time)
    stream.time += 0.21
    assert stream.pump() == [(PROBE, 0)]
