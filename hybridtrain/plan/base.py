# SPDX-License-Identifier: BSD-3-Clause
"""A plan for each strategy: the constants of one run, and what to do with them."""

from __future__ import annotations

from typing import Any, Protocol

from hybridtrain._core.rows import Rows
from hybridtrain._core.stream import MAX_WORKERS
from hybridtrain.arguments import require_int, shown
from hybridtrain.data.matrix import Floats
from hybridtrain.errors import InvalidSettingError
from hybridtrain.observe.records import RunReport
from hybridtrain.optimizers.parse import Optimizer
from hybridtrain.optimizers.schedules import Rates
from hybridtrain.plan.problem import Problem
from hybridtrain.plan.round import plan_round
from hybridtrain.plan.stream import plan_stream
from hybridtrain.strategies.parse import Strategy, Sync


class Run(Protocol):
    """A handle on a run of the core, for its supervisor; see Stream and SyncRun."""

    @property
    def n_parameters(self) -> int:
        """Coordinates: those of the intercept and of the features."""

    def load(self, parameters: Floats) -> None:
        """Set all parameters: intercept first, then the features."""

    def store(self, parameters: Floats) -> None:
        """Write all parameters."""

    @property
    def opened(self) -> int:
        """The epoch that was begun last; 0: none."""

    def set_rates(self, epoch: int, lrs: Floats) -> None:
        """Set the rates of an epoch, while the workers rest."""

    def begin(self, epoch: int) -> None:
        """Open epoch 1, 2, ..."""

    def resume(self) -> None:
        """Go on with an epoch that was stopped; the workers must rest."""

    def await_rest(self, seconds: float) -> bool:
        """Wait until the epoch is done, or the time runs out, or a signal comes: False."""

    def stop_epoch(self) -> None:
        """Ask the workers to end the epoch early."""

    def leave(self) -> None:
        """Ask the workers to return from `work`."""

    def work(self, worker: int) -> None:
        """Be a worker until `leave` or `close`."""

    def epoch_report(self) -> dict[str, Any]:
        """Return trained, loss and diverged of the open epoch so far."""

    def close(self) -> None:
        """Unmap the segment, at once or when the last worker has left."""


class Plan(Protocol):
    """What a job needs to know of a plan."""

    @property
    def rows(self) -> Rows:
        """The rows as they are trained."""

    @property
    def problem(self) -> Problem:
        """What is learned."""

    @property
    def optimizer(self) -> Optimizer:
        """Whose schedule gives the rates."""

    @property
    def workers(self) -> int:
        """How many train."""

    @property
    def seed(self) -> int:
        """What chose the order of the rows."""

    @property
    def rates(self) -> Rates:
        """LRS_PER_EPOCH learning rates for each epoch, and how many epochs there are."""

    @property
    def settings(self) -> dict[str, Any]:
        """What was chosen."""

    def open(self) -> Any:  # a Run of its own kind, for `report`
        """Map the segment and open the run."""

    def to_trained(self, coef: Floats, intercept: Any) -> Floats:
        """Return the run's parameters for the user's ones."""

    def from_trained(self, parameters: Floats) -> tuple[Floats, Any]:
        """Return the user's coef and intercept for the run's parameters."""

    def report(self, run: Any, ended: str) -> RunReport:
        """Gather what the workers of a run measured; they must rest."""


def make_plan(
    problem: Problem,
    *,
    strategy: Strategy,
    optimizer: Optimizer,
    workers: int,
    epochs: int,
    batch_size: int | None,
    seed: int,
    isa: str,
    is_timed: bool = False,
) -> Plan:
    """Gather facts and choose what is "auto".

    Raises
    ------
    InvalidSettingError
        When there are more workers than rows, a batch size that the strategy does not
        have, or an optimizer that does not go with it.
    """
    n_rows = problem.matrix.n_rows
    if workers > n_rows or workers > MAX_WORKERS:
        raise InvalidSettingError(
            f"workers must be at most the number of rows ({n_rows}) and {MAX_WORKERS}, "
            f"got {shown(workers)}"
        )
    common: dict[str, Any] = {
        "optimizer": optimizer,
        "workers": workers,
        "epochs": epochs,
        "seed": seed,
        "isa": isa,
    }
    check_batch_size(strategy, batch_size)
    if isinstance(strategy, Sync):
        return plan_round(
            problem, strategy=strategy, batch_size=batch_size, is_timed=is_timed, **common
        )
    return plan_stream(problem, strategy=strategy, **common)


def check_batch_size(strategy: Strategy, batch_size: Any) -> None:
    """Refuse what no data could make a batch size of this strategy.

    Raises
    ------
    InvalidSettingError
        When it is no int of at least 1, or not 1 for a strategy that steps on one row.
    """
    if batch_size is None:
        return
    if isinstance(strategy, Sync):
        require_int("batch_size", batch_size, least=1)
    elif not (type(batch_size) is int and batch_size == 1):
        raise InvalidSettingError(
            f"batch_size must be 1 (or None) with {type(strategy).__name__}, which steps "
            f"on one row at a time, got {shown(batch_size)}"
        )
