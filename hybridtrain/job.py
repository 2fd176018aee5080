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

from hybridtrain.budget import Budget
from hybridtrain.choices import LRS_PER_EPOCH
from hybridtrain.data import Floats
from hybridtrain.errors import DivergedError, OutOfMemoryError, TrainingInterrupted
from hybridtrain.plan import Plan, Run
from hybridtrain.problem import Problem
from hybridtrain.result import Result, margins, mean_loss
from hybridtrain.schedules import parse_schedule
from hybridtrain.stopping import Stopping
from hybridtrain.telemetry import EpochRecord, LedgerRecord

logger = logging.getLogger(__name__)
_GLANCE_SECONDS = 0.2  # between two looks at the clock while workers train
_QUIET_SECONDS = 1.0  # runs shorter than this show no progress


def forced_isa() -> str | None:
    """Return the instruction set that HYBRIDTRAIN_ISA names, for tests; None: the best."""
    return os.environ.get("HYBRIDTRAIN_ISA") or None


class Progress:
    """Epochs or seconds done, on a terminal as a bar, else as lines; first silent for a second."""

    def __init__(self, show: bool | None, epochs: int, budget: Budget | None = None) -> None:
        self._show = show is not False
        self._epochs = epochs
        self._budget = budget
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
            print(_line(record, self._epochs, self._budget), file=sys.stderr, flush=True)

    def _tick_bar(self, record: EpochRecord | None) -> None:
        if self._bar is None:
            from tqdm import tqdm  # noqa: PLC0415 - short runs do without

            self._bar = tqdm(total=self._epochs, unit="epoch", leave=False)
            if self._budget is not None:
                self._bar.total = self._budget.seconds
                self._bar.bar_format = "{l_bar}{bar}| {n:.1f}/{total:.1f} s{postfix}"
        if self._budget is not None:
            self._bar.n = self._budget.seconds - max(self._budget.left(), 0.0)
        if record is not None:
            if self._budget is None:
                self._bar.n = record.epoch
            else:
                self._bar.set_description(f"epoch {record.epoch}", refresh=False)
            loss = record.loss if record.validation_loss is None else record.validation_loss
            self._bar.set_postfix(loss=f"{loss:.5f}", refresh=False)
        self._bar.refresh()

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()


