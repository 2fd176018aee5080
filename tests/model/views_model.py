# SPDX-License-Identifier: BSD-3-Clause
"""The synchronous protocol between nodes as transitions between states.

Nodes sum the batches of a step under a view; the driver alone names views.

    driver:  raises its ballot      FREEZE ->     nodes promise: nothing below that ballot
    nodes:   freeze                 FROZEN ->     steps applied, view installed
    driver:  names a view           VIEW ->       members copy parameters where labels differ
    nodes:   install it             INSTALLED ->  the view has begun when all have
    driver:  sees it begun          START ->
    nodes:   train                  SUM ->        to each reducer
    reducer: has all sums           TOTAL ->      to each member
    nodes:   have all totals: apply the step

Time does not exist: whatever waits in the implementation may here wait no longer, or for ever.
"""

from __future__ import annotations

from itertools import combinations

from model.explore import Edge, Model, ProtocolError
from model.views_state import (
    DRIVER,
    Edges,
    Kind,
    Message,
    Node,
    Setting,
    State,
    Steps,
    Total,
    View,
    check,
    check_sums,
    initial,
    is_end,
    is_training,
    label_of,
    living,
    moved,
    reducers,
    rows_of,
    settled,
)

# ---- the driver ---------------------------------------------------------------------------------


def _asked(state: State) -> State:
    """Raise the ballot; FREEZE goes to all."""
    driver = state.driver
    return state._replace(driver=driver._replace(ballot=driver.ballot + 1, does="ask"))


def raise_ballot(setting: Setting, state: State) -> Edges:
    """Ask for a new view: without a dead member, with a living node that is none, or needlessly."""
    driver, alive = state.driver, living(state)
    if driver.does == "give up":
        return
    if driver.does != "ask" and not alive.issuperset(driver.named.members):
        yield Edge("the driver misses a member", _asked(state))
    if driver.does == "train" and not alive.issubset(driver.named.members):
        yield Edge("the driver admits a node", _asked(state))
    if state.suspicions > 0:
        hasty = _asked(state)._replace(suspicions=state.suspicions - 1)
        yield Edge("the driver suspects a node", hasty, is_fault=True)


def name_view(setting: Setting, state: State) -> Edges:
    """Name a view of nodes that have answered: of all that live, unless one stalls.

    Nodes that have died since their answer may be in it as well.
    """
    if state.driver.does != "ask":
        return
    alive = living(state)
    frozen = [message for message in state.net if message.kind == "FROZEN"]
    answers = {m.sender: m for m in sorted(frozen, key=lambda m: m.ballot, reverse=True)}
    for n in range(1, len(answers) + 1):
        for members in combinations(sorted(answers), n):
            is_stall = not alive.issubset(members)
            view = _view_of(setting, state, [answers[i] for i in members])
            if view is None or (is_stall and state.stalls == 0):
                continue
            named = state.driver._replace(does="name", named=view)
            if setting.flaw == "begun when named":
                named = named._replace(begun=view)
            after = state._replace(driver=named, stalls=state.stalls - is_stall)
            who = ", ".join(map(str, members))
            name = f"the driver names view {view.ballot} of nodes {who} from step {view.first}"
            yield Edge(f"{name}, source {view.source}", after, is_fault=is_stall)
    if alive.issubset(answers) and not _view_of(setting, state, [answers[i] for i in alive]):
        lost = state._replace(driver=state.driver._replace(does="give up"))
        yield Edge("the driver gives up", lost)


def _view_of(setting: Setting, state: State, answers: list[Message]) -> View | None:
    """Return the view that the answers allow.

    Only nodes of the newest begun view, or of one named after it, hold every step that all members
    had applied.  Among the views of the answers the newest goes on: nodes that have applied more
    under an older one were left behind by it.
    """
    flaw, begun = setting.flaw, state.driver.begun.ballot
    installed = [answer.view.ballot for answer in answers if answer.view is not None]
    if not installed or (max(installed) < begun and flaw != "any answer"):
        return None
    steps_of = {
        answer.sender: answer.steps
        for answer in answers
        if answer.view is not None and answer.steps is not None
        if answer.view.ballot == max(installed) or flaw == "largest step of anybody"
    }
    choose = min if flaw == "smallest step" else max
    source = choose(steps_of, key=lambda i: len(steps_of[i]))
    steps = steps_of[source]
    members = tuple(answer.sender for answer in answers)
    return View(state.driver.ballot, members, len(steps) + 1, source, label_of(steps))


