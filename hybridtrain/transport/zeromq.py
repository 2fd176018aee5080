# SPDX-License-Identifier: BSD-3-Clause
"""Links over ZeroMQ: one bound socket that receives, and one connected socket to each peer."""

from __future__ import annotations

import math
import os
import threading
import time
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybridtrain.errors import InvalidSettingError, MissingPackageError
from hybridtrain.transport.frame import MAX_BODY_BYTES, Message
from hybridtrain.transport.link import Link
from hybridtrain.transport.security import Gatekeeper, Security, require_safe
from hybridtrain.transport.streams import Limits, size_of

if TYPE_CHECKING:
    from types import ModuleType

_MOST_AT_ONCE = 64  # messages of one wait
_MOST_BYTES_AT_ONCE = 1 << 20  # then no more: memory that is used again soon is in the cache
_COPIED_BYTES = 1 << 20  # of a body; copying a shorter one is faster than sharing it
_CURVE_BYTES = 33  # that it adds to a message
_HEARTBEAT_MS, _SILENCE_MS = 1_000, 10_000
_HANDSHAKE_MS = 5_000
_RECONNECT_MS, _LONGEST_RECONNECT_MS = 20, 500


class ZeroMQLink(Link):
    """A link over ZeroMQ.

    Parameters
    ----------
    address : str
        Where to listen: "tcp://127.0.0.1:*" (any free port), "tcp://[::1]:7000", "ipc:///path".
        The link's own `address` has the port in place of the star.
    job, incarnation, limits
        As of `Link`.
    security : Security, optional
        The same for all links of a job. None: nothing is encrypted, and only addresses of this
        machine are listened at and connected to (ipc and loopback).
    insecure : bool
        Without `security`: allow all addresses, and log a warning for each.

    Raises
    ------
    MissingPackageError
        When pyzmq is not installed.
    InvalidSettingError
        When there is nothing to listen at by that address, or it is in use, or not safe.

    Notes
    -----
    ZeroMQ's threads do the sending and receiving. Bodies of more than 1 MB are not copied.
    A connection is made while both links are served by `receive` or `flush`.
    """

    def __init__(
        self,
        address: str = "tcp://127.0.0.1:*",
        *,
        job: bytes,
        incarnation: int | None = None,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        security: Security | None = None,
        insecure: bool = False,
    ) -> None:
        super().__init__(_Carrier(address, security, insecure), job, incarnation, limits)


def _import_zmq() -> ModuleType:
    try:
        import zmq  # noqa: PLC0415 - optional
    except ImportError as error:
        raise MissingPackageError(
            "several machines need pyzmq and msgspec; pip install 'hybridtrain[nodes]'"
        ) from error
    return zmq


def _is_address(address: str) -> bool:
    if address.startswith("ipc://"):
        return True
    port = address.rpartition(":")[2]  # ZeroMQ takes the rest of a division by 65,536
    return address.startswith("tcp://") and (
        port == "*" or (port.isascii() and port.isdigit() and int(port) < 65_536)
    )


