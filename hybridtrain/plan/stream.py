# SPDX-License-Identifier: BSD-3-Clause
"""From model, data and settings to the constants of one run of the stream."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hybridtrain._core.leased import LeasedStream
from hybridtrain._core.point import STREAM_POINTS
from hybridtrain._core.recorded import RecordedStream
from hybridtrain._core.rows import Rows, isas
from hybridtrain._core.stream import Stream
from hybridtrain.data.arrays import Floats
from hybridtrain.data.facts import count_rows
from hybridtrain.data.renumber import renumbered
from hybridtrain.errors import InvalidSettingError
from hybridtrain.machine import available_memory, usable_cores
from hybridtrain.models.linear import pack, unpack
from hybridtrain.observe.recording import Recorder
from hybridtrain.observe.records import RunReport, WorkerReport
from hybridtrain.optimizers.base import Optimizer
from hybridtrain.optimizers.schedules import Rates
from hybridtrain.plan import costs
from hybridtrain.plan.adding import Adding, compensation, weighing
from hybridtrain.plan.base import Settings, check_workers, run_constants
from hybridtrain.plan.hot import curvature_of_hot, hot_features, inverse_share
from hybridtrain.plan.penalties import l1_factor, reads_shares
from hybridtrain.plan.problem import Problem
from hybridtrain.plan.rates import (
    LRS_PER_EPOCH,
    learning_rate,
    rate_fields,
    reach_of_rows,
)

_STRIPS_CLUSTERED = 16
IN_PLACE = (
    "its workers change parameters in place, and nobody sees in which order; use Async(), or "
    "Hybrid(hot=1.0), whose parameters are all in replicas"
)


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """Hold the constants of a run of the stream; see ht_worker.h.

    Attributes
    ----------
    rows : Rows
        The rows to train, renumbered by frequency if a part of the features is hot.
    order : int array (n_features,) or None
        order[k] is the user's number of trained feature k; None: both numbers are equal.
    rows_in_flight : int
        Rows of one worker whose outputs are computed before any of them steps.
    exact : bool
        Whether no update in place is lost.
    strips : int
        Strips of neighbouring rows in a chunk; see ht_feed.h.
    n_hot : int
        Leading features with replicas, the intercept included; 0: none.
    every : int
        Rows of a worker between exchanges; 0: measured.
    adding : Adding or None
        Chooses `every` by the rate, where several workers' changes add up.
    adds : bool
        Whether changes of replicas add up as they come; else they are weighted.
    compensates : bool
        Where they add up: whether they are compensated for the staleness of views.
    staleness : int or None
        Where they add up: how many merges a worker may be ahead; None: any number.
    team_of : uint32 array (workers,) or None
        The group of each worker, whose workers share one replica; None: each has its own.
    rates : Rates
        LRS_PER_EPOCH learning rates for each epoch.
    is_shared : bool
        Whether workers may be processes.
    between : float32 array (n_features + 1,) or None
        Of a node: the curvature of the intercept and each of the user's features, by which the
        changes of nodes are weighted. None: the run is on one machine.
    compress : str or None
        How changes between nodes are compressed.
    choices : mapping
        Choices of the plan, for the result's settings.
    """

    rows: Rows
    order: npt.NDArray[np.intp] | None
    problem: Problem
    optimizer: Optimizer
    workers: int
    isa: str
    seed: int
    rows_in_flight: int
    exact: bool
    strips: int
    n_hot: int
    every: int
    adding: Adding | None
    adds: bool
    compensates: bool
    staleness: int | None
    rates: Rates
    inverse_share: Floats | None
    l1_factor: Floats | None
    curvature: Floats | None
    is_shared: bool
    choices: Mapping[str, Any]
    team_of: npt.NDArray[np.uint32] | None = None
    between: Floats | None = None
    compress: str | None = None

    @property
    def steps_per_epoch(self) -> int:
        """The rows."""
        return self.rows.shape[0]

    @property
    def gradients_a_step(self) -> int:
        """One."""
        return 1

    @property
    def rows_a_gradient(self) -> float:
        """One."""
        return 1.0

    @property
    def has_outer(self) -> bool:
        """False."""
        return False

    @property
    def points(self) -> tuple[str, ...]:
        """The points of the core that the run's workers pass."""
        absent = set() if self.n_hot else {"exchange_locked", "exchange_committed"}
        if not self.adds:
            absent.add("at_gate")
        if not run_constants(self.problem, self.optimizer)["averages_per_epoch"]:
            absent.add("in_averaging")
        return tuple(point for point in STREAM_POINTS if point not in absent)

    def at_rate(self, lr: float) -> StreamPlan:
        """Return the same plan with another first learning rate."""
        every = self.every if self.adding is None else self.adding.period(lr)
        return replace(self, every=every, **rate_fields(self, lr))

    def at_factor(self, factor: float) -> StreamPlan:
        """Return the same plan at a multiple of its automatic rate, as far as it is stable."""
        lr = float(self.choices["lr"]) * factor
        return self.at_rate(lr if self.adding is None else lr * self.adding.share(lr))

    @property
    def unrecordable(self) -> str:
        """Why the order of the workers' changes cannot be written down; "": it can."""
        has_replicas = self.n_hot > self.rows.shape[1] and self.team_of is None
        return "" if has_replicas else IN_PLACE

    def open(self, recorder: Recorder | None = None) -> Stream:
        """Map the segment and open the stream of this plan.

        Raises
        ------
        OutOfMemoryError
            When it needs more than there is.
        """
        kind = Stream if recorder is None else RecordedStream
        if self.between is not None:
            kind = LeasedStream
        return kind(
            self.rows,
            **run_constants(self.problem, self.optimizer),
            isa=isas().index(self.isa),
            n_workers=self.workers,
            rows_in_flight=self.rows_in_flight,
            every=self.every,
            exact=self.exact,
            adds=weighing(self.adds, self.compensates),
            staleness=self.staleness,
            team_of=self.team_of,
            n_hot=self.n_hot,
            seed=self.seed,
            strips=self.strips,
            lrs_per_epoch=LRS_PER_EPOCH,
            lrs=self.rates.of_epoch(1),
            inverse_share=self.inverse_share,
            l1_factor=self.l1_factor,
            curvature=self.curvature,
            is_shared=self.is_shared,
            available=available_memory(),
            recorder=recorder,
            is_leased=self.between is not None,
        )

    def to_trained(self, coef: Floats, intercept: Any) -> Floats:
        """Return the stream's parameters for the user's ones."""
        return pack(coef, intercept, self.problem.n_classes, self.order)

    def from_trained(self, parameters: Floats) -> tuple[Floats, Any]:
        """Return the user's coef and intercept for the stream's parameters."""
        return unpack(parameters, self.problem.n_classes, self.order)

    def report(self, run: Stream, ended: str) -> RunReport:
        """Gather what the workers measured; they must rest."""
        reports = [run.report(w) for w in range(self.workers)]
        merged, sampled = run.staleness.of_run(run.staleness_of_epoch())
        measurements: dict[str, Any] = {}
        if self.n_hot:
            measurements["every"] = None  # one worker exchanges at the end of an epoch
            if self.workers > 1 or self.every:
                measurements["every"] = [int(r["every"]) for r in reports]
            measurements["exchange_seconds"] = run.measure_exchange()
        has_cold = self.n_hot <= self.rows.shape[1]
        return RunReport(
            measurements=measurements,
            staleness=merged if self.n_hot else sampled,
            staleness_in_place=sampled if has_cold else None,
            workers=tuple(
                WorkerReport(
                    worker=w,
                    rows=r["rows"],
                    computing=r["compute"],
                    merging=r["exchange"],
                    waiting=r["wait"],
                    merges=r["exchanges"],
                    skipped=r["skipped"],
                    ahead=r["lead"],
                    repeated=0,
                    staleness=r["merged" if self.n_hot else "sampled"],
                    ended=ended,
                )
                for w, r in enumerate(reports)
            ),
        )


