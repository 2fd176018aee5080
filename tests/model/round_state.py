# SPDX-License-Identifier: BSD-3-Clause
"""The words of ht_round.h and all else that a state of the round is made of.

What a step computes is reduced to whether it is right:

- `params` are versions: step s reads version s everywhere, its merge writes version s + 1;
- an accumulator counts how often each task was added; BAD for a result of other parameters;
- a redo slot holds the block and the version that was merged, or BAD for a wrong sum.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from model.explore import Edge, replaced

BAD = -99  # stays below 0, whatever is added to it

PhaseName = Literal["WORK", "EXCHANGE", "MERGE"]
ItemState = Literal["OPEN", "CLAIMED", "COMMITTED", "DONE"]
Life = Literal["alive", "stopped", "killed", "dead"]  # dead: declared, and nobody has come yet

Flaw = Literal[
    "",
    "commits alone",  # the end of WORK does not ask whether commits were added
    "no generation",  # task words do not say which of their owner's generations they are of
    "live owner",  # a copy is inherited from an owner who may be alive
    "two heirs",  # an heir does not put its name into the block's word
    "own slot",  # an heir copies its own redo slot
    "no overdue",  # nobody takes what another has had out for too long
    "no clear",  # sums of the step before are left in the accumulator
    "no bar",  # a place's next worker takes part in the step in which the place has died
    "no orphan",  # the supervisor lets a worker in, and copies nothing before
    "kept sums",  # a worker that is let into the WORK goes on with its predecessor's sums
    "no revive",  # the supervisor lets nobody in
]
Reading = Literal["at once", "tasks first", "workers first"]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is explored: the size, what may go wrong, and how the end of WORK is read."""

    n_workers: int = 2
    n_tasks: int = 2
    n_steps: int = 1
    n_blocks: int = 1
    n_guests: int = 0
    grows: int = 0  # tasks that are added to open steps
    kills: int = 0
    stops: int = 0  # for ever, but not while copying: then all wait
    revokes: int = 0  # of workers that go on later
    respawns: int = 0  # then all may be killed
    reading: Reading = "at once"
    has_lone_reader: bool = False  # worker 0 ends the work and does none: fewer states
    flaw: Flaw = ""


# ---- words --------------------------------------------------------------------------------------


class Phase(NamedTuple):
    step: int
    phase: PhaseName
    n_tasks: int


class Task(NamedTuple):
    step: int
    state: ItemState
    owner: int
    generation: int


class Worker(NamedTuple):
    step: int
    generation: int
    added: int
    revoked: bool


class Block(NamedTuple):
    step: int
    state: ItemState
    owner: int
    redo: int


class Guest(NamedTuple):
    word: int  # the step in which it has added its sum
    at: Literal["away", "adding", "added"]
    step: int


# ---- where a worker stands ----------------------------------------------------------------------

At = Literal[
    "looked",  # has read the phase, perhaps long ago
    "entered",
    "computing",
    "computed",
    "adding",
    "counting",
    "reading",  # in is_worked
    "ending",
    "merging",
    "merged",
    "copying",
    "copied",
    "gone",
]


class Self(NamedTuple):
    """What a worker knows; generation and count are in its own word, which it alone changes."""

    at: At
    now: Phase  # as it was looked at last
    item: int = 0  # the task or block in hand
    held: Task | Block | None = None  # its word when it was taken
    is_right: bool = True  # what was computed
    seen: tuple[Task | Worker, ...] = ()  # words that is_worked has read
    half: int = 0  # that is copied next

    @property
    def step(self) -> int:
        return self.now.step


NOWHERE = Self("gone", Phase(0, "WORK", 0))


class State(NamedTuple):
    phase: Phase
    tasks: tuple[Task, ...]
    workers: tuple[Worker, ...]
    blocks: tuple[Block, ...]
    guests: tuple[Guest, ...]
    lives: tuple[Life, ...]
    deaths: tuple[int, ...]  # [worker]: the step in which the place's last death was declared
    sums: tuple[tuple[int, ...], ...]  # [worker][task]
    redos: tuple[tuple[int, int], ...]  # [worker]: block and version
    params: tuple[tuple[int, ...], ...]  # [block]: versions of its two halves
    selves: tuple[Self, ...]
    grows: int
    kills: int
    stops: int
    revokes: int
    respawns: int


