# SPDX-License-Identifier: BSD-3-Clause
"""Links: one process's end of the connections to all others, over any carrier of messages.

A carrier moves messages, and may lose them when a connection breaks; a link makes streams of
them. Loopback and ZeroMQ are carriers.
"""

from __future__ import annotations

import logging
import secrets
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

from hybridtrain.errors import InvalidSettingError
from hybridtrain.transport.frame import (
    ACK,
    ANYONE,
    ASK,
    FIRST_KIND,
    GONE,
    JOB_BYTES,
    PROBE,
    Envelope,
    Frame,
    FrameError,
    Message,
    frames_of,
    unpack,
)
from hybridtrain.transport.streams import Incoming, Limits, Outgoing, size_of

_MOST_PEERS = 768  # that are known at the same time: ZeroMQ has 1,023 sockets
_LONGEST_ADDRESS = 256  # bytes
_STRANGE = {"size", "magic", "version", "job", "checksum", "kind", "peers", "address"}
_LOG_SECONDS = 60.0  # between two lines about them
logger = logging.getLogger(__name__)


class Carrier(Protocol):
    """Moves messages between links; keeps their order on each connection, and may lose some.

    Attributes
    ----------
    address : str
        Where others reach it.
    refused : Counter
        What it has dropped itself, by reason; the link counts on.
    """

    address: str
    refused: Counter[str]

    def now(self) -> float:
        """Return the seconds of a clock that never goes back."""

    def connect(self, peer: int, address: str) -> None:
        """Begin a connection, in place of the one to this peer if there is one.

        It is made in the background, and made again whenever it breaks.

        Raises
        ------
        InvalidSettingError
            When the address is none, or must not be connected to; nothing has changed then.
        """

    def disconnect(self, peer: int) -> None:
        """Close the connection to a peer."""

    def post(self, peer: int, message: Message) -> bool:
        """Take a message without waiting; False: there is no connection or no room."""

    def wait(self, timeout: float, blocked: Collection[int]) -> Iterable[Message]:
        """Return messages that have arrived, after `timeout` seconds at most.

        Returns early when a peer of `blocked` can be posted to, and after `wake`.
        """

    def wake(self) -> None:
        """Let a `wait`, or else the next one, return early; any thread may call it."""

    def close(self) -> None:
        """Close all connections; what they have not sent is lost."""


@dataclass(slots=True)
class Traffic:
    """Messages and bytes, headers included, between this link and a peer; repeated ones count."""

    messages_sent: int = 0  # of one or several frames
    bytes_sent: int = 0
    bytes_again: int = 0  # of those sent: of frames that were sent before
    frames_received: int = 0
    bytes_received: int = 0