def plan_stream(
    problem: Problem,
    settings: Settings,
    *,
    rows_in_flight: int,
    exact: bool,
    hot: Literal["auto"] | int | float,
    every: Literal["auto"] | int,
    adds: bool = False,
    compensates: bool = False,
    staleness: int | None = None,
    compress: str | None = None,
) -> StreamPlan:
    """Gather facts, choose the settings that are "auto", and renumber features if needed.

    Parameters
    ----------
    problem : Problem
    settings : Settings
    rows_in_flight : int
        Rows of one worker whose outputs are computed before any of them steps.
    exact : bool
        Whether no update in place is lost.
    hot : "auto", int or float
        Features with replicas: a number (int), or a share of all features (float). An
        optimizer whose step changes every parameter makes all features hot.
    every : "auto" or int
        Rows of a worker between exchanges. "auto": measured by the core. One worker then
        trains alone if the other workers would cost more time than they gain.

    adds : bool
        Whether changes of replicas add up as they come; else they are weighted.
    compensates : bool
        Where they add up: whether they are compensated for the staleness of views.
    staleness : int or None
        Where they add up: how many merges a worker may be ahead of the slowest one; None: any
        number.

    Raises
    ------
    InvalidSettingError
        When there are more workers than rows, an unknown instruction set, or an average of
        iterates on several nodes.
    """
    started = time.perf_counter()
    matrix, model, optimizer = problem.matrix, problem.model, settings.optimizer
    check_workers(settings.workers, matrix.n_rows)
    n_features = matrix.n_features
    if settings.is_node and run_constants(problem, optimizer)["averages_per_epoch"]:
        raise InvalidSettingError(
            f"{optimizer!r} does not go with a stream on several nodes, which share no average of "
            "iterates; leave average=True out, or use Sync() or LocalSGD()"
        )
    if compress is not None and not settings.is_node:
        raise InvalidSettingError(
            f"compress={compress!r} is for changes that travel between nodes; leave it out, or "
            "train on nodes"
        )
    needs_shares = reads_shares(problem, optimizer)
    n_hot_features = hot_features(problem, settings, hot, needs_shares)
    workers, reason = settings.workers, ""
    if every == "auto" and not adds:
        workers, reason = costs.fewer_workers(problem, workers, n_hot_features)
    renumbers = 0 < n_hot_features < n_features and not matrix.is_dense
    has_replicas = n_hot_features > 0
    weighs = has_replicas and workers > 1 and (compensates or not adds)
    threads = min(workers, usable_cores())
    facts = count_rows(
        problem.rows(),
        intercept=model.fit_intercept,
        columns=renumbers or needs_shares or weighs or settings.is_node,
        threads=threads,  # each takes 24 bytes a feature
        ranges=workers,  # a run's bits depend on sums, and not on the cores that there are
    )
    counted = time.perf_counter()
    if facts.n_ones == facts.n_elements and not matrix.is_dense:
        matrix = replace(matrix, values=None)
    order = hot_elements = None
    if renumbers:
        assert facts.share is not None
        order, matrix, hot_elements = renumbered(matrix, facts.share, n_hot_features, workers)
    renumbered_at = time.perf_counter()
    n_hot = n_hot_features + 1 if has_replicas else 0
    lr = optimizer.lr
    if isinstance(lr, str):
        lr = learning_rate(optimizer, problem, facts)
    clustered = costs.is_clustered(problem.targets)
    curvature = curvature_of_hot(problem, optimizer, facts, order, n_hot)
    rows_between = 0 if every == "auto" else every
    adding = None
    if adds and workers > 1:
        adding = Adding.of(
            problem, optimizer, facts, workers=workers, every=rows_between, compensates=compensates
        )
        rows_between = adding.period(float(lr))
    return StreamPlan(
        rows=Rows(
            n_features,
            matrix.pointers,
            matrix.indices,
            matrix.values,
            problem.targets,
            problem.weights,
            hot_elements,
            n_hot_features if has_replicas and not renumbers else 0,
            matrix.mapped,
            reach_of_rows(problem, optimizer, batch=1, threads=threads),
        ),
        order=order,
        problem=problem,
        optimizer=optimizer,
        workers=workers,
        isa=settings.isa,
        seed=settings.seed,
        rows_in_flight=rows_in_flight,
        exact=exact,
        strips=_STRIPS_CLUSTERED if clustered else 1,
        n_hot=n_hot,
        every=rows_between,
        adding=adding,
        adds=adds,
        compensates=compensates,
        staleness=staleness,
        rates=Rates(optimizer.schedule, lr, settings.epochs, LRS_PER_EPOCH),
        inverse_share=inverse_share(problem, facts, order) if needs_shares else None,
        l1_factor=l1_factor(problem, optimizer),
        curvature=curvature,
        is_shared=settings.backend == "processes",
        between=curvature_of_hot(problem, optimizer, facts, None, n_features + 1)
        if settings.is_node
        else None,
        compress=compress,
        choices={
            "optimizer": repr(optimizer),
            "lr": float(lr),
            "hot": n_hot_features,
            "batch_size": 1,
            **({"compensation": compensation(optimizer, compensates)} if adds else {}),
            "clustered": clustered,
            "workers": workers,
            "workers_reason": reason,
            "backend": settings.backend,
            "start": settings.start,
            "timeout": settings.timeout,
            "isa": settings.isa,
            "copied": [*matrix.copied, *(["rows renumbered by frequency"] if renumbers else [])],
            "counting_seconds": counted - started,
            "renumbering_seconds": renumbered_at - counted,
        },
    )
