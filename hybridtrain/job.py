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
from hybridtrain.choices import LRS_PER_EPOCH
from hybridtrain.data import Floats
from hybridtrain.errors import DivergedError, OutOfMemoryError, TrainingInterrupted
from hybridtrain.plan import Plan, Run
from hybridtrain.result import Result, margins, mean_loss
from hybridtrain.telemetry import EpochRecord, LedgerRecord

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
def _workers(run: Run, n_workers: int) -> Iterator[None]:
    """Run one thread for each worker; all have left at the end."""
    threads = [
        threading.Thread(target=run.work, args=(w,), name=f"hybridtrain-{w}", daemon=True)
        for w in range(n_workers)
    ]
    started: list[threading.Thread] = []
    try:
        for thread in threads:
            try:
                thread.start()
            except RuntimeError as error:
                raise OutOfMemoryError(
                    f"the system refused a thread for worker {len(started) + 1} of {n_workers} "
                    f"({error}); choose fewer workers, or raise the limits of threads and of "
                    "memory"
                ) from error
            started.append(thread)
        yield
    finally:
        run.leave()
        for thread in started:
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
    _good: tuple[Floats, float] | None = None  # coef and intercept, all finite

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
        if self.plan.settings["workers_reason"]:
            logger.warning("one worker trains: %s", self.plan.settings["workers_reason"])
        run = self.plan.open()
        try:
            run.load(self.plan.to_trained(coef, intercept))
            with _workers(run, self.plan.workers):
                for epoch in range(1, self.epochs + 1):
                    self._run_epoch(run, epoch)
            return self._result(run, "finished")
        finally:
            self.progress.close()
            run.close()

    def _run_epoch(self, run: Run, epoch: int) -> None:
        started = time.perf_counter()
        interrupted = False
        run.begin(epoch)
        while True:
            try:
                if run.await_rest(_GLANCE_SECONDS):
                    break
                self.progress.tick(None)
            except KeyboardInterrupt:  # a second one changes nothing
                interrupted = True
                run.stop_epoch()
        seconds = time.perf_counter() - started
        report = run.epoch_report()
        trained = int(report["trained"])
        parameters = np.empty(run.n_parameters, np.float32)
        run.store(parameters)
        if report["diverged"] or not np.isfinite(parameters).all():
            self._note_rows(epoch, trained, "diverged")
            self._raise_diverged(run, epoch, report.get("bad_lr"))
        self._good = self.plan.from_trained(parameters)
        self._note_rows(epoch, trained, "interrupted" if interrupted else "")
        if trained:
            self._note_epoch(epoch, seconds, trained, float(report["loss"]))
        if interrupted:
            raise TrainingInterrupted(
                f"interrupted in epoch {epoch} of {self.epochs}; .result holds what was trained",
                result=self._result(run, "interrupted"),
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

    def _note_epoch(self, epoch: int, seconds: float, trained: int, loss: float) -> None:
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
            loss=loss / trained,
            validation_loss=valid_loss,
        )
        self._history.append(record)
        self.progress.tick(record)
        logger.info(_line(record, self.epochs))

    def _raise_diverged(self, run: Run, epoch: int, bad_lr: float | None) -> None:
        lr = float(self.plan.lrs[(epoch - 1) * LRS_PER_EPOCH]) if bad_lr is None else bad_lr
        raise DivergedError(
            f"the loss became infinite or NaN in epoch {epoch} at learning rate {lr:.6g}; "
            "try a smaller lr, or scale the features; .result holds the last good parameters",
            result=self._result(run, "diverged"),
            epoch=epoch,
            lr=lr,
        )

    def _result(self, run: Run, ended: str) -> Result:
        assert self._good is not None
        coef, intercept = self._good
        report = self.plan.report(run, ended)
        return Result(
            model=self.plan.model,
            params={"coef": coef, "intercept": intercept},
            classes=self.classes,
            history=tuple(self._history),
            settings=report.settings,
            seed=self.plan.seed,
            ledger=tuple(self._ledger),
            staleness=report.staleness,
            staleness_in_place=report.staleness_in_place,
            workers=report.workers,
        )
