# SPDX-License-Identifier: BSD-3-Clause
"""The synchronous round of ht_round.c as transitions between states.

Transitions have the names of the comments in ht_round.c; each is one access to shared memory, or
several where the comment says why nothing can come between them.  Time does not exist: who is
patient in C may here lose patience at once, or never.
"""

from __future__ import annotations

from collections.abc import Callable

from model.explore import Edge, Model, ProtocolError, replaced
from model.round_others import (
    declare_dead,
    grow,
    guest_adds,
    kill,
    let_go_on,
    respawn,
    stop,
)
from model.round_state import (
    BAD,
    At,
    Block,
    Edges,
    ItemState,
    Phase,
    PhaseName,
    Self,
    Setting,
    State,
    Task,
    Worker,
    commits_of,
    initial,
    is_dead,
    is_end,
    is_open,
    is_right_sum,
    moved,
    stands,
)

# ---- moving on ----------------------------------------------------------------------------------


def _look(state: State, w: int) -> State:
    """End a call and look at the phase for the next one.

    Looking again is a transition of its own, so a worker that looks late is explored as well.
    """
    return moved(state, w, Self("looked", state.phase))


def looked(setting: Setting, state: State, w: int, me: Self) -> Edges:
    """Every call begins with a look at the phase; what follows may come any time later."""
    if me.now != state.phase:
        yield Edge("look", _look(state, w))
    if me.step > setting.n_steps or is_dead(setting, state, w, me.step):
        return  # barred: its place has died in this step
    if me.now.phase == "MERGE":
        yield from claim_block(setting, state, w, me)
        yield from inherit_copy(setting, state, w, me)
        yield from next_step(setting, state, w, me)
    elif me.now.phase == "WORK":
        word = state.workers[w]
        if word.step != me.step or word.revoked:
            yield from enter_step(setting, state, w, me)
            return
        is_lone = setting.has_lone_reader and w == 0
        is_reader = is_lone or not setting.has_lone_reader
        if not is_lone:
            yield from claim(setting, state, w, me)
        if not is_reader or setting.reading != "tasks first":
            yield from revoke(setting, state, w, me)
        if is_reader and setting.reading == "at once":
            yield from end_of_work(setting, state, w, me)
        elif is_reader:
            yield from read(setting, state, w, me)


# ---- work ---------------------------------------------------------------------------------------


def enter_step(setting: Setting, state: State, w: int, me: Self) -> Edges:
    """Transition: enter the step."""
    old = state.workers[w]
    generation = old.generation + 1 if old.step == me.step else 0
    word = Worker(me.step, generation, 0, False)
    state = state._replace(workers=replaced(state.workers, w, word))
    yield Edge("enter the step", moved(state, w, me._replace(at="entered")))


def clear(setting: Setting, state: State, w: int, me: Self) -> Edges:
    """Own memory, after the word says that nothing in it counts."""
    is_kept = setting.flaw == "no clear"
    sums = state.sums if is_kept else replaced(state.sums, w, (0,) * len(state.tasks))
    yield Edge("clear", moved(state._replace(sums=sums), w, me._replace(at="looked")))


def _own(setting: Setting, state: State, w: int, me: Self, item_state: ItemState) -> Task:
    generation = 0 if setting.flaw == "no generation" else state.workers[w].generation
    return Task(me.step, item_state, w, generation)


def claim(setting: Setting, state: State, w: int, me: Self) -> Edges:
    """Transition: claim; or take what another has had out for too long.

    The task's word, its owner's and the compare-and-swap are one transition: a word that is open
    stays so until it is changed, since neither the dead nor generations return.
    """
    for t, task in enumerate(state.tasks[: me.now.n_tasks]):
        taken = me._replace(at="computing", item=t)
        if is_open(setting, state, task, me.step):
            mine = _own(setting, state, w, me, "CLAIMED")
            claimed = state._replace(tasks=replaced(state.tasks, t, mine))
            yield Edge("claim", moved(claimed, w, taken._replace(held=mine)))
        elif task[:2] == (me.step, "CLAIMED") and setting.flaw != "no overdue":
            yield Edge("take overdue", moved(state, w, taken._replace(held=task)))


def compute(setting: Setting, state: State, w: int, me: Self) -> Edges:
    """Reads all parameters at once: what was read too early or late is wrong either way."""
    is_right = all(version == me.step for block in state.params for version in block)
    yield Edge("compute", moved(state, w, me._replace(at="computed", is_right=is_right)))


def commit(setting: Setting, state: State, w: int, me: Self) -> Edges:
    """Transition: commit."""
    if state.tasks[me.item] != me.held:
        yield Edge("lose the commit", _look(state, w))
        return
    mine = _own(setting, state, w, me, "COMMITTED")
    state = state._replace(tasks=replaced(state.tasks, me.item, mine))
    yield Edge("commit", moved(state, w, me._replace(at="adding", held=None)))


