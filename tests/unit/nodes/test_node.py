# SPDX-License-Identifier: BSD-3-Clause
"""A node: what it answers, and what does not count: late, twice, or of a stranger."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from support.simulated_shells import SetsOfRows, part_of

from hybridtrain.nodes import events, messages
from hybridtrain.nodes.events import Act
from hybridtrain.nodes.messages import Label, Member, Message, Tally, View
from hybridtrain.nodes.node import Node

DRIVER, A, B, C = 1, 11, 12, 13
FRESH = Label(0, 0)
NAMES = {A: "a", B: "b", C: "c"}
ROWS = range(6)


def _view(ballot: int, members: Sequence[int], source: int, label: Label = FRESH) -> View:
    return View(
        ballot=ballot,
        members=tuple(Member(i, NAMES[i], f"inproc://{i}") for i in members),
        source=source,
        label=label,
        shares=tuple(65_536 * k // len(members) for k in range(len(members) + 1)),
    )


class Shell:
    """A node and what it has done."""

    def __init__(self, me: int = A, part: int = 0, since: int = 0, label: Label = FRESH) -> None:
        member = Member(me, NAMES[me], f"inproc://{me}")
        hello = messages.Hello(member=member, version="1", plan=b"", part=part, label=label)
        self.node = Node(hello=hello, driver=DRIVER, sums=SetsOfRows(), since=since)
        self.hello = hello

    def does(self, event: events.Event) -> list[Act]:
        return self.node.handle(event)

    def hears(self, message: Message, sender: int = DRIVER) -> list[Act]:
        return self.does(events.Received(sender, message))

    def trains(self, ballot: int, members: Sequence[int], batch: int = 0) -> list[Act]:
        """Bring the node to where it collects the sums of the first step of a view."""
        self.hears(messages.Freeze(ballot=ballot))
        self.hears(_view(ballot, members, A, self.node.label))
        self.hears(messages.Start(ballot=ballot))
        return self.does(events.Worked(ballot, batch))

    def collects(self, ballot: int, rows: Sequence[int], n_shards: int) -> list[Act]:
        bodies = [[part_of((), shard, rows)] for shard in range(n_shards)]
        return self.does(events.Collected(ballot, 0, bodies, Tally(len(rows), rows=len(rows))))


def _sent(acts: list[Act]) -> list[tuple[int, Message]]:
    return [(act.to, act.message) for act in acts if isinstance(act, events.Send)]


def _kinds(acts: list[Act]) -> list[tuple[int, type[Message]]]:
    return [(to, type(message)) for to, message in _sent(acts)]


def _to_driver(message: Message) -> list[Act]:
    return [events.Send(DRIVER, message)]


def test_it_says_hello_until_it_is_heard() -> None:
    shell = Shell()
    assert shell.does(events.Begin()) == _to_driver(shell.hello)
    assert shell.does(events.Tick(5.0)) == _to_driver(shell.hello)
    assert shell.hears(messages.Freeze(ballot=4)) == _to_driver(
        messages.Frozen(ballot=4, label=FRESH, installed=0)
    )
    assert shell.does(events.Tick(5.0)) == _to_driver(messages.Beat(rate=5.0))


def test_a_view_is_installed_at_once_by_those_with_its_label() -> None:
    shell = Shell(B)
    shell.hears(messages.Freeze(ballot=4))
    assert shell.hears(_view(4, [A, B], A)) == [
        events.Connect(A, "inproc://11"),
        events.Redo(4, 32_768, 65_536),
        events.SendInstalled(DRIVER, 4),
    ]


def test_others_copy_the_source_first() -> None:
    shell = Shell(B)
    shell.hears(messages.Freeze(ballot=4))
    acts = shell.hears(_view(4, [A, B], A, Label(9, 3)))
    assert acts[-1] == events.Send(A, messages.Copy(ballot=4, label=Label(9, 3)))

    def part(chunk: int, ballot: int = 4) -> Message:
        return messages.State(ballot=ballot, chunk=chunk, is_last=chunk == 1, body=b"x")

    assert shell.hears(part(0), A) == [events.Load(4, Label(9, 3), 0, False, b"x")]
    for late, sender in ((part(0), A), (part(1), C), (part(1, ballot=3), A)):
        assert not shell.hears(late, sender)
    assert shell.node.label == FRESH  # its own state is whole until the last part
    acts = shell.hears(part(1), A)
    assert acts[0] == events.Load(4, Label(9, 3), 1, True, b"x")
    assert acts[-1] == events.SendInstalled(DRIVER, 4)
    assert shell.node.label == Label(9, 3)
    assert not shell.hears(part(1), A)
    assert shell.node.ignored == {"State": 4}


def test_a_source_sends_its_state_once_it_knows_the_view() -> None:
    shell = Shell()
    shell.hears(messages.Freeze(ballot=4))
    assert not shell.hears(messages.Copy(ballot=4, label=FRESH), B)
    assert events.SendState(B, 4, FRESH) in shell.hears(_view(4, [A, B], A))
    assert shell.hears(messages.Copy(ballot=4, label=FRESH), C) == [events.SendState(C, 4, FRESH)]
    assert not shell.hears(messages.Copy(ballot=3, label=FRESH), B)
    assert not shell.hears(messages.Copy(ballot=4, label=Label(1, 4)), B)


def test_a_step_of_two_nodes() -> None:
    shell = Shell()
    assert shell.trains(4, [A, B]) == [events.Collect(4, 0, 2)]
    sent = shell.collects(4, [0, 1, 2], 2)
    assert _kinds(sent) == [(B, messages.Sum)]
    beat = messages.Beat(ballot=4, waits_for=(B,))
    assert shell.does(events.Tick()) == _to_driver(beat)  # B has had a sum
    assert shell.does(events.Tick()) == [*_to_driver(beat), events.Send(B, beat)]
    other = Shell(B)
    other.trains(4, [A, B])
    sums = [message for _, message in _sent(other.collects(4, [3, 4, 5], 2))]
    totals = [act for message in sums for act in shell.hears(message, B)]
    kinds = [messages.Total, messages.Total, messages.Outcome]  # a total has two parts here
    assert _kinds(totals) == [(B, kind) for kind in kinds]
    ((_, own),) = _sent(sent)
    back = [message for _, message in _sent(other.hears(own, A))]
    (applied,) = [act for message in back for act in shell.hears(message, B)]
    assert isinstance(applied, events.Apply)
    assert applied.tally == Tally(6, rows=6)
    assert shell.node.label == Label(1, 4)
    assert shell.node.settled == 0


def test_a_node_alone_reduces_by_memory() -> None:
    shell = Shell()
    shell.trains(4, [A])
    (applied,) = shell.collects(4, list(ROWS), 1)
    assert isinstance(applied, events.Apply)
    assert shell.does(events.Worked(4, 1)) == [events.Collect(4, 1, 1)]


@pytest.mark.parametrize(
    "event",
    [
        events.Received(DRIVER, messages.Freeze(ballot=4)),
        events.Received(DRIVER, messages.Freeze(ballot=3)),
        events.Received(DRIVER, _view(4, [A, B], A)),
        events.Received(DRIVER, _view(3, [A, B], A)),
        events.Received(DRIVER, messages.Start(ballot=4)),
        events.Received(DRIVER, messages.Frozen(ballot=9, label=FRESH, installed=0)),
        events.Received(B, messages.Freeze(ballot=9)),
        events.Received(B, messages.Finish(ending="done", reason="")),
        events.Worked(3, 0),
        events.Finished(3, b""),
        events.Collected(3, 0, [], Tally()),
        events.Collected(4, 1, [], Tally()),
    ],
    ids=str,
)
def test_what_is_late_comes_twice_or_is_a_strangers_changes_nothing(event: events.Event) -> None:
    shell = Shell()
    shell.trains(4, [A, B])
    assert not shell.does(event)
    assert len(shell.collects(4, [0, 1, 2], 2)) == 1


def test_a_frozen_node_sums_and_applies_nothing() -> None:
    shell = Shell()
    shell.trains(4, [A])
    shell.hears(messages.Freeze(ballot=5))
    assert not shell.collects(4, list(ROWS), 1)
    assert not shell.does(events.Worked(4, 0))
    assert not shell.hears(messages.Start(ballot=4))
    assert shell.node.label == FRESH


def test_a_step_waits_for_start() -> None:
    shell = Shell()
    shell.hears(messages.Freeze(ballot=4))
    shell.hears(_view(4, [A], A))
    assert not shell.does(events.Worked(4, 0))
    assert shell.hears(messages.Start(ballot=4)) == [events.Collect(4, 0, 1)]


def test_it_disconnects_from_those_that_have_ended() -> None:
    shell = Shell()
    shell.trains(4, [A, B, C])
    shell.hears(messages.Freeze(ballot=5))
    view = _view(5, [A], A)
    gone = View(
        ballot=5,
        members=view.members,
        source=A,
        label=view.label,
        shares=view.shares,
        gone=(B,),
    )
    acts = shell.hears(gone)  # C is silent, and may come back
    assert [act for act in acts if isinstance(act, events.Disconnect)] == [events.Disconnect(B)]


def test_it_tells_the_driver_whom_it_misses() -> None:
    shell = Shell()
    shell.trains(4, [A, B])
    for event, is_reachable in (
        (events.Silent(B), False),
        (events.Gone(B, "killed (signal 9)"), False),
        (events.Lost(B), True),
    ):
        ((to, suspect),) = _sent(shell.does(event))
        assert isinstance(suspect, messages.Suspect)
        assert (to, suspect.about, suspect.is_reachable) == (DRIVER, B, is_reachable)
    # C's request for a copy is lost, before this node knows that C is a member.
    shell.hears(messages.Freeze(ballot=5))
    ((_, suspect),) = _sent(shell.does(events.Lost(C)))
    assert (suspect.ballot, suspect.about) == (5, C)
    assert shell.does(events.Lost(DRIVER)) == _to_driver(shell.hello)


@pytest.mark.parametrize(
    ("event", "ending"),
    [
        (events.Silent(DRIVER), "lost"),
        (events.Gone(DRIVER, "killed (signal 9)"), "lost"),
        (events.Received(DRIVER, messages.Refuse(reason="another version")), "refused"),
        (events.Received(DRIVER, messages.Finish(ending="done", reason="")), "done"),
        (
            events.Received(B, messages.Account(ballot=4, step=1, batch=7, tally=Tally(rows=3))),
            "failed",
        ),
    ],
    ids=str,
)
def test_it_ends_with_its_last_word_and_then_does_nothing(event: events.Event, ending: str) -> None:
    shell = Shell()
    shell.trains(4, [A, B])
    shell.collects(4, [0, 1, 2], 2)
    bye, end = shell.does(event)
    assert isinstance(bye, events.Send)
    assert isinstance(bye.message, messages.Bye)
    assert isinstance(end, events.End)
    assert (end.ending, end.reason) == (ending, bye.message.reason)
    assert not shell.does(events.Tick())


def test_done_is_said_under_each_view() -> None:
    shell = Shell()
    for ballot in (4, 5):
        shell.hears(messages.Freeze(ballot=ballot))
        shell.hears(_view(ballot, [A], A))
        shell.hears(messages.Start(ballot=ballot))
        assert shell.does(events.Finished(ballot, b"digest")) == _to_driver(
            messages.Done(ballot=ballot, label=FRESH, digest=b"digest")
        )


def test_it_goes_to_the_next_part_once_it_has_finished_its_own() -> None:
    shell = Shell()
    shell.trains(4, [A])
    shell.does(events.Finished(4, b"digest", goes_on=True))
    assert not shell.hears(messages.Next(part=0))
    assert shell.hears(messages.Next(part=1)) == [events.End("next", "", part=1)]
    assert not shell.hears(messages.Next(part=1))
    assert not shell.does(events.Tick())


def test_one_that_is_not_done_when_the_others_go_to_another_part_leaves() -> None:
    shell = Shell()
    shell.trains(4, [A, B])
    reason = "the run has gone on to another part without this node"
    assert shell.hears(messages.Next(part=1)) == [
        events.Send(DRIVER, messages.Bye(reason=reason)),
        events.End("left", reason),
    ]


def test_one_that_comes_opens_the_part_that_it_is_told() -> None:
    shell = Shell()
    shell.hears(messages.Freeze(ballot=4))
    assert shell.hears(messages.Next(part=2)) == [events.End("next", "", part=2)]
    shell = Shell(part=2)
    assert shell.hears(messages.Next(part=2)) == _to_driver(shell.hello)  # it was not heard


def test_in_a_further_part_it_answers_with_the_last_view_of_the_part_before() -> None:
    shell = Shell(part=1, since=4, label=Label(7, 0))
    assert shell.does(events.Begin()) == _to_driver(shell.hello)
    assert not shell.hears(messages.Freeze(ballot=4))  # late, of the part before
    assert shell.does(events.Tick()) == _to_driver(shell.hello)
    frozen = messages.Frozen(ballot=5, label=Label(7, 0), installed=4)
    assert shell.hears(messages.Freeze(ballot=5)) == _to_driver(frozen)
    assert shell.does(events.Tick(2.0)) == _to_driver(messages.Beat(steps=7, rate=2.0))