class Link:
    """One process's end of the connections to its peers.

    While two links live, frames from one arrive at the other once and in order, also when
    connections break meanwhile. In place of frames that the sender no longer has, the receiver
    gets one of the kind GONE, whose `step` is their number.

    Parameters
    ----------
    carrier : Carrier
        Closed with the link, and when there will be none.
    job : bytes
        JOB_BYTES that only the links of this job know.
    incarnation : int, optional
        1 .. 2**64 - 1; None: drawn at random.
    limits : Limits
        Of the stream to and from each peer.

    Attributes
    ----------
    incarnation : int
        The name of this link; a process that starts again has another.
    address : str
        Where others reach it.
    refused : Counter
        Messages that were dropped, by reason.
    traffic : dict
        Traffic by peer.

    Thread safety
    -------------
    One thread uses a link; `wake` is for the others. Acknowledgements and repeats are sent by
    `receive`: a link on which nobody calls it stands still after `limits.under_way` bytes.
    """

    def __init__(
        self,
        carrier: Carrier,
        job: bytes,
        incarnation: int | None = None,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        if len(job) != JOB_BYTES:
            carrier.close()
            raise InvalidSettingError(f"job must have {JOB_BYTES} bytes, got {len(job)}")
        self.incarnation = incarnation or secrets.randbits(64) or 1
        self.address = carrier.address
        self.refused = carrier.refused
        self.traffic: defaultdict[int, Traffic] = defaultdict(Traffic)
        self._carrier = carrier
        self._job = job
        self._limits = limits
        self._last_session = 0
        self._addresses: dict[int, str] = {}
        self._outgoing: dict[int, Outgoing] = {}  # by peer
        self._incoming: dict[tuple[int, int], Incoming] = {}  # by sender, and receiver as named
        self._disconnected: set[int] = set()
        self._arrived: list[tuple[int, Frame]] = []
        self._is_woken = False
        self._log_at = carrier.now()

    def connect(self, peer: int, address: str) -> None:
        """Begin a stream to a peer; or, at another address, go on with it there.

        Parameters
        ----------
        peer : int
            Its incarnation, or ANYONE: the link at the address, until its incarnation is known.
        address : str

        Raises
        ------
        InvalidSettingError
            When the carrier does not connect to such an address.
        """
        if self._addresses.get(peer) == address:
            return
        self._carrier.connect(peer, address)
        self._addresses[peer] = address
        self._disconnected.discard(peer)
        if peer in self._outgoing:
            self._outgoing[peer].restart()
        else:
            self._last_session += 1
            envelope = Envelope(self._job, self.incarnation, peer, self._last_session)
            self._outgoing[peer] = Outgoing(envelope, self.address, self._limits)
        self._pump(self._outgoing[peer], self._carrier.now())

    def disconnect(self, peer: int) -> None:
        """End the stream to a peer, and drop what comes from it until it is connected again."""
        if self._outgoing.pop(peer, None) is None:
            return
        del self._addresses[peer]
        self._carrier.disconnect(peer)
        if peer != ANYONE:
            self._disconnected.add(peer)
            for key in [key for key in self._incoming if key[0] == peer]:
                del self._incoming[key]

    def send(self, peer: int, *frames: Frame) -> None:
        """Send frames after those before them; does not wait.

        Parameters
        ----------
        peer : int
            Connected.
        *frames : Frame
            Short ones travel together. Their bodies are not copied: they must not change until
            the peer has acknowledged them.

        Raises
        ------
        InvalidSettingError
            When the peer is not connected, or the kind is one of transport's own.
        FrameError
            When a field is outside its range.
        """
        outgoing = self._outgoing.get(peer)
        if outgoing is None:
            raise InvalidSettingError(f"peer {peer:#x} is not connected; call connect first")
        least = min((frame.kind for frame in frames), default=FIRST_KIND)
        if least < FIRST_KIND:
            raise InvalidSettingError(f"kind must be >= {FIRST_KIND}, got {least}")
        for frame in frames:
            outgoing.put(frame)
        self._pump(outgoing, self._carrier.now())

    def receive(self, timeout: float) -> list[tuple[int, Frame]]:
        """Return frames that have arrived, each with its sender's incarnation.

        Parameters
        ----------
        timeout : float
            Seconds to wait for the first one, >= 0. `wake` ends the wait.
        """
        deadline = self._carrier.now() + (0.0 if self._arrived else timeout)
        while not self._turn(deadline) and not self._is_woken and not self._arrived:
            pass
        self._is_woken = False
        arrived, self._arrived = self._arrived, []
        return arrived

    def flush(self, timeout: float, *, peers: Iterable[int] | None = None, most: int = 0) -> bool:
        """Wait until peers have acknowledged what was sent to them; return whether they have.

        A sender of much flushes in between: beyond `limits.kept` bytes its oldest frames are
        forgotten. What arrives meanwhile is returned by the next `receive`.

        Parameters
        ----------
        timeout : float
            Seconds, >= 0.
        peers : iterable of int, optional
            None: all. One that is not connected is not waited for.
        most : int
            Bytes to each of these peers that need not be acknowledged.
        """
        deadline = self._carrier.now() + timeout
        waited = [
            self._outgoing[peer]
            for peer in (self._outgoing if peers is None else peers)
            if peer in self._outgoing
        ]
        while any(outgoing.kept_bytes > most for outgoing in waited):
            if self._turn(deadline):
                break
        return all(outgoing.kept_bytes <= most for outgoing in waited)

    def acknowledge(self) -> None:
        """Acknowledge at once what has arrived, before a time without `receive`; does not wait."""
        now = self._carrier.now()
        for incoming in self._incoming.values():
            incoming.ack_at = min(incoming.ack_at, now)
        self._serve(now)

    def wake(self) -> None:
        """Let the receive in hand, or else the next one, return; any thread may call it."""
        self._is_woken = True
        self._carrier.wake()

    def close(self) -> None:
        """Close all connections; what is not sent is lost. A second call does nothing."""
        self._carrier.close()

    def _turn(self, deadline: float) -> bool:
        """Serve all peers and wait once; return whether the deadline has passed."""
        now = self._carrier.now()
        blocked, due = self._serve(now)
        for message in self._carrier.wait(max(0.0, min(deadline, due) - now), blocked):
            for each in frames_of(message):
                self._take(each)
        return self._carrier.now() >= deadline

    def _serve(self, now: float) -> tuple[set[int], float]:
        """Post what is due; return the peers that take no more, and when more will be due."""
        blocked, due = set(), float("inf")
        for (sender, _), incoming in self._incoming.items():
            reply = incoming.reply(now)
            outgoing = self._outgoing.get(sender)
            if reply is not None and outgoing is not None:
                if self._post(sender, outgoing.reply(*reply)):
                    incoming.replied()
                else:
                    blocked.add(sender)
            due = min(due, incoming.ack_at)
        for peer, outgoing in self._outgoing.items():
            if not self._pump(outgoing, now):
                blocked.add(peer)
            due = min(due, outgoing.probe_at)
        return blocked, due

    def _pump(self, outgoing: Outgoing, now: float) -> bool:
        again = outgoing.again_bytes
        is_all = outgoing.pump(lambda message: self._post(outgoing.peer, message), now)
        if outgoing.again_bytes > again:
            self.traffic[outgoing.peer].bytes_again += outgoing.again_bytes - again
        return is_all

    def _post(self, peer: int, message: Message) -> bool:
        is_posted = self._carrier.post(peer, message)
        if is_posted:
            self.traffic[peer].messages_sent += 1
            self.traffic[peer].bytes_sent += size_of(message)
        return is_posted

    def _take(self, message: Message) -> None:
        """Deliver a frame, or act on it, or drop and count it."""
        try:
            envelope, frame = unpack(message, self._job, self.incarnation)
            reason = self._accept(envelope, frame, size_of(message))
        except FrameError as error:
            reason = error.reason
        if reason is not None:
            self.refused[reason] += 1
        if reason in _STRANGE and self._carrier.now() >= self._log_at:
            self._log_at = self._carrier.now() + _LOG_SECONDS
            logger.warning("%s has dropped messages: %s", self.address, dict(self.refused))

    def _accept(self, envelope: Envelope, frame: Frame, nbytes: int) -> str | None:
        """Act on a frame; or return why it is dropped."""
        sender = envelope.sender
        if sender == ANYONE or sender in self._disconnected:
            return "sender"
        if frame.kind in (ACK, ASK):
            return self._hear(envelope, frame)
        incoming = self._incoming.get((sender, envelope.receiver))
        if incoming is None:
            if len(self._incoming) >= _MOST_PEERS:
                return "peers"
            incoming = self._incoming[sender, envelope.receiver] = Incoming(self._limits)
        self.traffic[sender].frames_received += 1
        self.traffic[sender].bytes_received += nbytes
        return self._deliver(incoming, envelope, frame, nbytes)

    def _deliver(
        self, incoming: Incoming, envelope: Envelope, frame: Frame, nbytes: int
    ) -> str | None:
        """Act on a frame of a stream to this link; or return why it is dropped."""
        session, sequence = envelope.session, envelope.sequence
        reason: str | None = "kind"
        if frame.kind >= FIRST_KIND:
            reason = incoming.admit(session, sequence, nbytes, self._carrier.now())
            if reason is None:
                self._arrived.append((envelope.sender, frame))
        elif frame.kind == GONE:
            reason, gone = incoming.skip(session, sequence)
            if gone:
                self._arrived.append((envelope.sender, Frame(GONE, step=gone)))
        elif frame.kind == PROBE:
            reason = incoming.probe(session, sequence, frame.step)
            if reason is None and envelope.sender not in self._outgoing:
                reason = self._connect_back(envelope.sender, bytes(frame.body))
        return reason

    def _hear(self, envelope: Envelope, frame: Frame) -> str | None:
        """Act on a reply to one of this link's streams, which its session tells."""
        for peer in (envelope.sender, ANYONE):
            outgoing = self._outgoing.get(peer)
            if outgoing is not None and outgoing.session == envelope.session:
                now = self._carrier.now()
                if frame.kind == ACK:
                    outgoing.acknowledge(envelope.sequence, now)
                else:
                    outgoing.answer(envelope.sequence, frame.step, now)
                return None
        return "stale"

    def _connect_back(self, sender: int, address: bytes) -> str | None:
        """Connect to a sender, which gets no replies else; or return why not."""
        try:
            if len(address) > _LONGEST_ADDRESS:
                return "address"
            self.connect(sender, address.decode())
        except (InvalidSettingError, UnicodeDecodeError):
            return "address"
        return None
