# SPDX-License-Identifier: BSD-3-Clause
"""A driver without a net, for tests: what it is told, and what it did."""

from __future__ import annotations

from hybridtrain.nodes import events, messages
from hybridtrain.nodes.driver import Driver
from hybridtrain.nodes.events import Act
from hybridtrain.nodes.messages import Label, Member, Message, View

A, B, C = 11, 12, 13
NAMES = {A: "a", B: "b", C: "c"}
FRESH = Label(0, 0)


class Shell:
    """A driver and what it has done."""

    def __init__(self, n_nodes: int = 2, min_nodes: int = 1) -> None:
        self.driver = Driver(n_nodes=n_nodes, version="1", plan=b"plan", min_nodes=min_nodes)
        self.done: list[Act] = []  # by the last event
        self.told: list[str] = []
        self.does(events.Begin())

    def does(self, event: events.Event) -> list[Act]:
        self.done = self.driver.handle(event)
        self.told += [act.text for act in self.done if isinstance(act, events.Tell)]
        return self.done

    def hears(self, sender: int, message: Message) -> list[Act]:
        return self.does(events.Received(sender, message))

    def hello(self, i: int, version: str = "1", plan: bytes = b"plan", part: int = 0) -> list[Act]:
        member = Member(i, NAMES[i], f"inproc://{i}")
        return self.hears(i, messages.Hello(member=member, version=version, plan=plan, part=part))

    def frozen(self, i: int, ballot: int, label: Label = FRESH, installed: int = 0) -> list[Act]:
        return self.hears(i, messages.Frozen(ballot=ballot, label=label, installed=installed))

    def installed(self, i: int, ballot: int, digest: bytes = b"") -> list[Act]:
        return self.hears(i, messages.Installed(ballot=ballot, digest=digest))

    def trains(self, *members: int) -> Shell:
        """Bring the members into the first view."""
        for i in members:
            self.hello(i)
        for i in members:
            self.frozen(i, 1)
        for i in members:
            self.installed(i, 1)
        return self

    def finishes(self, ballot: int, *members: int) -> list[Act]:
        """Let the members have done a part of the run that is not the last one."""
        for i in members:
            label = Label(4, ballot)
            self.hears(i, messages.Done(ballot=ballot, label=label, digest=b"", goes_on=True))
        return self.done

    def sent(self, kind: type[Message]) -> dict[int, Message]:
        """Return what the last event sent of a kind, by receiver."""
        sends = [act for act in self.done if isinstance(act, events.Send)]
        return {act.to: act.message for act in sends if isinstance(act.message, kind)}

    def view(self) -> View:
        (view,) = set(self.sent(View).values())
        assert isinstance(view, View)
        return view

    def end(self) -> events.End:
        (end,) = [act for act in self.done if isinstance(act, events.End)]
        return end
