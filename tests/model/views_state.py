# SPDX-License-Identifier: BSD-3-Clause
"""What a state of the synchronous protocol between nodes is made of, and what must never be.

What a step computes is reduced to where it comes from: a node's parameters are the totals that it
has applied, and a total is the view's ballot and the rows in it.  So two views never give equal
bits, which is the harder case.  Each view hands out the rows of a batch anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from model.explore import Edge, ProtocolError, replaced

DRIVER = -1  # as sender and receiver

Life = Literal["outside", "alive", "dead"]
Kind = Literal["FREEZE", "FROZEN", "VIEW", "INSTALLED", "START", "SUM", "TOTAL"]
Rows = tuple[int, ...]
Label = tuple[int, int]  # steps applied, ballot of the last one

Flaw = Literal[
    "",
    "no freeze",  # a node that has answered FREEZE goes on training its old view
    "promise lowered",  # a node obeys a late FREEZE below its promise
    "no ballot check",  # a node installs a late VIEW below its promise
    "no start",  # a node trains as soon as it has installed a view
    "no copy",  # a node that is behind the new view keeps its parameters
    "no label",  # a node that has applied as many steps as the new view keeps its parameters
    "any copy",  # a node copies the parameters of any other
    "smallest step",  # a view starts after the smallest step; nodes that are further stay there
    "largest step of anybody",  # also of nodes that the newest view has left behind
    "any answer",  # the driver names a view although nobody of the newest begun one has answered
    "late answer",  # the driver counts FROZEN and INSTALLED of older ballots
    "begun when named",  # the driver takes a view for begun that nobody has installed yet
    "sum of any view",  # a reducer looks at a sum's step alone
    "total of any view",  # a node looks at a total's step alone
    "total without the dead",  # a reducer does not wait for the sum of a dead member
    "alone",  # a node that waits for totals applies its own sum
    "total forgotten",  # a reducer forgets a total as soon as it has applied it
]
TAKES_OLD = (
    "no freeze",
    "promise lowered",
    "no ballot check",
    "sum of any view",
    "total of any view",
)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is explored: the size, and what may go wrong how often."""

    n_nodes: int = 3  # members of the first view
    n_joiners: int = 0  # further nodes, one of which joins for each of `joins`
    n_steps: int = 2
    n_reducers: int = 2
    n_rows: int = 3  # of a batch
    kills: int = 0
    cuts: int = 0  # connections that break with all that is under way on them
    joins: int = 0
    suspicions: int = 0  # ballots that the driver raises without need
    stalls: int = 0  # views that leave out a living node, which comes back later
    flaw: Flaw = ""


# ---- values -------------------------------------------------------------------------------------


class Total(NamedTuple):
    ballot: int
    rows: Rows  # in it


Steps = tuple[Total, ...]  # that a node has applied


class View(NamedTuple):
    ballot: int
    members: tuple[int, ...]
    first: int  # step
    source: int  # the member that has the parameters
    label: Label  # theirs


class Node(NamedTuple):
    """One incarnation of a machine's process: one that starts again is another node."""

    life: Life
    promised: int  # ballot: the node installs, sums and applies nothing below it
    view: View | None  # installed
    is_started: bool
    steps: Steps | None  # None: no parameters
    totalled: int  # the newest step of the view that it has totalled as a reducer


class Driver(NamedTuple):
    """It holds no parameters; nobody takes over from it, so it does not die here."""

    ballot: int
    does: Literal["ask", "name", "train", "give up"]
    named: View  # the newest one
    begun: View  # the newest one that all its members have installed


class Message(NamedTuple):
    kind: Kind
    sender: int
    receiver: int
    ballot: int
    view: View | None = None  # of a VIEW; of FROZEN: installed
    steps: Steps | None = None  # of FROZEN: the node's; of a SUM: those that it was computed from
    step: int = 0  # of SUM and TOTAL
    rows: Rows = ()  # of SUM and TOTAL


