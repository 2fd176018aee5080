"""Snap ML's LogisticRegression: dual coordinate descent on many threads.

regularizer is lambda of the summed loss, our l2 times the rows; tol is too small to
stop before max_iter. It converts the rows within fit, so its time counts whole. A
second fit of four times the epochs takes that constant out of the rate.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from bench.data import Dataset
from bench.harness import Sample, Side
from bench.ours import L2, measured


def fit(data: Dataset, epochs: int, l2: float, threads: int) -> tuple[Any, float]:
    """Return a fitted model, and the seconds it took."""
    from snapml import LogisticRegression  # noqa: PLC0415 - a peer that may be missing

    model = LogisticRegression(
        max_iter=epochs,
        regularizer=l2 * len(data.y),
        n_jobs=threads,
        tol=1e-30,
        fit_intercept=True,
        random_state=0,
    )
    started = time.perf_counter()
    model.fit(data.X, data.y)
    return model, time.perf_counter() - started


def margins(model: Any, X: Any) -> Any:
    """Return rows times coefficients plus intercept, of two classes."""
    return X @ np.ravel(model.coef_) + float(np.ravel(model.intercept_)[0])


def side(
    data: Dataset, *, epochs: int, l2: float = L2, threads: int = 2, rate: bool = False
) -> Side:
    """Return a side that fits; with `rate`, a longer fit gives the rate of an epoch."""

    def run() -> Sample:
        model, seconds = fit(data, epochs, l2, threads)
        rows = epochs * len(data.y)
        a_second = rows / seconds
        if rate:
            _, longer = fit(data, 4 * epochs, l2, threads)
            a_second = 3 * rows / (longer - seconds)
        return measured(
            margins(model, data.X_test),
            data,
            rate=a_second,
            call_rate=rows / seconds,
            seconds=seconds,
            whole=seconds,
        )

    return run
