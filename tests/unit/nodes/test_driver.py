# SPDX-License-Identifier: BSD-3-Clause
"""The driver: whom it waits for, which answers count, what it tells users, and how runs end."""

from __future__ import annotations

import pytest
from support.driver_shell import FRESH, A, B, C, Shell

from hybridtrain.nodes import events, messages
from hybridtrain.nodes.messages import Label, Message, View


def test_the_first_view_needs_all_nodes_and_all_answers() -> None:
    shell = Shell()
    assert shell.hello(A) == [events.Connect(A, "inproc://11")]
    shell.hello(B)
    assert set(shell.sent(messages.Freeze)) == {A, B}
    assert not shell.frozen(A, 1)
    shell.frozen(B, 1)
    assert shell.view().incarnations == (A, B)
    assert not shell.installed(A, 1)
    shell.installed(B, 1)
    assert set(shell.sent(messages.Start)) == {A, B}
    assert events.Progress(0) in shell.done
    assert shell.told == ["2 nodes: a, b"]


def test_answers_of_older_ballots_do_not_count() -> None:
    shell = Shell().trains(A, B)
    shell.does(events.Lost(B))  # frames of it: ballot 2
    assert not shell.frozen(A, 2, installed=1)
    assert not shell.frozen(B, 1, installed=1)
    shell.frozen(B, 2, Label(1, 1), installed=1)
    assert shell.view().source == B
    assert not shell.installed(A, 2)
    assert not shell.installed(B, 1)
    assert not shell.hears(B, messages.Done(ballot=1, label=FRESH, digest=b""))
    assert shell.installed(B, 2)


def test_members_that_begin_with_other_parameters_end_the_run_at_once() -> None:
    shell = Shell(3)
    for i in (A, B, C):
        shell.hello(i)
    for i in (A, B, C):
        shell.frozen(i, 1)
    assert not shell.installed(A, 1, b"same")
    assert not shell.installed(B, 1, b"same")
    shell.installed(C, 1, b"another")
    reason = "c and a have different parameters before step 1"
    assert shell.sent(messages.Finish)[A] == messages.Finish(ending="failed", reason=reason)
    assert not shell.sent(messages.Start)


def test_a_dead_member_is_left_out_and_users_are_told() -> None:
    shell = Shell(3).trains(A, B, C)
    assert shell.does(events.Gone(B, "killed (signal 9)"))[0] == events.Disconnect(B)
    assert set(shell.sent(messages.Freeze)) == {A, C}
    shell.frozen(A, 2, Label(1203, 1), installed=1)
    shell.frozen(C, 2, Label(1202, 1), installed=1)
    view = shell.view()
    assert (view.incarnations, view.source, view.gone) == ((A, C), A, (B,))
    shell.installed(A, 2)
    shell.installed(C, 2)
    assert shell.told[-1] == (
        "2 nodes; node b left: killed (signal 9); its rows go to a, c; step 1,204 again"
    )


def test_a_silent_member_is_not_waited_for_and_comes_back() -> None:
    shell = Shell().trains(A, B)
    shell.does(events.Silent(B))
    assert set(shell.sent(messages.Freeze)) == {A, B}
    shell.frozen(A, 2, installed=1)
    assert shell.view().incarnations == (A,)
    assert not shell.frozen(B, 2, installed=1)  # too late for this view
    shell.installed(A, 2)
    assert set(shell.sent(messages.Freeze)) == {A, B}  # it is heard again
    shell.frozen(A, 3, installed=2)
    shell.frozen(B, 3, installed=1)
    assert shell.view().incarnations == (A, B)


def test_an_answer_of_a_silent_member_is_kept() -> None:
    shell = Shell(3).trains(A, B, C)
    shell.does(events.Lost(A))
    shell.frozen(A, 2, installed=1)
    shell.does(events.Silent(A))
    shell.hears(A, messages.Beat())
    shell.frozen(B, 2, installed=1)
    shell.frozen(C, 2, installed=1)
    assert shell.view().incarnations == (A, B, C)


def test_a_deadline_leaves_out_those_that_have_not_answered() -> None:
    shell = Shell().trains(A, B)
    shell.does(events.Lost(B))
    assert events.Deadline("ask", 2, 1 / 3) in shell.done
    shell.frozen(A, 2, installed=1)
    assert not shell.does(events.TimedOut("ask", 1))  # an old one
    shell.does(events.TimedOut("ask", 2))
    assert shell.view().incarnations == (A,)


