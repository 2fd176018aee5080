# SPDX-License-Identifier: BSD-3-Clause
"""Flaws to plant into the machines of `hybridtrain.nodes`: the simulator must find each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from support.simulated_nodes import SETTINGS, World
from support.simulated_shells import WrongError

from hybridtrain.nodes import driver, messages, node, views
from hybridtrain.nodes.driver import Driver
from hybridtrain.nodes.node import Node
from hybridtrain.nodes.peers import Peer
from hybridtrain.nodes.reducer import Reducer

Plant = Callable[[pytest.MonkeyPatch], None]


def no_freeze(patch: pytest.MonkeyPatch) -> None:
    """A node that has answered FREEZE goes on training its old view."""
    patch.setattr(Node, "_is_training", property(lambda self: self._is_started))
    patch.setattr(Node, "_is_of_view", lambda self, sender, ballot: ballot == self._ballot)


def promise_lowered(patch: pytest.MonkeyPatch) -> None:
    """A node obeys a late FREEZE or VIEW below its promise."""

    def freeze(self: Node, sender: int, message: messages.Freeze) -> bool:
        self._promised = 0
        return Node._freeze(self, sender, message)

    def name(self: Node, sender: int, view: messages.View) -> bool:
        self._promised, self._named = view.ballot, None
        return Node._name(self, sender, view)

    patch.setitem(node._MESSAGES, messages.Freeze, (freeze, True))
    patch.setitem(node._MESSAGES, messages.View, (name, True))


def no_start(patch: pytest.MonkeyPatch) -> None:
    """A node trains as soon as it has installed a view."""
    install = Node._install

    def installed(self: Node, view: messages.View) -> None:
        install(self, view)
        self._is_started = True

    patch.setattr(Node, "_install", installed)


def no_label(patch: pytest.MonkeyPatch) -> None:
    """A node that has applied as many steps as the new view keeps its parameters."""

    def name(self: Node, sender: int, view: messages.View) -> bool:
        if self.label.steps == view.label.steps and view.ballot == self._promised:
            self.label = view.label
        return Node._name(self, sender, view)

    patch.setitem(node._MESSAGES, messages.View, (name, True))


def any_state(patch: pytest.MonkeyPatch) -> None:
    """A source sends what it has, whatever was asked for, and a node takes it at any time."""

    def load(self: Node, sender: int, state: messages.State) -> bool:
        if self._named is not None:
            state = messages.State(
                ballot=self._named.ballot,
                chunk=state.chunk,
                is_last=state.is_last,
                body=state.body,
            )
        return Node._load(self, sender, state)

    patch.setitem(node._MESSAGES, messages.State, (load, False))


def _naming(change: Callable[..., Any]) -> Plant:
    def plant(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(driver, "next_view", change)

    return plant


def _anybody(ballot: int, begun: int, answers: list[Any], *more: Any) -> messages.View | None:
    newest = max((answer.installed for answer in answers), default=0)
    is_allowed = newest >= begun
    return views.next_view(ballot, 0, answers, *more) if is_allowed else None


def _any_answer(ballot: int, begun: int, answers: list[Any], *more: Any) -> messages.View | None:
    newest = max((answer.installed for answer in answers), default=0)
    return views.next_view(ballot, min(begun, newest), answers, *more)


def late_answer(patch: pytest.MonkeyPatch) -> None:
    """The driver counts FROZEN of older ballots."""

    def frozen(self: Driver, peer: Any, message: messages.Frozen) -> None:
        current = messages.Frozen(
            ballot=self._ballot, label=message.label, installed=message.installed
        )
        Driver._frozen(self, peer, current)

    patch.setitem(driver._MESSAGES, messages.Frozen, frozen)


def late_installed(patch: pytest.MonkeyPatch) -> None:
    """The driver counts INSTALLED of older ballots."""

    def installed(self: Driver, peer: Any, message: messages.Installed) -> None:
        current = messages.Installed(ballot=self._ballot, digest=message.digest)
        Driver._on_installed(self, peer, current)

    patch.setitem(driver._MESSAGES, messages.Installed, installed)


def begun_when_named(patch: pytest.MonkeyPatch) -> None:
    """The driver takes a view for begun that nobody has installed yet."""
    name = Driver._name

    def named(self: Driver) -> None:
        name(self)
        if self._does == "name":
            self.begun = self._named

    patch.setattr(Driver, "_name", named)


def sum_of_any_view(patch: pytest.MonkeyPatch) -> None:
    """Reducers and nodes look at the step of a sum or total alone."""
    patch.setattr(
        Node,
        "_is_of_view",
        lambda self, sender, ballot: sender in self._view.incarnations,
    )


def added_twice(patch: pytest.MonkeyPatch) -> None:
    """A reducer adds what has come before."""
    add = Reducer.add

    def any_chunk(self: Reducer, place: int, message: messages.Sum) -> bool:
        self._n_chunks[place] = message.chunk
        return add(self, place, message)

    patch.setattr(Reducer, "add", any_chunk)


def without_one(patch: pytest.MonkeyPatch) -> None:
    """A reducer does not wait for the last member's sums."""
    missing = Reducer.missing.fget
    assert missing is not None
    patch.setattr(Reducer, "missing", property(lambda self: set(sorted(missing(self))[1:])))


