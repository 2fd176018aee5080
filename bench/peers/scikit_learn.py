"""scikit-learn's SGDClassifier and its settings.

All runs: loss="log_loss", the penalty's alpha is our l2, an intercept, and a
fixed number of epochs (tol=None, max_iter). float32 rows, which it reads
without a copy and a tenth faster than float64 ones.

Speed: the learning rate with the best test loss after 5 epochs that a search
over "optimal" (the default), "constant" and "invscaling" found, for each data
set; the speed of all is the same within a tenth. At this small alpha "optimal"
takes steps that are too large (test loss 0.444 on rcv1l, 32 on ctrl). By default
it draws a new order of the rows for each epoch (shuffle=True); rows in the order
of the file (shuffle=False) are several times as fast and need data that was
shuffled before, so both are timed.

Quality: learning_rate="optimal" and average=False, its defaults, and
average=True as a peer of its own; alpha is the best of a grid.

LogisticRegression with the solvers saga (max_iter epochs, tol=0) and liblinear (dual or
not, tol says when it stops) has C = 1 / (l2 rows).
"""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression, SGDClassifier

from bench.data import Dataset
from bench.harness import Sample, Side
from bench.ours import L2, losses_of, measured

SPEED: dict[str, dict[str, Any]] = {
    "rcv1l": {"learning_rate": "invscaling", "eta0": 20.0, "power_t": 0.25},
    "ctrl": {"learning_rate": "invscaling", "eta0": 0.4, "power_t": 0.25},
}


def classifier(*, epochs: int, l2: float = L2, seed: int = 0, **settings: Any) -> SGDClassifier:
    """Return the classifier; more settings by name."""
    return SGDClassifier(
        loss="log_loss",
        penalty="l2",
        alpha=l2,
        fit_intercept=True,
        max_iter=epochs,
        tol=None,
        random_state=seed,
        **settings,
    )


def side(data: Dataset, *, epochs: int, **settings: Any) -> Side:
    """Return a side that fits; the training is the whole call of fit."""

    def run() -> Sample:
        model = classifier(epochs=epochs, **settings)
        started = time.perf_counter()
        model.fit(data.X, data.y)
        seconds = time.perf_counter() - started
        rate = epochs * len(data.y) / seconds
        margins = model.decision_function(data.X_test)
        return measured(margins, data, rate=rate, call_rate=rate, seconds=seconds, whole=seconds)

    return run


def logistic(data: Dataset, *, solver: str, l2: float, **settings: Any) -> Side:
    """Return a side that fits LogisticRegression; the training is the whole call of fit."""
    strength = 1 / (l2 * len(data.y))
    model = LogisticRegression(solver=solver, C=strength, random_state=0, **settings)

    def run() -> Sample:
        started = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # saga stops at max_iter
            model.fit(data.X, data.y)
        seconds = time.perf_counter() - started
        return measured(model.decision_function(data.X_test), data, seconds=seconds, whole=seconds)

    return run


def losses(data: Dataset, *, epochs: int, **settings: Any) -> list[float]:
    """Return the test loss after each epoch of one unmeasured run."""
    model = classifier(epochs=1, **settings)
    found = []
    for _ in range(epochs):
        model.partial_fit(data.X, data.y, classes=np.array([-1, 1]))
        margins = model.decision_function(data.X_test)
        found.append(float(losses_of(margins, data.y_test).mean()))
    return found
