# SPDX-License-Identifier: BSD-3-Clause
"""Who trains which chunks of an epoch of the stream: the same at all nodes, merge after merge.

A chunk is leased to one member at a time. Each merge says what its members have done; all members
read the same notes in the same order, and so agree without a further word. Whatever a member held
that is none any more can be leased again: its rows are in nobody's parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain.nodes.notes import Note, Span
from hybridtrain.run.snapshot import Snapshot

LEASES = "leases"  # in a snapshot's job
_PART = 4  # of what is left, so much is leased at once, or what a member needs


class Leases:
    """The chunks of the open epoch, after a number of merges.

    Parameters
    ----------
    n_chunks : int
        Of an epoch.

    Attributes
    ----------
    merges : int
        Of the run so far.
    epoch : int
        The open one, or the last that was; 0: none yet.
    done : uint8 array (n_chunks,)
        1 for each chunk whose rows are in the parameters that all share.
    held : dict of list of (int, int)
        Spans of chunks that are leased, by member.
    loss, repeated : float, int
        Of the rows that are done, in this epoch.
    bad_lr : float or None
        The rate at which a loss was not finite.
    is_changed : bool
        Whether rows of a mapped file were not what they had been.
    """

    def __init__(self, n_chunks: int) -> None:
        self.merges = self.epoch = 0
        self.done: npt.NDArray[np.uint8] = np.zeros(n_chunks, np.uint8)
        self.held: dict[int, list[Span]] = {}
        self.loss, self.repeated = 0.0, 0
        self.bad_lr: float | None = None
        self.is_changed = False
        self._pool: list[Span] = [(0, n_chunks)]
        self._needs: list[tuple[int, int]] = []  # of the members of the last merge

    def begin(self) -> None:
        """Open an epoch, none of whose chunks is done."""
        merges, epoch, needs = self.merges, self.epoch, self._needs
        self.__init__(len(self.done))  # type: ignore[misc]
        self.merges, self.epoch, self._needs = merges, epoch + 1, needs
        self.held = {who: [] for who, _ in needs}
        self._lease()

    @property
    def is_over(self) -> bool:
        """Whether all chunks are done, or nobody can go on."""
        return self.bad_lr is not None or bool(self.done.all())

    @property
    def has_more(self) -> bool:
        """Whether there are chunks that nobody holds."""
        return bool(self._pool)

    def settle(self, notes: Sequence[Note]) -> None:
        """Note a merge of these members, and lease them what they need.

        Raises
        ------
        ValueError
            When a member speaks of chunks that it does not hold.
        """
        self.merges += 1
        members = {note.who for note in notes}
        for who in [who for who in self.held if who not in members]:
            self._pool += self.held.pop(who)
        for note in notes:
            self._take(note)
        self._pool = joined(self._pool)
        self._needs = [(note.who, max(note.need, 1)) for note in notes]
        self._lease()

    def _take(self, note: Note) -> None:
        held = self.held.setdefault(note.who, [])
        for first, last in note.done:
            held = without(held, first, last)
            self.done[first:last] = 1
        for first, last in note.back:
            held = without(held, first, last)
            self._pool.append((first, last))
        self.held[note.who] = held
        self.loss += note.loss
        self.repeated += note.repeated
        self.is_changed |= note.is_changed
        if note.bad_lr is not None and self.bad_lr is None:
            self.bad_lr = note.bad_lr

    def _lease(self) -> None:
        """Lease each member what it needs, or a part of its fair share of what is left."""
        n_left, needs = count(self._pool), sum(need for _, need in self._needs)
        for who, need in self._needs:
            held = self.held[who]
            fair = -(-n_left * need // needs)
            n = min(fair, max(need - count(held), -(-fair // _PART)))
            taken, self._pool = cut(self._pool, n)
            self.held[who] = joined([*held, *taken])

    # ---- of a node that comes, and of a saved run ------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Return all that is not in the saved chunks."""
        return {
            "merges": self.merges,
            "needs": self._needs,
            "held": [[who, spans] for who, spans in self.held.items()],
            "bad_lr": self.bad_lr,
            "is_changed": self.is_changed,
        }

    def recall(self, told: dict[str, Any] | None, done: npt.NDArray[np.uint8]) -> None:
        """Go on from what `to_json` gave, and the chunks that were done.

        None: of a run that was saved when no node held a chunk.
        """
        told = told or Leases(0).to_json()
        self.merges = int(told["merges"])
        self.bad_lr, self.is_changed = told["bad_lr"], bool(told["is_changed"])
        self._needs = [(int(who), int(need)) for who, need in told["needs"]]
        self.held = {int(who): [(int(a), int(b)) for a, b in spans] for who, spans in told["held"]}
        self.done = (done != 0).astype(np.uint8)
        free = self.done == 0
        for spans in self.held.values():
            for first, last in spans:
                free[first:last] = False
        self._pool = spans_of(free)

    @classmethod
    def recalled(cls, snapshot: Snapshot) -> Leases:
        """Return the leases of a state that a node has sent, or of a saved run."""
        leases = cls(len(snapshot.done))
        leases.recall(snapshot.job.get(LEASES), snapshot.done)
        leases.epoch = int(snapshot.numbers["epoch"])
        leases.loss = float(snapshot.numbers["loss"])
        leases.repeated = int(snapshot.numbers["repeated"])
        return leases


# ---- spans --------------------------------------------------------------------------------------


def count(spans: Iterable[Span]) -> int:
    """Return how many chunks spans have."""
    return sum(last - first for first, last in spans)


def joined(spans: Iterable[Span]) -> list[Span]:
    """Return the spans in order; those that touch are one."""
    result: list[Span] = []
    for first, last in sorted(spans):
        if first == last:
            continue
        if result and result[-1][1] == first:
            result[-1] = result[-1][0], last
        else:
            result.append((first, last))
    return result


def without(spans: Sequence[Span], first: int, last: int) -> list[Span]:
    """Return spans without the chunks first .. last-1.

    Raises
    ------
    ValueError
        When they do not have them all.
    """
    result: list[Span] = []
    n_found = 0
    for a, b in spans:
        lower, upper = max(a, first), min(b, last)
        if lower >= upper:
            result.append((a, b))
            continue
        n_found += upper - lower
        result += [part for part in ((a, lower), (upper, b)) if part[0] < part[1]]
    if n_found != last - first:
        raise ValueError(f"the chunks {first} .. {last - 1} are not all leased to who names them")
    return result


def cut(spans: Sequence[Span], n: int) -> tuple[list[Span], list[Span]]:
    """Return the first n chunks of spans, or fewer, and the rest."""
    taken: list[Span] = []
    rest: list[Span] = []
    for first, last in spans:
        middle = min(last, first + n)
        n -= middle - first
        taken += [(first, middle)] if first < middle else []
        rest += [(middle, last)] if middle < last else []
    return taken, rest


def spans_of(marks: npt.NDArray[np.bool_]) -> list[Span]:
    """Return the spans of the chunks that are marked."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marks, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
