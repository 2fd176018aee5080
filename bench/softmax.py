"""Softmax regression on dense rows: our side, and what parameters say of the test rows."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt

import hybridtrain as ht
from bench import ours
from bench.data import Dataset
from bench.harness import Sample, Side


def measured(
    data: Dataset, coef: npt.NDArray[Any], intercept: npt.NDArray[Any], **more: Any
) -> Sample:
    """Return a sample with the test accuracy of coef (n_classes, n_features)."""
    margins = data.X_test @ np.asarray(coef, np.float32).T + intercept
    return {"accuracy": float((margins.argmax(axis=1) == data.y_test).mean()), **more}


def side(data: Dataset, *, epochs: int, **settings: Any) -> Side:
    """Return a side that trains on data and measures rate, seconds, whole and accuracy."""

    def run() -> Sample:
        started = time.perf_counter()
        result = ht.train(
            ht.Linear(loss="softmax"), (data.X, data.y), epochs=epochs, progress=False, **settings
        )
        whole = time.perf_counter() - started
        return measured(
            data,
            result.params["coef"],
            result.params["intercept"],
            rate=ours.rate(result),
            seconds=sum(h.seconds for h in result.history),
            whole=whole,
        )

    return run
