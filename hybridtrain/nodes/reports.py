# SPDX-License-Identifier: BSD-3-Clause
"""What a node has done so far: it measures itself, and tells the driver with each beat."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

from msgspec import Meta

from hybridtrain.nodes.meeting import Word
from hybridtrain.nodes.messages import Count, Part
from hybridtrain.nodes.reducer import Sums
from hybridtrain.transport.frame import Buffer
from hybridtrain.transport.link import Traffic

Seconds = Annotated[float, Meta(ge=0)]


class Report(Word, frozen=True):
    """Node to driver: what it has done so far; fields are those of `NodeReport`."""

    kind = 44
    workers: Count
    steps: Count
    rows: Count
    bytes_sent: Count
    bytes_received: Count
    bytes_again: Count
    computing: Seconds
    merging: Seconds
    waiting: Seconds


NO_REPORT = Report(
    workers=0,
    steps=0,
    rows=0,
    bytes_sent=0,
    bytes_received=0,
    bytes_again=0,
    computing=0.0,
    merging=0.0,
    waiting=0.0,
)


class Work:
    """Measure where the time of a node goes, at three moments of each step.

    Attributes
    ----------
    rows_of_step : int
        Rows of the step in hand that this node has trained.

    Notes
    -----
    **Thread safety.** The loop's thread makes all calls, but for `begin` and `wait`, in the job's
    thread while no worker trains.
    """

    def __init__(self) -> None:
        self.rows_of_step = 0
        self._workers = self._steps = self._rows = 0
        self._computing = self._merging = self._waiting = 0.0  # seconds
        self._merged_before = 0.0  # seconds of merging when the step in hand came to its exchange
        self._mark = 0.0  # when the workers began the step, or ended it

    @property
    def rate(self) -> float:
        """Rows a second of the workers' time so far; 0: not known yet."""
        return self._rows / self._computing if self._computing > 0.0 else 0.0

    def begin(self, workers: int) -> None:
        """Note the number of workers, which begin now."""
        self._workers = workers
        self._mark = time.perf_counter()

    def wait(self, seconds: float) -> None:
        """Note that the job has waited for the driver, between two steps."""
        self._waiting += seconds
        self._mark += seconds

    def rest(self) -> None:
        """Note that the workers have done all rows of the step in hand."""
        self._computing += self._since_mark()
        self._merged_before = self._merging

    def go_on(self, *, is_step: bool) -> None:
        """Note that the workers go on; is_step: with a step that counts behind them."""
        merging = self._merging - self._merged_before
        self._waiting += max(self._since_mark() - merging, 0.0)
        if is_step:
            self._steps += 1
            self._rows += self.rows_of_step

    def _since_mark(self) -> float:
        now = time.perf_counter()
        seconds, self._mark = now - self._mark, now
        return seconds

    @contextmanager
    def merging(self) -> Iterator[None]:
        """Count the time of a block as merging."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._merging += time.perf_counter() - began

    def timing(self, sums: Sums) -> Sums:
        """Return sums whose arithmetic counts as merging."""
        return _Timed(self, sums)

    def report(self, traffic: Iterable[Traffic]) -> Report:
        """Return what was done so far, and what the links have carried."""
        links = list(traffic)
        return Report(
            workers=self._workers,
            steps=self._steps,
            rows=self._rows,
            bytes_sent=sum(each.bytes_sent for each in links),
            bytes_received=sum(each.bytes_received for each in links),
            bytes_again=sum(each.bytes_again for each in links),
            computing=self._computing,
            merging=self._merging,
            waiting=self._waiting,
        )


class _Timed:
    """Do what `Sums` do, and count the time."""

    def __init__(self, work: Work, sums: Sums) -> None:
        self._work = work
        self._sums = sums

    def start(self, shard: int, n_shards: int) -> None:
        with self._work.merging():
            self._sums.start(shard, n_shards)

    def add(self, chunk: int, encoding: int, body: Buffer) -> None:
        with self._work.merging():
            self._sums.add(chunk, encoding, body)

    def total(self) -> Sequence[Part]:
        with self._work.merging():
            return self._sums.total()