def test_without_a_member_of_the_newest_view_it_waits_and_then_gives_up() -> None:
    shell = Shell().trains(A, B)
    shell.hello(C)
    shell.frozen(C, 2)
    shell.does(events.Silent(A))
    shell.does(events.Gone(B, "killed (signal 9)"))
    assert events.Deadline("wait", 2, 1.0) in shell.done
    assert shell.told[-1] == "waiting: 1 node is there, one that has every step is needed"
    shell.does(events.TimedOut("wait", 2))
    assert set(shell.sent(messages.Finish)) == {A, C}
    shell.hears(C, messages.Bye(reason="saved in run.ckpt"))
    end = shell.end()
    assert end.ending == "lost"
    assert end.words == ("a: silent", "b: killed (signal 9)", "c: saved in run.ckpt")


def test_it_gives_up_at_once_when_all_members_are_dead() -> None:
    shell = Shell().trains(A, B)
    shell.does(events.Gone(A, "killed (signal 9)"))
    shell.does(events.Gone(B, "out of memory"))
    assert shell.end().words == ("a: killed (signal 9)", "b: out of memory")


def test_it_waits_for_as_many_nodes_as_it_needs() -> None:
    shell = Shell(min_nodes=2).trains(A, B)
    shell.does(events.Gone(B, "killed (signal 9)"))
    shell.frozen(A, 2, installed=1)
    assert not shell.sent(View)
    assert shell.told[-1] == "waiting: 1 node is there, 2 are needed"
    shell.hello(C)
    assert set(shell.sent(messages.Freeze)) == {C}
    shell.frozen(C, 2)
    assert shell.view().incarnations == (A, C)


@pytest.mark.parametrize(
    ("version", "plan", "reason"),
    [
        ("2", b"plan", "it has hybridtrain 2, the driver has 1"),
        ("1", b"other", "its rows, its settings or its start differ from those of the first node"),
    ],
)
def test_another_run_is_refused(version: str, plan: bytes, reason: str) -> None:
    shell = Shell().trains(A, B)
    shell.hello(C, version, plan)
    assert shell.sent(messages.Refuse) == {C: messages.Refuse(reason=reason)}
    assert not shell.sent(messages.Freeze)
    early = Shell()
    early.hello(A, version, plan)
    assert early.end().ending == "lost"
    assert early.end().reason == f"node a cannot take part: {reason}"


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (events.Gone(0, "exit status 1"), "a node ended before the run began: exit status 1"),
        (events.Gone(A, "exit status 1"), "node a ended before the run began: exit status 1"),
        (events.TimedOut("gather", 0), "1 node is there, 2 are needed"),
    ],
    ids=str,
)
def test_a_start_that_fails_ends_the_run(event: events.Event, reason: str) -> None:
    shell = Shell()
    shell.hello(A)
    shell.does(event)
    ends = [act for act in shell.done if isinstance(act, events.End)]
    ends += [act for act in shell.hears(A, messages.Bye(reason="")) if isinstance(act, events.End)]
    assert [(end.ending, end.reason) for end in ends] == [("lost", reason)]


def test_a_leaving_node_is_left_out_without_silence() -> None:
    shell = Shell().trains(A, B)
    shell.hears(B, messages.Drain())
    shell.frozen(A, 2, installed=1)
    shell.frozen(B, 2, installed=1)
    assert shell.view().incarnations == (A,)
    shell.installed(A, 2)
    (finish,) = shell.sent(messages.Finish).values()
    assert finish == messages.Finish(ending="drained", reason="its machine is taken away")
    assert not shell.hears(B, messages.Bye(reason=""))


def test_a_leaving_node_stays_until_another_has_its_state() -> None:
    shell = Shell(1).trains(A)
    shell.hears(A, messages.Drain())
    shell.hello(B)
    shell.frozen(A, 2, Label(5, 1), installed=1)
    shell.frozen(B, 2)
    assert shell.view().incarnations == (A, B)
    shell.installed(A, 2)
    shell.installed(B, 2)
    assert set(shell.sent(messages.Freeze)) == {A, B}
    shell.frozen(A, 3, Label(5, 1), installed=2)
    shell.frozen(B, 3, Label(5, 1), installed=2)
    assert shell.view().incarnations == (B,)


