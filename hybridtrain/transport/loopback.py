# SPDX-License-Identifier: BSD-3-Clause
"""A network of links within one process, for tests: faithful, or with faults from a seed."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, deque
from collections.abc import Collection
from dataclasses import dataclass, field
from math import inf

from hybridtrain.errors import InvalidSettingError
from hybridtrain.transport.frame import Message
from hybridtrain.transport.link import Link
from hybridtrain.transport.streams import Limits


@dataclass(frozen=True, kw_only=True, slots=True)
class Faults:
    """What a network does to messages: probabilities for each one.

    Attributes
    ----------
    delay : float
        Mean seconds of a message's way.
    duplicate, drop : float
        It arrives twice; it does not arrive.
    cut : float
        Its connection breaks: it and all that is on its way there is lost.
    mended : float
        Seconds until a connection is made again.
    """

    delay: float = 0.001
    duplicate: float = 0.0
    drop: float = 0.0
    cut: float = 0.0
    mended: float = 0.1


@dataclass(slots=True)
class _Connection:
    target: str  # an address
    open_at: float
    under_way: deque[tuple[float, Message]] = field(default_factory=deque)  # and when it arrives


class Loopback:
    """A network of links within one process.

    Parameters
    ----------
    seed : int, optional
        Of the faults. Then time is the network's own and begins at 0; it moves by `advance` and
        while a link waits, and one thread uses all links. None: the clock is the machine's,
        messages arrive at once, and each link may have a thread.
    faults : Faults
        Used with a seed.

    Attributes
    ----------
    counts : Counter
        Messages "posted", "duplicated", "dropped" and "lost", and connections "cut".
    """

    def __init__(self, seed: int | None = None, faults: Faults = Faults()) -> None:
        self.counts: Counter[str] = Counter()
        self._random = None if seed is None else random.Random(seed)
        self._faults = faults
        self._time = 0.0
        self._changed = threading.Condition()  # guards all below
        self._connections: dict[tuple[str, int], _Connection] = {}  # by sender's address and peer
        self._open: set[str] = set()  # addresses of links
        self._woken: set[str] = set()
        self._n_links = 0

    def link(
        self,
        job: bytes = bytes(16),
        incarnation: int | None = None,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> Link:
        """Return a new link of this network, at an address of its own."""
        with self._changed:
            self._n_links += 1
            address = f"loopback://{self._n_links}"
            self._open.add(address)
        return Link(_Carrier(self, address), job, incarnation, limits)

    def now(self) -> float:
        """Return the network's time in seconds."""
        return time.monotonic() if self._random is None else self._time

    def advance(self, seconds: float) -> None:
        """Let time go by; only with a seed."""
        self._time += seconds

    def cut(self, sender: str, receiver: str, seconds: float = 0.0) -> int:
        """Break the connection from one address to another for a time.

        Returns
        -------
        int
            How many messages were on their way and are lost.
        """
        with self._changed:
            cut = [
                self._break(each, seconds)
                for (address, _), each in self._connections.items()
                if (address, each.target) == (sender, receiver)
            ]
        if not cut:
            raise InvalidSettingError(f"there is no connection from {sender} to {receiver}")
        return sum(cut)

    def _break(self, connection: _Connection, seconds: float) -> int:
        lost = len(connection.under_way)
        connection.under_way.clear()
        connection.open_at = self.now() + seconds
        self.counts["cut"] += 1
        self.counts["lost"] += lost
        return lost

    def _post(self, connection: _Connection, message: Message) -> None:
        """Put a message on its way; bodies are copied, as by a real network."""
        self.counts["posted"] += 1
        now = self.now()
        copy = tuple(bytes(part) for part in message)
        if self._random is None:
            connection.under_way.append((now, copy))
            return
        fault = self._random.random()
        faults = self._faults
        if fault < faults.cut:
            self.counts["lost"] += 1
            self._break(connection, self._random.expovariate(1 / faults.mended))
        elif fault < faults.cut + faults.drop:
            self.counts["dropped"] += 1
        else:
            before = connection.under_way[-1][0] if connection.under_way else now
            arrival = before, now + self._random.expovariate(1 / faults.delay)
            is_twice = self._random.random() < faults.duplicate
            self.counts["duplicated"] += is_twice
            connection.under_way.extend([(max(arrival), copy)] * (1 + is_twice))

    def _arrived(self, address: str) -> list[Message]:
        """Take what has arrived at an address."""
        now, arrived = self.now(), []
        for each in self._to(address):
            while each.under_way and each.under_way[0][0] <= now:
                arrived.append(each.under_way.popleft())
        return [message for _, message in sorted(arrived, key=lambda pair: pair[0])]

    def _next(self, address: str, blocked: Collection[int]) -> float:
        """Return when the next message arrives there, or a broken connection is made again."""
        arrivals = [each.under_way[0][0] for each in self._to(address) if each.under_way]
        mended = [self._connections[address, peer] for peer in blocked]
        return min(
            [*arrivals, *(each.open_at for each in mended if each.target in self._open)],
            default=inf,
        )

    def _to(self, address: str) -> list[_Connection]:
        return [each for each in self._connections.values() if each.target == address]


class _Carrier:
    """A link's end of a loopback network."""

    def __init__(self, network: Loopback, address: str) -> None:
        self.address = address
        self.refused: Counter[str] = Counter()
        self._network = network

    def now(self) -> float:
        return self._network.now()

    def connect(self, peer: int, address: str) -> None:
        if not address.startswith("loopback://"):
            raise InvalidSettingError(f"address must be loopback://NUMBER, got {address!r}")
        with self._network._changed:
            self._network._connections[self.address, peer] = _Connection(address, self.now())

    def disconnect(self, peer: int) -> None:
        with self._network._changed:
            self._network._connections.pop((self.address, peer), None)

    def post(self, peer: int, message: Message) -> bool:
        with self._network._changed:
            connection = self._network._connections.get((self.address, peer))
            if (
                connection is None
                or connection.target not in self._network._open
                or self.now() < connection.open_at
            ):
                return False
            self._network._post(connection, message)
            self._network._changed.notify_all()
        return True

    def wait(self, timeout: float, blocked: Collection[int]) -> list[Message]:
        network = self._network
        deadline = self.now() + timeout
        with network._changed:
            while True:
                arrived = network._arrived(self.address)
                until = min(deadline, network._next(self.address, blocked))
                if arrived or self.address in network._woken or until <= self.now():
                    network._woken.discard(self.address)
                    return arrived
                if network._random is None:
                    network._changed.wait(min(until - self.now(), threading.TIMEOUT_MAX))
                else:
                    network._time = max(network._time, until)

    def wake(self) -> None:
        with self._network._changed:
            self._network._woken.add(self.address)
            self._network._changed.notify_all()

    def close(self) -> None:
        network = self._network
        with network._changed:
            network._open.discard(self.address)
            for key in [key for key in network._connections if key[0] == self.address]:
                del network._connections[key]
            for each in network._to(self.address):
                each.under_way.clear()
            network._changed.notify_all()
