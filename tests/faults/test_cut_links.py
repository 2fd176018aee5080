# SPDX-License-Identifier: BSD-3-Clause
"""Broken connections between links: whatever the network loses, each frame arrives once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass

import numpy as np
import pytest
from support.relay import Relay

from hybridtrain.transport.frame import Frame
from hybridtrain.transport.link import Link
from hybridtrain.transport.zeromq import ZeroMQLink

JOB = b"a job's 16 bytes"
KIND = 20
PATIENCE = 60.0
OF_CARRIER = 16  # bytes at most that ZeroMQ adds to a message


@dataclass(frozen=True)
class Path:
    """Two links, each of which reaches the other through a relay."""

    a: Link
    b: Link
    forth: Relay
    back: Relay

    def await_frames(self, n: int) -> list[Frame]:
        """Return the next n frames that arrive at b."""
        found: list[Frame] = []
        end = time.monotonic() + PATIENCE
        while len(found) < n:
            assert time.monotonic() < end, f"{len(found)} of {n} frames have arrived"
            found += [frame for _, frame in self.b.receive(0.01)]
            assert self.a.receive(0) == []
        return found

    def flush(self) -> None:
        """Wait until b has acknowledged what a has sent."""
        end = time.monotonic() + PATIENCE
        while not self.a.flush(0.01):
            assert time.monotonic() < end, "b acknowledges nothing"
            assert self.b.receive(0.01) == []

    def send(self, first: int, n: int, nbytes: int) -> list[Frame]:
        """Send numbered frames from a to b; return them."""
        frames = [Frame(KIND, step=first + k, body=_body(first + k, nbytes)) for k in range(n)]
        for frame in frames:
            self.a.send(self.b.incarnation, frame)
        return frames


def _body(step: int, nbytes: int) -> bytes:
    return np.random.default_rng(step).bytes(nbytes)


@pytest.fixture
def path() -> Iterator[Path]:
    with ExitStack() as stack:
        a, b = (stack.enter_context(closing(ZeroMQLink(job=JOB))) for _ in range(2))
        forth, back = (
            stack.enter_context(Relay(int(link.address.rpartition(":")[2]))) for link in (b, a)
        )
        b.connect(a.incarnation, f"tcp://127.0.0.1:{back.port}")
        a.connect(b.incarnation, f"tcp://127.0.0.1:{forth.port}")
        path = Path(a, b, forth, back)
        assert path.send(0, 1, 10) == path.await_frames(1)
        yield path


def test_what_was_on_its_way_through_a_cut_connection_is_sent_again(path: Path) -> None:
    path.forth.is_stalled = True
    sent = path.send(1, 50, 10_000)
    path.forth.await_that(lambda: path.forth.held > 100_000)
    path.forth.cut()
    path.forth.is_stalled = False
    assert path.forth.cuts == 1
    assert path.forth.lost > 100_000
    assert path.await_frames(50) == sent
    traffic = path.a.traffic[path.b.incarnation]
    assert path.forth.lost - 50 * OF_CARRIER <= traffic.bytes_again < traffic.bytes_sent - 10_000
    assert path.send(51, 1, 10) == path.await_frames(1)


def test_the_last_frame_before_a_silence_is_sent_again(path: Path) -> None:
    path.forth.is_stalled = True
    sent = path.send(1, 1, 10_000)
    path.forth.await_that(lambda: path.forth.held > 10_000)
    path.forth.cut()
    path.forth.is_stalled = False
    assert path.forth.lost > 10_000
    assert path.await_frames(1) == sent


def test_an_acknowledgement_that_is_lost_is_given_again(path: Path) -> None:
    path.flush()
    path.back.is_stalled = True
    sent = path.send(1, 20, 1000)
    assert path.await_frames(20) == sent
    end = time.monotonic() + PATIENCE
    while path.back.held == 0:
        assert path.b.receive(0.01) == []
        assert time.monotonic() < end
    path.back.cut()
    path.back.is_stalled = False
    assert path.back.lost > 0
    path.flush()


def test_a_stream_goes_on_over_many_cuts_of_both_directions(path: Path) -> None:
    sent, found = [], []
    for k in range(8):
        sent += path.send(1 + 40 * k, 40, 50_000)
        found += path.await_frames(10)
        relay = path.forth if k % 3 else path.back
        relay.await_that(lambda relay=relay: relay.connections > 0)
        relay.cut()
    found += path.await_frames(len(sent) - len(found))
    assert found == sent
    assert path.forth.cuts + path.back.cuts >= 8


def test_what_was_corrupted_is_not_delivered_but_sent_again(path: Path) -> None:
    path.forth.to_corrupt = 5
    sent = path.send(1, 30, 150_000)
    assert path.await_frames(30) == sent
    assert path.forth.corrupted == 5
    assert path.b.refused["checksum"] > 0


def test_frames_wait_for_a_peer_that_begins_to_listen_later() -> None:
    with ExitStack() as stack:
        a, b = (stack.enter_context(closing(ZeroMQLink(job=JOB))) for _ in range(2))
        port = int(b.address.rpartition(":")[2])
        early = Relay(port)
        a.connect(b.incarnation, f"tcp://127.0.0.1:{early.port}")
        a.send(b.incarnation, Frame(KIND))
        assert b.receive(0.1) == []
        stack.enter_context(early)
        end = time.monotonic() + PATIENCE
        while not b.receive(0.01):
            assert time.monotonic() < end
            a.receive(0)
