# SPDX-License-Identifier: BSD-3-Clause
"""A reducer adds up each member's sums once, and every member's tally."""

from __future__ import annotations

import math

import pytest

from hybridtrain.nodes.messages import Account, Part, Sum, Tally
from hybridtrain.nodes.reducer import Reducer, combined
from hybridtrain.transport.frame import Buffer, FrameError


class Numbers:
    """Sums of numbers as text."""

    def start(self, shard: int, n_shards: int) -> None:
        self.value = 0

    def add(self, chunk: int, encoding: int, body: Buffer) -> None:
        self.value += int(bytes(body))

    def total(self) -> list[Part]:
        return [Part(0, str(self.value).encode())]


def _sum(value: int, *, step: int = 5, shard: int = 0, chunk: int = 0, is_last: bool = True) -> Sum:
    body = str(value).encode()
    return Sum(
        ballot=3, step=step, shard=shard, chunk=chunk, is_last=is_last, encoding=0, body=body
    )


def _account(batch: int = 4, step: int = 5, loss: int = 1) -> Account:
    return Account(ballot=3, step=step, batch=batch, tally=Tally(loss=loss, rows=2))


def test_all_members_sums_and_tallies_make_a_step_and_then_the_next() -> None:
    reducer = Reducer(0, 2, 5, Numbers())
    for step in (5, 6):
        assert reducer.add(0, _sum(1, step=step, is_last=False))
        assert reducer.add(0, _sum(10, step=step, chunk=1))
        assert reducer.account(0, _account(step=step))
        assert reducer.missing == {1}
        assert reducer.add(1, _sum(100, step=step))
        assert reducer.missing == {1}  # its tally
        assert reducer.account(1, _account(step=step, loss=7))
        assert reducer.missing == set()
        parts, outcome = reducer.total()
        assert parts == [Part(0, b"111")]
        assert outcome is not None
        assert (outcome.step, outcome.batch, outcome.tally) == (step, 4, Tally(loss=8, rows=4))


def test_what_comes_twice_late_or_for_another_shard_is_not_added() -> None:
    reducer = Reducer(1, 2, 5, Numbers())
    assert reducer.add(0, _sum(1, shard=1, is_last=False))
    assert not reducer.add(0, _sum(1, shard=1, is_last=False))
    assert not reducer.add(0, _sum(1, shard=1, chunk=2))
    assert reducer.add(0, _sum(1, shard=1, chunk=1))
    assert not reducer.add(0, _sum(1, shard=1, chunk=1))
    assert not reducer.add(1, _sum(1, shard=1, step=4))
    assert not reducer.add(1, _sum(1, shard=0))
    assert not reducer.account(0, _account())
    assert reducer.add(1, _sum(5, shard=1))
    assert reducer.total() == ([Part(0, b"7")], None)


def test_members_at_different_batches_are_an_error() -> None:
    reducer = Reducer(0, 2, 5, Numbers())
    reducer.account(0, _account(batch=4))
    with pytest.raises(FrameError, match=r"different batches in step 5: \{0: 4, 1: 3\}"):
        reducer.account(1, _account(batch=3))


def test_tallies_are_sums_and_largest_values() -> None:
    both = combined([Tally(-3, 0.5, 2, (1.0, 9.0)), Tally(5, 0.25, 1, (2.0, 8.0))])
    assert both == Tally(2, 0.5, 3, (2.0, 9.0))
    with pytest.raises(FrameError, match="different things"):
        combined([Tally(), Tally(changes=(1.0,))])


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_value_that_is_not_finite_is_never_passed_over(place: int) -> None:
    largest = [1.0, 2.0, 3.0]
    largest[place] = math.nan
    assert math.isnan(combined([Tally(largest=each) for each in largest]).largest)
