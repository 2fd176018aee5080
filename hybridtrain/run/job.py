# SPDX-License-Identifier: BSD-3-Clause
"""One run: epochs, records, and what happens when it ends early.

The workers have left before the run is over, whatever exception is raised anywhere. Every
KeyboardInterrupt leads to one place (`Job._conclude`): it ends the open epoch and notes
its trained rows for the result. Ctrl-C itself is noted, and acted on between two steps
(`Interrupts`). It ends at once only code that may take long and does not change the run:
callbacks, validation, progress and logging.
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hybridtrain.data.matrix import Floats
from hybridtrain.errors import ForkedError, needing_memory
from hybridtrain.interrupts import Interrupts
from hybridtrain.observe.records import EpochRecord, LedgerRecord
from hybridtrain.optimizers.schedules import Rates, parse_schedule
from hybridtrain.plan.base import Plan, Run
from hybridtrain.plan.problem import Problem
from hybridtrain.plan.rates import LRS_PER_EPOCH
from hybridtrain.run.budget import Budget
from hybridtrain.run.cooling import Cooling
from hybridtrain.run.crew import Crew, crew_of
from hybridtrain.run.endings import changed, died, diverged, interrupted
from hybridtrain.run.evaluate import mean_loss
from hybridtrain.run.faults import Faults
from hybridtrain.run.progress import Progress, line
from hybridtrain.run.result import Result
from hybridtrain.run.stopping import Stopping

logger = logging.getLogger(__name__)
_GLANCE_SECONDS = 0.2  # between two looks at the clock while workers train


@dataclass(slots=True)
class Job:
    """Run a plan, in the thread that called `train`.

    Workers train an epoch; all rest; the parameters are read and measured; the
    next epoch starts. The result has the settings given here and the measurements.
    """

    plan: Plan
    settings: dict[str, Any]
    epochs: int
    validation: Problem | None
    progress: Progress
    stopping: Stopping
    budget: Budget | None = None
    faults: Faults = field(default_factory=Faults)
    _interrupts: Interrupts = field(default_factory=Interrupts)
    _process: int = field(default_factory=os.getpid)
    # Epochs that were opened, in order. A history record goes with its ledger record, if
    # rows were trained and the parameters are finite.
    _records: list[tuple[LedgerRecord, EpochRecord | None]] = field(default_factory=list)
    _epoch: int = 1  # in hand
    _lr: float = 0.0  # its first rate
    _lrs: Floats | None = None  # all of its rates
    _cooled: Rates | None = None  # the rates of the fall to 0, once patience has ended
    _began: float = 0.0  # when, by time.perf_counter()
    _good: Floats | None = None  # the parameters of the run, as its plan orders them, all finite
    _bad_lr: float | None = None  # the rate at which the run diverged
    _cause: BaseException | None = None  # what interrupted the run
    _is_changed: bool = False  # rows of a mapped file are not what they were
    _ended: str = "interrupted"  # or what else ended the run; "finished" after the last epoch
    _ended_as: Result | None = None
    _workers: Crew | None = None

    def run(self, coef: Floats, intercept: Any) -> Result:
        """Train from these parameters, which are in the coordinates of the problem.

        Returns
        -------
        Result

        Raises
        ------
        DivergedError, DataChangedError, TrainingInterrupted
            With the result so far.
        """
        try:
            with Interrupts() as self._interrupts:
                self._run(coef, intercept)
        except KeyboardInterrupt as error:
            self._cause = error
        except Exception as error:
            if self._interrupts.take():
                raise KeyboardInterrupt from error
            raise
        result = self._ended_as
        if result is None:  # before anything was trained
            raise self._cause or KeyboardInterrupt
        if self._interrupts.take() or self._cause is not None:
            raise interrupted(result, self._epoch, self.epochs) from self._cause
        if self._is_changed:
            raise changed(result, self._epoch)
        if self._bad_lr is not None:
            raise diverged(result, self._epoch, self._bad_lr)
        if self._ended == "died":
            raise died(result, self._epoch)
        return result

    def _run(self, coef: Floats, intercept: Any) -> None:
        """Train; leave the result in `_ended_as`, the interrupt in `_cause`."""
        if self.plan.choices["workers_reason"]:
            logger.info("one worker trains: %s", self.plan.choices["workers_reason"])
        with needing_memory("the run"):
            self._good = self.plan.to_trained(coef, intercept)
            run = self.plan.open()
        workers = self._workers = crew_of(run, self.plan, self.faults)
        try:
            try:
                self._train(run, workers)
            except BaseException as error:
                if not isinstance(error, KeyboardInterrupt) and not self._interrupts.take():
                    raise
                self._cause = error
            self._conclude(run, workers)
        except KeyboardInterrupt as error:  # from a handler of the user's: the rest is done again
            self._cause = error
            self._conclude(run, workers)
        finally:
            try:
                workers.leave()
                self.progress.close()
            finally:
                run.close()

    def _train(self, run: Run, workers: Crew) -> None:
        """Train until the last epoch, or until something ends the run."""
        assert self._good is not None
        run.load(self._good)
        workers.start()
        self._ended = self._run_epochs(run)

    def _conclude(self, run: Run, workers: Crew) -> None:
        """Note the open epoch, let the workers leave, and gather the result; can be repeated."""
        if run.opened > len(self._records):
            run.stop_epoch()
            while not (workers.are_lost or run.await_rest(_GLANCE_SECONDS)):
                pass
            self._note_epoch(run, "died" if workers.are_lost else "interrupted")
        workers.leave()
        self._ended_as = self._result(run, self._ended)

    def _look(self) -> None:
        """Check for a reason to end the run, between two of its steps."""
        self._interrupts.check()
        if os.getpid() != self._process:
            raise ForkedError(
                "this process was forked within a callback of a run, whose workers are in the "
                f"parent (process {self._process}): the child must not return from the "
                "callback; end it with os._exit, or start processes before the training"
            )

    def _run_epochs(self, run: Run) -> str:
        self._open_budget()
        planned = self.epochs
        for epoch in range(1, planned + 1):
            self._epoch = epoch
            if self.budget is not None and self.budget.is_over():
                return "seconds"
            reason = self._run_epoch(run)
            if reason in ("seconds", "diverged", "changed", "died"):
                return reason
            if epoch == self.epochs:
                break
            if reason == "patience" and self._cool():
                continue
            if reason:
                return reason
        return "finished" if self.epochs == planned else "patience"

    def _cool(self) -> bool:
        """Let the rate fall to 0, once patience has ended; return False if it need not."""
        if self._cooled is not None:
            return True
        assert self._lrs is not None
        lr = self.plan.choices["lr"]
        cooling = Cooling(begins=self._epoch, share=float(self._lrs[-1]) / lr)
        if not (self.plan.optimizer.takes_schedule and cooling.is_needed):
            return False
        self.epochs = min(self.epochs, cooling.ends)
        self._cooled = Rates(cooling, lr, self.epochs, LRS_PER_EPOCH)
        if self.budget is not None:
            self.budget.cool(cooling, self.epochs)
        self.progress.end_at(self.epochs)
        logger.info("patience has ended: the rate falls to 0 until epoch %d", self.epochs)
        return True

    def _open_budget(self) -> None:
        if self.budget is None:
            return
        plan, valid = self.plan, self.validation
        self.budget.open(
            schedule=parse_schedule(plan.optimizer.schedule),
            lr=plan.choices["lr"],
            epochs=self.epochs,
            extra_share=0.0 if valid is None else valid.matrix.n_rows / plan.rows.shape[0],
        )
        if self.budget.is_over():
            logger.warning(
                "nothing is trained: preparing took all of the %g seconds", self.budget.seconds
            )

    def _run_epoch(self, run: Run) -> str:
        """Train an epoch, or a part of it that the time allows, and measure.

        Returns
        -------
        str
            Why the run ends: "diverged", "changed", "died", "seconds", "callback", "patience";
            else "".
        """
        self._look()
        self._lrs = self._rates(self._epoch - 1)
        self._lr = float(self._lrs[0])
        run.set_rates(self._epoch, self._lrs)
        self._began = time.perf_counter()
        run.begin(self._epoch)
        stop = self._train_epoch(run)
        with needing_memory("a copy of the parameters"):
            self._note_epoch(run, stop)
        if self._bad_lr is not None:
            return "changed" if self._is_changed else "diverged"
        if stop == "died":
            return stop
        ledger, record = self._records[-1]
        if not ledger.dropped:
            stop = ""  # it was over just in time
        if record is not None:
            record = self._measure(record)
            stop = stop or self._interrupts.through(self.stopping.reason, record)
            self._look()
        return stop

    def _rates(self, done: float) -> Floats:
        """Return the rates of the epoch that continues after `done` epochs."""
        if self.budget is not None:
            return self.budget.begins(done)
        return (self._cooled or self.plan.rates).of_epoch(int(done) + 1)

    def _train_epoch(self, run: Run) -> str:
        """Let the workers train the open epoch.

        They may rest in between, so that the budget can set rates.

        Returns
        -------
        str
            "seconds" when the time ended the epoch early, "died" when no worker is left; else "".
        """
        n_rows = self.plan.rows.shape[0]
        budget = self.budget
        stop = ""
        while True:
            self._look()
            if not run.await_rest(self._patience(stop)):
                if self._workers is not None and self._workers.are_lost:
                    return "died"
                self._interrupts.through(self.progress.tick, None)
                if budget is not None and not stop:
                    stop = budget.due()
                    if stop:
                        run.stop_epoch()
                continue
            report = run.epoch_report()
            is_done = report["diverged"] or report["trained"] >= n_rows
            done = self._epoch - 1 + report["trained"] / n_rows
            if budget is not None:
                budget.rests(done)
            if not is_done and self._workers is not None and self._workers.are_lost:
                return "died"
            if stop != "pause" or is_done:
                return "" if stop == "pause" else stop
            self._lrs = self._rates(done)
            run.set_rates(self._epoch, self._lrs)
            run.resume()
            stop = ""

    def _patience(self, stop: str) -> float:
        """Return the seconds until the next look at the clock."""
        if self.budget is None or stop:
            return _GLANCE_SECONDS
        return self.budget.wait(_GLANCE_SECONDS)

    def _note_epoch(self, run: Run, reason: str) -> None:
        """Note the epoch that the run has opened; the workers rest."""
        seconds = time.perf_counter() - self._began
        if reason == "died":
            run.settle()
        report = run.epoch_report()
        trained, dropped = int(report["trained"]), self.plan.rows.shape[0] - int(report["trained"])
        parameters = np.empty(run.n_parameters, np.float32)
        run.store(parameters)
        record = None
        if report["diverged"] or not np.isfinite(parameters).all():
            bad_lr = report.get("bad_lr")
            self._bad_lr = self._lr if bad_lr is None else bad_lr
            self._is_changed = report["changed"]
            reason = "changed" if self._is_changed else "diverged"
        else:
            self._good = parameters
            if trained:
                record = EpochRecord(
                    epoch=run.opened,
                    seconds=seconds,
                    rows=trained,
                    lr=self._lr,
                    loss=float(report["loss"]) / trained,
                    validation_loss=None,
                )
        ledger = LedgerRecord(
            epoch=run.opened,
            trained=trained,
            repeated=int(report["repeated"]),
            dropped=dropped,
            reason=reason if dropped else "",
        )
        self._records.append((ledger, record))

    def _measure(self, record: EpochRecord) -> EpochRecord:
        """Measure the epoch that ended, and report it."""
        assert self._good is not None
        if self.validation is not None:
            loss = self._interrupts.through(self._validation_loss, self.validation)
            record = replace(record, validation_loss=loss)
            self._records[-1] = self._records[-1][0], record
        self.stopping.note(record, self._good)
        self._interrupts.through(self._tell, record)
        return record

    def _validation_loss(self, valid: Problem) -> float:
        assert self._good is not None
        coef, intercept = self.plan.from_trained(self._good)
        isa, threads = self.plan.choices["isa"], self.plan.workers
        with needing_memory("the validation"):
            return mean_loss(valid, coef, intercept, isa=isa, threads=threads)

    def _tell(self, record: EpochRecord) -> None:
        self.progress.tick(record)
        logger.info(line(record, self.epochs, self.budget))

    def _result(self, run: Run, ended: str) -> Result:
        assert self._good is not None
        problem = self.plan.problem
        kept = self.plan.from_trained(self.stopping.choose(self._good))
        coef, intercept = problem.to_user(*kept)
        report, crew = self.plan.report(run, ended), self._workers
        assert crew is not None
        return Result(
            model=problem.model,
            params={"coef": coef, "intercept": intercept},
            classes=problem.classes,
            history=tuple(record for _, record in self._records if record is not None),
            settings={
                **self.settings,
                **report.measurements,
                "stopped": None if ended == "finished" else ended,
                "best_epoch": self.stopping.best_epoch,
            },
            seed=self.plan.seed,
            ledger=tuple(record for record, _ in self._records),
            staleness=report.staleness,
            staleness_in_place=report.staleness_in_place,
            workers=tuple(
                replace(each, deaths=crew.causes(each.worker)) for each in report.workers
            ),
            faults=self.faults.records(),
            feature_names=problem.matrix.names,
            scaling=problem.scaling,
        )
