# SPDX-License-Identifier: BSD-3-Clause
"""The protocol of a plan: settings become the constants of one run, and a job runs them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from hybridtrain._core.rows import Rows
from hybridtrain._core.stream import MAX_WORKERS
from hybridtrain.arguments import shown
from hybridtrain.data.arrays import Floats
from hybridtrain.errors import InvalidSettingError
from hybridtrain.observe.recording import Recorder
from hybridtrain.observe.records import RunReport
from hybridtrain.optimizers.base import Optimizer
from hybridtrain.optimizers.schedules import Rates

if TYPE_CHECKING:
    from hybridtrain.plan.problem import Problem


BACKENDS = ("threads", "processes")
STARTS = ("fork", "exec")


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Hold the settings of a run, except its strategy, with defaults filled in.

    Attributes
    ----------
    optimizer : Optimizer
    workers, epochs, seed : int
    batch_size : int or None
        None: the plan chooses it.
    isa : str
        The instruction set to run on.
    is_timed : bool
        Whether a time may end the run before its last epoch.
    backend : str
        "threads" or "processes".
    start : str
        How worker processes start: "fork" or "exec".
    timeout : float
        Seconds for which a silent worker is waited for.
    is_node : bool
        Whether the run is one node's part of a run on several.
    """

    optimizer: Optimizer
    workers: int
    epochs: int
    seed: int
    isa: str
    batch_size: int | None = None
    is_timed: bool = False
    backend: str = "threads"
    start: str = "fork"
    timeout: float = 60.0
    is_node: bool = False


class Run(Protocol):
    """Control a run of the core, as its supervisor; see Stream and SyncRun.

    Notes
    -----
    **Thread safety.** Each worker's thread calls `work` once. Only the supervisor's thread
    calls the other methods.
    """

    @property
    def n_parameters(self) -> int:
        """Coordinates: those of the intercept and of the features."""

    def load(self, parameters: Floats) -> None:
        """Set all parameters: intercept first, then the features."""

    def store(self, parameters: Floats) -> None:
        """Write all parameters."""

    @property
    def opened(self) -> int:
        """The latest epoch that was begun; 0: none."""

    def set_rates(self, epoch: int, lrs: Floats) -> None:
        """Set the rates of an epoch, while the workers rest."""

    def begin(self, epoch: int) -> None:
        """Open epoch 1, 2, ..."""

    def resume(self) -> None:
        """Go on with an epoch that was stopped; the workers must rest."""

    def await_rest(self, seconds: float) -> bool:
        """Wait until the epoch is done; return False at a signal or when the time is over."""

    def stop_epoch(self) -> None:
        """Ask the workers to end the epoch early."""

    def leave(self) -> None:
        """Ask the workers to return from `work`."""

    def work(self, worker: int) -> None:
        """Be a worker until `leave` or `close`."""

    def settle(self) -> None:
        """Make the parameters whole when no worker is left."""

    def epoch_report(self) -> dict[str, Any]:
        """Return trained, loss and diverged of the open epoch so far."""

    def close(self) -> None:
        """Unmap the segment, at once or when the last worker has left."""


class Plan(Protocol):
    """Hold the constants of one run, for a job; a plan never changes."""

    @property
    def rows(self) -> Rows:
        """The rows as they are trained."""

    @property
    def problem(self) -> Problem:
        """The model and its data."""

    @property
    def order(self) -> npt.NDArray[np.intp] | None:
        """order[k] is the user's number of trained feature k; None: both numbers are equal."""

    @property
    def optimizer(self) -> Optimizer:
        """Whose schedule gives the rates."""

    @property
    def workers(self) -> int:
        """How many train."""

    @property
    def seed(self) -> int:
        """The seed of the order of the rows."""

    @property
    def rates(self) -> Rates:
        """LRS_PER_EPOCH learning rates for each epoch, and how many epochs there are."""

    @property
    def choices(self) -> Mapping[str, Any]:
        """Choices of the plan for the result's settings; "lr", "batch_size", "workers_reason"."""

    @property
    def steps_per_epoch(self) -> int:
        """The steps of an epoch, as the core counts them: rows, or batches."""

    @property
    def gradients_a_step(self) -> int:
        """How many gradients a step adds to the optimizer's state, one after the other."""

    @property
    def rows_a_gradient(self) -> float:
        """The rows whose mean such a gradient is."""

    @property
    def has_outer(self) -> bool:
        """Whether the state has the velocity of an outer optimizer."""

    @property
    def points(self) -> tuple[str, ...]:
        """The points of the core (csrc/share/ht_point.h) that the run's workers pass."""

    def at_rate(self, lr: float) -> Plan:
        """Return the same plan with another first learning rate."""

    def at_factor(self, factor: float) -> Plan:
        """Return the same plan at a multiple of its automatic rate."""

    @property
    def unrecordable(self) -> str:
        """Why a run cannot be recorded and replayed; "": it can."""

    def open(self, recorder: Recorder | None = None) -> Any:  # a Run of its own kind, for `report`
        """Map the segment and open the run; a recorder writes down what the workers do."""

    def to_trained(self, coef: Floats, intercept: Any) -> Floats:
        """Return the run's parameters for the user's ones."""

    def from_trained(self, parameters: Floats) -> tuple[Floats, Any]:
        """Return the user's coef and intercept for the run's parameters."""

    def report(self, run: Any, ended: str) -> RunReport:
        """Gather what the workers of a run measured; they must rest."""


def run_constants(problem: Problem, optimizer: Optimizer) -> dict[str, Any]:
    """Return the constants of the model and the optimizer that a run of the core reads."""
    constants = {**problem.constants, **optimizer.constants()}
    if problem.model.l1 > 0:  # a mean of iterates has few zeros, and lies above the last iterate
        constants["averages_per_epoch"] = 0
    return constants


def check_workers(workers: int, n_rows: int) -> None:
    """Refuse more workers than there are rows, or than the core can hold.

    Raises
    ------
    InvalidSettingError
    """
    if workers > n_rows or workers > MAX_WORKERS:
        raise InvalidSettingError(
            f"workers must be at most the number of rows ({n_rows}) and {MAX_WORKERS}, "
            f"got {shown(workers)}"
        )