def add(setting: Setting, state: State, w: int, me: Self) -> Edges:
    mine = state.sums[w]
    more = mine[me.item] + 1 if me.is_right else BAD
    state = state._replace(sums=replaced(state.sums, w, replaced(mine, me.item, more)))
    yield Edge("add", moved(state, w, Self("counting", me.now)))


def count(setting: Setting, state: State, w: int, me: Self) -> Edges:
    """Transition: count."""
    word = state.workers[w]
    if word.revoked:
        yield Edge("is revoked", _look(state, w))
        return
    word = word._replace(added=word.added + 1)
    yield Edge("count", _look(state._replace(workers=replaced(state.workers, w, word)), w))


# ---- the end of WORK ----------------------------------------------------------------------------


def _marked(setting: Setting, state: State, owner: int, seen: Worker) -> Edges:
    """Transition: revoke, from exactly the word seen."""
    is_gone = is_dead(setting, state, owner, seen.step)
    goes_on = state.lives[owner] in ("alive", "killed") and not is_gone
    if state.workers[owner] != seen or (state.revokes == 0 and goes_on):
        return
    marked = state._replace(
        workers=replaced(state.workers, owner, seen._replace(revoked=True)),
        revokes=state.revokes - goes_on,
    )
    yield Edge("revoke", marked, is_fault=goes_on)


def _n_commits(tasks: tuple[Task, ...], owner: int) -> int:
    return sum(task.owner == owner for task in tasks)


def revoke(setting: Setting, state: State, w: int, me: Self) -> Edges:
    """Transition: revoke, after all words were read at once."""
    tasks = state.tasks[: me.now.n_tasks]
    for owner, first in (commits_of(setting, tasks, me.step) or {}).items():
        word = state.workers[owner]
        if stands(setting, word, first, _n_commits(tasks, owner))[1] and owner != w:
            yield from _marked(setting, state, owner, word)


def end_of_work(setting: Setting, state: State, w: int, me: Self) -> Edges:
    """Transition: the end of WORK, after all words were read at once."""
    tasks = state.tasks[: me.now.n_tasks]
    of = commits_of(setting, tasks, me.step)
    if of is not None and all(
        stands(setting, state.workers[owner], first, _n_commits(tasks, owner))[0]
        for owner, first in of.items()
    ):
        yield from end(setting, state, w, me)


def end(setting: Setting, state: State, w: int, me: Self) -> Edges:
    """The compare-and-swap of the phase; fails when the pool grew meanwhile."""
    if state.phase != me.now:
        yield Edge("end too late", _look(state, w))
        return
    following: PhaseName = "EXCHANGE" if setting.n_guests > 0 else "MERGE"
    state = state._replace(phase=me.now._replace(phase=following))
    yield Edge("the end of WORK", _look(state, w))


def read(setting: Setting, state: State, w: int, me: Self) -> Edges:
    """is_worked, word by word; "workers first" is not what C does."""
    tasks = tuple(word for word in me.seen if isinstance(word, Task))
    owner = len(me.seen) - len(tasks)
    if setting.reading == "tasks first":
        is_task_next = len(tasks) < me.now.n_tasks
    else:
        is_task_next = owner == setting.n_workers
    if is_task_next:
        task = state.tasks[len(tasks)]
        if commits_of(setting, (*tasks, task), me.step) is not None:
            yield from _read_on(setting, state, w, me, task)
        elif me.seen:
            yield Edge("give up reading", _look(state, w))
        return
    word = state.workers[owner]
    yield from _read_on(setting, state, w, me, word)
    if setting.reading == "tasks first" and owner != w:
        first = (commits_of(setting, tasks, me.step) or {}).get(owner)
        if first and stands(setting, word, first, _n_commits(tasks, owner))[1]:
            for edge in _marked(setting, state, owner, word):
                (on,) = _read_on(setting, edge.state, w, me, word)
                yield edge._replace(state=on.state)


def _read_on(setting: Setting, state: State, w: int, me: Self, word: Task | Worker) -> Edges:
    """One word more; the last one decides."""
    seen = (*me.seen, word)
    if len(seen) < me.now.n_tasks + setting.n_workers:
        yield Edge("read a word", moved(state, w, me._replace(at="reading", seen=seen)))
        return
    tasks = tuple(word for word in seen if isinstance(word, Task))
    workers = tuple(word for word in seen if isinstance(word, Worker))
    of = commits_of(setting, tasks, me.step) or {}
    is_worked = all(
        stands(setting, workers[owner], first, _n_commits(tasks, owner))[0]
        for owner, first in of.items()
    )
    if is_worked:
        yield Edge("read the last word", moved(state, w, Self("ending", me.now)))
    else:
        yield Edge("read the last word", _look(state, w))


# ---- merge --------------------------------------------------------------------------------------