def test_a_member_that_another_does_not_reach_is_left_out_the_second_time() -> None:
    shell = Shell().trains(A, B)

    def suspect(ballot: int) -> Message:
        return messages.Suspect(ballot=ballot, about=B, is_reachable=False, reason="silent")

    assert not shell.hears(A, suspect(0))
    assert not shell.hears(C, suspect(1))  # a stranger
    shell.hears(A, suspect(1))
    for i in (A, B):
        shell.frozen(i, 2, installed=1)
    assert shell.view().incarnations == (A, B)
    shell.hears(A, suspect(2))
    assert set(shell.sent(messages.Finish)) == {B}
    shell.frozen(A, 3, installed=1)
    assert shell.view().incarnations == (A,)
    assert shell.driver.peers[B].word == "cut off from a: silent"


def test_lost_frames_between_members_cost_a_view_each_time() -> None:
    shell = Shell().trains(A, B)
    for ballot in (1, 2, 3):
        suspect = messages.Suspect(ballot=ballot, about=B, is_reachable=True, reason="lost")
        shell.hears(A, suspect)
        assert set(shell.sent(messages.Freeze)) == {A, B}
        shell.frozen(A, ballot + 1, installed=ballot)
        shell.frozen(B, ballot + 1, installed=ballot)
        assert shell.view().incarnations == (A, B)


def test_frames_that_are_lost_for_ever_end_the_run() -> None:
    shell = Shell(1).trains(A)
    n_lost = 0
    while shell.does(events.Lost(A)) and not shell.sent(messages.Finish):
        n_lost += 1
        shell.frozen(A, n_lost + 1, Label(5, 1), installed=n_lost)
        shell.installed(A, n_lost + 1)
    assert n_lost == 100  # the first one brought step 5
    finish = messages.Finish(
        ending="failed", reason="frames were lost 100 times without a step between"
    )
    assert shell.sent(messages.Finish) == {A: finish}


def test_progress_is_what_all_members_have_applied() -> None:
    shell = Shell().trains(A, B)
    assert not shell.hears(A, messages.Beat(ballot=1, steps=7))
    assert not shell.hears(B, messages.Beat(ballot=0, steps=9))
    assert shell.hears(B, messages.Beat(ballot=1, steps=5)) == [events.Progress(5)]
    assert not shell.hears(B, messages.Beat(ballot=1, steps=4))


def test_rates_cut_the_next_batches() -> None:
    shell = Shell().trains(A, B)
    shell.hears(A, messages.Beat(rate=3.0))
    shell.hears(B, messages.Beat(rate=1.0))
    shell.does(events.Lost(A))
    shell.frozen(A, 2, installed=1)
    shell.frozen(B, 2, installed=1)
    assert shell.view().shares == (0, 49_152, 65_536)


def _state(chunk: int) -> Message:
    return messages.State(ballot=1, chunk=chunk, is_last=chunk == 1, body=b"x")


def test_the_run_ends_with_the_parameters_of_a_member() -> None:
    shell = Shell().trains(A, B)
    done = messages.Done(ballot=1, label=Label(9, 1), digest=b"same")
    shell.hears(A, done)
    assert not shell.sent(messages.Copy)
    shell.hears(B, done)
    assert set(shell.sent(messages.Copy)) == {A}
    assert shell.hears(A, _state(0)) == [events.Load(1, Label(9, 1), 0, False, b"x")]
    shell.does(events.Gone(A, "killed (signal 9)"))  # before the rest
    assert set(shell.sent(messages.Copy)) == {B}
    assert not shell.hears(B, _state(1))
    shell.hears(B, _state(0))
    shell.hears(B, _state(1))
    assert shell.sent(messages.Finish) == {B: messages.Finish(ending="done", reason="")}
    shell.hears(B, messages.Bye(reason=""))
    assert shell.end().ending == "done"


def test_nodes_that_end_with_different_parameters_are_an_error() -> None:
    shell = Shell().trains(A, B)
    shell.hears(A, messages.Done(ballot=1, label=Label(9, 1), digest=b"one"))
    shell.hears(B, messages.Done(ballot=1, label=Label(9, 1), digest=b"two"))
    shell.does(events.TimedOut("bye", 1))
    assert shell.end().ending == "failed"
    assert not shell.does(events.Tick())


def test_a_node_that_lost_the_end_is_told_again() -> None:
    shell = Shell(1).trains(A)
    shell.hears(A, messages.Done(ballot=1, label=Label(9, 1), digest=b""))
    shell.hello(A)
    assert set(shell.sent(messages.Copy)) == {A}
    shell.hears(A, _state(0))
    shell.hears(A, _state(1))
    shell.hello(A)
    assert shell.sent(messages.Finish) == {A: messages.Finish(ending="done", reason="")}
    shell.hello(B)
    assert shell.sent(messages.Refuse) == {B: messages.Refuse(reason="the run is ending")}
