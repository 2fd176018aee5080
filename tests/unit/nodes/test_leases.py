# SPDX-License-Identifier: BSD-3-Clause
"""Leases of chunks: every chunk is done once, and all who read the same notes agree."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridtrain.nodes.leases import Leases, count, cut, joined, spans_of, without
from hybridtrain.nodes.notes import Note, Span


def _facts(leases: Leases) -> dict[str, Any]:
    return {
        **json.loads(json.dumps(leases.to_json())),
        "done": leases.done.tolist(),
        "loss": leases.loss,
        "repeated": leases.repeated,
        "has_more": leases.has_more,
        "is_over": leases.is_over,
        "is_changed": leases.is_changed,
    }


def _copy(leases: Leases) -> Leases:
    """Return the leases as a node has them that takes another one's state."""
    copy = Leases(len(leases.done))
    copy.recall(json.loads(json.dumps(leases.to_json())), leases.done.copy())
    copy.loss, copy.repeated = leases.loss, leases.repeated
    return copy


def _chunks(spans: list[Span]) -> list[int]:
    return [chunk for first, last in spans for chunk in range(first, last)]


class _Run:
    """Members that do, give back, die and come by chance; each has leases of its own."""

    def __init__(self, n_chunks: int, n_members: int, chance: random.Random) -> None:
        self.n_chunks = n_chunks
        self.members = {who: Leases(n_chunks) for who in range(1, n_members + 1)}
        self.n_done: Counter[int] = Counter()  # of each chunk, in this epoch
        self.loss = 0.0
        self._chance = chance
        self._next = n_members + 1
        for leases in self.members.values():
            leases.begin()

    def _note(self, who: int, *, is_eager: bool) -> Note:
        held = _chunks(self.members[who].held.get(who, []))
        self._chance.shuffle(held)
        n_done = len(held) if is_eager else self._chance.randint(0, len(held))
        n_back = self._chance.randint(0, len(held) - n_done)
        marks = np.zeros(self.n_chunks, bool)
        marks[held[:n_done]] = True
        back = np.zeros(self.n_chunks, bool)
        back[held[n_done : n_done + n_back]] = True
        return Note(
            who=who,
            done=tuple(spans_of(marks)),
            back=tuple(spans_of(back)),
            need=self._chance.randint(0, 9),
            rows=n_done,
            loss=0.1 * n_done,
            repeated=self._chance.randint(0, 1),
        )

    def merge(self, *, is_eager: bool = False) -> None:
        notes = [self._note(who, is_eager=is_eager) for who in self.members]
        for note in notes:
            self.n_done.update(_chunks(list(note.done)))
            self.loss += note.loss
        for leases in self.members.values():
            leases.settle(notes)
        self._check()
        (first, *_) = self.members.values()
        assert set(first.held) == set(self.members)
        assert not first.has_more or all(count(spans) for spans in first.held.values())

    def _check(self) -> None:
        first, *others = self.members.values()
        for other in others:
            assert _facts(other) == _facts(first)
        assert _facts(_copy(first)) == _facts(first)
        held = [chunk for spans in first.held.values() for chunk in _chunks(spans)]
        assert len(set(held)) == len(held)  # nobody holds what another holds
        assert not first.done[held].any()
        assert max(self.n_done.values(), default=0) <= 1
        assert set(np.flatnonzero(first.done)) == set(self.n_done)
        assert first.has_more == (len(held) + len(self.n_done) < self.n_chunks)
        assert first.loss == pytest.approx(self.loss)

    def die(self) -> None:
        if len(self.members) > 1:
            del self.members[self._chance.choice(sorted(self.members))]

    def join(self) -> None:
        source = self._chance.choice(sorted(self.members))
        self.members[self._next] = _copy(self.members[source])
        self._next += 1

    def end_epoch(self) -> None:
        """Merge until all chunks are done, and open the next epoch."""
        n_merges = 0
        while not next(iter(self.members.values())).is_over:
            self.merge(is_eager=True)
            n_merges += 1
            assert n_merges <= 5 * self.n_chunks + 2
        assert self.n_done == Counter(range(self.n_chunks))
        self.n_done.clear()
        self.loss = 0.0
        for leases in self.members.values():
            leases.begin()
        self._check()


