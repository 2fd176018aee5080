# SPDX-License-Identifier: BSD-3-Clause
"""What a run ends with: its result, or an error that holds what was trained."""

from __future__ import annotations

import os
from typing import Any

from hybridtrain._core.check import CHANGED_REMEDY
from hybridtrain.errors import (
    DataChangedError,
    DivergedError,
    ForkedError,
    TrainingInterrupted,
    WorkersDiedError,
)
from hybridtrain.run.epochs import Epochs
from hybridtrain.run.faults import Faults
from hybridtrain.run.parts import Parts
from hybridtrain.run.result import Result
from hybridtrain.run.snapshot import Parameters

_NAMED_CAUSES = 6


def result_of(
    parts: Parts,
    epochs: Epochs,
    faults: Faults,
    *,
    parameters: Parameters,
    settings: dict[str, Any],
    ended: str,
) -> Result:
    """Gather the result of a run whose workers have left, or rest.

    Parameters
    ----------
    parts, epochs, faults
        Of the run.
    parameters : (coef, intercept)
        In the coordinates of the problem.
    settings : dict
        Entries of the result's settings, beside those that are measured here.
    ended : str
        "finished", or why the run ended before its last epoch.
    """
    problem = parts.plan.problem
    coef, intercept = problem.to_user(*parameters)
    report = parts.report(ended)
    return Result(
        model=problem.model,
        params={"coef": coef, "intercept": intercept},
        classes=problem.classes,
        history=epochs.history,
        settings={
            **settings,
            **parts.settings(len(epochs)),
            "stopped": None if ended == "finished" else ended,
        },
        seed=parts.plan.seed,
        ledger=epochs.ledger,
        staleness=report.staleness,
        staleness_in_place=report.staleness_in_place,
        workers=report.workers,
        faults=faults.records(),
        feature_names=problem.matrix.names,
        scaling=problem.scaling,
    )


def require_own_process(process: int) -> None:
    """Refuse to go on in a child that was forked within a callback of a run of this process.

    Raises
    ------
    ForkedError
    """
    if os.getpid() != process:
        raise ForkedError(
            "this process was forked within a callback of a run, whose workers are in the "
            f"parent (process {process}): the child must not return from the "
            "callback; end it with os._exit, or start processes before the training"
        )


def interrupted(result: Result, epoch: int, epochs: int) -> TrainingInterrupted:
    """Return the error of a run that a signal has ended, in this epoch or after the last one."""
    when = f"in epoch {epoch} of {epochs}; .result holds what was trained"
    if result.settings["stopped"] != "interrupted":
        when = "when the run was over; .result holds all of it"
    return TrainingInterrupted(f"interrupted {when}", result=result)


def require_whole(
    result: Result, epoch: int, bad_lr: float | None, *, is_changed: bool, ended: str
) -> None:
    """Refuse the result of a run that went wrong.

    Raises
    ------
    DataChangedError, DivergedError, WorkersDiedError
    """
    if is_changed:
        raise changed(result, epoch)
    if bad_lr is not None:
        raise diverged(result, epoch, bad_lr)
    if ended == "died":
        raise died(result, epoch)


def changed(result: Result, epoch: int) -> DataChangedError:
    """Return the error of a run whose mapped rows something has written to."""
    return DataChangedError(
        f"the rows of X changed in epoch {epoch}: an index is no longer that of a "
        f"feature; {CHANGED_REMEDY}; .result holds the last good parameters",
        result=result,
    )


def diverged(result: Result, epoch: int, lr: float) -> DivergedError:
    """Return the error of a run whose loss or parameters became infinite or NaN."""
    return DivergedError(
        f"the loss became infinite or NaN in epoch {epoch} at learning rate {lr:.6g}; "
        "try a smaller lr, or scale the features; .result holds the last good parameters",
        result=result,
        epoch=epoch,
        lr=lr,
    )


def died(result: Result, epoch: int) -> WorkersDiedError:
    """Return the error of a run whose worker processes have all died."""
    causes = tuple(cause for worker in result.workers for cause in worker.deaths)
    return WorkersDiedError(
        f"no worker is left in epoch {epoch}: {', '.join(causes[-_NAMED_CAUSES:])}; "
        ".result holds the model up to the last step",
        result=result,
        causes=causes,
    )
