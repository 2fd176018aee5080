# SPDX-License-Identifier: BSD-3-Clause
"""What users are told of nodes."""

from __future__ import annotations

from hybridtrain.nodes.messages import Label, Member
from hybridtrain.nodes.peers import Peer, change_of, delay_of
from hybridtrain.nodes.views import Answer, next_view

A, B, C, D = 1, 2, 3, 4


def _member(incarnation: int) -> Member:
    return Member(incarnation, "?abcdefghijklmnop"[incarnation], "")


def _peer(incarnation: int, *waits_for: int, word: str = "running") -> Peer:
    return Peer(_member(incarnation), waits_for=waits_for, word=word)


def _change(before: list[int], after: list[int], words: dict[int, str]) -> str:
    views = [
        next_view(ballot, 0, [Answer(_member(i), ballot - 1, Label(1203, 0)) for i in members])
        for ballot, members in enumerate((before, after), 1)
    ]
    assert views[1] is not None
    peers = {i: _peer(i, word=words.get(i, "running")) for i in {*before, *after}}
    return change_of(views[0], views[1], peers)


def test_a_view_says_who_left_why_and_who_does_its_rows() -> None:
    killed = {B: "killed (signal 9)"}
    assert _change([A, B, C, D], [A, C, D], killed) == (
        "3 nodes; node b left: killed (signal 9); its rows go to a, c, d; step 1,204 again"
    )
    assert _change([A, B, C], [A], {**killed, C: "silent"}) == (
        "1 node; node b left: killed (signal 9); node c left: silent; their rows go to a; "
        "step 1,204 again"
    )
    assert _change([A], [A, B], {}) == "2 nodes: a, b; node b came; step 1,204 again"
    assert _change([A, B], [A, C], killed) == (
        "2 nodes; node b left: killed (signal 9); its rows go to a, c; node c came; "
        "step 1,204 again"
    )


def test_of_many_nodes_a_few_are_named() -> None:
    line = _change(list(range(1, 13)), list(range(1, 12)), {})
    assert "its rows go to a, b, c, d, e, f, g, h and 3 more;" in line


def test_a_long_step_is_waited_for_by_those_that_have_done_their_part() -> None:
    heard = 0.5
    waiting = [(_peer(A, B, C), heard), (_peer(B, C), heard), (_peer(C), heard)]
    line = delay_of(1204, 4.0, waiting)
    assert line == "step 1,204 takes 4 s: waiting for c (still at its rows)"
    stopped = [(_peer(A, B), heard), (_peer(B, A), 9.2)]
    assert delay_of(7, 10.0, stopped) == "step 7 takes 10 s: waiting for b (silent for 9 s)"


def test_who_is_on_its_way_to_the_next_strategy_is_waited_for() -> None:
    late = Peer(_member(B), is_between=True)
    line = "step 8 takes 5 s: waiting for b (not at the next strategy yet)"
    assert delay_of(8, 5.0, [(_peer(A), 0.1), (late, 0.1)]) == line


def test_nobody_is_named_for_whom_nobody_waits() -> None:
    assert delay_of(1, 60.0, [(_peer(A), 0.1), (_peer(B), 0.1)]) == ""