def claim_block(setting: Setting, state: State, w: int, me: Self) -> Edges:
    """Transition: claim a block; or take what another has had out for too long."""
    for b, block in enumerate(state.blocks):
        taken = me._replace(at="merging", item=b)
        if block.step < me.step:
            mine = Block(me.step, "CLAIMED", w, 0)
            claimed = state._replace(blocks=replaced(state.blocks, b, mine))
            yield Edge("claim a block", moved(claimed, w, taken._replace(held=mine)))
        elif block.step == me.step and block.state == "CLAIMED":
            yield Edge("take an overdue block", moved(state, w, taken._replace(held=block)))


def inherit_copy(setting: Setting, state: State, w: int, me: Self) -> Edges:
    """Transition: inherit its copy."""
    for b, block in enumerate(state.blocks):
        if block.step != me.step or block.state != "COMMITTED" or block.owner == w:
            continue
        is_orphan = is_dead(setting, state, block.owner, me.step)
        if not is_orphan and setting.flaw != "live owner":
            continue
        mine = block if setting.flaw == "two heirs" else block._replace(owner=w)
        if setting.flaw == "own slot":
            mine = mine._replace(redo=w)
        heir = state._replace(blocks=replaced(state.blocks, b, mine))
        yield Edge("inherit its copy", moved(heir, w, me._replace(at="copying", item=b, held=mine)))


def merge(setting: Setting, state: State, w: int, me: Self) -> Edges:
    """Reads the sums and the block's parameters at once, as `compute`."""
    is_read = all(version == me.step for version in state.params[me.item])
    is_right = is_read and is_right_sum(setting, state, me.now)
    redo = (me.item, me.step + 1 if is_right else BAD)
    state = state._replace(redos=replaced(state.redos, w, redo))
    yield Edge("merge", moved(state, w, me._replace(at="merged")))


def commit_block(setting: Setting, state: State, w: int, me: Self) -> Edges:
    """Transition: commit a block."""
    if state.blocks[me.item] != me.held:
        yield Edge("lose the block", _look(state, w))
        return
    if state.redos[w] != (me.item, me.step + 1):
        raise ProtocolError("a wrong sum is merged")
    mine = Block(me.step, "COMMITTED", w, w)
    state = state._replace(blocks=replaced(state.blocks, me.item, mine))
    yield Edge("commit a block", moved(state, w, me._replace(at="copying", held=mine)))


def copy(setting: Setting, state: State, w: int, me: Self) -> Edges:
    """The only writes to parameters, in two halves."""
    assert isinstance(me.held, Block)
    if state.phase != me.now:
        raise ProtocolError("a late write to the parameters")
    block, version = state.redos[me.held.redo]
    halves = list(state.params[me.item])
    halves[me.half] = version if block == me.item else BAD
    state = state._replace(params=replaced(state.params, me.item, tuple(halves)))
    on = me._replace(half=1) if me.half == 0 else me._replace(at="copied", half=0)
    yield Edge("copy", moved(state, w, on))


def done(setting: Setting, state: State, w: int, me: Self) -> Edges:
    """Transition: done."""
    if state.blocks[me.item] == me.held:
        word = Block(me.step, "DONE", 0, 0)
        state = state._replace(blocks=replaced(state.blocks, me.item, word))
    yield Edge("done", _look(state, w))


def next_step(setting: Setting, state: State, w: int, me: Self) -> Edges:
    """Transition: the next step.

    Reading the blocks and the compare-and-swap are one transition: a block that is done stays so
    until the phase changes.
    """
    if state.phase != me.now:
        return
    if any(block.step != me.step or block.state != "DONE" for block in state.blocks):
        return
    if any(version != me.step + 1 for block in state.params for version in block):
        raise ProtocolError("a step moves on with wrong parameters")
    state = state._replace(phase=Phase(me.step + 1, "WORK", setting.n_tasks))
    yield Edge("the next step", _look(state, w))


_AFTER: dict[At, Callable[[Setting, State, int, Self], Edges]] = {
    "looked": looked,
    "entered": clear,
    "computing": compute,
    "computed": commit,
    "adding": add,
    "counting": count,
    "reading": read,
    "ending": end,
    "merging": merge,
    "merged": commit_block,
    "copying": copy,
    "copied": done,
}


def transitions(setting: Setting, state: State) -> Edges:
    """Yield all that can happen next, whoever does it."""
    for w, life in enumerate(state.lives):
        if life == "alive":
            me = state.selves[w]
            yield from _AFTER[me.at](setting, state, w, me)
            yield from kill(state, w)
            yield from stop(state, w)
        elif life == "killed":
            yield from declare_dead(state, w)
        elif life == "dead":
            yield from respawn(state, w)
    for g in range(setting.n_guests):
        yield from guest_adds(setting, state, g)
    yield from grow(state)
    yield from let_go_on(setting, state)


ROUND = Model(initial, transitions, is_end)