def begin_view(setting: Setting, state: State) -> Edges:
    """The view has begun when all members have installed it."""
    driver = state.driver
    if driver.does == "name":
        installed = {message.sender for message in state.net if message.kind == "INSTALLED"}
        if installed.issuperset(driver.named.members):
            begun = driver._replace(does="train", begun=driver.named)
            yield Edge(f"view {driver.ballot} begins", state._replace(driver=begun))


# ---- nodes --------------------------------------------------------------------------------------


def receive(setting: Setting, state: State, i: int, node: Node) -> Edges:
    """Take a FREEZE, VIEW or START.  Sums and totals count as soon as they have come."""
    for message in state.net:
        kind = message.kind
        if message.receiver != i or kind in ("SUM", "TOTAL"):
            continue
        ballot, view = message.ballot, message.view
        if kind == "FREEZE":
            frozen = node._replace(promised=ballot)
            yield Edge(f"node {i} freezes for ballot {ballot}", moved(state, i, frozen))
        elif kind == "VIEW" and view is not None:
            yield from install(setting, state, i, view)
        elif node.view is not None and node.view.ballot == ballot == node.promised:
            started = node._replace(is_started=True)
            yield Edge(f"node {i} starts view {ballot}", moved(state, i, started))


def install(setting: Setting, state: State, i: int, view: View) -> Edges:
    """Install the view, once the parameters have its label: the node's, or a copy of the source's.

    The copy is one transition: nobody can apply the view's first step before all have installed it.
    """
    node = state.nodes[i]
    if node.promised != view.ballot and setting.flaw != "no ballot check":
        return
    installed = node._replace(promised=view.ballot, view=view, is_started=False, totalled=0)
    if node.steps is not None and _is_kept(setting, view, node.steps):
        yield Edge(f"node {i} installs view {view.ballot}", moved(state, i, installed))
        return
    for j in living(state):
        steps = state.nodes[j].steps
        is_source = j == view.source and steps is not None and label_of(steps) == view.label
        if is_source or (setting.flaw == "any copy" and j != i and steps is not None):
            name = f"node {i} copies node {j} and installs view {view.ballot}"
            yield Edge(name, moved(state, i, installed._replace(steps=steps)))


def _is_kept(setting: Setting, view: View, steps: Steps) -> bool:
    """Tell whether a node with these parameters copies none."""
    if setting.flaw == "no copy":
        return True
    if setting.flaw == "no label":
        return len(steps) == view.first - 1
    if setting.flaw == "smallest step" and len(steps) >= view.first:
        return True
    return label_of(steps) == view.label


def total(setting: Setting, state: State, i: int, node: Node) -> Edges:
    """A reducer that has the sums of all members rounds the total, once."""
    view, flaw = node.view, setting.flaw
    if view is None or i not in reducers(setting, view) or not is_training(setting, node):
        return
    step = max(view.first, node.totalled + 1)
    sums = _arrived(state, "SUM", i, step, None if flaw == "sum of any view" else view.ballot)
    missing = {j for j in view.members if j not in sums}
    if flaw == "total without the dead":
        missing &= living(state)
    if not missing:
        check_sums(setting, [sums[j] for j in view.members if j in sums])
        totalled = moved(state, i, node._replace(totalled=step))
        yield Edge(f"node {i} totals step {step}", totalled)


