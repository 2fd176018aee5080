# SPDX-License-Identifier: BSD-3-Clause
"""Records of a run; plain values, safe to store."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

_SOURCES = ("merge", "exchange", "sampled", "none")  # the best measurement first


@dataclass(frozen=True, slots=True)
class Staleness:
    """Count staleness in a histogram: rows of other workers between a view and its merge.

    Attributes
    ----------
    counts : tuple of int
        Bucket 0 counts zeros. Bucket k counts values in 2**(k-1) .. 2**k - 1.
    total : int
        Sum of all values, rows.
    max : int
        Largest value, rows.
    source : str
        "exchange": measured at every exchange of a hot block; "sampled": measured on one
        row in 1,000, in place; "merge": counted at every merge of a replica (`LocalSGD`);
        "none": the strategy has no staleness.
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
    def add(cls, parts: Sequence[Staleness]) -> Staleness:
        """Add up histograms of one source, such as those of several workers."""
        columns = zip_longest(*(part.counts for part in parts), fillvalue=0)
        total, most = sum(p.total for p in parts), max(p.max for p in parts)
        return cls(tuple(map(sum, columns)), total, most, parts[0].source)

    @classmethod
    def join(cls, parts: Sequence[Staleness]) -> Staleness:
        """Add up the histograms of parts of a run that were measured in the best way of all."""
        source = next(s for s in _SOURCES if any(part.source == s for part in parts))
        return cls.add([part for part in parts if part.source == source])


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochRecord:
    """Record one epoch; callbacks receive it.

    Attributes
    ----------
    epoch : int
        From 1.
    seconds : float
        Time of training, without evaluation.
    rows : int
        Rows trained.
    lr : float
        Learning rate at the start of the epoch.
    loss : float
        Weighted mean loss of the rows, each taken just before its own step
        (progressive validation; Blum, Kalai and Langford 1999), without penalties.
    validation_loss : float or None
        Mean loss on the validation data after the epoch; None without validation data,
        or when Ctrl-C came before the loss was measured.
    staleness : Staleness or None
        Of the merges, or rows, of the epoch, as `Result.staleness` has it of all epochs; None:
        nothing is stale.

    Notes
    -----
    **Thread safety.** Any number of threads may read a record at any time: it never
    changes.
    """

    epoch: int
    seconds: float
    rows: int
    lr: float
    loss: float
    validation_loss: float | None
    staleness: Staleness | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerRecord:
    """Record where the rows of one epoch went; `trained + dropped` is the number of rows.

    Every epoch that was begun has a ledger record. `history` has only the epochs in which
    rows were trained and after which the parameters are finite.

    Attributes
    ----------
    epoch : int
        From 1.
    trained : int
        Rows that entered the parameters exactly once.
    repeated : int
        Of the trained rows, those whose update may have been applied twice in part.
    dropped : int
        Rows that did not enter the parameters.
    reason : str
        Why rows were dropped; empty when none were.
    """

    epoch: int
    trained: int
    repeated: int
    dropped: int
    reason: str


