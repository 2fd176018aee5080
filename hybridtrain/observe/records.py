# SPDX-License-Identifier: BSD-3-Clause
"""What a run records about itself; plain values, safe to store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochRecord:
    """One epoch.

    Attributes
    ----------
    epoch : int
        From 1.
    seconds : float
        Training alone, without evaluation.
    rows : int
        Rows trained.
    lr : float
        Learning rate at the start of the epoch.
    loss : float
        Weighted mean loss of the rows, each taken just before its own step
        (progressive validation; Blum, Kalai and Langford 1999), without penalties.
    validation_loss : float or None
        Mean loss on the validation data after the epoch; None without such data, or
        when Ctrl-C came before it was measured.
    """

    epoch: int
    seconds: float
    rows: int
    lr: float
    loss: float
    validation_loss: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerRecord:
    """Where the rows of one epoch went; `trained + dropped` is the number of rows.

    Every epoch that was begun has one. `history` has those in which rows were trained
    and after which the parameters are finite.

    Attributes
    ----------
    epoch : int
        From 1.
    trained : int
        Rows that entered the parameters exactly once.
    repeated : int
        Rows among these that may in part have entered a second time.
    dropped : int
        Rows that did not enter.
    reason : str
        Why rows were dropped; empty when none were.
    """

    epoch: int
    trained: int
    repeated: int
    dropped: int
    reason: str


@dataclass(frozen=True, slots=True)
class Staleness:
    """A histogram of staleness: rows of other workers between a view and its merge.

    Attributes
    ----------
    counts : tuple of int
        Bucket 0 counts zeros, bucket k values in 2**(k-1) .. 2**k - 1.
    total : int
        Sum of all values, rows.
    max : int
        Largest value, rows.
    source : str
        "exchange": every exchange of a hot block; "sampled": one row in 1,000, in
        place; "none": the strategy has none.
    """

    counts: tuple[int, ...]
    total: int
    max: int
    source: str

    @property
    def mean(self) -> float:
        """Mean staleness in rows; 0 without observations."""
        observations = sum(self.counts)
        return self.total / observations if observations else 0.0

    def quantile(self, q: float) -> int:
        """Return an upper bound of the q-quantile, rows.

        Parameters
        ----------
        q : float
            In 0 .. 1.

        Returns
        -------
        int
            The upper end of the bucket that holds the quantile, at most `max`.

        Raises
        ------
        ValueError
            When q is outside 0 .. 1.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"q must be in 0 .. 1, got {q}")
        wanted = q * sum(self.counts)
        seen = 0
        for bucket, count in enumerate(self.counts):
            seen += count
            if seen >= wanted and count:
                return min((1 << bucket) - 1, self.max)
        return self.max

    @classmethod
    def add(cls, parts: Sequence[tuple[list[int], int, int]], source: str) -> Staleness:
        """Add up histograms of several workers, each (counts, total, largest)."""
        counts = tuple(sum(column) for column in zip(*(part[0] for part in parts), strict=True))
        return cls(counts, sum(p[1] for p in parts), max(p[2] for p in parts), source)


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerReport:
    """One worker's share of a run.

    Attributes
    ----------
    worker : int
        From 0.
    rows : int
        Rows trained in all epochs.
    computing, merging, waiting : float
        Seconds in gradients and steps; in merges with the shared parameters;
        for others.
    merges : int
        Passes over the hot blocks, or steps of the round that it took part in.
    skipped : int
        Hot blocks left to a later pass because another worker held them.
    repeated : int
        Tasks and blocks of the round that it computed again, because another
        worker had them out for too long; only one of the two counted.
    ended : str
        "finished", "interrupted" or "diverged", or what ended the run before its
        last epoch: "callback", "patience" or "seconds".
    """

    worker: int
    rows: int
    computing: float
    merging: float
    waiting: float
    merges: int
    skipped: int
    repeated: int
    ended: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RunReport:
    """What a run's workers measured, for the result.

    Attributes
    ----------
    measurements : dict
        What is added to the result's settings.
    staleness, staleness_in_place : Staleness
        As in the result.
    workers : tuple of WorkerReport
    """

    measurements: dict[str, Any]
    staleness: Staleness
    staleness_in_place: Staleness | None
    workers: tuple[WorkerReport, ...]
