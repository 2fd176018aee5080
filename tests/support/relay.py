# SPDX-License-Identifier: BSD-3-Clause
"""A TCP relay before a listener, which stalls, cuts and corrupts connections."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType

_READ_BYTES = 65_536
_MOST_HELD = 8 * _READ_BYTES  # of one direction
_LOOK_SECONDS = 0.005
_PATIENCE = 30.0


class Relay:
    """Listens on a port of 127.0.0.1 and passes what comes on to another port there.

    Only the relay's thread has sockets; attributes may be set by any thread.

    Attributes
    ----------
    port : int
        Where it listens.
    is_stalled : bool
        Nothing is passed on; some is still read, and held.
    to_corrupt : int
        In so many more chunks of the way to the listener a bit will be changed.
    held : int
        Bytes that were read and are not passed on yet.
    cuts, lost, corrupted, passed : int
        Connections that were cut, bytes that were held by them then; chunks that were changed;
        bytes that were passed on.
    """

    def __init__(self, port: int) -> None:
        self.is_stalled = False
        self.to_corrupt = self.held = self.cuts = self.lost = self.corrupted = self.passed = 0
        self._target = "127.0.0.1", port
        self._wants_cut = threading.Event()
        self._wants_end = threading.Event()
        self._held: dict[socket.socket, bytearray] = {}  # by the socket that they came from
        self._other: dict[socket.socket, socket.socket] = {}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)

    def __enter__(self) -> Relay:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._wants_end.set()
        self._thread.join(_PATIENCE)
        assert not self._thread.is_alive(), "the relay does not end"

    @property
    def connections(self) -> int:
        """How many connections are passed on."""
        return len(self._held) // 2

    def cut(self) -> None:
        """Break all connections, and wait until that is done."""
        self._wants_cut.set()
        self.await_that(lambda: not self._wants_cut.is_set())

    def await_that(self, is_so: Callable[[], bool]) -> None:
        """Wait until something has happened at the relay."""
        end = time.monotonic() + _PATIENCE
        while not is_so():
            assert time.monotonic() < end, "the relay has waited in vain"
            time.sleep(_LOOK_SECONDS)

    def _run(self) -> None:
        while not self._wants_end.is_set():
            readable = [each for each, held in self._held.items() if len(held) < _MOST_HELD]
            has_more = not self.is_stalled and any(self._held.values())
            ready, _, _ = select.select(
                [self._listener, *readable],
                [],
                [],
                _LOOK_SECONDS / 5 if has_more else _LOOK_SECONDS,
            )
            for each in ready:
                if each is self._listener:
                    self._accept()
                elif each in self._held:
                    self._read(each)
            for each in list(self._held):
                if each in self._held and not self.is_stalled:
                    self._write(each)
            self.held = sum(map(len, self._held.values()))
            if self._wants_cut.is_set():
                self._cut()
        self._cut()
        self._listener.close()

    def _cut(self) -> None:
        self.cuts += len(self._held) // 2
        self.lost += sum(map(len, self._held.values()))
        for each in list(self._held):
            self._end(each)
        self._wants_cut.clear()

    def _accept(self) -> None:
        here, _ = self._listener.accept()
        try:
            there = socket.create_connection(self._target, timeout=1)
        except OSError:
            here.close()
            return
        for each, other in ((here, there), (there, here)):
            each.setblocking(False)
            self._held[each] = bytearray()
            self._other[each] = other

    def _read(self, source: socket.socket) -> None:
        try:
            chunk = bytearray(source.recv(_READ_BYTES))
        except OSError:
            chunk = bytearray()
        if not chunk:
            self._end(source)
            return
        is_forth = self._other[source].getpeername() == self._target
        if self.to_corrupt and is_forth and len(chunk) > 1000:
            chunk[len(chunk) // 2] ^= 1
            self.to_corrupt -= 1
            self.corrupted += 1
        self._held[source] += chunk

    def _write(self, source: socket.socket) -> None:
        held = self._held[source]
        try:
            sent = self._other[source].send(held) if held else 0
        except BlockingIOError:
            return
        except OSError:
            self._end(source)
            return
        self.passed += sent
        del held[:sent]

    def _end(self, source: socket.socket) -> None:
        for each in (source, self._other.get(source)):
            if each is not None and self._held.pop(each, None) is not None:
                del self._other[each]
                each.close()
