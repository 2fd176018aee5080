# SPDX-License-Identifier: BSD-3-Clause
"""What every link keeps, over loopback and over ZeroMQ: by TCP, with a token, and by ipc."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from hybridtrain.errors import InvalidSettingError
from hybridtrain.transport.frame import ANYONE, MAX_BODY_BYTES, Frame
from hybridtrain.transport.link import Link
from hybridtrain.transport.loopback import Loopback
from hybridtrain.transport.security import Security, new_token
from hybridtrain.transport.zeromq import ZeroMQLink

JOB = b"a job's 16 bytes"
SECURITY = Security(new_token())
KIND = 20
PATIENCE = 30.0  # seconds: only a broken link needs them

Make = Callable[..., Link]


@pytest.fixture(params=["loopback", "tcp", "curve", "ipc"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Return what makes a link; all are closed at the end."""
    network = Loopback()
    with ExitStack() as links:

        def link(job: bytes = JOB, **settings: Any) -> Link:
            if request.param == "loopback":
                made = network.link(job, **settings)
            elif request.param == "tcp":
                made = ZeroMQLink(job=job, **settings)
            elif request.param == "curve":
                made = ZeroMQLink(job=job, security=SECURITY, **settings)
            else:
                place = tmp_path / str(len(list(tmp_path.iterdir())))
                made = ZeroMQLink(f"ipc://{place}", job=job, **settings)
            return links.enter_context(closing(made))

        yield link


def _pair(make: Make) -> tuple[Link, Link]:
    a, b = make(), make()
    a.connect(b.incarnation, b.address)
    b.connect(a.incarnation, a.address)
    return a, b


def _await(a: Link, b: Link, n: int) -> list[tuple[int, Frame]]:
    """Return the next n frames that arrive at b, while a is served too."""
    found: list[tuple[int, Frame]] = []
    end = time.monotonic() + PATIENCE
    while len(found) < n:
        assert time.monotonic() < end, f"{len(found)} of {n} frames have arrived"
        found += b.receive(0.01)
        assert a.receive(0) == []
    return found


def _flush(a: Link, b: Link) -> None:
    """Wait until b has acknowledged all that a has sent."""
    end = time.monotonic() + PATIENCE
    while not a.flush(0.01):
        assert time.monotonic() < end, "b acknowledges nothing"
        assert b.receive(0.01) == []


def test_frames_arrive_whole_and_in_order(make: Make) -> None:
    a, b = _pair(make)
    frames = [
        Frame(
            KIND, ballot=2**100, step=k, shard=1, chunk=2, encoding=3, flags=4, body=bytes([k] * k)
        )
        for k in range(200)
    ]
    for frame in frames:
        a.send(b.incarnation, frame)
    found = _await(a, b, len(frames))
    assert [sender for sender, _ in found] == [a.incarnation] * len(frames)
    assert [frame for _, frame in found] == frames
    assert not b.refused
    _flush(a, b)