def initial(setting: Setting) -> State:
    """Return the state after ht_round_init."""
    n, most_tasks = setting.n_workers, setting.n_tasks + setting.grows
    alive: Life = "alive"
    phase = Phase(1, "WORK", setting.n_tasks)
    return State(
        phase=phase,
        tasks=(Task(0, "OPEN", 0, 0),) * most_tasks,
        workers=(Worker(0, 0, 0, False),) * n,
        blocks=(Block(0, "OPEN", 0, 0),) * setting.n_blocks,
        guests=(Guest(0, "away", 0),) * setting.n_guests,
        lives=(alive,) * n,
        deaths=(0,) * n,
        sums=((0,) * most_tasks,) * n,
        redos=((0, BAD),) * n,
        params=((1, 1),) * setting.n_blocks,
        selves=(Self("looked", phase),) * n,
        grows=setting.grows,
        kills=setting.kills,
        stops=setting.stops,
        revokes=setting.revokes,
        respawns=setting.respawns,
    )


def is_end(setting: Setting, state: State) -> bool:
    """Tell whether all steps are done."""
    return state.phase.step > setting.n_steps


# ---- transitions --------------------------------------------------------------------------------


Edges = Iterator[Edge[State]]


def moved(state: State, w: int, me: Self) -> State:
    return state._replace(selves=replaced(state.selves, w, me))


# ---- what C computes from words -----------------------------------------------------------------


def is_dead(setting: Setting, state: State, worker: int, step: int) -> bool:
    """Tell whether what a place has claimed or committed in a step is a dead worker's."""
    if setting.flaw == "no bar" and state.lives[worker] == "alive":
        return False
    return state.deaths[worker] >= step


def counts(setting: Setting, state: State, task: Task, step: int) -> bool:
    if task.step != step or task.state != "COMMITTED":
        return False
    owner = state.workers[task.owner]
    is_same = owner.generation == task.generation or setting.flaw == "no generation"
    return owner.step == step and is_same and not owner.revoked


def is_open(setting: Setting, state: State, task: Task, step: int) -> bool:
    if task.step != step:
        return task.step < step
    if task.state == "CLAIMED":
        return is_dead(setting, state, task.owner, step)
    if state.workers[task.owner].step > step:
        return False  # the step is over, and we are late
    return not counts(setting, state, task, step)


def commits_of(setting: Setting, tasks: tuple[Task, ...], step: int) -> dict[int, Task] | None:
    """Return one commit of each owner; None when is_worked gives up at the tasks' words."""
    of: dict[int, Task] = {}
    for task in tasks:
        if task.step != step or task.state != "COMMITTED":
            return None
        first = of.setdefault(task.owner, task)
        if first.generation != task.generation:
            return None  # one of the two is void
    return of


def stands(setting: Setting, word: Worker, commit: Task, n_commits: int) -> tuple[bool, bool]:
    """Return whether an owner's commits count and are added, and whether it lags."""
    is_same = word.generation == commit.generation or setting.flaw == "no generation"
    if word.step != commit.step or not is_same or word.revoked:
        return False, False
    is_added = word.added >= n_commits
    return is_added or setting.flaw == "commits alone", not is_added


def is_right_sum(setting: Setting, state: State, now: Phase) -> bool:
    """Tell whether both ways to collect a step's sum find every task once.

    Exact: all accumulators that count (ht_round_accumulates).  Plain: each task's part of its
    owner's (ht_round_owner).
    """
    exact = [
        sums
        for word, sums in zip(state.workers, state.sums, strict=True)
        if word.step == now.step and not word.revoked and word.added > 0
    ]
    for t, task in enumerate(state.tasks):
        is_in = t < now.n_tasks
        if sum(sums[t] for sums in exact) != is_in:
            return False
        if is_in and not (
            counts(setting, state, task, now.step) and state.sums[task.owner][t] == 1
        ):
            return False
    return True
