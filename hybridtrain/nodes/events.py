# SPDX-License-Identifier: BSD-3-Clause
"""What the machines are told, and what they have done: events in, acts out.

The shell around a machine watches sockets, clocks and processes. It hands over one event at a
time, and does the acts of each in their order before it hands over the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hybridtrain.nodes.messages import Ending, Label, Message, Part, Tally
from hybridtrain.transport.frame import Buffer

# ---- events of both machines --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Begin:
    """The first event."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message has come."""

    sender: int  # its incarnation
    message: Message


@dataclass(frozen=True, slots=True)
class Silent:
    """A peer was not heard of for `timeout` / 3; the driver at a node: for `timeout`.

    The event comes again after each further time. A shell that was itself late names nobody.
    """

    peer: int


@dataclass(frozen=True, slots=True)
class Gone:
    """A peer is dead, for certain; `cause` is in words for users: "killed (signal 9)"."""

    peer: int  # 0: a process that had not said HELLO yet
    cause: str


@dataclass(frozen=True, slots=True)
class Lost:
    """Frames of a living peer are lost, and cannot be sent again."""

    peer: int


@dataclass(frozen=True, slots=True)
class Tick:
    """A beat is due; `rate` is the node's: rows a second of its own work, 0 when unknown."""

    rate: float = 0.0


@dataclass(frozen=True, slots=True)
class TimedOut:
    """A `Deadline` has passed. The shell need not cancel one: an old one is ignored."""

    what: str
    ballot: int


# ---- events of the node's own round -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Worked:
    """All local tasks of a step are done, and the round waits in its exchange."""

    ballot: int  # of the `Redo` under which they were done
    batch: int  # batches done since the start of the run


@dataclass(frozen=True, slots=True)
class Collected:
    """The answer to `Collect`."""

    ballot: int
    batch: int
    bodies: Sequence[Sequence[Part]]  # of each shard, at least one
    tally: Tally


@dataclass(frozen=True, slots=True)
class Finished:
    """No step of the part is left: the shell waits for `End`, or for a `Redo`."""

    ballot: int  # of the last `Redo`
    digest: bytes  # of the parameters
    goes_on: bool = False  # the run has another part


Event = Begin | Received | Silent | Gone | Lost | Tick | TimedOut | Worked | Collected | Finished

# ---- acts of both machines ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message; never wait for it."""

    to: int
    message: Message


@dataclass(frozen=True, slots=True)
class Connect:
    """Make a peer reachable; it may be so already."""

    peer: int
    address: str


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Forget a peer, and what was not sent to it yet."""

    peer: int


@dataclass(frozen=True, slots=True)
class Load:
    """Put a part of another's state aside; with the last part, replace its own state.

    Until then its own state stays whole and in use. With the last part the shell checks the
    digest that the state ends with; a wrong one is an error of the shell. It may replace the state
    later, but before the next act. An open step is void.
    """

    ballot: int
    label: Label
    chunk: int  # 0: what was put aside before is dropped
    is_last: bool
    body: Buffer


@dataclass(frozen=True, slots=True)
class End:
    """The last act: the run is over here. `words` are the last ones of each node.

    "next": the run is in `part`, for which the shell of a node makes another machine.
    """

    ending: Ending
    reason: str
    words: tuple[str, ...] = ()
    part: int = 0


# ---- acts of the driver -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Deadline:
    """Hand back `TimedOut` with the same words after `timeout` times `share`."""

    what: str
    ballot: int
    share: float


@dataclass(frozen=True, slots=True)
class Tell:
    """Show users a line."""

    text: str


@dataclass(frozen=True, slots=True)
class Progress:
    """All members have applied this many steps: no later view can lack them."""

    steps: int


# ---- acts of a node -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Redo:
    """Do the open step with this share of its batch; what was done of it before is void.

    The first one begins the first step. The shell answers by `Worked` or `Finished`, after this
    step and after each that it applies.
    """

    ballot: int
    first: int  # of the share, in 65,536ths of the batch
    last: int  # past the share


@dataclass(frozen=True, slots=True)
class Collect:
    """Encode the sums of the step, cut into this many shards. Answered by `Collected`.

    The parts of its own shard go to `Sums.add` of this node as they are.
    """

    ballot: int
    batch: int
    n_shards: int


@dataclass(frozen=True, slots=True)
class Apply:
    """Write the totals of all shards, and merge them; then go on with the next step."""

    ballot: int
    batch: int
    totals: Sequence[Sequence[Part]]
    tally: Tally


@dataclass(frozen=True, slots=True)
class SendState:
    """Send the state with this label as `State` messages, from chunk 0, to a peer.

    It does not move meanwhile, unless a `Load` or `Redo` of a later ballot comes: then the rest
    need not be sent.
    """

    to: int
    ballot: int
    label: Label


@dataclass(frozen=True, slots=True)
class SendInstalled:
    """Send `Installed`, with a digest of the state; a `Load` or `Redo` comes after it."""

    to: int
    ballot: int


Act = (
    Send
    | Connect
    | Disconnect
    | Load
    | End
    | Deadline
    | Tell
    | Progress
    | Redo
    | Collect
    | Apply
    | SendState
    | SendInstalled
)