def _line(record: EpochRecord, epochs: int, budget: Budget | None) -> str:
    text = f"epoch {record.epoch}/{epochs}"
    if budget is not None:
        spent = budget.seconds - budget.left()
        text = f"epoch {record.epoch}, {spent:.1f} of {budget.seconds:g} s"
    text += f": {record.seconds:.2f} s, loss {record.loss:.5f}"
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
    epochs: int
    validation: Problem | None
    progress: Progress
    stopping: Stopping
    budget: Budget | None = None
    _history: list[EpochRecord] = field(default_factory=list)
    _ledger: list[LedgerRecord] = field(default_factory=list)
    _good: tuple[Floats, Any] | None = None  # coef and intercept, all finite

    def run(self, coef: Floats, intercept: Any) -> Result:
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
                try:
                    ended = self._run_epochs(run)
                except TrainingInterrupted:
                    raise
                except KeyboardInterrupt as error:
                    raise self._stopped(run) from error
            return self._result(run, ended)
        finally:
            self.progress.close()
            run.close()

    def _run_epochs(self, run: Run) -> str:
        """Train and measure until the last epoch, or until something ends the run."""
        self._open_budget()
        reason = self._begins(1)
        epoch = 0
        while not reason and epoch < self.epochs:
            epoch += 1
            reason, record = self._run_epoch(run, epoch)
            try:
                if record is not None:
                    reason = reason or self.stopping.reason(record)
                if epoch == self.epochs:
                    break
                reason = reason or self._begins(epoch + 1)
            except KeyboardInterrupt as error:
                raise self._interrupted(run, epoch) from error
        return reason if epoch < self.epochs or reason == "seconds" else "finished"

    def _begins(self, epoch: int) -> str:
        """Write the rates of the next epoch, unless there is no time for it."""
        if self.budget is None:
            return ""
        if self.budget.is_over():
            return "seconds"
        self.budget.begins(epoch - 1)
        return ""

    def _open_budget(self) -> None:
        if self.budget is None:
            return
        plan, valid = self.plan, self.validation
        self.budget.open(
            lrs=plan.lrs,
            schedule=parse_schedule(plan.optimizer.schedule),
            lr=plan.settings["lr"],
            epochs=self.epochs,
            extra_share=0.0 if valid is None else valid.matrix.n_rows / plan.rows.shape[0],
        )
        if self.budget.is_over():
            logger.warning(
                "nothing is trained: preparing took all of the %g seconds", self.budget.seconds
            )

    def _run_epoch(self, run: Run, epoch: int) -> tuple[str, EpochRecord | None]:
        """Train an epoch, or what can be trained of it, and measure.

        Returns
        -------
        stop : str
            "seconds" when the time ended the epoch early.
        record : EpochRecord or None
            None when nothing was trained.
        """
        lr = float(self.plan.lrs[(epoch - 1) * LRS_PER_EPOCH])
        started = time.perf_counter()
        stop = self._train_epoch(run, epoch)
        seconds = time.perf_counter() - started
        report = run.epoch_report()
        trained = int(report["trained"])
        parameters = np.empty(run.n_parameters, np.float32)
        run.store(parameters)
        if report["diverged"] or not np.isfinite(parameters).all():
            self._note_rows(epoch, trained, "diverged")
            self._raise_diverged(run, epoch, report.get("bad_lr"))
        self._good = self.plan.from_trained(parameters)
        self._note_rows(epoch, trained, stop)
        record = None
        try:
            if trained:
                record = self._note_epoch(epoch, seconds, lr, trained, float(report["loss"]))
        except KeyboardInterrupt:
            stop = "interrupted"
        if stop == "interrupted":
            raise self._interrupted(run, epoch)
        if stop and trained == self.plan.rows.shape[0]:
            stop = ""  # it was over just in time
        return stop, record

    def _train_epoch(self, run: Run, epoch: int) -> str:
        """Let the workers train an epoch.

        They may rest in between for the budget to write rates.

        Returns
        -------
        str
            Why they were asked to end early, "interrupted" or "seconds"; else "".
        """
        n_rows = self.plan.rows.shape[0]
        budget = self.budget
        stop = ""
        run.begin(epoch)
        while True:
            try:
                if not run.await_rest(self._patience(stop)):
                    self.progress.tick(None)
                    if budget is not None and not stop:
                        stop = budget.due()
                        if stop:
                            run.stop_epoch()
                    continue
                report = run.epoch_report()
                is_done = report["diverged"] or report["trained"] >= n_rows
                if budget is not None:
                    budget.rests(epoch - 1 + report["trained"] / n_rows)
                if stop != "pause" or is_done:
                    return "" if stop == "pause" else stop
                assert budget is not None
                budget.begins(epoch - 1 + report["trained"] / n_rows)
                run.resume()
                stop = ""
            except KeyboardInterrupt:  # a second one changes nothing
                stop = "interrupted"
                run.stop_epoch()

    def _patience(self, stop: str) -> float:
        """Return the seconds until the next look at the clock."""
        if self.budget is None or stop:
            return _GLANCE_SECONDS
        return self.budget.wait(_GLANCE_SECONDS)

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

    def _note_epoch(
        self, epoch: int, seconds: float, lr: float, trained: int, loss: float
    ) -> EpochRecord:
        assert self._good is not None
        coef, intercept = self._good
        valid = self.validation
        valid_loss = None
        if valid is not None:
            z = margins(valid.rows(), coef, intercept, valid.n_classes, threads=self.plan.workers)
            valid_loss = mean_loss(valid, z)
        record = EpochRecord(
            epoch=epoch,
            seconds=seconds,
            rows=trained,
            lr=lr,
            loss=loss / trained,
            validation_loss=valid_loss,
        )
        self._history.append(record)
        self.stopping.note(record, self._good)
        self.progress.tick(record)
        logger.info(_line(record, self.epochs, self.budget))
        return record

    def _stopped(self, run: Run) -> TrainingInterrupted:
        """End what Ctrl-C met elsewhere than within an epoch; the result is the last whole one."""
        run.stop_epoch()  # it may have been opened
        while not run.await_rest(_GLANCE_SECONDS):
            pass
        return self._interrupted(run, len(self._ledger) + 1)

    def _interrupted(self, run: Run, epoch: int) -> TrainingInterrupted:
        return TrainingInterrupted(
            f"interrupted in epoch {epoch} of {self.epochs}; .result holds what was trained",
            result=self._result(run, "interrupted"),
        )

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
        coef, intercept = self.stopping.choose(self._good)
        report = self.plan.report(run, ended)
        return Result(
            model=self.plan.problem.model,
            params={"coef": coef, "intercept": intercept},
            classes=self.plan.problem.classes,
            history=tuple(self._history),
            settings={
                **report.settings,
                "stopped": None if ended == "finished" else ended,
                "best_epoch": self.stopping.best_epoch,
            },
            seed=self.plan.seed,
            ledger=tuple(self._ledger),
            staleness=report.staleness,
            staleness_in_place=report.staleness_in_place,
            workers=report.workers,
            feature_names=self.plan.problem.matrix.names,
        )
