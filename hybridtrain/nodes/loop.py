# SPDX-License-Identifier: BSD-3-Clause
"""What surrounds a machine of the protocol: a link, a clock, and events from other threads."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from itertools import groupby
from typing import Any, Protocol

from hybridtrain.nodes import events
from hybridtrain.nodes.messages import Message
from hybridtrain.nodes.wire import decode, encode
from hybridtrain.transport.frame import GONE, FrameError
from hybridtrain.transport.link import Link
from hybridtrain.transport.streams import Limits

logger = logging.getLogger(__name__)
# What a peer has not acknowledged is at most the sums and totals of a step, and a state.
LIMITS = Limits(kept=1 << 40)
_BEATS = 10  # in `timeout`
_LONGEST_BEAT = 1.0  # seconds


class Machine(Protocol):
    """The driver's or a node's part of the protocol."""

    def handle(self, event: Any) -> list[Any]:
        """Return the acts that follow from an event."""


class Loop:
    """Turn frames, clocks and what other threads post into events, and do the acts of a machine.

    Parameters
    ----------
    link : Link
    timeout : float
        The one number, in seconds, from which all others follow.
    patience : float
        Seconds after which a watched peer that was not heard of is silent.

    Notes
    -----
    **Thread safety.** `turn` belongs to one thread; `post` is for the others.
    """

    def __init__(self, link: Link, timeout: float, patience: float) -> None:
        self.link = link
        self.machine: Machine | None = None
        self._timeout = timeout
        self._patience = patience
        self._beat = min(_LONGEST_BEAT, timeout / _BEATS)
        self._next_beat = time.monotonic()
        self._heard: dict[int, float] = {}  # watched peers, and when something came from them
        self._events: deque[Any] = deque()
        self._posted: deque[Callable[[], None]] = deque()
        self._deadlines: list[tuple[float, events.TimedOut]] = []
        self._turned = time.monotonic()

    # ---- for subclasses -------------------------------------------------------------------------

    def do(self, act: Any) -> None:
        """Do an act of the machine; subclasses know more of them."""
        if isinstance(act, events.Connect):
            self.link.connect(act.peer, act.address)
            self.watch(act.peer)
        elif isinstance(act, events.Disconnect):
            self.link.disconnect(act.peer)
            self._heard.pop(act.peer, None)
        else:
            raise TypeError(f"no act of a machine: {act!r}")

    def receive(self, sender: int, message: Message) -> None:
        """Take a message; the machine gets those that no subclass takes."""
        self._events.append(events.Received(sender, message))

    def tick(self) -> None:
        """Be called for every beat."""
        self._events.append(events.Tick())

    def watch(self, peer: int) -> None:
        """Expect beats of a peer from now on."""
        self._heard[peer] = time.monotonic()

    @property
    def peers(self) -> list[int]:
        """The peers that are watched."""
        return list(self._heard)

    def set_deadline(self, act: events.Deadline) -> None:
        """Hand the words of a deadline back when it has passed."""
        at = time.monotonic() + self._timeout * act.share
        self._deadlines.append((at, events.TimedOut(act.what, act.ballot)))

    def send(self, to: int, *messages: Message) -> None:
        """Send messages to a peer that is connected; to others nothing is sent."""
        if to in self._heard:
            self.link.send(to, *map(encode, messages))

    # ---- all ------------------------------------------------------------------------------------

    def post(self, function: Callable[[], None]) -> None:
        """Let the loop's thread call a function soon."""
        self._posted.append(function)
        self.link.wake()

    def note(self, event: Any) -> None:
        """Hand an event to the machine, after those before it; in the loop's thread."""
        self._events.append(event)

    def turn(self, longest: float) -> None:
        """Wait for something to happen, at most so many seconds, and act on all that has."""
        now = time.monotonic()
        due = [self._next_beat, *(at for at, _ in self._deadlines), now + longest]
        for sender, frame in self.link.receive(max(0.0, min(due) - now)):
            self._take(sender, frame)
        for _ in range(len(self._posted)):  # not those that they post
            self._posted.popleft()()
        self._look_at_clocks()
        while self._events:
            event = self._events.popleft()
            if self.machine is not None:
                self._do_all(self.machine.handle(event))

    def _do_all(self, acts: list[Any]) -> None:
        """Do acts in their order; messages to one peer that follow each other leave together."""
        for to, some in groupby(acts, key=_receiver):
            if to is None:
                for act in some:
                    self.do(act)
            else:
                self.send(to, *(act.message for act in some))

    def _take(self, sender: int, frame: Any) -> None:
        if sender in self._heard:
            self._heard[sender] = time.monotonic()
        if frame.kind == GONE:
            self._events.append(events.Lost(sender))
            return
        try:
            message = decode(frame)
        except FrameError as error:
            logger.debug("a frame of %x is dropped: %s", sender, error)
            return
        self.receive(sender, message)

    def _look_at_clocks(self) -> None:
        now = time.monotonic()
        if now - self._turned > 2 * self._beat:  # this process was late itself: it suspects nobody
            for peer in self._heard:
                self._heard[peer] = now
        self._turned = now
        if now >= self._next_beat:
            self._next_beat = now + self._beat
            self.tick()
        for peer, heard in self._heard.items():
            if now - heard > self._patience:
                self._heard[peer] = now
                self._events.append(events.Silent(peer))
        passed = [event for at, event in self._deadlines if at <= now]
        self._deadlines = [(at, event) for at, event in self._deadlines if at > now]
        self._events.extend(passed)


def _receiver(act: Any) -> int | None:
    return act.to if isinstance(act, events.Send) else None
