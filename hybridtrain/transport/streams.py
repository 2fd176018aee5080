# SPDX-License-Identifier: BSD-3-Clause
"""Streams: the frames from one link to another arrive once and in order, over broken connections.

ZeroMQ makes a broken connection again without a word, and what was on its way is lost. So frames
have sequence numbers, and the sender keeps them until they are acknowledged::

    sender                                   receiver
      frames n, n + 1, ...           -->       delivers them, and now and then says
      forgets those below n + 2      <--       ACK n + 2: all below have arrived
      frame m > expected             -->       drops it, and asks once
      sends all from there again     <--       ASK expected, attempt
      GONE first (if it forgot some) -->       reports the loss, goes on at first
      PROBE posted, attempt          -->       ACK, or ASK if one below `posted` has not arrived

The sender probes when nothing was acknowledged for a while: the last frame, an ACK or an ASK may
be lost. No clock of the receiver asks: a connection keeps the order, so a frame or probe beyond
the expected one proves a loss. What was under way while it asked proves nothing. So requests are
attempts with a number, each is answered once, and a probe says which one was answered last. If it
is the receiver's last one, and the probe is beyond the expected frame, then the answer was lost:
the receiver asks with the next number. Else it repeats the last request.

A link numbers its streams by sessions, which rise. A stream begins at 0 whenever the sender
connects anew; the receiver drops what is left of older sessions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from hybridtrain.transport.frame import (
    ACK,
    ASK,
    GONE,
    PROBE,
    Envelope,
    Frame,
    Message,
    pack,
)

_FIRST_PROBE_SECONDS = 0.2
_LONGEST_PROBE_SECONDS = 1.0
_ACK_SECONDS = 0.05
_TOGETHER_BYTES = 1 << 20  # of frames of one message: it wakes fewer threads than several


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes, headers included, that a stream may hold.

    Attributes
    ----------
    kept : int
        Of frames that are not acknowledged; of more, the oldest are forgotten.
    under_way : int
        Of frames that are posted and not acknowledged; more wait for their turn.
    unacknowledged : int
        After which a receiver acknowledges at once.
    """

    kept: int = 256 << 20
    under_way: int = 32 << 20
    unacknowledged: int = 8 << 20


def size_of(message: Message) -> int:
    """Return the bytes of a message."""
    return sum(map(len, message))


def _near(low: int, full: int) -> int:
    """Return the number nearest to `full` that has the lower 32 bits of `low`."""
    return full + (low - full + 2**31) % 2**32 - 2**31


class Outgoing:
    """The frames to one peer: kept until it has acknowledged them.

    Attributes
    ----------
    peer : int
        The receiver's incarnation, or ANYONE.
    session : int
        Of the stream.
    kept_bytes : int
        Of all frames that are not acknowledged.
    again_bytes : int
        Of all frames that were posted once more.
    probe_at : float
        When `pump` must be called at the latest, in seconds of its clock.
    """

    def __init__(self, envelope: Envelope, address: str, limits: Limits, first: int = 0) -> None:
        self.peer = envelope.receiver
        self.session = envelope.session
        self._job, self._sender = envelope.job, envelope.sender
        self._address = address.encode()
        self._limits = limits
        self._kept: dict[int, Message] = {}  # by sequence, first .. end - 1
        self._first = self._posted = self._end = first
        self._farthest = first  # beyond all frames that were ever posted
        self.kept_bytes = self.again_bytes = 0
        self._flight_bytes = 0  # of those below `posted`
        self._attempt = 0  # of the peer's requests, the last one that was answered
        self._owes_gone = False
        self._owes_probe = True  # the first one tells the peer where this link is
        self.probe_at = inf
        self._probe_seconds = _FIRST_PROBE_SECONDS

    def put(self, frame: Frame) -> None:
        """Keep a frame to be posted; forget the oldest ones beyond the limit."""
        message = pack(self._envelope(self._end), frame)
        self._kept[self._end] = message
        self._end += 1
        self.kept_bytes += size_of(message)
        while self.kept_bytes > self._limits.kept and self._first < self._end - 1:
            self._forget()

    def pump(self, post: Callable[[Message], bool], now: float) -> bool:
        """Post what is due and has room; return whether the carrier took everything.

        Parameters
        ----------
        post : callable
            Returns False when the carrier does not take the message now.
        now : float
            Seconds.
        """
        if now >= self.probe_at:
            self._owes_probe = True
            self._probe_seconds = min(2 * self._probe_seconds, _LONGEST_PROBE_SECONDS)
            self.probe_at = now + self._probe_seconds
        if self._owes_probe:
            if not post(self._own(PROBE, self._posted)):
                return False
            self._owes_probe = False
        if self._owes_gone:
            if not post(self._own(GONE, self._first)):
                return False
            self._owes_gone = False
        while self._posted < self._end and self._flight_bytes < self._limits.under_way:
            message, frames = self._together()
            if not post(message):
                return False
            for again in range(self._posted, min(self._posted + frames, self._farthest)):
                self.again_bytes += size_of(self._kept[again])
            self._posted += frames
            self._farthest = max(self._farthest, self._posted)
            self._flight_bytes += size_of(message)
            self.probe_at = min(self.probe_at, now + self._probe_seconds)
        return True

    def _together(self) -> tuple[Message, int]:
        """Return the frames that are due as one message, up to a limit, and how many they are."""
        parts = list(self._kept[self._posted])
        nbytes, last = size_of(parts), self._posted + 1
        most = min(_TOGETHER_BYTES, self._limits.under_way - self._flight_bytes)
        while last < self._end and nbytes + size_of(self._kept[last]) <= most:
            parts += self._kept[last]
            nbytes += size_of(self._kept[last])
            last += 1
        return parts, last - self._posted

    def acknowledge(self, sequence: int, now: float) -> None:
        """Forget all frames below a sequence."""
        sequence = _near(sequence, self._first)
        if not self._first < sequence <= self._end:
            return
        while self._first < sequence:
            self._forget()
        self._probe_seconds = _FIRST_PROBE_SECONDS
        self.probe_at = inf if self._first == self._posted else now + self._probe_seconds

    def answer(self, sequence: int, attempt: int, now: float) -> None:
        """Go back to the frame that the peer asks for, once for each attempt."""
        self.acknowledge(sequence, now)
        sequence = _near(sequence, self._first)
        if attempt > self._attempt:
            self._attempt = attempt
            self._owes_gone = sequence < self._first
            self._go_back(max(sequence, self._first))

    def restart(self) -> None:
        """Post again all that is not acknowledged: the peer is reached another way."""
        self._owes_probe = True
        self._go_back(self._first)

    def reply(self, kind: int, session: int, sequence: int, attempt: int) -> Message:
        """Return an ACK or ASK of the peer's own stream."""
        envelope = Envelope(self._job, self._sender, self.peer, session, sequence)
        return pack(envelope, Frame(kind, step=attempt))

    def _envelope(self, sequence: int) -> Envelope:
        return Envelope(self._job, self._sender, self.peer, self.session, sequence)

    def _own(self, kind: int, sequence: int) -> Message:
        body = self._address if kind == PROBE else b""
        return pack(self._envelope(sequence), Frame(kind, step=self._attempt, body=body))

    def _go_back(self, sequence: int) -> None:
        for again in range(sequence, self._posted):
            self._flight_bytes -= size_of(self._kept[again])
        self._posted = min(sequence, self._posted)

    def _forget(self) -> None:
        nbytes = size_of(self._kept.pop(self._first))
        self.kept_bytes -= nbytes
        if self._first < self._posted:
            self._flight_bytes -= nbytes
        self._first += 1
        self._posted = max(self._posted, self._first)