def test_a_longest_body_arrives(make: Make) -> None:
    a, b = _pair(make)
    body = bytes(range(256)) * (MAX_BODY_BYTES // 256)
    a.send(b.incarnation, Frame(KIND, body=memoryview(body)))
    [(_, frame)] = _await(a, b, 1)
    assert frame.body == body


def test_both_directions_are_streams_of_their_own(make: Make) -> None:
    a, b = _pair(make)
    for k in range(50):
        a.send(b.incarnation, Frame(KIND, step=k))
        b.send(a.incarnation, Frame(KIND, step=100 + k))
    found: dict[Link, list[int]] = {a: [], b: []}
    end = time.monotonic() + PATIENCE
    while min(map(len, found.values())) < 50:
        assert time.monotonic() < end, found
        for link, steps in found.items():
            steps += [frame.step for _, frame in link.receive(0.01)]
    assert found == {a: list(range(100, 150)), b: list(range(50))}


def test_who_knows_an_address_alone_gets_an_answer(make: Make) -> None:
    joiner, driver = make(), make()
    joiner.connect(ANYONE, driver.address)
    joiner.send(ANYONE, Frame(KIND, body=b"hello"))
    [(sender, frame)] = _await(joiner, driver, 1)
    assert (sender, bytes(frame.body)) == (joiner.incarnation, b"hello")
    driver.send(sender, Frame(KIND, body=b"welcome"))  # it has been connected back
    [(sender, frame)] = _await(driver, joiner, 1)
    assert (sender, bytes(frame.body)) == (driver.incarnation, b"welcome")
    joiner.connect(sender, driver.address)
    joiner.disconnect(ANYONE)
    joiner.send(sender, Frame(KIND, step=2))
    assert [frame.step for _, frame in _await(joiner, driver, 1)] == [2]


def test_nothing_arrives_within_the_timeout(make: Make) -> None:
    a, _ = _pair(make)
    start = time.monotonic()
    assert a.receive(0.1) == []
    assert time.monotonic() - start >= 0.1


def test_another_thread_wakes_the_one_that_waits(make: Make) -> None:
    a, _ = _pair(make)
    waker = threading.Timer(0.1, a.wake)
    waker.start()
    start = time.monotonic()
    assert a.receive(PATIENCE) == []
    assert time.monotonic() - start < PATIENCE
    waker.join()
    a.wake()
    assert a.receive(PATIENCE) == []  # it had been woken before


def test_a_receiver_that_stops_looking_can_acknowledge_at_once(make: Make) -> None:
    a, b = _pair(make)
    b.send(a.incarnation, Frame(KIND))
    _await(b, a, 1)  # there is a connection for what b acknowledges
    a.send(b.incarnation, Frame(KIND))
    _await(a, b, 1)
    assert not a.flush(0)
    b.acknowledge()
    assert a.flush(PATIENCE)


def test_a_peer_that_is_not_there_blocks_nobody(make: Make) -> None:
    a, b = _pair(make)
    b.close()
    for _ in range(100):
        a.send(b.incarnation, Frame(KIND, body=bytes(100_000)))
    assert not a.flush(0.05)
    a.disconnect(b.incarnation)
    assert a.flush(0)


def test_frames_of_another_job_are_dropped(make: Make) -> None:
    a, b = make(b"another job: 16b"), make()
    a.connect(b.incarnation, b.address)
    a.send(b.incarnation, Frame(KIND))
    end = time.monotonic() + PATIENCE
    while b.refused["job"] < 2:  # the first probe, and the frame
        assert time.monotonic() < end
        assert b.receive(0.01) == []
        a.receive(0)
    assert not a.flush(0)


def test_frames_to_a_former_incarnation_are_dropped(make: Make) -> None:
    a, b = make(), make()
    a.connect(b.incarnation ^ 1, b.address)
    a.send(b.incarnation ^ 1, Frame(KIND))
    end = time.monotonic() + PATIENCE
    while b.refused["receiver"] < 2:
        assert time.monotonic() < end
        assert b.receive(0.01) == []
        a.receive(0)


def test_nothing_arrives_from_who_was_disconnected(make: Make) -> None:
    a, b = _pair(make)
    b.disconnect(a.incarnation)
    a.send(b.incarnation, Frame(KIND))
    end = time.monotonic() + PATIENCE
    while b.refused["sender"] < 2:
        assert time.monotonic() < end
        assert b.receive(0.01) == []
        a.receive(0)
    b.connect(a.incarnation, a.address)
    assert len(_await(a, b, 1)) == 1  # the stream goes on


def test_a_stream_that_begins_anew_ends_the_one_before(make: Make) -> None:
    a, b = _pair(make)
    a.send(b.incarnation, Frame(KIND, step=1))
    assert len(_await(a, b, 1)) == 1
    a.disconnect(b.incarnation)
    a.connect(b.incarnation, b.address)
    a.send(b.incarnation, Frame(KIND, step=2))
    assert [frame.step for _, frame in _await(a, b, 1)] == [2]


def test_a_peer_that_is_found_at_another_address_gets_the_rest_there(make: Make) -> None:
    a, b = _pair(make)
    a.send(b.incarnation, Frame(KIND, step=1))
    assert len(_await(a, b, 1)) == 1
    nowhere = make()
    a.connect(b.incarnation, nowhere.address)
    a.send(b.incarnation, Frame(KIND, step=2))
    end = time.monotonic() + PATIENCE
    while not nowhere.refused["receiver"]:
        assert time.monotonic() < end
        assert nowhere.receive(0.01) == a.receive(0) == []
    with pytest.raises(InvalidSettingError, match="address must be"):
        a.connect(b.incarnation, "nowhere")
    a.send(b.incarnation, Frame(KIND, step=3))  # the address is as before
    a.connect(b.incarnation, b.address)
    assert [frame.step for _, frame in _await(a, b, 2)] == [2, 3]


def test_traffic_is_counted_by_peer(make: Make) -> None:
    a, b = _pair(make)
    a.send(b.incarnation, Frame(KIND, body=bytes(1000)))
    _await(a, b, 1)
    _flush(a, b)
    sent, received = a.traffic[b.incarnation], b.traffic[a.incarnation]
    assert sent.messages_sent >= 2  # the first probe, and the frame
    assert sent.bytes_sent >= 2 * 96 + 1000
    assert received.frames_received >= 2
    assert received.bytes_received >= 2 * 96 + 1000


def test_frames_that_are_sent_together_travel_together(make: Make) -> None:
    a, b = _pair(make)
    a.send(b.incarnation, Frame(KIND))
    _await(a, b, 1)
    before = a.traffic[b.incarnation].messages_sent
    bodies = [b"", bytes(96), b"body", b"", bytes(100_000)]
    frames = [Frame(KIND, step=k, body=body) for k, body in enumerate(bodies)]
    a.send(b.incarnation, *frames)
    assert a.traffic[b.incarnation].messages_sent == before + 1
    arrived = [frame for _, frame in _await(a, b, len(frames))]
    assert [(frame.step, bytes(frame.body)) for frame in arrived] == list(enumerate(bodies))
    assert not b.refused


def test_what_cannot_be_sent_is_refused(make: Make) -> None:
    a, b = _pair(make)
    with pytest.raises(InvalidSettingError, match="kind must be >= 16, got 3"):
        a.send(b.incarnation, Frame(3))
    with pytest.raises(InvalidSettingError, match="peer 0x5 is not connected"):
        a.send(5, Frame(KIND))
    with pytest.raises(InvalidSettingError, match="job must have 16 bytes, got 3"):
        make(b"job")


@pytest.mark.parametrize("address", ["", "nowhere", "tcp://", "tcp://127.0.0.1", "udp://1:2"])
def test_an_address_that_is_none_is_refused(make: Make, address: str) -> None:
    a = make()
    with pytest.raises(InvalidSettingError, match="address must be"):
        a.connect(5, address)
    with pytest.raises(InvalidSettingError, match="is not connected"):
        a.send(5, Frame(KIND))


def test_a_link_can_be_closed_and_woken_again(make: Make) -> None:
    a, _ = _pair(make)
    a.close()
    a.close()
    a.wake()
