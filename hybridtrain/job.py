# SPDX-License-Identifier: BSD-3-Clause
"""One run: worker threads, epochs, records, and what happens when it ends early."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain._core.rows import Rows
from hybridtrain._core.stream import Stream
from hybridtrain.data import Floats
from hybridtrain.errors import DivergedError, TrainingInterrupted
from hybridtrain.plan import LRS_PER_EPOCH, Plan
from hybridtrain.result import Result, margins, mean_loss
from hybridtrain.telemetry import EpochRecord, LedgerRecord, Staleness, WorkerReport

logger = logging.getLogger(__name__)
_GLANCE_SECONDS = 0.2  # between two looks at the clock while workers train
_QUIET_SECONDS = 1.0  # runs shorter than this show no progress


def forced_isa() -> str | None:
    """Return the instruction set that HYBRIDTRAIN_ISA names, for tests; None: the best."""
    return os.environ.get("HYBRIDTRAIN_ISA") or None


@dataclass(frozen=True, slots=True)
class Validation:
    """Rows to measure the loss on after each epoch."""

    rows: Rows
    targets: Floats
    weights: Floats | None


class Progress:
    """Epochs done, on a terminal as a bar, else as lines; silent for the first second."""

    def __init__(self, show: bool | None, epochs: int) -> None:
        self._show = show is not False
        self._epochs = epochs
        self._started = time.monotonic()
        self._bar: Any = None
        self._is_terminal = sys.stderr.isatty()

    def tick(self, record: EpochRecord | None) -> None:
        """Show the time passing, and an epoch that ended."""
        if not self._show or time.monotonic() - self._started < _QUIET_SECONDS:
            return
        if self._is_terminal:
            self._tick_bar(record)
        elif record is not None:
            print(_line(record, self._epochs), file=sys.stderr, flush=True)

    def _tick_bar(self, record: EpochRecord | None) -> None:
        if self._bar is None:
            from tqdm import tqdm  # noqa: PLC0415 - short runs do without

            self._bar = tqdm(total=self._epochs, unit="epoch", leave=False)
        if record is not None:
            self._bar.n = record.epoch
            loss = record.loss if record.validation_loss is None else record.validation_loss
            self._bar.set_postfix(loss=f"{loss:.5f}", refresh=False)
        self._bar.refresh()

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()


def _line(record: EpochRecord, epochs: int) -> str:
    text = f"epoch {record.epoch}/{epochs}: {record.seconds:.2f} s, loss {record.loss:.5f}"
    if record.validation_loss is not None:
        text += f", validation loss {record.validation_loss:.5f}"
    return text


@contextmanager
def _workers(stream: Stream) -> Iterator[None]:
    """Run one thread for each worker; all have left at the end."""
    threads = [
        threading.Thread(target=stream.work, args=(w,), name=f"hybridtrain-{w}", daemon=True)
        for w in range(stream.n_workers)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stream.leave()
        for thread in threads:
            thread.join()


@dataclass(slots=True)
class Job:
    """The run of a plan, by the thread that called train.

    Workers train an epoch; all rest; the parameters are read and measured; the
    next epoch starts.
    """

    plan: Plan
    classes: npt.NDArray[Any] | None
    epochs: int
    validation: Validation | None
    progress: Progress
    _history: list[EpochRecord] = field(default_factory=list)
    _ledger: list[LedgerRecord] = field(default_factory=list)
    _reports: list[dict[str, Any]] = field(default_factory=list)
    _rows: list[int] = field(default_factory=list)  # of each worker
    _good: tuple[Floats, float] | None = None  # coef and intercept, all finite
    _exchange_seconds: float = 0.0

    def run(self, coef: Floats, intercept: float) -> Result:
        """Train from these parameters.

        Returns
        -------
        Result

        Raises
        ------
        DivergedError, TrainingInterrupted
            With the result up to then.
        """
        self._good = coef, intercept
        self._rows = [0] * self.plan.workers
        if self.plan.settings["workers_reason"]:
            logger.warning("one worker trains: %s", self.plan.settings["workers_reason"])
        stream = self.plan.open()
        try:
            stream.load(self.plan.to_trained(coef, intercept))
            self._exchange_seconds = stream.measure_exchange()
            with _workers(stream):
                for epoch in range(1, self.epochs + 1):
                    self._run_epoch(stream, epoch)
        finally:
            self.progress.close()
            stream.close()
        return self._result("finished")

    def _run_epoch(self, stream: Stream, epoch: int) -> None:
        started = time.perf_counter()
        interrupted = False
        stream.begin(epoch)
        while True:
            try:
                if stream.await_rest(_GLANCE_SECONDS):
                    break
                self.progress.tick(None)
            except KeyboardInterrupt:  # the workers end their chunks; a second one changes nothing
                interrupted = True
                stream.stop_epoch()
        seconds = time.perf_counter() - started
        self._reports = [stream.report(w) for w in range(self.plan.workers)]
        trained = [int(report["trained"]) for report in self._reports]
        self._rows = [a + b for a, b in zip(self._rows, trained, strict=True)]
        parameters = np.empty(stream.n_parameters, np.float32)
        stream.store(parameters)
        diverged = next((r for r in self._reports if r["diverged"]), None)
        if diverged is not None or not np.isfinite(parameters).all():
            self._note_rows(epoch, sum(trained), "diverged")
            self._raise_diverged(epoch, diverged)
        self._good = self.plan.from_trained(parameters)
        self._note_rows(epoch, sum(trained), "interrupted" if interrupted else "")
        if sum(trained):
            self._note_epoch(epoch, seconds, sum(trained))
        if interrupted:
            raise TrainingInterrupted(
                f"interrupted in epoch {epoch} of {self.epochs}; .result holds what was trained",
                result=self._result("interrupted"),
            )

    def _note_rows(self, epoch: int, trained: int, reason: str) -> None:
        dropped = self.plan.rows.shape[0] - trained
        self._ledger.append(
            LedgerRecord(
                epoch=epoch,
                trained=trained,
                repeated=0,
                dropped=dropped,
                reason=reason if dropped else "",
            )
        )

    def _note_epoch(self, epoch: int, seconds: float, trained: int) -> None:
        assert self._good is not None
        coef, intercept = self._good
        valid = self.validation
        valid_loss = None
        if valid is not None:
            z = margins(valid.rows, coef, intercept, threads=self.plan.workers)
            valid_loss = mean_loss(self.plan.model, z, valid.targets, valid.weights)
        record = EpochRecord(
            epoch=epoch,
            seconds=seconds,
            rows=trained,
            lr=float(self.plan.lrs[(epoch - 1) * LRS_PER_EPOCH]),
            loss=sum(float(report["loss"]) for report in self._reports) / trained,
            validation_loss=valid_loss,
        )
        self._history.append(record)
        self.progress.tick(record)
        logger.info(_line(record, self.epochs))

    def _raise_diverged(self, epoch: int, report: dict[str, Any] | None) -> None:
        first = float(self.plan.lrs[(epoch - 1) * LRS_PER_EPOCH])
        lr = first if report is None else float(report["bad_lr"])
        raise DivergedError(
            f"the loss became infinite or NaN in epoch {epoch} at learning rate {lr:.6g}; "
            "try a smaller lr, or scale the features; .result holds the last good parameters",
            result=self._result("diverged"),
            epoch=epoch,
            lr=lr,
        )

    def _result(self, ended: str) -> Result:
        assert self._good is not None
        coef, intercept = self._good
        plan = self.plan
        exchanged = Staleness.add([r["merged"] for r in self._reports], "exchange")
        sampled = Staleness.add([r["sampled"] for r in self._reports], "sampled")
        has_cold = plan.n_hot <= plan.rows.shape[1]
        settings = dict(plan.settings)
        if plan.n_hot:
            settings["every"] = None  # one worker exchanges at the end of an epoch
            if plan.workers > 1 or plan.every:
                settings["every"] = [int(r["every"]) for r in self._reports]
            settings["exchange_seconds"] = self._exchange_seconds
        return Result(
            model=plan.model,
            params={"coef": coef, "intercept": intercept},
            classes=self.classes,
            history=tuple(self._history),
            settings=settings,
            seed=plan.seed,
            ledger=tuple(self._ledger),
            staleness=exchanged if plan.n_hot else sampled,
            staleness_in_place=sampled if has_cold else None,
            workers=tuple(
                WorkerReport(
                    worker=w,
                    rows=self._rows[w],
                    computing=report["compute"],
                    merging=report["exchange"],
                    waiting=report["wait"],
                    exchanges=report["exchanges"],
                    skipped=report["skipped"],
                    ended=ended,
                )
                for w, report in enumerate(self._reports)
            ),
        )
