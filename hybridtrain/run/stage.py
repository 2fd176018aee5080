# SPDX-License-Identifier: BSD-3-Clause
"""A stage: a plan in hand, with its run of the core and the workers that train it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hybridtrain.observe.recording import Recorder
from hybridtrain.observe.records import EpochRecord, LedgerRecord, RunReport
from hybridtrain.plan.base import Plan, Run
from hybridtrain.run.carry import carried
from hybridtrain.run.crew import Crew, crew_of
from hybridtrain.run.faults import Faults
from hybridtrain.run.partner import Partner, Partnered
from hybridtrain.run.snapshot import Parameters, in_users_order, put, take

_GLANCE_SECONDS = 0.2  # between two looks at the workers while they finish their rows


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochEnd:
    """Hold what an epoch that was opened has come to.

    Attributes
    ----------
    ledger : LedgerRecord
    record : EpochRecord or None
        None: no row was trained, or the parameters are not finite.
    parameters : (coef, intercept) or None
        None: they are not finite.
    bad_lr : float or None
        The rate at which they became so.
    is_changed : bool
        Whether the reason is that rows of a mapped file are not what they were.
    """

    ledger: LedgerRecord
    record: EpochRecord | None
    parameters: Parameters | None
    bad_lr: float | None = None
    is_changed: bool = False


@dataclass(frozen=True, slots=True)
class Stage:
    """Train a run, or a part of it, with one plan.

    Attributes
    ----------
    plan : Plan
    run : Run
    workers : Crew
    """

    plan: Plan
    run: Run
    workers: Crew

    @classmethod
    def open(
        cls,
        plan: Plan,
        faults: Faults,
        recorder: Recorder | None = None,
        partner: Partner | None = None,
        part: int = 0,
    ) -> Stage:
        """Map the segment of a run; its workers are not started yet.

        recorder: writes down what the workers do. partner: takes the run's part among nodes. part:
        of the whole run, from 0.
        """
        run = plan.open() if recorder is None else plan.open(recorder)
        try:
            crew = crew_of(run, plan, faults)
            if partner is not None:
                crew = Partnered(crew, partner, run, plan, part)
            return cls(plan, run, crew)
        except BaseException:
            run.close()
            raise

    def next(
        self, plan: Plan, faults: Faults, partner: Partner | None = None, part: int = 0
    ) -> Stage | None:
        """Return a stage that goes on from this one, whose workers leave; not started yet.

        The segment of this one stays.

        Returns
        -------
        Stage or None
            None: the state is not finite, so that nothing can go on from it.
        """
        saved = take(self.run, self.plan, {}, {}, None)
        if saved is None:
            return None
        w = in_users_order(self.plan.to_trained(*self.parameters()), self.plan)[0]
        self.workers.leave()
        stage = Stage.open(plan, faults, None, partner, part)
        try:
            state = carried(saved, self.plan, w, stage.run, plan)
            is_finite = bool(np.isfinite(state.arrays).all())
            if is_finite:
                put(stage.run, plan, state)
        except BaseException:
            stage.run.close()
            raise
        if not is_finite:
            stage.run.close()
            return None
        return stage

    def parameters(self) -> Parameters:
        """Return copies of the parameters; the workers rest."""
        parameters = np.empty(self.run.n_parameters, np.float32)
        self.run.store(parameters)
        return self.plan.from_trained(parameters)

    def stop_epoch(self) -> None:
        """End the open epoch early, and wait until the workers rest or are lost."""
        self.run.stop_epoch()
        while not (self.workers.are_lost or self.run.await_rest(_GLANCE_SECONDS)):
            pass

    def end_epoch(self, *, seconds: float, lr: float, reason: str) -> EpochEnd:
        """Return what the open epoch has come to; the workers rest.

        Parameters
        ----------
        seconds : float
            For which it was trained.
        lr : float
            Its first rate.
        reason : str
            Why rows of it were not trained, if there are some.
        """
        run, n_rows = self.run, self.plan.rows.shape[0]
        if reason == "died":
            run.settle()
        report = run.epoch_report()
        trained, epoch = int(report["trained"]), run.opened
        coef, intercept = self.parameters()
        record, bad_lr = None, None
        is_changed = bool(report["changed"])
        if report["diverged"] or not (np.isfinite(coef).all() and np.isfinite(intercept).all()):
            bad_lr = report.get("bad_lr")
            bad_lr = lr if bad_lr is None else bad_lr
            reason = "changed" if is_changed else "diverged"
        elif trained:
            loss = float(report["loss"]) / trained
            record = EpochRecord(
                epoch=epoch,
                seconds=seconds,
                rows=trained,
                lr=lr,
                loss=loss,
                validation_loss=None,
                staleness=report.get("staleness"),
            )
        ledger = LedgerRecord(
            epoch=epoch,
            trained=trained,
            repeated=int(report["repeated"]),
            dropped=n_rows - trained,
            reason=reason if trained < n_rows else "",
        )
        return EpochEnd(
            ledger=ledger,
            record=record,
            parameters=(coef, intercept) if bad_lr is None else None,
            bad_lr=bad_lr,
            is_changed=bad_lr is not None and is_changed,
        )

    def report(self, ended: str) -> RunReport:
        """Gather what the workers measured, and how they died; they have left, or rest."""
        report, workers = self.plan.report(self.run, ended), self.workers
        told = tuple(
            replace(each, deaths=workers.causes(each.worker), lost=workers.lost(each.worker))
            for each in report.workers
        )
        return replace(report, workers=told)
