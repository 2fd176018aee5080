# SPDX-License-Identifier: BSD-3-Clause
"""Staleness of a run over its epochs: the core knows that of the open one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hybridtrain.observe.records import Staleness

SOURCES = ("exchange", "sampled")
Pair = tuple[Staleness, ...]  # measured at merges, and sampled in place


def _total(pairs: Sequence[Pair]) -> Pair:
    return tuple(Staleness.add(parts) for parts in zip(*pairs, strict=True))


class StalenessLog:
    """Hold what the core forgets when the next epoch begins, and what a saved run has counted.

    `epoch` has a pair for each worker: that of the open epoch. Calls belong to the supervisor,
    while the workers rest.

    Parameters
    ----------
    n_workers : int
    n_buckets : int
        Of a histogram.
    """

    def __init__(self, n_workers: int, n_buckets: int) -> None:
        self._n_buckets = n_buckets
        self._none = tuple(Staleness((0,) * n_buckets, 0, 0, source) for source in SOURCES)
        self._before = [self._none] * n_workers  # of each worker, before the open epoch
        self._saved_epoch = self._saved = self._none  # of the run that this one goes on from

    def of_workers(self, epoch: Sequence[Pair]) -> list[Pair]:
        """Return the staleness of each worker in this run."""
        return [self.of_worker(worker, pair) for worker, pair in enumerate(epoch)]

    def of_worker(self, worker: int, epoch: Pair) -> Pair:
        """Return the staleness of one worker in this run, from that in the open epoch."""
        return _total([self._before[worker], epoch])

    def of_epoch(self, epoch: Sequence[Pair]) -> Pair:
        """Return that of all workers in the open epoch, before it was saved included."""
        return _total([self._saved_epoch, *epoch])

    def of_run(self, epoch: Sequence[Pair]) -> Pair:
        """Return that of all workers in all epochs, those of the saved run included."""
        return _total([self._saved, *self.of_workers(epoch)])

    def begin(self, of_workers: list[Pair]) -> None:
        """Note what each worker had when the next epoch began."""
        self._before = of_workers
        self._saved_epoch = self._none

    def save(self, epoch: Sequence[Pair]) -> list[list[int]]:
        """Return numbers for `restore`."""
        kept = [*self.of_epoch(epoch), *self.of_run(epoch)]
        return [[*each.counts, each.total, each.max] for each in kept]

    def restore(self, saved: Any) -> None:
        """Go on from what `save` gave.

        Raises
        ------
        ValueError
            When it is something else.
        """
        n = self._n_buckets + 2
        numbers = [number for each in saved for number in each]
        if [len(each) for each in saved] != [n] * (2 * len(SOURCES)) or not all(
            type(number) is int and number >= 0 for number in numbers
        ):
            raise ValueError("four histograms of staleness expected")
        pairs = zip(saved, SOURCES * 2, strict=True)
        found = [Staleness(tuple(h[:-2]), h[-2], h[-1], source) for h, source in pairs]
        self._saved_epoch, self._saved = tuple(found[:2]), tuple(found[2:])
