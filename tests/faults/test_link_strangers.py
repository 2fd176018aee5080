# SPDX-License-Identifier: BSD-3-Clause
"""Strangers at a link: none gets a byte in, whatever they know but the token."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from typing import Any

import pytest
import zmq
from support.relay import Relay

from hybridtrain.transport.frame import Envelope, Frame, pack
from hybridtrain.transport.link import Link
from hybridtrain.transport.security import Security, new_token
from hybridtrain.transport.zeromq import ZeroMQLink

TOKEN = new_token()
JOB = Security(TOKEN).job("test")
KIND = 20
PATIENCE = 10.0
SECRET_BODY = b"these parameters are nobody else's business" * 100


@pytest.fixture
def link() -> Iterator[Link]:
    with closing(ZeroMQLink(job=JOB, security=Security(TOKEN))) as link:
        yield link


@pytest.fixture
def bare() -> Iterator[Callable[[int], Any]]:
    """Return what makes a bare socket; all are closed at the end."""
    context = zmq.Context()
    sockets = []

    def socket_of(kind: int) -> Any:
        sockets.append(context.socket(kind))
        return sockets[-1]

    yield socket_of
    context.destroy(linger=0)


def _await(is_so: Callable[[], bool], *links: Link) -> None:
    """Serve links until something is so; nothing may arrive."""
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end
        for link in links:
            assert link.receive(0.01) == []


def _friend(link: Link) -> None:
    """Show that a link still lets members in."""
    with closing(ZeroMQLink(job=JOB, security=Security(TOKEN))) as friend:
        friend.connect(link.incarnation, link.address)
        friend.send(link.incarnation, Frame(KIND, body=SECRET_BODY))
        found: list[tuple[int, Frame]] = []
        end = time.monotonic() + PATIENCE
        while not found:
            assert time.monotonic() < end
            friend.receive(0)
            found = link.receive(0.01)
        assert [(sender, bytes(frame.body)) for sender, frame in found] == [
            (friend.incarnation, SECRET_BODY)
        ]


class Stranger:
    """A bare socket with a whole frame of the job, for it may have seen one."""

    def __init__(self, bare: Callable[[int], Any], link: Link) -> None:
        self.socket = bare(zmq.DEALER)
        self.events = self.socket.get_monitor_socket()
        self.message = pack(Envelope(JOB, 5, link.incarnation, 1, 0), Frame(KIND))
        self.address = link.address
        self.seen: list[int] = []

    def failed(self) -> bool:
        """Try to send, and return whether the connection was ended before a handshake."""
        with suppress(zmq.Again):
            self.socket.send_multipart(self.message, zmq.NOBLOCK)
        while self.events.poll(0):
            event = int.from_bytes(self.events.recv_multipart()[0][:2], "little")
            assert event != zmq.EVENT_HANDSHAKE_SUCCEEDED, "a stranger is in"
            self.seen.append(event)
        ended = (zmq.EVENT_DISCONNECTED, zmq.EVENT_HANDSHAKE_FAILED_AUTH)
        ended += (zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL)
        return any(event in ended for event in self.seen)


def test_members_exchange_frames(link: Link) -> None:
    _friend(link)
    assert not link.refused


def test_a_stranger_who_knows_the_public_key_is_refused_by_the_gatekeeper(
    link: Link, bare: Callable[[int], Any]
) -> None:
    stranger = Stranger(bare, link)
    Security(TOKEN).guard_client(stranger.socket)
    public, secret = zmq.curve_keypair()
    stranger.socket.setsockopt(zmq.CURVE_PUBLICKEY, public)
    stranger.socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
    stranger.socket.connect(stranger.address)
    _await(lambda: stranger.failed() and link.refused["client"] > 0, link)
    _friend(link)


def test_another_token_is_refused(link: Link, bare: Callable[[int], Any]) -> None:
    stranger = Stranger(bare, link)
    Security(new_token()).guard_client(stranger.socket)
    stranger.socket.connect(stranger.address)
    _await(stranger.failed, link)
    _friend(link)


def test_a_plain_client_is_refused(link: Link, bare: Callable[[int], Any]) -> None:
    stranger = Stranger(bare, link)
    stranger.socket.connect(stranger.address)
    _await(stranger.failed, link)
    _friend(link)


def test_without_a_gatekeeper_nobody_gets_in(bare: Callable[[int], Any]) -> None:
    security = Security(TOKEN)
    with closing(ZeroMQLink(job=JOB, security=security)) as member:
        listener = bare(zmq.ROUTER)
        security.guard_listener(listener)
        port = listener.bind_to_random_port("tcp://127.0.0.1")
        events = listener.get_monitor_socket()
        member.connect(5, f"tcp://127.0.0.1:{port}")
        member.send(5, Frame(KIND))
        seen: list[int] = []

        def has_failed() -> bool:
            while events.poll(0):
                seen.append(int.from_bytes(events.recv_multipart()[0][:2], "little"))
            return seen.count(zmq.EVENT_ACCEPTED) >= 2

        _await(has_failed, member)
        assert zmq.EVENT_HANDSHAKE_SUCCEEDED not in seen
        assert not listener.poll(0)


def test_bytes_that_are_not_zeromqs_are_refused(link: Link) -> None:
    host, port = link.address.removeprefix("tcp://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n" * 10)
        stranger.settimeout(0.05)
        closed: list[bool] = []

        def is_closed() -> bool:
            try:
                closed.append(stranger.recv(4096) == b"")
            except TimeoutError:
                return False
            except ConnectionError:
                closed.append(True)
            return closed[-1]

        _await(is_closed, link)
    _friend(link)


@pytest.mark.parametrize("security", [None, Security(TOKEN)], ids=["plain", "curve"])
def test_traffic_shows_no_parameters_with_a_token(security: Security | None) -> None:
    seen = bytearray()

    class Tap(Relay):
        def _read(self, source: socket.socket) -> None:
            before = len(self._held[source])
            super()._read(source)
            seen.extend(self._held.get(source, b"")[before:])

    with ExitStack() as stack:
        a, b = (
            stack.enter_context(closing(ZeroMQLink(job=JOB, security=security))) for _ in range(2)
        )
        tap = stack.enter_context(Tap(int(b.address.rpartition(":")[2])))
        a.connect(b.incarnation, f"tcp://127.0.0.1:{tap.port}")
        a.send(b.incarnation, Frame(KIND, body=SECRET_BODY))
        end = time.monotonic() + PATIENCE
        while not b.receive(0.01):
            assert time.monotonic() < end
            a.receive(0)
    assert len(seen) > len(SECRET_BODY)
    assert (SECRET_BODY[:20] in seen) == (security is None)
    assert (JOB in seen) == (security is None)


def test_a_message_that_is_too_long_closes_its_connection_alone(
    bare: Callable[[int], Any],
) -> None:
    with closing(ZeroMQLink(job=JOB)) as link:
        stranger = bare(zmq.DEALER)
        events = stranger.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        stranger.connect(link.address)
        stranger.send_multipart([b"short", bytes(4 << 20)])
        _await(lambda: link.refused["size"] == 1, link)
        stranger.send_multipart([b"long", bytes((4 << 20) + 1)])
        _await(lambda: bool(events.poll(0)), link)
        assert link.refused["size"] == 1
        events.close()
