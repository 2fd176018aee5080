# SPDX-License-Identifier: BSD-3-Clause
"""From model, data, strategy and optimizer to the constants of one run of the stream."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain._core.rows import Rows, isas
from hybridtrain._core.stream import OPTIMIZERS, Stream, has_shares, hot_nbytes
from hybridtrain.data.facts import Facts, count_rows
from hybridtrain.data.matrix import Floats, Matrix
from hybridtrain.errors import InvalidSettingError
from hybridtrain.machine import available_memory, usable_cores
from hybridtrain.models.linear import pack, unpack
from hybridtrain.observe.records import RunReport, Staleness, WorkerReport
from hybridtrain.optimizers.parse import Optimizer
from hybridtrain.optimizers.schedules import Rates
from hybridtrain.parallel import over_ranges
from hybridtrain.plan import choices
from hybridtrain.plan.choices import LRS_PER_EPOCH
from hybridtrain.plan.problem import Problem
from hybridtrain.strategies.parse import Hogwild, Hybrid

HYBRID_ROWS_IN_FLIGHT = 4
_STRIPS_CLUSTERED = 16
_LANES = 16  # features of dense rows are hot in multiples of so many


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """What a stream is opened with; see ht_worker.h.

    Attributes
    ----------
    rows : Rows
        As they are trained: renumbered by frequency where a part is hot.
    order : int array (n_features,) or None
        order[k] is the user's number of trained feature k; None: the same.
    n_hot : int
        Leading features with replicas, the intercept counts; 0: none.
    strips : int
        Of neighbouring rows in a chunk; see ht_feed.h.
    rates : Rates
        LRS_PER_EPOCH learning rates for each epoch.
    settings : dict
        What was chosen, for the result.
    """

    rows: Rows
    order: npt.NDArray[np.intp] | None
    problem: Problem
    optimizer: Optimizer
    strategy: Hogwild | Hybrid
    workers: int
    isa: str
    seed: int
    strips: int
    n_hot: int
    every: int
    rates: Rates
    inverse_share: Floats | None
    curvature: Floats | None
    settings: dict[str, Any]

    def open(self) -> Stream:
        """Map the segment and open the stream of this plan.

        Raises
        ------
        OutOfMemoryError
            When it needs more than there is.
        """
        hogwild = isinstance(self.strategy, Hogwild)
        return Stream(
            self.rows,
            **self.problem.constants,
            **self.optimizer.constants(self.rates.epochs),
            isa=isas().index(self.isa),
            n_workers=self.workers,
            rows_in_flight=1 if hogwild else HYBRID_ROWS_IN_FLIGHT,
            every=self.every,
            exact=isinstance(self.strategy, Hogwild) and self.strategy.exact,
            n_hot=self.n_hot,
            seed=self.seed,
            strips=self.strips,
            lrs_per_epoch=LRS_PER_EPOCH,
            lrs=self.rates.of_epoch(1),
            inverse_share=self.inverse_share,
            curvature=self.curvature,
            available=available_memory(),
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
        exchanged = Staleness.add([r["merged"] for r in reports], "exchange")
        sampled = Staleness.add([r["sampled"] for r in reports], "sampled")
        settings = dict(self.settings)
        if self.n_hot:
            settings["every"] = None  # one worker exchanges at the end of an epoch
            if self.workers > 1 or self.every:
                settings["every"] = [int(r["every"]) for r in reports]
            settings["exchange_seconds"] = run.measure_exchange()
        has_cold = self.n_hot <= self.rows.shape[1]
        return RunReport(
            settings=settings,
            staleness=exchanged if self.n_hot else sampled,
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
                    repeated=0,
                    ended=ended,
                )
                for w, r in enumerate(reports)
            ),
        )


def plan_stream(
    problem: Problem,
    *,
    strategy: Hogwild | Hybrid,
    optimizer: Optimizer,
    workers: int,
    epochs: int,
    seed: int,
    isa: str,
) -> StreamPlan:
    """Gather facts, choose what is "auto", and renumber where that is needed.

    Raises
    ------
    InvalidSettingError
        When the optimizer does not go with the strategy and the rows.
    """
    started = time.perf_counter()
    matrix, model = problem.matrix, problem.model
    n_features = matrix.n_features
    kind = OPTIMIZERS[optimizer.kind]
    needs_shares = model.has_penalty and has_shares(kind) and not matrix.is_dense
    n_hot_features = _hot_features(problem, strategy, optimizer, workers, needs_shares)
    workers, reason = choices.fewer_workers(strategy, problem, workers, n_hot_features)
    renumbers = 0 < n_hot_features < n_features and not matrix.is_dense
    has_replicas = n_hot_features > 0
    facts = count_rows(
        problem.rows(),
        intercept=model.fit_intercept,
        columns=renumbers or needs_shares or (has_replicas and workers > 1),
        threads=min(workers, usable_cores()),  # each takes 24 bytes a feature
    )
    counted = time.perf_counter()
    if facts.n_ones == facts.n_elements and not matrix.is_dense:
        matrix = replace(matrix, values=None)
    order = hot = None
    if renumbers:
        order, matrix, hot = _renumber(matrix, facts, n_hot_features, workers)
    renumbered = time.perf_counter()
    n_hot = n_hot_features + 1 if has_replicas else 0
    lr = optimizer.lr
    if lr == "auto":
        lr = choices.learning_rate(optimizer, problem, facts)
    clustered = choices.is_clustered(problem.targets)
    every = 0 if not isinstance(strategy, Hybrid) or strategy.every == "auto" else strategy.every
    return StreamPlan(
        rows=Rows(
            n_features,
            matrix.pointers,
            matrix.indices,
            matrix.values,
            problem.targets,
            problem.weights,
            hot,
            n_hot_features if has_replicas and not renumbers else 0,
            matrix.mapped,
        ),
        order=order,
        problem=problem,
        optimizer=optimizer,
        strategy=strategy,
        workers=workers,
        isa=isa,
        seed=seed,
        strips=_STRIPS_CLUSTERED if clustered else 1,
        n_hot=n_hot,
        every=every,
        rates=Rates(optimizer.schedule, lr, epochs, LRS_PER_EPOCH),
        inverse_share=_inverse_share(facts, order) if needs_shares else None,
        curvature=_curvature(problem, optimizer, facts, order, n_hot),
        settings={
            "strategy": repr(strategy),
            "optimizer": repr(optimizer),
            "lr": float(lr),
            "hot": n_hot_features,
            "batch_size": 1,
            "clustered": clustered,
            "workers": workers,
            "workers_reason": reason,
            "isa": isa,
            "copied": [*matrix.copied, *(["rows renumbered by frequency"] if renumbers else [])],
            "counting_seconds": counted - started,
            "renumbering_seconds": renumbered - counted,
        },
    )


def _hot_features(
    problem: Problem,
    strategy: Hogwild | Hybrid,
    optimizer: Optimizer,
    workers: int,
    needs_shares: bool,
) -> int:
    n_features = problem.matrix.n_features
    if optimizer.needs_dense_steps:
        _check_dense_steps(problem, strategy, optimizer)
        return n_features
    nbytes = hot_nbytes(OPTIMIZERS[optimizer.kind], needs_shares) * problem.n_outputs
    n_hot = choices.hot_features(strategy, problem, workers, nbytes)
    if problem.matrix.is_dense and n_hot:
        n_hot = min(-(-n_hot // _LANES) * _LANES, n_features)
    return n_hot


def _check_dense_steps(problem: Problem, strategy: Hogwild | Hybrid, optimizer: Optimizer) -> None:
    """Refuse momentum and Adam where a step does not reach every parameter."""
    remedy = "use ht.AdaGrad() or ht.FTRL() here, or the strategy ht.Sync()"
    reason = f"{optimizer!r} changes every parameter in every step"
    if isinstance(strategy, Hogwild):
        raise InvalidSettingError(f"{reason}, and Hogwild steps in place, lock-free; {remedy}")
    if not problem.matrix.is_dense:
        raise InvalidSettingError(
            f"{reason}, and a step of Hybrid on a sparse row touches its features alone; {remedy}"
        )
    if strategy.hot not in ("auto", 1.0) and strategy.hot != problem.matrix.n_features:
        raise InvalidSettingError(
            f"{reason}, so that all features must be hot, got hot={strategy.hot!r}; "
            f'use hot="auto", or {remedy}'
        )


def _renumber(
    matrix: Matrix, facts: Facts, n_hot_features: int, threads: int
) -> tuple[npt.NDArray[np.intp], Matrix, npt.NDArray[np.int32]]:
    """Copy the rows with features numbered by frequency, hot elements first.

    Returns
    -------
    order : int array (n_features,)
        The old number of each new feature.
    renumbered : Matrix
    hot : int32 array (n_rows,)
        Hot elements of each row.
    """
    assert facts.share is not None
    assert matrix.indices is not None
    order = np.argsort(-facts.share, kind="stable")
    rank = np.empty(matrix.n_features, np.int32)
    rank[order] = np.arange(matrix.n_features, dtype=np.int32)
    indices = np.empty_like(matrix.indices)
    values = None if matrix.values is None else np.empty_like(matrix.values)
    hot = np.empty(matrix.n_rows, np.int32)
    source = matrix.rows()

    def renumber(first: int, last: int) -> None:
        source.renumber(rank, n_hot_features, first, last, indices, values, hot)

    over_ranges(renumber, matrix.n_rows, threads)
    return order, replace(matrix, indices=indices, values=values, mapped=False), hot


def _inverse_share(facts: Facts, order: npt.NDArray[np.intp] | None) -> Floats:
    """Return c of the intercept and each feature: 1 / (share of the weight that touches it)."""
    assert facts.share is not None
    share = facts.share if order is None else facts.share[order]
    result = np.zeros(len(share) + 1, np.float32)
    np.divide(facts.n_rows, share, out=result[1:], where=share > 0, casting="unsafe")
    return result


def _curvature(
    problem: Problem,
    optimizer: Optimizer,
    facts: Facts,
    order: npt.NDArray[np.intp] | None,
    n_hot: int,
) -> Floats | None:
    """Return the mean of ``s |x_j| ||x||`` of each hot feature, times its share of lr."""
    if n_hot == 0:
        return None
    result = np.zeros(n_hot, np.float32)
    if facts.curvature is not None:
        curvature = facts.curvature if order is None else facts.curvature[order]
        if problem.model.fit_intercept:
            rate = choices.rate_of_intercept(optimizer, problem)
            result[0] = rate * facts.norm / facts.n_rows
        result[1:] = curvature[: n_hot - 1] / facts.n_rows
    return result
