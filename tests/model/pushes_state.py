# SPDX-License-Identifier: BSD-3-Clause
"""What a state of the asynchronous protocol between nodes is made of, and what must never be.

A change of parameters is reduced to the item of work that it comes from: a shard's value is the
items that were added to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Literal, NamedTuple

from model.explore import Edge, ProtocolError, replaced

Flaw = Literal[
    "",
    "forgotten when pulled",  # a sender forgets a push that the copy of any node but the owner has
    "forgotten when added",  # a sender forgets a push that the owner has acknowledged
    "no order",  # an owner adds every sequence above the highest
    "no sequence",  # an owner adds what comes
    "value alone",  # a copy does not tell how far each sender is in it
    "own copy",  # a shard's new owner starts from its own copy
    "longest copy",  # the copy with most pushes becomes the shard, whatever view it is of
    "not sent again",  # members throw away in a new view what its shards lack
    "push of any view",  # an owner adds pushes of a node that was left out
    "old name",  # a node that was left out goes on with its name and sequence
    "torn is done",  # what a lost sender had pushed to some shards is not done again
    "torn is silent",  # it is done again, and the ledger does not tell
    "all is torn",  # the ledger calls repeated what no shard holds
    "early end",  # the driver ends the run when all items are pushed, not when all are in
    "no last pull",  # a node ends with the copies that it has
]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is explored: the size, and what may go wrong how often."""

    n_nodes: int = 3
    n_busy: int = 1  # of the last nodes have work
    n_items: int = 1  # of each busy node
    n_shards: int = 2
    most_kept: int = 2  # pushes of a sender that a shard may lack in the sender's copy
    kills: int = 0
    stalls: int = 0  # living nodes that a new view leaves out
    returns: int = 0  # of such nodes
    calls: int = 0  # new views without need, in which shards have other owners
    flaw: Flaw = ""


# ---- values -------------------------------------------------------------------------------------


class Push(NamedTuple):
    sender: int  # its name
    sequence: int  # from 1
    item: int


class Record(NamedTuple):
    """A shard, at its owner; a copy of it, elsewhere."""

    ballot: int  # of the view in which it was the shard
    value: tuple[int, ...]  # items, in order of their numbers
    n_in: tuple[int, ...]  # [name]: how many of the sender's pushes are in

    def has(self, push: Push) -> bool:
        return self.n_in[push.sender] >= push.sequence


class Node(NamedTuple):
    life: Literal["member", "left out", "dead"]
    name: int  # as a sender; a node that returns has another one
    n_pushed: int  # items of its share
    kept: tuple[tuple[Push, ...], ...]  # [shard]
    records: tuple[Record, ...]  # [shard]
    has_ended: bool


class State(NamedTuple):
    ballot: int
    members: tuple[int, ...]
    nodes: tuple[Node, ...]
    shares: tuple[tuple[int, ...], ...]  # [name]: the items that were given to a sender, in order
    repeated: tuple[int, ...]  # the ledger: items that a loss has torn, once for each time
    is_ending: bool
    kills: int
    stalls: int
    returns: int
    calls: int


Edges = Iterator[Edge[State]]


def work_of(setting: Setting) -> tuple[tuple[int, ...], ...]:
    """Return the items of each busy node."""
    names = range(setting.n_nodes - setting.n_busy, setting.n_nodes)
    return tuple(tuple(10 * name + k for k in range(setting.n_items)) for name in names)


def initial(setting: Setting) -> State:
    n = setting.n_nodes
    records = (Record(0, (), (0,) * (n + setting.returns)),) * setting.n_shards
    kept: tuple[tuple[Push, ...], ...] = ((),) * setting.n_shards
    idle: tuple[tuple[int, ...], ...] = ((),)
    return State(
        ballot=0,
        members=tuple(range(n)),
        nodes=tuple(Node("member", i, 0, kept, records, False) for i in range(n)),
        shares=idle * (n - setting.n_busy) + work_of(setting) + idle * setting.returns,
        repeated=(),
        is_ending=False,
        kills=setting.kills,
        stalls=setting.stalls,
        returns=setting.returns,
        calls=setting.calls,
    )


def moved(state: State, i: int, node: Node) -> State:
    return state._replace(nodes=replaced(state.nodes, i, node))


def owner_of(members: tuple[int, ...], k: int) -> int:
    return members[k % len(members)]


def living(state: State) -> tuple[int, ...]:
    return tuple(i for i in state.members if state.nodes[i].life == "member")


def newest(state: State, members: tuple[int, ...], k: int) -> Record:
    """Return the record of a shard that goes on when these nodes answer.

    All copies of one view come from one owner, so the longer one holds all that the shorter holds.
    """
    records = [state.nodes[i].records[k] for i in members]
    return max(records, key=lambda record: (record.ballot, len(record.value)))


# ---- what must never be -------------------------------------------------------------------------


def check(setting: Setting, state: State) -> None:
    """Raise ProtocolError when the state must not be."""
    for k in range(setting.n_shards):
        record = newest(state, living(state), k)
        for item in set(record.value):
            if record.value.count(item) > 1 + state.repeated.count(item):
                raise ProtocolError("an item is in a shard too often")
        for i in living(state):
            node = state.nodes[i]
            kept = {push.item for push in node.kept[k]}
            if not kept.union(record.value).issuperset(state.shares[node.name][: node.n_pushed]):
                raise ProtocolError("a push is lost")


def is_end(setting: Setting, state: State) -> bool:
    """Tell whether all members have ended, with the same right values."""
    members = [state.nodes[i] for i in state.members]
    if not all(node.life == "member" and node.has_ended for node in members):
        return False
    if len({tuple(record.value for record in node.records) for node in members}) > 1:
        raise ProtocolError("members end with different values")
    values = [record.value for record in members[0].records]
    for item in chain.from_iterable(work_of(setting)):
        counts = [value.count(item) for value in values]
        if min(counts) == 0:
            raise ProtocolError("an item is lost")
        if item in state.repeated and max(counts) == 1:
            raise ProtocolError("an item is called repeated and is not")
    return True