class State(NamedTuple):
    driver: Driver
    nodes: tuple[Node, ...]
    net: frozenset[Message]  # each arrives at any later time, any number of times, or never
    reported: Steps  # what all members of some view have applied: users were told
    kills: int
    cuts: int
    joins: int
    suspicions: int
    stalls: int


Edges = Iterator[Edge[State]]


def initial(setting: Setting) -> State:
    view = View(0, tuple(range(setting.n_nodes)), 1, 0, (0, 0))
    member = Node("alive", promised=0, view=view, is_started=True, steps=(), totalled=0)
    joiner = Node("outside", promised=-1, view=None, is_started=False, steps=None, totalled=0)
    return State(
        driver=Driver(0, "train", view, view),
        nodes=(member,) * setting.n_nodes + (joiner,) * setting.n_joiners,
        net=frozenset(),
        reported=(),
        kills=setting.kills,
        cuts=setting.cuts,
        joins=setting.joins,
        suspicions=setting.suspicions,
        stalls=setting.stalls,
    )


def moved(state: State, i: int, node: Node) -> State:
    return state._replace(nodes=replaced(state.nodes, i, node))


def label_of(steps: Steps) -> Label:
    return len(steps), steps[-1].ballot if steps else 0


def reducers(setting: Setting, view: View) -> tuple[int, ...]:
    return view.members[: setting.n_reducers]


def rows_of(setting: Setting, view: View, i: int) -> Rows:
    """Return the member's share of every batch."""
    return tuple(range(view.members.index(i), setting.n_rows, len(view.members)))


def is_training(setting: Setting, node: Node) -> bool:
    """Tell whether the node sums, totals and applies under its view."""
    if node.view is None or node.steps is None:
        return False
    is_free = node.promised == node.view.ballot or setting.flaw == "no freeze"
    return is_free and (node.is_started or setting.flaw == "no start")


def living(state: State) -> set[int]:
    return {i for i, node in enumerate(state.nodes) if node.life == "alive"}


# ---- messages -----------------------------------------------------------------------------------


def settled(setting: Setting, state: State) -> State:
    """Send all that can be sent, also again: any delay is in the delivery.  Drop what is of no use.

    What a node sends is a function of its state.  So it can be asked for what was lost.
    """
    sent = set(state.net)
    sent.update(_sent_by_driver(state))
    for i, node in enumerate(state.nodes):
        if node.life == "alive":
            sent.update(_sent_by(setting, i, node))
    net = frozenset(message for message in sent if is_taken(setting, state, message))
    return state._replace(net=net)


def _sent_by_driver(state: State) -> Iterator[Message]:
    ballot, does, named, _ = state.driver
    if does == "ask":
        for i in living(state):
            yield Message("FREEZE", DRIVER, i, ballot)
    elif does == "name":
        for i in named.members:
            yield Message("VIEW", DRIVER, i, ballot, view=named)
    elif does == "train":
        for i in named.members:
            yield Message("START", DRIVER, i, ballot)


def _sent_by(setting: Setting, i: int, node: Node) -> Iterator[Message]:
    view = node.view
    if node.promised >= 0 and (view is None or view.ballot != node.promised):
        yield Message("FROZEN", i, DRIVER, node.promised, view=view, steps=node.steps)
    elif view is not None and not node.is_started:
        yield Message("INSTALLED", i, DRIVER, view.ballot)
    if view is None or node.steps is None or not is_training(setting, node):
        return
    step = len(node.steps) + 1
    if step <= setting.n_steps:
        rows = rows_of(setting, view, i)
        for k in reducers(setting, view):
            yield Message("SUM", i, k, view.ballot, steps=node.steps, step=step, rows=rows)
    # A step's total is kept until all sums of the next step tell that everybody has applied it.
    is_kept = len(node.steps) < node.totalled or setting.flaw != "total forgotten"
    if node.totalled > 0 and is_kept:
        rows = tuple(range(setting.n_rows))
        for j in view.members:
            yield Message("TOTAL", i, j, view.ballot, step=node.totalled, rows=rows)


