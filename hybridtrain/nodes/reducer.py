# SPDX-License-Identifier: BSD-3-Clause
"""The sums of one shard, of one view: each step is added up once, from all members."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from hybridtrain.nodes.messages import Account, Outcome, Part, Sum, Tally, Total
from hybridtrain.transport.frame import Buffer, FrameError


class Sums(Protocol):
    """Where sums are added up: exact arithmetic in a run, sets of rows in the simulator."""

    def start(self, shard: int, n_shards: int) -> None:
        """Forget everything, and expect sums of this shard, one of so many."""

    def add(self, chunk: int, encoding: int, body: Buffer) -> None:
        """Add one member's sums of a stretch of the shard's coordinates."""

    def total(self) -> Sequence[Part]:
        """Return the sums of all members, at least one part."""


def combined(tallies: Sequence[Tally]) -> Tally:
    """Return what a step amounts to: sums of loss and rows, the largest of all else.

    Raises
    ------
    FrameError
        When the members count changes of different things.
    """
    if len({len(tally.changes) for tally in tallies}) > 1:
        raise FrameError("members", "members count changes of different things")
    changes = zip(*(tally.changes for tally in tallies), strict=True)
    return Tally(
        loss=sum(tally.loss for tally in tallies),
        largest=_largest([tally.largest for tally in tallies]),
        rows=sum(tally.rows for tally in tallies),
        changes=tuple(_largest(each) for each in changes),
        stops=max(tally.stops for tally in tallies),
        notes=tuple(note for tally in tallies for note in tally.notes),
    )


def _largest(values: Sequence[float]) -> float:
    """Return the largest value, or NaN if there is one: `max` may pass over it."""
    unordered = [value for value in values if value != value]  # noqa: PLR0124 - NaN
    return unordered[0] if unordered else max(values)


class Reducer:
    """Add up the sums of one shard of one step after the other, under one view.

    Sums are added as they come. A member sends those of a step only after it has all totals of the
    step before, so nothing comes too early; what comes twice or late is refused.

    Parameters
    ----------
    shard : int
        Which; the reducer of shard 0 also combines the tallies.
    n_members : int
        Of the view.
    step : int
        The first step of the view.
    sums : Sums
        Where they are added up.
    """

    def __init__(self, shard: int, n_members: int, step: int, sums: Sums) -> None:
        self.shard = shard
        self.step = step
        self._sums = sums
        self._n_members = n_members
        self._begin()

    def _begin(self) -> None:
        self._n_chunks = [0] * self._n_members
        self._missing = set(range(self._n_members))
        self._accounts: dict[int, Account] = {}
        self._sums.start(self.shard, self._n_members)

    def add(self, place: int, message: Sum) -> bool:
        """Add a part of a member's sums, and return whether it was the next one."""
        is_next = (message.shard, message.step) == (self.shard, self.step)
        if not is_next or place not in self._missing or message.chunk != self._n_chunks[place]:
            return False
        self._sums.add(message.chunk, message.encoding, message.body)
        self._n_chunks[place] += 1
        if message.is_last:
            self._missing.remove(place)
        return True

    def account(self, place: int, account: Account) -> bool:
        """Take a member's tally, and return whether it was of this step.

        Raises
        ------
        FrameError
            When two members are at different batches.
        """
        if self.shard != 0 or account.step != self.step:
            return False
        self._accounts[place] = account
        if len({each.batch for each in self._accounts.values()}) > 1:
            batches = {each: self._accounts[each].batch for each in sorted(self._accounts)}
            raise FrameError(
                "members",
                f"members are at different batches in step {self.step}: {batches}",
            )
        return True

    @property
    def missing(self) -> set[int]:
        """Return the places of the members whose sums are not all here."""
        if self.shard == 0:
            return self._missing.union(set(range(self._n_members)).difference(self._accounts))
        return set(self._missing)

    def total(self) -> tuple[Sequence[Part], Outcome | None]:
        """Return the sums of all members, and at shard 0 the outcome; then expect the next step."""
        parts, outcome = self._sums.total(), None
        if self.shard == 0:
            account = self._accounts[0]
            outcome = Outcome(
                ballot=account.ballot,
                step=self.step,
                batch=account.batch,
                tally=combined([self._accounts[place].tally for place in range(self._n_members)]),
            )
        self.step += 1
        self._begin()
        return parts, outcome


class Totals:
    """Gather what the reducers of a view say of one step.

    Attributes
    ----------
    outcome : Outcome or None
        Once the reducer of shard 0 has said it.
    shards : list of list of Part
        The totals that are here.
    """

    def __init__(self, n_shards: int) -> None:
        self.outcome: Outcome | None = None
        self.shards: list[list[Part]] = [[] for _ in range(n_shards)]
        self._missing = set(range(n_shards))

    def take(self, shard: int, message: Outcome | Total) -> bool:
        """Take what a shard's reducer says, and return whether it was the next word of it."""
        if isinstance(message, Outcome):
            self.outcome = message
            return True
        if shard not in self._missing or message.chunk != len(self.shards[shard]):
            return False
        self.shards[shard].append(Part(message.encoding, message.body))
        if message.is_last:
            self._missing.remove(shard)
        return True

    @property
    def missing(self) -> set[int]:
        """Return the shards whose reducers have not said all."""
        return self._missing if self.outcome is not None else self._missing.union({0})
