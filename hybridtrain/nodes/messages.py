# SPDX-License-Identifier: BSD-3-Clause
"""The messages between the driver and the nodes; wire.py has the frames that carry them.

A control message is a typed, bounded struct. `Sum`, `Total` and `State` carry raw bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, ClassVar, Literal, NamedTuple

from msgspec import Meta, Struct

from hybridtrain.nodes.notes import Note
from hybridtrain.transport.frame import FIRST_KIND, Buffer

MAX_CONTROL_BYTES = 1 << 20  # a view of 4,096 nodes
MAX_NODES = 4096
WHOLE_BATCH = 1 << 16  # shares of a batch are in 65,536ths of it
AT_ONCE = 0  # the epoch of an order that waits for no end of one

Count = Annotated[int, Meta(ge=0)]
Incarnation = Annotated[int, Meta(ge=1)]
Name = Annotated[str, Meta(max_length=256)]
Reason = Annotated[str, Meta(max_length=4096)]
Digest = Annotated[bytes, Meta(max_length=64)]
Incarnations = Annotated[tuple[Incarnation, ...], Meta(max_length=MAX_NODES)]
Command = Literal["go on", "stop", "seconds", "interrupt"]  # "seconds": the time is over
Stops = Literal[0, 1, 2]  # 1: the time is over; 2: interrupted
Ending = Literal["done", "next", "drained", "left", "lost", "refused", "failed"]


class Label(NamedTuple):
    """Name parameters: equal labels, equal bits. Refused steps count as well."""

    steps: Count  # whose totals were applied
    ballot: Count  # of the view that summed the last one; 0: none yet


class Part(NamedTuple):
    """The sums of one stretch of a shard's coordinates, encoded."""

    encoding: int
    body: Buffer


