# SPDX-License-Identifier: BSD-3-Clause
"""Breadth-first search through all states of a setting, and whether each can still end."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np

Setting = TypeVar("Setting")
State = TypeVar("State")
T = TypeVar("T")


class ProtocolError(Exception):
    """The protocol has done what it must never do."""


class Edge(NamedTuple, Generic[State]):
    """A transition: what happens, and the state after it."""

    name: str
    state: State
    is_fault: bool = False  # need not happen: progress must not depend on it


@dataclass(frozen=True)
class Model(Generic[Setting, State]):
    """A protocol as transitions between states, which are immutable values."""

    initial: Callable[[Setting], State]
    transitions: Callable[[Setting, State], Iterator[Edge[State]]]  # raises ProtocolError
    is_end: Callable[[Setting, State], bool]  # raises ProtocolError


class Outcome(NamedTuple):
    """What a search has found; `wrong` is empty when there is nothing to find."""

    n_states: int
    wrong: str
    trace: tuple[str, ...]  # names of the transitions that lead there
    n_ends: int

    def __str__(self) -> str:
        """Tell what is wrong and the shortest way there, a transition on each line."""
        lines = [f"{self.wrong or 'nothing is wrong'}; {self.n_states} states, {self.n_ends} ends"]
        return "\n".join([*lines, *(f"{n:4}  {name}" for n, name in enumerate(self.trace, 1))])


class TooManyStatesError(RuntimeError):
    """The setting is larger than its test allows."""


def replaced(row: tuple[T, ...], at: int, value: T) -> tuple[T, ...]:
    """Return the row with another value at one place."""
    return (*row[:at], value, *row[at + 1 :])


def explore(model: Model[Setting, State], setting: Setting, limit: int) -> Outcome:
    """Search until something is wrong or every reachable state was seen.

    Wrong is a ProtocolError, or a stuck state: one from which the end cannot be reached by
    transitions that are no faults.
    """
    start = model.initial(setting)
    numbers: dict[State, int] = {start: 0}
    came_from, came_by = array("q", [0]), [""]
    source, target = array("q"), array("q")  # of all transitions but faults
    ends = array("q")
    waiting = deque([start])

    def trace(number: int) -> tuple[str, ...]:
        names: list[str] = []
        while number != 0:
            names.append(came_by[number])
            number = came_from[number]
        return tuple(reversed(names))

    while waiting:
        state = waiting.popleft()
        number = numbers[state]
        try:
            if model.is_end(setting, state):
                ends.append(number)
            for edge in model.transitions(setting, state):
                known = len(numbers)
                at = numbers.setdefault(edge.state, known)
                if at == known:
                    if known >= limit:
                        raise TooManyStatesError(f"{setting} has more than {limit} states")
                    waiting.append(edge.state)
                    came_from.append(number)
                    came_by.append(edge.name)
                if not edge.is_fault:
                    source.append(number)
                    target.append(at)
        except ProtocolError as violation:
            return Outcome(len(numbers), str(violation), trace(number), len(ends))
    stuck = _first_stuck(len(numbers), source, target, ends)
    if stuck is not None:
        return Outcome(len(numbers), "a stuck state", trace(stuck), len(ends))
    return Outcome(len(numbers), "", (), len(ends))


def _first_stuck(n: int, source: array[int], target: array[int], ends: array[int]) -> int | None:
    """Return the first state from which no end can be reached."""
    sources, targets = np.frombuffer(source, np.int64), np.frombuffer(target, np.int64)
    can_end = np.zeros(n, bool)
    can_end[np.frombuffer(ends, np.int64)] = True
    n_before, n_now = -1, len(ends)
    while n_now > n_before:
        can_end[sources[can_end[targets]]] = True
        n_before, n_now = n_now, int(can_end.sum())
    return None if can_end.all() else int(np.argmin(can_end))


def require_sound(model: Model[Setting, State], setting: Setting, *, limit: int) -> None:
    """Raise AssertionError unless every interleaving is right and can end."""
    outcome = explore(model, setting, limit=limit)
    assert not outcome.wrong, str(outcome)
    assert outcome.n_ends > 0


def require_more_states(
    model: Model[Setting, State], calm: Setting, disturbed: Setting, *, limit: int
) -> None:
    """Raise AssertionError if a fault never happens: it would leave the states as they are."""
    n_calm = explore(model, calm, limit=limit).n_states
    assert explore(model, disturbed, limit=limit).n_states > n_calm
