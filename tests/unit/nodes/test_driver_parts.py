# SPDX-License-Identifier: BSD-3-Clause
"""The driver of a run of several strategies: whom it sends on, and who begins the next part."""

from __future__ import annotations

from support.driver_shell import A, B, C, Shell

from hybridtrain.nodes import events, messages
from hybridtrain.nodes.messages import Label


def test_all_members_end_a_part_before_anybody_is_sent_to_the_next_one() -> None:
    shell = Shell().trains(A, B)
    assert not shell.finishes(1, A)
    shell.finishes(1, B)
    assert shell.sent(messages.Next) == dict.fromkeys((A, B), messages.Next(part=1))
    assert not shell.sent(messages.Copy)
    shell.hears(A, messages.Beat())  # on its way: it is told again, and asked nothing
    assert shell.sent(messages.Next) == {A: messages.Next(part=1)}
    assert not shell.hello(A, plan=b"next", part=1)
    shell.hello(B, plan=b"next", part=1)
    assert set(shell.sent(messages.Freeze)) == {A, B}
    for i in (A, B):
        shell.frozen(i, 2, Label(7, 0), installed=1)
    assert (shell.view().label, shell.view().ballot) == (Label(7, 0), 2)
    for i in (A, B):
        shell.installed(i, 2)
    assert shell.told == ["2 nodes: a, b", "2 nodes: a, b; the next strategy begins"]
    assert events.Progress(7) in shell.done
    for i in (A, B):
        shell.hears(i, messages.Done(ballot=2, label=Label(9, 2), digest=b""))
    assert set(shell.sent(messages.Copy)) == {A}


def test_a_node_that_comes_at_a_switch_waits_for_the_members_and_copies_one() -> None:
    shell = Shell(1).trains(A)
    shell.finishes(1, A)
    shell.hello(B)
    assert shell.sent(messages.Next) == {B: messages.Next(part=1)}
    assert not shell.sent(messages.Freeze)
    shell.hello(B, plan=b"of its own", part=1)  # the plan of the part is a member's
    assert shell.done == [events.Connect(B, "inproc://12")]
    shell.hello(A, plan=b"next", part=1)
    assert set(shell.sent(messages.Freeze)) == {A}
    shell.hello(B, plan=b"of its own", part=1)
    assert set(shell.sent(messages.Refuse)) == {B}
    shell.hello(C, plan=b"next", part=1)
    assert set(shell.sent(messages.Freeze)) == {C}
    shell.frozen(C, 2)
    shell.frozen(A, 2, Label(7, 0), installed=1)
    assert (shell.view().source, shell.view().incarnations) == (A, (A, C))


def test_a_stranger_with_another_plan_does_not_end_a_run_at_a_switch() -> None:
    shell = Shell().trains(A, B)
    shell.finishes(1, A, B)
    shell.hello(A, plan=b"next", part=1)
    shell.hello(C, plan=b"of its own", part=1)
    assert set(shell.sent(messages.Refuse)) == {C}
    assert not shell.sent(messages.Finish)


def test_a_member_that_dies_at_a_switch_is_left_out() -> None:
    shell = Shell(3).trains(A, B, C)
    shell.finishes(1, A, B, C)
    shell.hello(A, plan=b"next", part=1)
    shell.does(events.Gone(B, "killed (signal 9)"))
    assert not shell.sent(messages.Freeze)
    shell.does(events.Silent(C))
    assert set(shell.sent(messages.Freeze)) == {A}  # C would obey it in the part before
    shell.frozen(A, 2, Label(7, 0), installed=1)
    shell.installed(A, 2)
    assert shell.told[-1].startswith("1 node; node b left: killed (signal 9); node c left: silent")
    shell.hears(C, messages.Beat(ballot=1))
    assert shell.sent(messages.Next) == {C: messages.Next(part=1)}
    shell.hello(C, plan=b"next", part=1)
    assert set(shell.sent(messages.Freeze)) == {A, C}


def test_no_part_begins_without_one_who_has_ended_the_part_before() -> None:
    shell = Shell(1).trains(A)
    shell.finishes(1, A)
    shell.does(events.Gone(A, "killed (signal 9)"))
    assert shell.sent(messages.Finish) == {}
    assert shell.end().ending == "lost"
