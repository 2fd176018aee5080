# SPDX-License-Identifier: BSD-3-Clause
"""From model, data and settings to the constants of one run of the round.

Nothing here depends on the number of workers, the clock or the cache: equal
data and settings give equal bits.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain._core.point import ROUND_POINTS
from hybridtrain._core.rows import Rows, isas
from hybridtrain._core.sync import MAX_STEPS, MAX_TASK_ROWS, MAX_TASKS, SCALE_COORDINATES, SyncRun
from hybridtrain.arguments import shown
from hybridtrain.data.arrays import Floats
from hybridtrain.data.facts import Facts, count_rows, largest_values
from hybridtrain.errors import InvalidSettingError
from hybridtrain.machine import available_memory, usable_cores
from hybridtrain.models.linear import pack, unpack
from hybridtrain.observe.recording import Recorder
from hybridtrain.observe.records import RunReport, Staleness, WorkerReport
from hybridtrain.optimizers.base import Optimizer
from hybridtrain.optimizers.schedules import Rates
from hybridtrain.plan import costs
from hybridtrain.plan.base import Settings, check_workers, run_constants
from hybridtrain.plan.local import (
    LocalRun,
    LocalSteps,
    local_steps,
    strips_of_replicas,
)
from hybridtrain.plan.penalties import l1_factor, reads_shares, scaled_shares
from hybridtrain.plan.problem import Problem
from hybridtrain.plan.rates import LRS_PER_EPOCH, batch_learning_rate, rate_fields, reach_of_rows

_ALIKE = 2.0**-16  # columns whose largest values differ by less share one scale


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """Hold the constants of a run of the round; see ht_sync.h.

    Attributes
    ----------
    rows : Rows
        The user's rows.
    exact : bool
        Whether sums do not depend on their order.
    task_rows, batch_tasks : int
        Rows of a task, tasks of a batch.
    rates : Rates
        LRS_PER_EPOCH learning rates for each epoch.
    is_shared : bool
        Whether workers may be processes.
    is_node : bool
        Whether a guest of the run takes its sums to other nodes.
    local : LocalSteps or None
        What replicas do in a step; None: a step takes the gradients of a batch.
    choices : mapping
        Choices of the plan, for the result's settings.
    """

    rows: Rows
    problem: Problem
    optimizer: Optimizer
    workers: int
    isa: str
    seed: int
    exact: bool
    task_rows: int
    batch_tasks: int
    rates: Rates
    inverse_share: Floats | None
    l1_factor: Floats | None
    scales: npt.NDArray[np.float64] | None
    largest_value: float
    bound: float
    is_bounded: bool
    is_shared: bool
    is_node: bool
    local: LocalSteps | None
    choices: Mapping[str, Any]

    @property
    def steps_per_epoch(self) -> int:
        """The batches of the core; replicas take one or more of them between two merges."""
        strips = -(-self.rows.shape[0] // self.task_rows)
        return -(-strips // self.batch_tasks)

    @property
    def gradients_a_step(self) -> int:
        """The local steps of a replica on a batch of the core; without replicas one."""
        return 1 if self.local is None else self.local.unit

    @property
    def rows_a_gradient(self) -> float:
        """The rows of a local step; without replicas the mean size of a batch."""
        if self.local is not None:
            return float(self.local.rows)
        return self.rows.shape[0] / self.steps_per_epoch

    @property
    def has_outer(self) -> bool:
        """Whether the replicas have an outer optimizer."""
        return self.local is not None and bool(self.local.outer)

    @property
    def points(self) -> tuple[str, ...]:
        """The points of the core that the run's workers pass."""
        return ROUND_POINTS

    @property
    def order(self) -> None:
        """None: features are not renumbered."""
        return None

    def at_rate(self, lr: float) -> RoundPlan:
        """Return the same plan with another first learning rate."""
        return replace(self, **rate_fields(self, lr))

    def at_factor(self, factor: float) -> RoundPlan:
        """Return the same plan at a multiple of its automatic rate."""
        return self.at_rate(float(self.choices["lr"]) * factor)

    @property
    def unrecordable(self) -> str:
        """Why a run whose bits do not depend on the seed alone cannot be recorded."""
        return (
            'its steps between merges follow the clock (every="auto"), and a record has only the '
            "order of exchanges; set every to a number, and its bits depend on the seed alone"
        )

    def open(self, recorder: Recorder | None = None) -> SyncRun:
        """Map the segment and open the run of this plan.

        Raises
        ------
        OutOfMemoryError
            When it needs more than there is.
        """
        assert recorder is None
        kind = SyncRun if self.local is None else LocalRun
        run = kind(
            self.rows,
            **run_constants(self.problem, self.optimizer),
            isa=isas().index(self.isa),
            n_workers=self.workers,
            exact=self.exact,
            seed=self.seed,
            task_rows=self.task_rows,
            batch_tasks=self.batch_tasks,
            **({} if self.local is None else self.local.constants()),
            lrs_per_epoch=LRS_PER_EPOCH,
            lrs=self.rates.of_epoch(1),
            inverse_share=self.inverse_share,
            l1_factor=self.l1_factor,
            scales=self.scales,
            largest_value=self.largest_value,
            bound=self.bound,
            is_bounded=self.is_bounded,
            is_shared=self.is_shared,
            has_guest=self.is_node,
            available=available_memory(),
        )
        if isinstance(run, LocalRun) and self.local is not None:
            shape = (self.rows.shape[0], self.task_rows, self.batch_tasks)
            run.follow(self.local, float(self.rates.of_epoch(1)[0]), shape)
        return run

    def to_trained(self, coef: Floats, intercept: Any) -> Floats:
        """Return the run's parameters for the user's ones."""
        return pack(coef, intercept, self.problem.n_classes)

    def from_trained(self, parameters: Floats) -> tuple[Floats, Any]:
        """Return the user's coef and intercept for the run's parameters."""
        return unpack(parameters, self.problem.n_classes)

    def report(self, run: SyncRun, ended: str) -> RunReport:
        """Gather what the workers measured; they must rest."""
        reports = [run.report(w) for w in range(self.workers)]
        return RunReport(
            measurements={
                "refused_steps": run.epoch_report()["refused"],
                **({"every": run.steps_by_epoch()} if isinstance(run, LocalRun) else {}),
            },
            staleness=run.staleness()
            if isinstance(run, LocalRun)
            else Staleness((0,), 0, 0, "none"),
            staleness_in_place=None,
            workers=tuple(
                WorkerReport(
                    worker=w,
                    rows=r["rows"],
                    computing=r["compute"],
                    merging=r["merge"],
                    waiting=r["wait"],
                    merges=r["steps"],
                    skipped=0,
                    repeated=r["repeated"],
                    ended=ended,
                )
                for w, r in enumerate(reports)
            ),
        )