class _Carrier:
    """ZeroMQ's sockets, and a descriptor by which other threads wake the one that waits."""

    def __init__(self, address: str, security: Security | None, insecure: bool) -> None:
        require_safe(address, security, insecure)
        self.address = ""  # until it is bound
        self.refused: Counter[str] = Counter()
        self._security = security
        self._is_insecure = insecure
        self._gatekeeper: Gatekeeper | None = None
        self._zmq = zmq = _import_zmq()
        self._context = zmq.Context()
        # Plain numbers: arithmetic with the names costs as much as a call of ZeroMQ.
        self._no_wait, self._no_wait_more = int(zmq.NOBLOCK), int(zmq.NOBLOCK | zmq.SNDMORE)
        self._events, self._readable = int(zmq.EVENTS), int(zmq.POLLIN)
        self._dealers: dict[int, Any] = {}
        self._bell_lock = threading.Lock()  # so that a closed descriptor is never written to
        self._bell: int | None = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            self._router = self._socket(zmq.ROUTER, address)
            self._poller = zmq.Poller()
            if security is not None:
                self._gatekeeper = Gatekeeper(self._context, security, self.refused)
                self._poller.register(self._gatekeeper.socket, zmq.POLLIN)
                security.guard_listener(self._router)
            self._poller.register(self._router, zmq.POLLIN)
            self._poller.register(self._bell, zmq.POLLIN)
            self._open(self._router.bind, address)
            self.address = self._router.getsockopt(zmq.LAST_ENDPOINT).rstrip(b"\0").decode()
        except BaseException:
            self.close()
            raise

    def now(self) -> float:
        return time.monotonic()

    def connect(self, peer: int, address: str) -> None:
        if not self._is_insecure:  # said when this link began to listen
            require_safe(address, self._security, insecure=False)
        dealer = self._socket(self._zmq.DEALER, address)
        try:
            if self._security is not None:
                self._security.guard_client(dealer)
            self._open(dealer.connect, address)
        except BaseException:
            dealer.close()
            raise
        if peer in self._dealers:
            self.disconnect(peer)
        self._dealers[peer] = dealer

    def disconnect(self, peer: int) -> None:
        self._dealers.pop(peer).close()

    def post(self, peer: int, message: Message) -> bool:
        send, last = self._dealers[peer].send, len(message) - 1
        try:
            for k, part in enumerate(message):  # the first may be refused, those after it are not
                is_short = len(part) <= _COPIED_BYTES
                send(part, self._no_wait if k == last else self._no_wait_more, copy=is_short)
        except self._zmq.Again:
            return False
        return True

    def wait(self, timeout: float, blocked: Collection[int]) -> list[Message]:
        for peer in blocked:
            self._poller.register(self._dealers[peer], self._zmq.POLLOUT)
        try:
            ready = dict(self._poller.poll(math.ceil(1000 * timeout)))  # not before it
        finally:
            for peer in blocked:
                self._poller.unregister(self._dealers[peer])
        if self._bell is not None and self._bell in ready:
            os.eventfd_read(self._bell)
        if self._gatekeeper is not None and self._gatekeeper.socket in ready:
            self._gatekeeper.answer()
        return self._received() if self._router in ready else []

    def wake(self) -> None:
        with self._bell_lock:
            if self._bell is not None:
                os.eventfd_write(self._bell, 1)

    def close(self) -> None:
        self._context.destroy(linger=0)
        with self._bell_lock:
            if self._bell is None:
                return
            os.close(self._bell)
            self._bell = None
        if self.address.startswith("ipc://"):  # ZeroMQ leaves the file
            Path(self.address.removeprefix("ipc://")).unlink(missing_ok=True)

    def _socket(self, kind: int, address: str) -> Any:
        """Return a socket that waits for nobody and takes no message longer than a frame."""
        zmq = self._zmq
        socket = self._context.socket(kind)
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.SNDHWM, 0),  # the streams bound what is under way, in bytes
            (zmq.RCVHWM, 0),
            (zmq.IMMEDIATE, 1),  # frames wait in our own queue until there is a connection
            (zmq.IPV6, address.startswith("tcp://[")),  # else 127.0.0.1 is ::ffff:127.0.0.1
            (zmq.MAXMSGSIZE, MAX_BODY_BYTES + (_CURVE_BYTES if self._security else 0)),
            (zmq.HANDSHAKE_IVL, _HANDSHAKE_MS),
            (zmq.HEARTBEAT_IVL, _HEARTBEAT_MS),
            (zmq.HEARTBEAT_TIMEOUT, _SILENCE_MS),
            (zmq.RECONNECT_IVL, _RECONNECT_MS),
            (zmq.RECONNECT_IVL_MAX, _LONGEST_RECONNECT_MS),
        ):
            socket.setsockopt(option, value)
        return socket

    def _open(self, bind_or_connect: Any, address: str) -> None:
        expected = f"address must be like tcp://127.0.0.1:7000 or ipc:///path, got {address!r}"
        if not _is_address(address):
            raise InvalidSettingError(expected)
        try:
            bind_or_connect(address)
        except self._zmq.ZMQError as error:
            raise InvalidSettingError(f"{expected}: {error.strerror}") from error

    def _received(self) -> list[Message]:
        router, messages, nbytes = self._router, list[Message](), 0
        while len(messages) < _MOST_AT_ONCE and nbytes < _MOST_BYTES_AT_ONCE:
            if not router.getsockopt(self._events) & self._readable:
                break
            frame = router.recv(self._no_wait, copy=False)  # names its socket
            parts = []
            while frame.more:
                frame = router.recv(self._no_wait, copy=False)
                parts.append(frame.buffer)
            messages.append(parts)
            nbytes += size_of(parts)
        return messages
