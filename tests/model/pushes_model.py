# SPDX-License-Identifier: BSD-3-Clause
"""The asynchronous protocol between nodes as transitions between states.

Each shard of the parameters lies at one member of the view, its owner.

    node:   trains an item    pushes the change to each owner, and keeps it
    owner:  adds a push       if it is the sender's next one
    node:   pulls a shard     value, and how far each sender is in it; forgets what is in
    driver: names a view      the newest copy of each shard goes on; lost work is done again
    driver: all is in         each node pulls once more and ends

How a view is agreed upon is in `views_model`; here it is one transition, in which all members copy
the shards.  What a sender keeps may arrive at any time, in any order and any number of times, or
never.  So a cut is no transition: it only means that a push comes later.
"""

from __future__ import annotations

from itertools import combinations

from model.explore import Edge, Model, replaced
from model.pushes_state import (
    Edges,
    Node,
    Push,
    Record,
    Setting,
    State,
    check,
    initial,
    is_end,
    living,
    moved,
    newest,
    owner_of,
)

# ---- members ------------------------------------------------------------------------------------


def train(setting: Setting, state: State, i: int, node: Node) -> Edges:
    """Train an item, unless too many pushes are under way; the node's own shards get it at once."""
    share = state.shares[node.name]
    if node.n_pushed == len(share) or any(len(k) >= setting.most_kept for k in node.kept):
        return
    push = Push(node.name, node.n_pushed + 1, share[node.n_pushed])
    kept = tuple((*pushes, push) for pushes in node.kept)
    pushed = node._replace(n_pushed=push.sequence, kept=kept)
    after = _added_by_owners(setting, moved(state, i, pushed))
    yield Edge(f"node {i} trains item {push.item}", after)


def add(setting: Setting, state: State, i: int, node: Node) -> Edges:
    """An owner adds a push that node `i` has sent, perhaps before its death."""
    is_current = i in state.members or setting.flaw == "push of any view"
    for k, pushes in enumerate(node.kept):
        o = owner_of(state.members, k)
        owner = state.nodes[o]
        if owner.life != "member" or not is_current:
            continue
        for push in pushes:
            record = _added(setting, owner.records[k], push)
            if record is not None:
                after = owner._replace(records=replaced(owner.records, k, record))
                name = f"node {o} adds push {push.sequence} of sender {node.name} to shard {k}"
                yield Edge(name, moved(state, o, after))


def _added(setting: Setting, record: Record, push: Push) -> Record | None:
    """Return the record with the push, if an owner takes it."""
    n_in = record.n_in[push.sender]
    is_taken = push.sequence == n_in + 1
    if setting.flaw == "no order":
        is_taken = push.sequence > n_in
    if not is_taken and setting.flaw != "no sequence":
        return None
    value = tuple(sorted((*record.value, push.item)))
    n_in = max(n_in, push.sequence)
    return record._replace(value=value, n_in=replaced(record.n_in, push.sender, n_in))


def _added_by_owners(setting: Setting, state: State) -> State:
    """Owners add what they have kept for their own shards."""
    for k in range(setting.n_shards):
        o = owner_of(state.members, k)
        owner = state.nodes[o]
        record = owner.records[k]
        for push in owner.kept[k]:
            record = _added(setting, record, push) or record
        records, kept = replaced(owner.records, k, record), replaced(owner.kept, k, ())
        state = moved(state, o, owner._replace(records=records, kept=kept))
    return state


def pull(setting: Setting, state: State, i: int, node: Node) -> Edges:
    """Copy a shard, value and sequences.

    One transition: a copy that arrives late is one that was pulled early.
    """
    for k, record in enumerate(node.records):
        owner = state.nodes[owner_of(state.members, k)]
        copy = _copied(setting, owner.records[k])
        if owner is not node and owner.life == "member" and copy != record:
            pulled = node._replace(records=replaced(node.records, k, copy))
            yield Edge(f"node {i} pulls shard {k}", moved(state, i, pulled))


def _copied(setting: Setting, record: Record) -> Record:
    if setting.flaw != "value alone":
        return record
    return record._replace(n_in=(0,) * len(record.n_in))


def forget(setting: Setting, state: State) -> State:
    """A sender forgets a push to a shard once its own copy of the shard holds it."""
    for i in living(state):
        node, kept = state.nodes[i], []
        if not any(node.kept):
            continue
        for k, pushes in enumerate(node.kept):
            holders = [node]
            if setting.flaw == "forgotten when pulled":
                o = owner_of(state.members, k)
                holders = [state.nodes[j] for j in state.members if j != o]
            elif setting.flaw == "forgotten when added":
                holders = [state.nodes[owner_of(state.members, k)]]
            records = [holder.records[k] for holder in holders]
            kept.append(tuple(p for p in pushes if not any(record.has(p) for record in records)))
        state = moved(state, i, node._replace(kept=tuple(kept)))
    return state