def plan_round(
    problem: Problem, settings: Settings, *, exact: bool, local: LocalSteps | None = None
) -> RoundPlan:
    """Gather facts and choose what is "auto".

    A run of the round has at most MAX_STEPS steps: epochs that need more are refused. A run
    with a time limit is not refused: it has the epochs that fit.

    Parameters
    ----------
    problem : Problem
    settings : Settings
    exact : bool
        Whether sums do not depend on their order.
    local : LocalSteps, optional
        The steps of replicas, their rows still to be chosen.

    Raises
    ------
    InvalidSettingError
        When there are more workers or replicas than rows, an unknown instruction set, or a batch
        size out of range.
    """
    started = time.perf_counter()
    matrix, model, optimizer = problem.matrix, problem.model, settings.optimizer
    check_workers(settings.workers, matrix.n_rows)
    workers, epochs = settings.workers, settings.epochs
    needs_shares = reads_shares(problem, optimizer)
    facts = count_rows(
        problem.rows(),
        intercept=model.fit_intercept,
        columns=needs_shares,
        threads=workers,
        ranges=costs.COUNTING_RANGES,
    )
    largest = largest_values(matrix.rows(), threads=min(workers, usable_cores()))
    counted = time.perf_counter()
    if local is None:
        task_rows, batch_tasks = _tasks(problem, settings.batch_size)
        of_step = batch = min(task_rows * batch_tasks, matrix.n_rows)
        chosen = {}
    else:
        local = local_steps(problem, local, settings.batch_size)
        batch = local.rows
        task_rows, batch_tasks = strips_of_replicas(problem, local)
        of_step = task_rows * batch_tasks
        chosen = {"replicas": local.replicas}
    steps_per_epoch = -(-matrix.n_rows // of_step)
    steps = epochs * steps_per_epoch
    if steps > MAX_STEPS and settings.is_timed:
        epochs = MAX_STEPS // steps_per_epoch
    elif steps > MAX_STEPS:
        raise InvalidSettingError(
            f"epochs and batch_size must make at most {MAX_STEPS} steps, got {steps}; "
            f"choose a batch_size above {batch}"
        )
    lr = optimizer.lr
    if isinstance(lr, str):
        lr = batch_learning_rate(optimizer, problem, facts, batch=batch)
    scales, largest_value = _scales(largest, model.fit_intercept, problem.n_outputs)
    if local is not None:  # their bounds are those of changes
        scales = None
    bound, is_bounded = problem.loss.first_bound(problem.targets, problem.weights)
    reach = reach_of_rows(problem, optimizer, batch=batch, threads=min(workers, usable_cores()))
    return RoundPlan(
        rows=problem.rows(reach),
        problem=problem,
        optimizer=optimizer,
        workers=workers,
        isa=settings.isa,
        seed=settings.seed,
        exact=exact,
        task_rows=task_rows,
        batch_tasks=batch_tasks,
        rates=Rates(optimizer.schedule, lr, epochs, LRS_PER_EPOCH),
        inverse_share=_inverse_share(problem, facts, batch) if needs_shares else None,
        l1_factor=l1_factor(problem, optimizer),
        scales=scales,
        largest_value=largest_value,
        bound=bound,
        is_bounded=is_bounded,
        is_shared=settings.backend == "processes",
        is_node=settings.is_node,
        local=local,
        choices={
            "optimizer": repr(optimizer),
            "lr": float(lr),
            "batch_size": batch,
            "task_rows": task_rows,
            **chosen,
            "workers": workers,
            "workers_reason": "",
            "backend": settings.backend,
            "start": settings.start,
            "timeout": settings.timeout,
            "isa": settings.isa,
            "copied": list(matrix.copied),
            "counting_seconds": counted - started,
        },
    )


def largest_batch(n_rows: int) -> int:
    """Return the largest batch size up to this number of rows that can be cut into tasks."""
    return n_rows if n_rows <= MAX_TASKS else n_rows - n_rows % MAX_TASK_ROWS


def _tasks(problem: Problem, batch_size: int | None) -> tuple[int, int]:
    """Return rows of a task and tasks of a batch."""
    n_rows = problem.matrix.n_rows
    if batch_size is None:
        return costs.tasks_of_batch(problem)
    if not 1 <= batch_size <= n_rows:
        raise InvalidSettingError(
            f"batch_size must be at least 1 and at most the number of rows ({n_rows}), "
            f"got {shown(batch_size)}"
        )
    # As many rows to a task as divide the batch, up to a limit.
    most = costs.most_task_rows(problem)
    most = max(min(most, batch_size // costs.LEAST_TASKS), -(-batch_size // MAX_TASKS), 1)
    task_rows = next((k for k in range(most, 0, -1) if batch_size % k == 0), 1)
    if batch_size // task_rows > MAX_TASKS:
        larger = range(most + 1, MAX_TASK_ROWS + 1)
        task_rows = next((k for k in larger if batch_size % k == 0), task_rows)
    batch_tasks = batch_size // task_rows
    if batch_tasks > MAX_TASKS or task_rows > MAX_TASK_ROWS:
        raise InvalidSettingError(
            f"batch_size {batch_size} cannot be cut into at most {MAX_TASKS} equal tasks of at "
            f"most {MAX_TASK_ROWS} rows; choose a multiple of {costs.LEAST_TASKS}"
        )
    return task_rows, batch_tasks


def _inverse_share(problem: Problem, facts: Facts, batch: int) -> Floats:
    """Return 1 / (probability that a batch touches it) of each feature; 0: no penalty."""
    assert facts.share is not None
    share = np.clip(facts.share / facts.n_rows, 0.0, 1.0)
    touched = -np.expm1(batch * np.log1p(-np.minimum(share, 1.0 - 1e-12)))
    inverse = np.divide(1.0, touched, out=np.zeros(len(share)), where=touched > 0)
    return scaled_shares(problem, inverse)


def _scales(
    largest: Floats, has_intercept: bool, n_outputs: int
) -> tuple[npt.NDArray[np.float64] | None, float]:
    """Return each scale's power of two that lifts it to the largest value, and this value.

    None instead of the powers if the columns' largest values are alike.
    """
    n_coordinates = (len(largest) + 1) * n_outputs
    n_blocks = -(-n_coordinates // SCALE_COORDINATES)
    padded = np.zeros(n_blocks * SCALE_COORDINATES)
    padded[:n_coordinates] = np.repeat(np.append(float(has_intercept), largest), n_outputs)
    blocks = padded.reshape(n_blocks, SCALE_COORDINATES).max(axis=1)
    most = float(blocks.max())
    if most == 0.0 or (padded[padded > 0] >= _ALIKE * most).all():
        return None, most
    scales = np.ones(n_blocks)
    used = blocks > 0
    scales[used] = 2.0 ** np.floor(np.log2(most / blocks[used]))
    return scales, most