@settings(deadline=None, max_examples=150)
@given(
    st.integers(1, 60),
    st.integers(1, 4),
    st.lists(st.sampled_from(["merge", "merge", "merge", "die", "join", "end_epoch"]), max_size=25),
    st.integers(0, 2**32),
)
def test_every_chunk_is_done_once_whoever_comes_and_dies(
    n_chunks: int, n_members: int, moves: list[str], seed: int
) -> None:
    run = _Run(n_chunks, n_members, random.Random(seed))
    for move in moves:
        getattr(run, move)()
    run.end_epoch()
    run.end_epoch()


def _begun(n_chunks: int, *needs: int) -> Leases:
    """Return the leases after the first merge of members 1, 2, ..., which need so many chunks."""
    leases = Leases(n_chunks)
    leases.begin()
    leases.settle([Note(who=who, need=need) for who, need in enumerate(needs, 1)])
    return leases


def test_a_member_gets_what_it_needs_but_no_more_than_its_share() -> None:
    leases = _begun(1000, 20, 5)
    # A quarter of the fair share is leased at once, where that is more than what is needed.
    assert {who: count(spans) for who, spans in leases.held.items()} == {1: 200, 2: 50}
    assert leases.has_more
    few = _begun(4, 100, 100)
    assert {who: count(spans) for who, spans in few.held.items()} == {1: 2, 2: 2}
    assert not few.has_more


def test_a_slow_member_gives_back_what_another_does_then() -> None:
    leases = _begun(4, 100, 100)
    assert leases.held == {1: [(0, 2)], 2: [(2, 4)]}
    leases.settle([Note(who=1, done=((0, 2),), need=9), Note(who=2, back=((3, 4),))])
    assert leases.held == {1: [(3, 4)], 2: [(2, 3)]}


def test_what_a_dead_member_held_is_leased_again() -> None:
    leases = _begun(4, 1, 1)
    held = leases.held[1]
    leases.settle([Note(who=2, need=100)])
    assert set(leases.held) == {2}
    assert set(_chunks(held)) <= set(_chunks(leases.held[2]))


@pytest.mark.parametrize(
    "lie",
    [
        Note(who=1, done=((2, 3),)),  # another one's
        Note(who=1, back=((1, 3),)),  # in part
        Note(who=1, done=((0, 1), (0, 1))),
        Note(who=1, done=((0, 1),), back=((0, 1),)),
        Note(who=1, done=((0, 5),)),  # there are four
        Note(who=1, done=((1, 0),)),
        Note(who=3, done=((0, 1),)),  # of nobody
    ],
)
def test_a_member_that_speaks_of_chunks_it_does_not_hold_is_refused(lie: Note) -> None:
    leases = _begun(4, 100, 100)
    assert leases.held == {1: [(0, 2)], 2: [(2, 4)]}
    with pytest.raises(ValueError, match="not all leased"):
        leases.settle([lie, Note(who=2)])


def test_a_rate_that_is_too_large_ends_the_epoch_at_all_members() -> None:
    leases = _begun(4, 1, 1)
    leases.settle([Note(who=1), Note(who=2, bad_lr=1e30, is_changed=True)])
    for each in (leases, _copy(leases)):
        assert each.bad_lr == 1e30
        assert each.is_changed
        assert each.is_over
    leases.begin()
    assert not leases.is_over


def test_a_saved_run_goes_on_with_the_chunks_that_are_not_done() -> None:
    done = np.array([1, 0, 0, 1, 1, 0], np.uint8)
    leases = Leases(6)
    leases.recall(None, done)
    assert leases.held == {}
    leases.settle([Note(who=9, need=100)])
    assert leases.held == {9: [(1, 3), (5, 6)]}


_spans = st.lists(st.integers(0, 40), max_size=12).map(
    lambda marks: spans_of(np.isin(np.arange(41), marks))
)


@given(_spans, _spans, st.integers(0, 45))
def test_spans_are_sets_of_chunks(some: list[Span], others: list[Span], n: int) -> None:
    assert count(some) == len(_chunks(some))
    taken, rest = cut(some, n)
    assert _chunks(taken) == _chunks(some)[:n]
    assert _chunks(rest) == _chunks(some)[n:]
    apart = [span for span in others if not set(_chunks([span])) & set(_chunks(some))]
    assert _chunks(joined([*apart, *some])) == sorted(_chunks(some) + _chunks(apart))
    for first, last in others:
        if set(range(first, last)) <= set(_chunks(some)):
            left = set(_chunks(some)) - set(range(first, last))
            assert _chunks(without(some, first, last)) == sorted(left)
        else:
            with pytest.raises(ValueError, match="not all leased"):
                without(some, first, last)
