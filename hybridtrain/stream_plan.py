# SPDX-License-Identifier: BSD-3-Clause
"""From model, data, strategy and optimizer to the constants of one run of the stream."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain import choices
from hybridtrain._core.rows import LOSSES, Rows, isas
from hybridtrain._core.stream import OPTIMIZERS, Stream, hot_nbytes, intercept_rate
from hybridtrain.choices import LRS_PER_EPOCH
from hybridtrain.data import Csr, Facts, Floats, count_rows
from hybridtrain.machine import available_memory, over_ranges, usable_cores
from hybridtrain.models import Linear
from hybridtrain.optimizers import Optimizer, learning_rates
from hybridtrain.strategies import Hogwild, Hybrid
from hybridtrain.telemetry import RunReport, Staleness, WorkerReport

HYBRID_ROWS_IN_FLIGHT = 4
_STRIPS_CLUSTERED = 16


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
        Leading parameters with replicas, the intercept counts; 0: none.
    strips : int
        Of neighbouring rows in a chunk; see ht_feed.h.
    lrs : float32 array
        LRS_PER_EPOCH learning rates for each epoch.
    settings : dict
        What was chosen, for the result.
    """

    rows: Rows
    order: npt.NDArray[np.intp] | None
    model: Linear
    optimizer: Optimizer
    strategy: Hogwild | Hybrid
    workers: int
    isa: str
    seed: int
    strips: int
    n_hot: int
    every: int
    lrs: Floats
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
            loss=LOSSES[self.model.loss],
            delta=self.model.delta,
            optimizer=OPTIMIZERS[self.optimizer.name],
            isa=isas().index(self.isa),
            n_workers=self.workers,
            rows_in_flight=1 if hogwild else HYBRID_ROWS_IN_FLIGHT,
            every=self.every,
            exact=isinstance(self.strategy, Hogwild) and self.strategy.exact,
            intercept=self.model.fit_intercept,
            n_hot=self.n_hot,
            seed=self.seed,
            strips=self.strips,
            l1=self.model.l1,
            l2=self.model.l2,
            lrs_per_epoch=LRS_PER_EPOCH,
            lrs=self.lrs,
            inverse_share=self.inverse_share,
            curvature=self.curvature,
            available=available_memory(),
        )

    def to_trained(self, coef: Floats, intercept: float) -> Floats:
        """Return the stream's parameters for the user's ones."""
        features = coef if self.order is None else coef[self.order]
        return np.concatenate([np.array([intercept], np.float32), features])

    def from_trained(self, parameters: Floats) -> tuple[Floats, float]:
        """Return the user's coef and intercept for the stream's parameters."""
        if self.order is None:
            return parameters[1:].copy(), float(parameters[0])
        coef = np.empty(len(self.order), np.float32)
        coef[self.order] = parameters[1:]
        return coef, float(parameters[0])

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
    model: Linear,
    csr: Csr,
    targets: Floats,
    weights: Floats | None,
    *,
    strategy: Hogwild | Hybrid,
    optimizer: Optimizer,
    workers: int,
    epochs: int,
    seed: int,
    isa: str,
) -> StreamPlan:
    """Gather facts, choose what is "auto", and renumber where that is needed."""
    started = time.perf_counter()
    n_features = csr.n_features
    nbytes = hot_nbytes(OPTIMIZERS[optimizer.name], model.has_penalty)
    n_hot_features = choices.hot_features(strategy, csr, workers, nbytes)
    workers, reason = choices.fewer_workers(strategy, csr, workers, n_hot_features)
    renumbers = 0 < n_hot_features < n_features
    has_replicas = n_hot_features > 0
    facts = count_rows(
        csr.rows(targets, weights),
        intercept=model.fit_intercept,
        columns=renumbers or model.has_penalty or (has_replicas and workers > 1),
        threads=min(workers, usable_cores()),  # each takes 24 bytes a feature
    )
    counted = time.perf_counter()
    if facts.n_ones == facts.n_elements:
        csr = replace(csr, values=None)
    order = hot = None
    if renumbers:
        order, csr, hot = _renumber(csr, facts, n_hot_features, workers)
    renumbered = time.perf_counter()
    n_hot = n_hot_features + 1 if has_replicas else 0
    lr = optimizer.lr
    if lr == "auto":
        lr = choices.learning_rate(optimizer, model, facts, targets)
    clustered = choices.is_clustered(targets)
    every = 0 if not isinstance(strategy, Hybrid) or strategy.every == "auto" else strategy.every
    return StreamPlan(
        rows=Rows(
            n_features,
            csr.pointers,
            csr.indices,
            csr.values,
            targets,
            weights,
            hot,
            has_replicas and not renumbers,
        ),
        order=order,
        model=model,
        optimizer=optimizer,
        strategy=strategy,
        workers=workers,
        isa=isa,
        seed=seed,
        strips=_STRIPS_CLUSTERED if clustered else 1,
        n_hot=n_hot,
        every=every,
        lrs=np.array(learning_rates(optimizer.schedule, lr, epochs, LRS_PER_EPOCH), np.float32),
        inverse_share=_inverse_share(model, facts, order),
        curvature=_curvature(model, optimizer, facts, order, n_hot),
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
            "copied": [*csr.copied, *(["rows renumbered by frequency"] if renumbers else [])],
            "counting_seconds": counted - started,
            "renumbering_seconds": renumbered - counted,
        },
    )


