# SPDX-License-Identifier: BSD-3-Clause
"""The chunks of a stream that are leased to this node, and how fast its workers train them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hybridtrain._core.leased import AWAY, DONE, OPEN, TAKEN, LeasedStream
from hybridtrain.nodes.leases import spans_of
from hybridtrain.nodes.notes import Span

States = npt.NDArray[np.uint8]  # what each chunk is: OPEN, DONE or AWAY


class News(NamedTuple):
    """What the workers have done since `forget`; fields are those of `Note`."""

    rows: int
    loss: float
    repeated: int
    bad_lr: float | None
    is_changed: bool


class Chunks:
    """Open chunks for the workers, and count what they do; all calls while they rest.

    Parameters
    ----------
    run : LeasedStream

    Attributes
    ----------
    pace : float
        Chunks a second of the workers' time; 0: not known yet.
    """

    def __init__(self, run: LeasedStream) -> None:
        self.pace = 0.0
        self._run = run
        self._woken_at = 0.0  # when the workers were; 0: they rest
        self._seconds = 0.0  # for which they have worked since `measure`
        self.forget()

    def forget(self) -> None:
        """Count what the workers do from now on."""
        self._before = self._run.local_report()

    def news(self) -> News:
        """Return what the workers have done since then."""
        now, before = self._run.local_report(), self._before
        return News(
            now["trained"] - before["trained"],
            now["loss"] - before["loss"],
            now["repeated"] - before["repeated"],
            now["bad_lr"],
            now["changed"],
        )

    def open(self, held: Sequence[Span]) -> None:
        """Let the workers have chunks of a lease that they do not have yet."""
        self._set(self._spans(held, AWAY), OPEN)

    def set_aside(self, spans: Sequence[Span]) -> None:
        """Take chunks out of the workers' hands."""
        self._set(spans, AWAY)

    def set_done(self, spans: Sequence[Span]) -> None:
        """Note that the values have the rows of chunks."""
        self._set(spans, DONE)

    def states(self) -> States:
        """Return what all chunks are."""
        states = np.empty(self._run.n_chunks(), np.uint8)
        self._run.chunks(0, states)
        return states

    def restore(self, states: States) -> None:
        """Let all chunks be what they were."""
        for state in (OPEN, DONE, AWAY):
            self._set(spans_of(states == state), state)

    def _set(self, spans: Sequence[Span], state: int) -> None:
        for first, last in spans:
            self._run.set_chunks(first, last, state)

    def wake(self, held: Sequence[Span]) -> None:
        """Let the workers train what is open of a lease."""
        first = min((a for a, _ in held), default=0)
        self._run.offer(first, max((b for _, b in held), default=0))
        self._woken_at = time.monotonic()
        self._run.wake()

    def rest(self) -> None:
        """Note that the workers rest."""
        if self._woken_at:
            self._seconds += time.monotonic() - self._woken_at
            self._woken_at = 0.0

    def measure(self, n_done: int) -> None:
        """Measure the pace at which so many chunks were done, since the last time."""
        if self._seconds > 0.0 and n_done:
            self.pace = n_done / self._seconds
        self._seconds = 0.0

    def done(self, held: Sequence[Span]) -> list[Span]:
        """Return the chunks of a lease that are done."""
        return self._spans(held, DONE)

    def left(self, held: Sequence[Span]) -> list[Span]:
        """Return the chunks of a lease that nobody has begun."""
        return self._spans(held, OPEN)

    def has_work(self, held: Sequence[Span]) -> bool:
        """Return whether the workers have something to do: a dead one may have left a chunk."""
        return bool(self.left(held) or self._spans(held, TAKEN))

    def _spans(self, held: Sequence[Span], state: int) -> list[Span]:
        found = []
        for first, last in held:
            states = np.empty(last - first, np.uint8)
            self._run.chunks(first, states)
            found += [(first + a, first + b) for a, b in spans_of(states == state)]
        return found
