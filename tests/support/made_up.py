# SPDX-License-Identifier: BSD-3-Clause
"""Made-up runs and comparisons: what is said of them can be known beforehand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import hybridtrain as ht


def run_of(
    losses: Sequence[float],
    *,
    strategy: Any = None,
    workers: int = 2,
    seconds: float = 1.0,
    seed: int = 0,
    diverged: str = "",
    score: float = 0.75,
    ledger: Sequence[ht.LedgerRecord] = (),
    staleness: ht.Staleness | None = None,
) -> ht.ComparedRun:
    """Return a run with these validation losses: a thousand rows and `seconds` an epoch."""
    reports = tuple(
        ht.WorkerReport(
            worker=k,
            rows=500,
            computing=2.0,
            merging=0.5,
            waiting=1.5,
            merges=1,
            skipped=0,
            repeated=0,
            ended="finished",
        )
        for k in range(workers)
    )
    result = ht.Result(
        model=ht.Linear(),
        params={"coef": np.zeros(3, np.float32), "intercept": 0.0},
        classes=np.array([0, 1]),
        history=tuple(
            ht.EpochRecord(
                epoch=k,
                seconds=seconds,
                rows=1000,
                lr=0.1,
                loss=0.5,
                validation_loss=loss,
                staleness=staleness or ht.Staleness((1, 0, k), 3 * k, 3, "exchange"),
            )
            for k, loss in enumerate(losses, 1)
        ),
        settings={"lr": np.float32(0.5), "limit": math.inf},
        seed=seed,
        ledger=tuple(ledger),
        staleness=staleness or ht.Staleness((1, 0, 3), 9, 3, "exchange"),
        staleness_in_place=None,
        workers=reports,
    )
    return ht.ComparedRun(
        strategy=strategy or ht.Hybrid(), result=result, score=score, diverged=diverged
    )


def runs_of(
    losses: Sequence[float], *, seconds: Sequence[float] | None = None, **fields: Any
) -> ht.ComparedStrategy:
    """Return a strategy's runs of one epoch, with one loss and time for each seed 0, 1, ..."""
    times = [1.0] * len(losses) if seconds is None else seconds
    told = [
        run_of([loss], seconds=time, seed=seed, **fields)
        for seed, (loss, time) in enumerate(zip(losses, times, strict=True))
    ]
    return ht.ComparedStrategy(runs=tuple(told))


def comparison_of(*compared: ht.ComparedRun | ht.ComparedStrategy, **fields: Any) -> ht.Comparison:
    """Return a comparison of strategies; a run is a strategy with one seed."""
    defaults: dict[str, Any] = {
        "score_name": "AUC",
        "repeats": 1,
        "data": {"rows": 1000, "validation_rows": 100, "features": 3},
        "machine": {"processor": "none"},
    }
    strategies = tuple(
        one if isinstance(one, ht.ComparedStrategy) else ht.ComparedStrategy(runs=(one,))
        for one in compared
    )
    return ht.Comparison(strategies=strategies, **(defaults | fields))
