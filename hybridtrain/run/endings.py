# SPDX-License-Identifier: BSD-3-Clause
"""The errors with which a run ends before its last epoch; each holds what was trained."""

from __future__ import annotations

from hybridtrain._core.check import CHANGED_REMEDY
from hybridtrain.errors import (
    DataChangedError,
    DivergedError,
    TrainingInterrupted,
    WorkersDiedError,
)
from hybridtrain.run.result import Result

_NAMED_CAUSES = 6


def interrupted(result: Result, epoch: int, epochs: int) -> TrainingInterrupted:
    """Return the error of a run that a signal has ended, in this epoch or after the last one."""
    when = f"in epoch {epoch} of {epochs}; .result holds what was trained"
    if result.settings["stopped"] != "interrupted":
        when = "when the run was over; .result holds all of it"
    return TrainingInterrupted(f"interrupted {when}", result=result)


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