def end(setting: Setting, state: State) -> Edges:
    """All items are pushed and all pushes are in; then every member pulls all shards once more."""
    members = [state.nodes[i] for i in state.members]
    if any(node.life != "member" for node in members):
        return
    if not state.is_ending:
        is_pushed = all(node.n_pushed == len(state.shares[node.name]) for node in members)
        is_in = not any(any(node.kept) for node in members) or setting.flaw == "early end"
        if is_pushed and is_in:
            yield Edge("all is in", state._replace(is_ending=True))
        return
    owners = [state.nodes[owner_of(state.members, k)] for k in range(setting.n_shards)]
    shards = tuple(owner.records[k] for k, owner in enumerate(owners))
    for i in state.members:
        node = state.nodes[i]
        if not node.has_ended:
            last = node.records if setting.flaw == "no last pull" else shards
            ended = node._replace(records=last, has_ended=True)
            yield Edge(f"node {i} ends", moved(state, i, ended))


# ---- views --------------------------------------------------------------------------------------


def name_view(setting: Setting, state: State) -> Edges:
    """Go on without a dead member, with other owners, without one that stalls, or with one more."""
    alive = living(state)
    if alive != state.members:
        yield Edge(f"a new view of {alive}", _in_view(setting, state, alive))
    if state.calls > 0:
        called = state._replace(calls=state.calls - 1)
        members = tuple(reversed(alive))
        yield Edge(f"a new view of {members}", _in_view(setting, called, members), is_fault=True)
    for n in range(max(1, len(alive) - state.stalls), len(alive)):
        for members in combinations(alive, n):
            stalled = state._replace(stalls=state.stalls - (len(alive) - n))
            name = f"a new view leaves out all but {members}"
            yield Edge(name, _in_view(setting, stalled, members), is_fault=True)
    for i, node in enumerate(state.nodes):
        if node.life == "left out" and state.returns > 0:
            sender = setting.n_nodes + setting.returns - state.returns
            fresh = node._replace(name=sender, n_pushed=0, kept=((),) * setting.n_shards)
            back = node if setting.flaw == "old name" else fresh
            returned = moved(state, i, back)._replace(returns=state.returns - 1)
            after = _in_view(setting, returned, (*alive, i))
            yield Edge(f"node {i} is back", after, is_fault=True)


def _in_view(setting: Setting, state: State, members: tuple[int, ...]) -> State:
    """All members have answered and copy the shards; the first one does lost senders' work."""
    ballot = state.ballot + 1
    shards = [_shard(setting, state, members, k) for k in range(setting.n_shards)]
    records = tuple(shard._replace(ballot=ballot) for shard in shards)
    nodes = list(state.nodes)
    again: list[int] = []
    repeated = list(state.repeated)
    for i, node in enumerate(nodes):
        if i in members:
            kept = ((),) * setting.n_shards if setting.flaw == "not sent again" else node.kept
            nodes[i] = Node("member", node.name, node.n_pushed, kept, records, has_ended=False)
        elif i in state.members:
            nodes[i] = node._replace(life="dead" if node.life == "dead" else "left out")
            share = state.shares[node.name]
            n_done = min(record.n_in[node.name] for record in records)
            n_begun = max(record.n_in[node.name] for record in records)
            again.extend(share[n_begun if setting.flaw == "torn is done" else n_done :])
            if setting.flaw == "all is torn":
                n_begun = node.n_pushed
            if setting.flaw != "torn is silent":
                repeated.extend(share[n_done:n_begun])
    first = nodes[members[0]].name
    shares = replaced(state.shares, first, (*state.shares[first], *again))
    after = state._replace(
        ballot=ballot,
        members=members,
        nodes=tuple(nodes),
        shares=shares,
        repeated=tuple(sorted(repeated)),
        is_ending=False,
    )
    return _added_by_owners(setting, forget(setting, after))


def _shard(setting: Setting, state: State, members: tuple[int, ...], k: int) -> Record:
    """Return the copy that becomes the shard."""
    if setting.flaw == "own copy":
        return state.nodes[owner_of(members, k)].records[k]
    if setting.flaw == "longest copy":
        copies = [state.nodes[i].records[k] for i in members]
        return max(copies, key=lambda copy: len(copy.value))
    return newest(state, members, k)


# ---- all ----------------------------------------------------------------------------------------


def kill(state: State, i: int) -> Edges:
    if state.kills > 0 and len(living(state)) > 1:
        dead = moved(state, i, state.nodes[i]._replace(life="dead"))
        yield Edge(f"node {i} dies", dead._replace(kills=state.kills - 1), is_fault=True)


def _unsettled(setting: Setting, state: State) -> Edges:
    for i, node in enumerate(state.nodes):
        yield from add(setting, state, i, node)
        if node.life == "member":
            yield from train(setting, state, i, node)
            if not node.has_ended:
                yield from pull(setting, state, i, node)
            yield from kill(state, i)
    yield from end(setting, state)
    yield from name_view(setting, state)


def transitions(setting: Setting, state: State) -> Edges:
    """Yield all that can happen next, whoever does it."""
    check(setting, state)
    for edge in _unsettled(setting, state):
        yield edge._replace(state=forget(setting, edge.state))


PUSHES = Model(initial, transitions, is_end)