class _Value(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    pass


class Member(_Value, frozen=True):
    """A process that takes part, until it ends: one that starts again is another member."""

    incarnation: Incarnation
    name: Name
    address: Name


class Tally(_Value, frozen=True):
    """What the rows of a step amount to, beside their sums; every node judges from the same one."""

    loss: int = 0  # fixed-point, as in the core
    largest: float = 0.0  # contribution
    rows: Count = 0
    changes: Annotated[tuple[float, ...], Meta(max_length=1024)] = ()
    stops: Stops = 0  # whether the run is to end with this step
    notes: Annotated[tuple[Note, ...], Meta(max_length=MAX_NODES)] = ()  # of streams, by place


# ---- control messages ---------------------------------------------------------------------------


class Control(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, kw_only=True):
    """A message whose fields are MessagePack in the body of one frame."""

    kind: ClassVar[int]
    ballot: Count = 0


class Hello(Control, frozen=True):
    """Node to driver: asks to take part. Answered by `Freeze`, `Refuse` or `Next`."""

    kind = FIRST_KIND + 0
    member: Member
    version: Name  # of the package
    plan: Digest  # of everything that must be equal at all nodes: rows, settings, start
    label: Label = Label(0, 0)
    part: Count = 0  # of the run, in which the node is


class Refuse(Control, frozen=True):
    """Driver to node: it cannot take part."""

    kind = FIRST_KIND + 1
    reason: Reason


class Freeze(Control, frozen=True):
    """Driver to all: promise to change nothing below this ballot. Answered by `Frozen`."""

    kind = FIRST_KIND + 2


class Frozen(Control, frozen=True):
    """Node to driver: promises, and says what it has."""

    kind = FIRST_KIND + 3
    label: Label
    installed: Count  # ballot of the view, or of the last one of the part before; 0: none


class View(Control, frozen=True, dict=True):
    """Driver to members: who sums the next steps, and from which parameters they start.

    Answered by `Installed`. Reducer k is member k; ``shares[k] .. shares[k + 1]`` is its part of
    each batch, in 65,536ths.
    """

    kind = FIRST_KIND + 4
    members: Annotated[tuple[Member, ...], Meta(min_length=1, max_length=MAX_NODES)]
    source: Incarnation  # the member whose parameters have the label
    label: Label
    shares: Annotated[tuple[Count, ...], Meta(max_length=MAX_NODES + 1)]
    gone: Incarnations = ()  # nodes that have ended: none comes back

    def __post_init__(self) -> None:
        incarnations = self.incarnations
        if len(set(incarnations)) < len(incarnations) or self.source not in incarnations:
            raise ValueError("a view has each member once, and a source among them")
        ends = (self.shares[:1], self.shares[-1:])
        is_whole = ends == ((0,), (WHOLE_BATCH,)) and len(self.shares) == len(self.members) + 1
        if not is_whole or list(self.shares) != sorted(self.shares):
            raise ValueError(f"the shares of a view must rise from 0 to {WHOLE_BATCH}")

    @cached_property
    def incarnations(self) -> tuple[int, ...]:
        """Return the members' incarnations, in the order of their places."""
        return tuple(member.incarnation for member in self.members)


class Installed(Control, frozen=True):
    """Member to driver: the view is installed, its parameters have the view's label."""

    kind = FIRST_KIND + 5
    digest: Digest = b""  # of parameters and state


class Start(Control, frozen=True):
    """Driver to members: all have installed the view; it trains."""

    kind = FIRST_KIND + 6


class Copy(Control, frozen=True):
    """Member to source, or driver to a member at the end. Answered by `State`."""

    kind = FIRST_KIND + 7
    label: Label


class Account(Control, frozen=True):
    """Member to the reducer of shard 0: what its sums of a step amount to."""

    kind = FIRST_KIND + 8
    step: Count
    batch: Count
    tally: Tally


class Outcome(Control, frozen=True):
    """Reducer of shard 0 to members: what a step amounts to, of all members."""

    kind = FIRST_KIND + 9
    step: Count
    batch: Count
    tally: Tally


class Suspect(Control, frozen=True):
    """Member to driver: it does not hear of another member, or frames of it are lost."""

    kind = FIRST_KIND + 10
    about: Incarnation
    is_reachable: bool
    reason: Reason


class Beat(Control, frozen=True):
    """All to the driver, and the driver to all: lives."""

    kind = FIRST_KIND + 11  # ballot: of the view under which the node trains; 0: it does not
    steps: Count = 0
    rate: Annotated[float, Meta(ge=0)] = 0.0  # rows a second of its own work, without waits
    waits_for: Incarnations = ()


class Drain(Control, frozen=True):
    """Node to driver: its machine will be taken away; the next view must be without it."""

    kind = FIRST_KIND + 12


class Done(Control, frozen=True):
    """Member to driver: it has applied the last step. Answered by `Next` or, at last, `Finish`."""

    kind = FIRST_KIND + 13
    label: Label
    digest: Digest  # of the parameters
    goes_on: bool = False  # the run has another part


class Next(Control, frozen=True):
    """Driver to all: the run is in this part. Answered by a `Hello` of the part."""

    kind = FIRST_KIND + 22
    part: Count


class Finish(Control, frozen=True):
    """Driver to all: the run ends. Answered by `Bye`."""

    kind = FIRST_KIND + 14
    ending: Ending
    reason: Reason


class Bye(Control, frozen=True):
    """Node to driver: it ends, and this is its last word."""

    kind = FIRST_KIND + 15
    reason: Reason


# ---- between the jobs of the nodes and the driver's: no machine sees them -----------------------


class Epoch(Control, frozen=True):
    """Node to driver: an epoch is over here. Answered by `Order`."""

    kind = FIRST_KIND + 19
    epoch: Count
    seconds: float
    rows: Count
    lr: float
    loss: float
    validation_loss: float | None


class Order(Control, frozen=True):
    """Driver to node: what comes after an epoch, or `AT_ONCE`."""

    kind = FIRST_KIND + 20
    epoch: Count
    what: Command
    planned: Annotated[float, Meta(ge=0)] = 0.0  # epochs that the time allows; 0: as before


class Failed(Control, frozen=True):
    """Node to driver: it cannot begin, or go on."""

    kind = FIRST_KIND + 21
    error: Name  # its class
    text: Reason


# ---- raw messages -------------------------------------------------------------------------------


class Sum(Struct, frozen=True, kw_only=True):
    """Member to reducer: a part of its sums of one shard of a step."""

    kind: ClassVar[int] = FIRST_KIND + 16
    ballot: int
    step: int
    shard: int
    chunk: int
    is_last: bool
    encoding: int
    body: Buffer


class Total(Struct, frozen=True, kw_only=True):
    """Reducer to members: a part of the sums of all members."""

    kind: ClassVar[int] = FIRST_KIND + 17
    ballot: int
    step: int
    shard: int
    chunk: int
    is_last: bool
    encoding: int
    body: Buffer


class State(Struct, frozen=True, kw_only=True):
    """Source to who asked: a part of the parameters and all else that a run remembers."""

    kind: ClassVar[int] = FIRST_KIND + 18
    ballot: int
    chunk: int
    is_last: bool
    body: Buffer


Message = Control | Sum | Total | State


def split(
    kind: type[Sum] | type[Total], ballot: int, step: int, shard: int, parts: Sequence[Part]
) -> list[Sum | Total]:
    """Return a message for each part of a shard.

    Raises
    ------
    ValueError
        When there is no part: then nobody would know that the shard is complete.
    """
    if not parts:
        raise ValueError(f"shard {shard} has no part; one may be empty")
    return [
        kind(
            ballot=ballot,
            step=step,
            shard=shard,
            chunk=chunk,
            is_last=chunk == len(parts) - 1,
            encoding=part.encoding,
            body=part.body,
        )
        for chunk, part in enumerate(parts)
    ]