_OF_WORK = (
    "rows",
    "computing",
    "merging",
    "waiting",
    "merges",
    "skipped",
    "repeated",
    "lost",
)  # of a WorkerReport


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerReport:
    """Report one worker's share of a run.

    Attributes
    ----------
    worker : int
        From 0.
    rows : int
        Rows trained in all epochs.
    computing, merging, waiting : float
        Seconds spent on gradients and steps; on merges with the shared parameters; on
        waiting for other workers.
    merges : int
        Passes over the hot blocks, or steps of the round that the worker took part in.
    skipped : int
        Hot blocks left to a later pass because another worker held them.
    ahead : int
        Of `Async`: the most merges that the worker was ahead of the slowest living one when one
        of its merges entered. With a bound on the staleness it is never above the bound.
    repeated : int
        Tasks and blocks of the round that the worker computed again because another
        worker had held them for too long. Only one of the two results counted.
    ended : str
        "finished", "interrupted" or "diverged". If the run ended before its last epoch
        for another reason: "callback", "patience" or "seconds". In a replay, also "exception"
        and "until".
    deaths : tuple of str
        How processes of this worker died, in order: "SIGKILL", "SIGSEGV", "ended with status 1".
        Each was replaced, and others did its work.
    lost : float
        Seconds from these deaths until the next process of this worker had done work, or
        the run was over. The others worked meanwhile.
    staleness : Staleness or None
        Of this worker's merges, or rows, as `Result.staleness` has it of all workers; None:
        nothing is stale.
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
    deaths: tuple[str, ...] = ()
    lost: float = 0.0
    ahead: int = 0
    staleness: Staleness | None = None

    @classmethod
    def join(cls, parts: Sequence[WorkerReport]) -> WorkerReport:
        """Add up what one worker did in parts of a run."""
        sums: dict[str, Any] = {
            name: sum(getattr(part, name) for part in parts) for name in _OF_WORK
        }
        deaths = tuple(cause for part in parts for cause in part.deaths)
        stale = [part.staleness for part in parts if part.staleness is not None]
        return cls(
            worker=parts[0].worker,
            ended=parts[-1].ended,
            deaths=deaths,
            ahead=max(part.ahead for part in parts),
            staleness=Staleness.join(stale) if stale else None,
            **sums,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeReport:
    """Report one node's share of a run on several, as it last said; a lost one up to a second ago.

    Attributes
    ----------
    name : str
        For users; a process that was started again has the same name.
    address : str
        Where the others reached it: "tcp://10.0.0.5:40123".
    incarnation : str
        16 hex digits, another one for each process.
    workers : int
    steps : int
        Steps that it took part in and that count.
    rows : int
        Rows of these steps that its own workers trained.
    bytes_sent, bytes_received : int
        Through its links to the driver and all nodes, headers of frames included.
    bytes_again : int
        Of those sent, the ones that were sent before: a connection broke, or a frame was lost.
    computing, merging, waiting : float
        Seconds in which its workers trained rows and changed parameters; in which it encoded
        sums, added those of others and read totals, in part while its workers computed; in which
        it waited for other nodes, or for the driver.
    ended : str
        "finished", or what became of it: "killed (signal 9)", "silent".

    Notes
    -----
    **Thread safety.** Any number of threads may read a report at any time: it never changes.
    """

    name: str
    address: str
    incarnation: str
    workers: int
    steps: int
    rows: int
    bytes_sent: int
    bytes_received: int
    bytes_again: int
    computing: float
    merging: float
    waiting: float
    ended: str

    @property
    def bytes_per_step(self) -> float:
        """Bytes that it sent for each of its steps; NaN without any."""
        return self.bytes_sent / self.steps if self.steps else math.nan

    @property
    def seconds_per_step(self) -> float:
        """Seconds of computing and waiting for each of its steps; NaN without any."""
        return (self.computing + self.waiting) / self.steps if self.steps else math.nan


@dataclass(frozen=True, kw_only=True, slots=True)
class RunReport:
    """Hold the measurements of a run's workers, for the result.

    Attributes
    ----------
    measurements : dict
        The entries to add to the result's settings.
    staleness, staleness_in_place : Staleness
        As in the result.
    workers : tuple of WorkerReport
    """

    measurements: dict[str, Any]
    staleness: Staleness
    staleness_in_place: Staleness | None
    workers: tuple[WorkerReport, ...]

    @classmethod
    def join(cls, parts: Sequence[RunReport]) -> RunReport:
        """Add up the reports of the parts of a run; of a measurement, the last part's counts."""
        in_place = [p.staleness_in_place for p in parts if p.staleness_in_place is not None]
        by_worker: dict[int, list[WorkerReport]] = {}
        for each in (worker for part in parts for worker in part.workers):
            by_worker.setdefault(each.worker, []).append(each)
        return cls(
            measurements={k: v for part in parts for k, v in part.measurements.items()},
            staleness=Staleness.join([part.staleness for part in parts]),
            staleness_in_place=Staleness.join(in_place) if in_place else None,
            workers=tuple(WorkerReport.join(by_worker[w]) for w in sorted(by_worker)),
        )