def is_taken(setting: Setting, state: State, message: Message) -> bool:
    """Tell whether the receiver would take the message, now or later."""
    if message.receiver != DRIVER:
        return _is_taken_by(setting, state.nodes[message.receiver], message)
    wanted = {"ask": "FROZEN", "name": "INSTALLED"}.get(state.driver.does)
    is_current = message.kind == wanted and message.ballot == state.driver.ballot
    return is_current or setting.flaw == "late answer"


def _is_taken_by(setting: Setting, node: Node, message: Message) -> bool:
    kind, ballot = message.kind, message.ballot
    if node.life == "dead" or (ballot < node.promised and setting.flaw not in TAKES_OLD):
        return False
    if kind == "FREEZE":
        is_lower = ballot < node.promised and setting.flaw == "promise lowered"
        return ballot > node.promised or is_lower
    view = -1 if node.view is None else node.view.ballot
    if kind == "VIEW":
        return ballot > view or (ballot != view and setting.flaw == "no ballot check")
    if kind == "START":
        return ballot != view or not node.is_started
    if kind == "SUM":
        return ballot != view or message.step > node.totalled
    return node.steps is None or message.step > len(node.steps)


# ---- what must never be -------------------------------------------------------------------------


def check(setting: Setting, state: State) -> None:
    """Raise ProtocolError when the state must not be."""
    steps_of: dict[Label, Steps] = {}
    for node in state.nodes:
        if node.steps and steps_of.setdefault(label_of(node.steps), node.steps) != node.steps:
            raise ProtocolError("equal labels of different parameters")
    for message in state.net:
        if message.kind == "FROZEN" and message.ballot == state.driver.ballot:
            node = state.nodes[message.sender]
            is_in_view = node.view is not None and node.view.ballot == message.ballot
            if not is_in_view and (node.view, node.steps) != (message.view, message.steps):
                raise ProtocolError("a node changes below its promise")
    training = [view for view in _views(state) if _is_complete(setting, state, view)]
    if len(training) > 1:
        raise ProtocolError("two views train at once")
    n = len(state.reported)
    for i in training[0].members if training else ():
        if (state.nodes[i].steps or ())[:n] != state.reported:
            raise ProtocolError("a step that all members had applied is lost")


def _views(state: State) -> set[View]:
    nodes = [state.nodes[i] for i in living(state)]
    return {node.view for node in nodes if node.view is not None}


def _is_complete(setting: Setting, state: State, view: View) -> bool:
    """Tell whether all members train under the view."""
    members = [state.nodes[i] for i in view.members]
    return all(node.view == view and is_training(setting, node) for node in members)


def check_sums(setting: Setting, sums: list[Message]) -> None:
    """Raise ProtocolError when these sums must not be added up."""
    if len({message.steps for message in sums}) > 1:
        raise ProtocolError("a sum of different parameters")
    rows = sorted(row for message in sums for row in message.rows)
    if rows != list(range(setting.n_rows)):
        raise ProtocolError("a row is summed twice or not at all")


def is_end(setting: Setting, state: State) -> bool:
    """Tell whether the driver has given up, or all that live are in one view and have all steps."""
    does, begun = state.driver.does, state.driver.begun
    alive = living(state)
    if does == "give up":
        if alive & set(begun.members):
            raise ProtocolError("given up although a member of the newest begun view lives")
        return True
    nodes = [state.nodes[i] for i in alive]
    if does != "train" or any(node.view != begun for node in nodes):
        return False
    ends = {node.steps for node in nodes}
    if any(steps is None or len(steps) < setting.n_steps for steps in ends):
        return False
    if len(ends) > 1:
        raise ProtocolError("nodes end with different parameters")
    return True