def _renumber(
    csr: Csr, facts: Facts, n_hot_features: int, threads: int
) -> tuple[npt.NDArray[np.intp], Csr, npt.NDArray[np.int32]]:
    """Copy the rows with features numbered by frequency, hot elements first.

    Returns
    -------
    order : int array (n_features,)
        The old number of each new feature.
    renumbered : Csr
    hot : int32 array (n_rows,)
        Hot elements of each row.
    """
    assert facts.share is not None
    order = np.argsort(-facts.share, kind="stable")
    rank = np.empty(csr.n_features, np.int32)
    rank[order] = np.arange(csr.n_features, dtype=np.int32)
    renumbered = replace(
        csr,
        indices=np.empty_like(csr.indices),
        values=None if csr.values is None else np.empty_like(csr.values),
    )
    hot = np.empty(csr.n_rows, np.int32)
    source = csr.rows()

    def renumber(first: int, last: int) -> None:
        source.renumber(
            rank, n_hot_features, first, last, renumbered.indices, renumbered.values, hot
        )

    over_ranges(renumber, csr.n_rows, threads)
    return order, renumbered, hot


def _inverse_share(
    model: Linear, facts: Facts, order: npt.NDArray[np.intp] | None
) -> Floats | None:
    """Return c of each trained parameter: 1 / (share of the weight that touches it)."""
    if not model.has_penalty:
        return None
    assert facts.share is not None
    share = facts.share if order is None else facts.share[order]
    result = np.zeros(len(share) + 1, np.float32)
    np.divide(facts.n_rows, share, out=result[1:], where=share > 0, casting="unsafe")
    return result


def _curvature(
    model: Linear,
    optimizer: Optimizer,
    facts: Facts,
    order: npt.NDArray[np.intp] | None,
    n_hot: int,
) -> Floats | None:
    """Return the mean of ``s |x_j| ||x||`` of each hot parameter, times its share of lr."""
    if n_hot == 0:
        return None
    result = np.zeros(n_hot, np.float32)
    if facts.curvature is not None:
        curvature = facts.curvature if order is None else facts.curvature[order]
        if model.fit_intercept:
            rate = intercept_rate(OPTIMIZERS[optimizer.name])
            result[0] = rate * facts.norm / facts.n_rows
        result[1:] = curvature[: n_hot - 1] / facts.n_rows
    return result
