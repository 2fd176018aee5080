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
import signal
import time
from dataclasses import dataclass, field
from typing import Any

from hybridtrain.data.matrix import Floats
from hybridtrain.errors import NodesLostError, needing_memory
from hybridtrain.interrupts import Interrupts
from hybridtrain.observe.recording import Recorder
from hybridtrain.observe.records import EpochRecord
from hybridtrain.plan.base import Plan, Run
from hybridtrain.plan.problem import Problem
from hybridtrain.run.course import Course
from hybridtrain.run.endings import interrupted, require_own_process, require_whole, result_of
from hybridtrain.run.evaluate import mean_loss
from hybridtrain.run.faults import Faults
from hybridtrain.run.partner import LEFT_OUT, Partner
from hybridtrain.run.progress import Progress, line
from hybridtrain.run.result import Result
from hybridtrain.run.saving import Saving
from hybridtrain.run.snapshot import Parameters, Snapshot
from hybridtrain.run.stage import Stage
from hybridtrain.run.stages import Stages

logger = logging.getLogger(__name__)
_TERMINATED = 128 + signal.SIGTERM  # the exit code
_GLANCE_SECONDS = 0.2  # between two looks at the clock while workers train


@dataclass(slots=True)
class Job:
    """Run the parts of a run, in the thread that called `train`.

    Workers train an epoch; all rest; the parameters are read and measured; the
    next epoch starts, with the workers of the next part if the one in hand is over. The
    result has the settings given here and the measurements.
    """

    settings: dict[str, Any]
    validation: Problem | None
    progress: Progress
    course: Course
    saving: Saving
    faults: Faults = field(default_factory=Faults)
    recorder: Recorder | None = None
    partner: Partner | None = None
    _interrupts: Interrupts = field(default_factory=Interrupts)
    _process: int = field(default_factory=os.getpid)
    _epoch: int = 1  # in hand
    _lrs: Floats | None = None  # its rates
    _lr: float = 0.0  # the first of them
    _began: float = 0.0  # when, by time.perf_counter()
    _spent: float = 0.0  # seconds of training of the epoch in hand before the run was resumed
    _good: Parameters | None = None  # the latest ones, all finite
    _bad_lr: float | None = None  # the rate at which the run diverged
    _cause: BaseException | None = None  # what interrupted the run
    _is_changed: bool = False  # rows of a mapped file are not what they were
    _ended: str = "interrupted"  # or what else ended the run; "finished" after the last epoch
    _ended_as: Result | None = None

    @property
    def plan(self) -> Plan:
        """The plan in hand."""
        return self.course.plan

    @property
    def _stages(self) -> Stages:
        return Stages(self.course.parts, self.faults, self.recorder, self.partner)

    @property
    def _stage(self) -> Stage:
        """The stage in hand."""
        return self.course.parts.stage

    def run(self, coef: Floats, intercept: Any) -> Result:
        """Train from these parameters, which are in the coordinates of the problem.

        Returns
        -------
        Result

        Raises
        ------
        DivergedError, DataChangedError, TrainingInterrupted
            With the result so far.
        SystemExit
            After a SIGTERM that nobody else handles, when the run is saved.
        """
        own = Interrupts(*[signal.SIGTERM] * (self.saving.keeper is not None and not self.partner))
        try:
            with own as self._interrupts:
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
            ending = interrupted(result, self._epoch, self.course.last_epoch)
            if own is self._interrupts and own.ends_process:
                raise SystemExit(_TERMINATED) from ending
            raise ending from self._cause
        require_whole(
            result, self._epoch, self._bad_lr, is_changed=self._is_changed, ended=self._ended
        )
        return result

    def _run(self, coef: Floats, intercept: Any) -> None:
        """Train; leave the result in `_ended_as`, the interrupt in `_cause`."""
        if reason := self.plan.choices["workers_reason"]:
            logger.info("workers reduced to %d: %s", self.plan.workers, reason)
        self._good = coef, intercept
        self._stages.open()
        if self.partner is not None:
            self.partner.meet(self._good, self._snapshot, self._recall, self._interrupts.note)
        try:
            try:
                self._train()
            except BaseException as error:
                if not isinstance(error, KeyboardInterrupt) and not self._interrupts.take():
                    if self.partner is not None and self.partner.is_orphan:
                        self.saving.rescue(self._stage.run, self._snapshot)
                    raise
                self._cause = error
            self._conclude()
        except KeyboardInterrupt as error:  # from a handler of the user's: the rest is done again
            self._cause = error
            self._conclude()
        finally:
            try:
                self.course.parts.close()
            finally:
                self.progress.close()
                self.saving.close()

    def _train(self) -> None:
        """Train until the last epoch, or until something ends the run."""
        assert self._good is not None
        if self.saving.start is None:
            self._stage.run.load(self.plan.to_trained(*self._good))
        else:
            self._recall()
        if self._ended == "interrupted":  # not over yet
            self._stages.start_workers(self._good)
            if self._ended == "interrupted":  # else the state of another node has come, and is over
                self._ended = self._run_epochs()
        elif self.partner is not None:  # the others and the driver wait for this node
            self.partner.join(self._stage.run, self.plan, self.course.parts.number)

    def _conclude(self) -> None:
        """Note the open epoch, let the workers leave, and gather the result; can be repeated."""
        run, workers = self._stage.run, self._stage.workers
        is_open = run.opened > len(self.course.epochs)
        if is_open:
            self._stage.stop_epoch()
        if not workers.are_lost:
            self._keep_last(run)
        if is_open:
            self._note_epoch("died" if workers.are_lost else "interrupted")
        workers.leave()
        self._ended_as = self._result()

    def _look(self) -> None:
        """Check for a reason to end the run, between two of its steps."""
        self._interrupts.check()
        require_own_process(self._process)
        if self.partner is not None:
            self.partner.check()

    def _run_epochs(self) -> str:
        course, budget, planned = self.course, self.course.budget, self.course.planned
        valid = self.validation
        course.open(0.0 if valid is None else valid.matrix.n_rows / self._n_rows)
        self.saving.start_clock()
        for epoch in range(course.epochs.n_judged + 1, planned + 1):
            self._epoch = epoch
            if budget is not None and budget.is_over():
                return "seconds"
            reason = self._go_on_with_next_part(epoch) if course.part_is_over(epoch) else ""
            reason = reason or self._run_epoch(self._stage.run)
            if reason in ("seconds", "diverged", "changed", "died"):
                return reason
            if epoch == course.last_epoch:
                break
            assert self._lrs is not None
            if reason == "patience" and course.cool(epoch, float(self._lrs[-1])):
                self.progress.end_at(course.last_epoch)
                continue
            if reason:
                return reason
        return "finished" if course.last_epoch == planned else "patience"

    def _go_on_with_next_part(self, epoch: int) -> str:
        """Let the workers of the next part have the state of the run; they begin with an epoch.

        Returns "diverged" when the state is not finite; else "".
        """
        self._look()
        started = time.perf_counter()
        assert self._good is not None
        if not self._stages.go_on(epoch, self._good):
            self._bad_lr = self._lr
            return "diverged"
        self.course.change_rates()
        self._stage.workers.start()
        self.course.parts.note_switch(time.perf_counter() - started)
        if len(self.course.epochs) >= epoch:
            raise NodesLostError(LEFT_OUT)
        return ""

    @property
    def _n_rows(self) -> int:
        return self.plan.rows.shape[0]

    def _run_epoch(self, run: Run) -> str:
        """Train an epoch, or a part of it that the time allows, and measure.

        Returns
        -------
        str
            Why the run ends, such as "diverged", "seconds" or "callback"; else "".
        """
        self._look()
        is_begun = run.opened == self._epoch  # by the run that was saved
        if run.opened and not is_begun and self.saving.is_due:
            self._keep()
        done = run.epoch_report()["trained"] / self._n_rows if is_begun else 0.0
        self._lrs = self.course.rates(self._epoch, done)
        self._lr = float(self._lrs[0])
        run.set_rates(self._epoch, self._lrs)
        self._began = time.perf_counter() - (self._spent if is_begun else 0.0)
        if is_begun:
            run.resume()
        else:
            run.begin(self._epoch)
        stop = self._train_epoch(run)
        with needing_memory("a copy of the parameters"):
            self._note_epoch(stop)
        if self._bad_lr is not None:
            return "changed" if self._is_changed else "diverged"
        if stop == "died":
            return stop
        ledger, record = self.course.epochs.last
        if not ledger.dropped:
            stop = ""  # it was over just in time
        if record is not None:
            record = self._measure(record)
            stop = stop or self._interrupts.through(self.course.stopping.reason, record)
            self._look()
        self.course.epochs.n_judged = len(self.course.epochs)
        return stop

    def _train_epoch(self, run: Run) -> str:
        """Let the workers train the open epoch.

        They may rest in between, so that the budget can set rates, or the run can be saved.

        Returns
        -------
        str
            "seconds" when the time ended the epoch early, "died" when no worker is left; else "".
        """
        n_rows, budget, workers = self._n_rows, self.course.budget, self._stage.workers
        stop = ""
        while True:
            self._look()
            if not run.await_rest(self._patience(stop)):
                if workers.are_lost:
                    return "died"
                self._interrupts.through(self.progress.tick, None)
                if not stop and (stop := self._due()):
                    run.stop_epoch()
                continue
            report = run.epoch_report()
            is_done = report["diverged"] or report["trained"] >= n_rows
            done = report["trained"] / n_rows
            if budget is not None:
                budget.rests(self._epoch - 1 + done)
            if not is_done and workers.are_lost:
                return "died"
            if stop != "pause" or is_done:
                of_others = "" if self.partner is None else self.partner.reason
                return "" if stop == "pause" else stop or of_others
            if self.saving.is_due:
                self._keep()
            self._look()
            self._lrs = self.course.rates(self._epoch, done)
            run.set_rates(self._epoch, self._lrs)
            run.resume()
            stop = ""

    def _due(self) -> str:
        """Return the reason for a rest of the workers now; "" if there is none."""
        due = "" if self.course.budget is None else self.course.budget.due()
        return "pause" if not due and self.saving.is_due else due

    def _patience(self, stop: str) -> float:
        """Return the seconds until the next look at the clock."""
        budget = self.course.budget
        return _GLANCE_SECONDS if budget is None or stop else budget.wait(_GLANCE_SECONDS)

    def _note_epoch(self, reason: str) -> None:
        """Note the epoch that the run has opened; the workers rest."""
        seconds = time.perf_counter() - self._began
        end = self._stage.end_epoch(seconds=seconds, lr=self._lr, reason=reason)
        if end.parameters is None:
            self._bad_lr, self._is_changed = end.bad_lr, end.is_changed
        else:
            self._good = end.parameters
        self.course.epochs.note(end.ledger, end.record)

    def _measure(self, record: EpochRecord) -> EpochRecord:
        """Measure the epoch that ended, and report it."""
        assert self._good is not None
        if self.validation is not None:
            loss = self._interrupts.through(self._validation_loss, self.validation)
            record = self.course.epochs.measured(record, loss)
        self.course.stopping.note(record, self._good)
        self._interrupts.through(self._tell, record)
        return record

    def _validation_loss(self, valid: Problem) -> float:
        assert self._good is not None
        isa, threads = self.plan.choices["isa"], self.plan.workers
        with needing_memory("the validation"):
            return mean_loss(valid, *self._good, isa=isa, threads=threads)

    def _tell(self, record: EpochRecord) -> None:
        self.progress.tick(record)
        logger.info(line(record, self.course.last_epoch, self.course.budget))

    def _result(self) -> Result:
        assert self._good is not None
        settings = {
            **self.settings,
            **self.saving.summary(),
            "best_epoch": self.course.stopping.best_epoch,
            "warnings": [*self.settings["warnings"], *self.saving.failures],
        }
        return result_of(
            self.course.parts,
            self.course.epochs,
            self.faults,
            parameters=self.course.stopping.choose(self._good),
            settings=settings,
            ended=self._ended,
        )

    # ---- saving, so that another run goes on

    def _keep(self, *, is_last: bool = False) -> None:
        """Save the run, whose workers rest."""
        self.saving.keep(self._snapshot, is_last=is_last)

    def _snapshot(self) -> Snapshot | None:
        """Copy the state of the run, in whose steps nothing moves now."""
        ended = "" if self._ended == "interrupted" else self._ended
        run, course = self._stage.run, self.course
        is_open = run.opened > course.epochs.n_judged
        seconds = time.perf_counter() - self._began if is_open else 0.0
        return self.saving.snapshot(run, self.plan, course, seconds, ended)

    def _keep_last(self, run: Run) -> None:
        """Save the run once more at its end, unless it went wrong."""
        if self.saving.keeper is None or self.saving.is_over or not run.opened:
            return
        if self._bad_lr is None and not run.epoch_report()["diverged"]:
            self._keep(is_last=True)

    def _recall(self, snapshot: Snapshot | None = None) -> None:
        """Go on from what `_keep` has saved, or from another node's state."""
        if snapshot is not None:
            self.saving.start = snapshot
            self.course.parts.recall(snapshot.job["parts"])
        job = self.saving.put(self._stage.run, self.plan, self.course)
        self._spent = float(job["epoch_seconds"])
        self._began = time.perf_counter() - self._spent
        self._ended = job["ended"] or "interrupted"
        self.saving.is_over = self._ended != "interrupted"
        self.progress.end_at(self.course.last_epoch)
        self._good = self._stage.parameters()