class Incoming:
    """What has arrived of one peer's streams, the newest session of them.

    Attributes
    ----------
    ack_at : float
        When a reply will be owed at the latest, in seconds of `admit`'s clock.
    """

    def __init__(self, limits: Limits, first: int = 0) -> None:
        self._limits = limits
        self._first = first
        self.ack_at = inf
        self._begin(0)  # sessions begin at 1

    def admit(self, session: int, sequence: int, nbytes: int, now: float) -> str | None:
        """Take the next frame; or return why this one is dropped."""
        if not self._is_current(session):
            return "stale"
        ahead = self._ahead(sequence)
        if ahead < 0:
            return "repeated"
        if ahead > 0:
            if not self._is_asking:
                self._ask()
            return "early"
        self._go_on(1)
        self._unacknowledged += nbytes
        if self._unacknowledged >= self._limits.unacknowledged:
            self._owed = ACK
        self.ack_at = min(self.ack_at, now + _ACK_SECONDS)
        return None

    def probe(self, session: int, sequence: int, attempt: int) -> str | None:
        """Owe the answer to a probe; or return why it is dropped."""
        if not self._is_current(session):
            return "stale"
        if self._ahead(sequence) <= 0:
            self._owed = ACK
        elif self._is_asking and attempt < self._attempt:
            self._owed = ASK  # again: it may be lost, or only not answered yet
        else:
            self._ask()
        return None

    def skip(self, session: int, sequence: int) -> tuple[str | None, int]:
        """Go on at a later frame; return why this is dropped, and how many frames are gone."""
        if not self._is_current(session):
            return "stale", 0
        gone = self._ahead(sequence)
        if gone <= 0:
            return "repeated", 0
        self._go_on(gone)
        return None, gone

    def reply(self, now: float) -> tuple[int, int, int, int] | None:
        """Return kind, session, sequence and attempt of the reply that is owed."""
        if now >= self.ack_at:
            self.ack_at = inf
            self._owed = self._owed or ACK
        return (self._owed, self._session, self._expected, self._attempt) if self._owed else None

    def replied(self) -> None:
        """Owe nothing: the carrier has taken the reply."""
        self._owed = self._unacknowledged = 0
        self.ack_at = inf

    def _begin(self, session: int) -> None:
        self._session = session
        self._expected = self._first
        self._attempt = 0  # of requests in this session
        self._is_asking = False  # by this attempt, for the expected frame
        self._owed = 0  # ACK, ASK or none
        self._unacknowledged = 0  # bytes
        self.ack_at = inf

    def _is_current(self, session: int) -> bool:
        if session > self._session:
            self._begin(session)
        return session == self._session

    def _ahead(self, sequence: int) -> int:
        return _near(sequence, self._expected) - self._expected

    def _go_on(self, frames: int) -> None:
        self._expected += frames
        self._is_asking = False
        if self._owed == ASK:
            self._owed = ACK

    def _ask(self) -> None:
        self._attempt += 1
        self._is_asking = True
        self._owed = ASK