def worked_before(patch: pytest.MonkeyPatch) -> None:
    """A node takes a step that was done under an older view for done."""

    def worked(self: Node, event: Any) -> None:
        if self._view is not None:
            self._batch = event.batch
            self._proceed()

    patch.setitem(node._EVENTS, node.events.Worked, worked)


def not_asked_again(patch: pytest.MonkeyPatch) -> None:
    """The driver does not mind that frames are lost."""
    patch.setitem(driver._EVENTS, driver.events.Lost, lambda self, event: None)


def next_of_anybody(patch: pytest.MonkeyPatch) -> None:
    """A node does not say that it has finished the part before."""
    freeze = Node._freeze

    def frozen(self: Node, sender: int, message: messages.Freeze) -> bool:
        since, self._since = self._since, 0
        try:
            return freeze(self, sender, message)
        finally:
            self._since = since

    patch.setitem(node._MESSAGES, messages.Freeze, (frozen, True))


def asked_between_parts(patch: pytest.MonkeyPatch) -> None:
    """The driver goes on asking a node that it has sent to the next part."""
    patch.setattr(Peer, "is_between", property(lambda self: False, lambda self, value: None))


class Flaw(NamedTuple):
    """A flaw, in which schedules it is looked for, and what the simulator then says."""

    plant: Plant
    setting: str
    n_schedules: int
    wrong: str
    first: int = 0  # seed: this flaw needs a rare schedule


FLAWS = {
    "no freeze": Flaw(no_freeze, "hasty", 100, "to a stranger"),  # a copy of itself
    "promise lowered": Flaw(promise_lowered, "doubles", 100, "a stuck state"),
    "no start": Flaw(no_start, "calm", 100, "a stuck state"),
    "no label": Flaw(no_label, "copies", 2_000, "another label than its parameters"),
    "any state": Flaw(any_state, "copies", 5_000, "a state of another label"),
    "largest of anybody": Flaw(
        _naming(_anybody), "copies", 2_000, "that all members had applied is lost", first=6_000
    ),
    "any answer": Flaw(_naming(_any_answer), "two", 200, "that all members had applied is lost"),
    "late answer": Flaw(late_answer, "copies", 5_000, "a stuck state"),
    "late installed": Flaw(late_installed, "copies", 5_000, "have different parameters before"),
    "begun when named": Flaw(begun_when_named, "hasty", 100, "a member begins with another label"),
    "sum of any view": Flaw(sum_of_any_view, "stalls", 100, "a row is summed twice or not at all"),
    "added twice": Flaw(added_twice, "two", 5_000, "a row is summed twice or not at all"),
    "without one": Flaw(without_one, "calm", 100, "a row is summed twice or not at all"),
    "worked before": Flaw(worked_before, "two", 2_000, "sums are collected too early"),
    "next of anybody": Flaw(
        next_of_anybody, "parts", 100, "given up although a member of the newest begun view lives"
    ),
    "asked between parts": Flaw(asked_between_parts, "parts", 100, "the run does not end"),
    "not asked again": Flaw(not_asked_again, "losses", 100, "a stuck state"),
}


def find(flaw: Flaw) -> str:
    """Return what the simulator says of a planted flaw: the first text that was expected."""
    for seed in range(flaw.first, flaw.first + flaw.n_schedules):
        try:
            World(SETTINGS[flaw.setting], seed).run()
        except WrongError as error:
            if flaw.wrong in str(error):
                return str(error)
    return ""