def apply(setting: Setting, state: State, i: int, node: Node) -> Edges:
    """A node that has the totals of all reducers applies the step."""
    view, steps, flaw = node.view, node.steps, setting.flaw
    if view is None or steps is None or not is_training(setting, node):
        return
    step = len(steps) + 1
    totals = _arrived(state, "TOTAL", i, step, None if flaw == "total of any view" else view.ballot)
    if all(k in totals for k in reducers(setting, view)):
        parts = {Total(totals[k].ballot, totals[k].rows) for k in reducers(setting, view)}
        if len(parts) > 1:
            raise ProtocolError("a step of two views")
        yield Edge(f"node {i} applies step {step}", _applied(state, i, node, (*steps, *parts)))
    elif flaw == "alone" and step <= setting.n_steps:
        own = Total(view.ballot, rows_of(setting, view, i))
        yield Edge(f"node {i} applies step {step} alone", _applied(state, i, node, (*steps, own)))


def _arrived(state: State, kind: Kind, i: int, step: int, ballot: int | None) -> dict[int, Message]:
    """Return a node's sums or totals of a step, by sender; of any ballot the oldest."""
    arrived: dict[int, Message] = {}
    for message in state.net:
        if (message.kind, message.receiver, message.step) == (kind, i, step):
            other = arrived.get(message.sender, message)
            if ballot in (None, message.ballot) and message.ballot <= other.ballot:
                arrived[message.sender] = message
    return arrived


def _applied(state: State, i: int, node: Node, steps: Steps) -> State:
    """Report what all members of the view have applied now."""
    after = moved(state, i, node._replace(steps=steps))
    assert node.view is not None
    members = [after.nodes[j].steps or () for j in node.view.members]
    n_all = sum(all(s[:n] == steps[:n] for s in members) for n in range(1, len(steps) + 1))
    n_both = min(n_all, len(state.reported))
    if steps[:n_both] != state.reported[:n_both]:
        raise ProtocolError("a step that all members had applied is lost")
    return after._replace(reported=steps[:n_all]) if n_all > n_both else after


# ---- faults -------------------------------------------------------------------------------------


def kill(state: State, i: int) -> Edges:
    if state.kills > 0:
        dead = moved(state, i, state.nodes[i]._replace(life="dead"))
        yield Edge(f"node {i} dies", dead._replace(kills=state.kills - 1), is_fault=True)


def join(state: State, i: int) -> Edges:
    if state.joins > 0:
        joined = moved(state, i, state.nodes[i]._replace(life="alive"))
        yield Edge(f"node {i} says HELLO", joined._replace(joins=state.joins - 1), is_fault=True)


def cut(state: State) -> Edges:
    """A connection loses what is under way on it; that of a dead node may do so at any time."""
    for i, j in {(message.sender, message.receiver) for message in state.net}:
        is_dead = i != DRIVER and state.nodes[i].life == "dead"
        if i != j and (is_dead or state.cuts > 0):
            net = frozenset(m for m in state.net if (m.sender, m.receiver) != (i, j))
            after = state._replace(net=net, cuts=state.cuts - (not is_dead))
            who = ["the driver" if k == DRIVER else f"node {k}" for k in (i, j)]
            yield Edge(f"what {who[0]} sent to {who[1]} is lost", after, is_fault=True)


# ---- all ----------------------------------------------------------------------------------------


def _unsettled(setting: Setting, state: State) -> Edges:
    yield from raise_ballot(setting, state)
    yield from name_view(setting, state)
    yield from begin_view(setting, state)
    for i, node in enumerate(state.nodes):
        if node.life == "alive":
            yield from receive(setting, state, i, node)
            yield from total(setting, state, i, node)
            yield from apply(setting, state, i, node)
            yield from kill(state, i)
        elif node.life == "outside":
            yield from join(state, i)
    yield from cut(state)


def transitions(setting: Setting, state: State) -> Edges:
    """Yield all that can happen next, whoever does it."""
    check(setting, state)
    if state.driver.does != "give up":
        # Sorted: sets have another order in each process.
        for edge in sorted(_unsettled(setting, state), key=lambda edge: edge.name):
            yield edge._replace(state=settled(setting, edge.state))


def start(setting: Setting) -> State:
    return settled(setting, initial(setting))


VIEWS = Model(start, transitions, is_end)
