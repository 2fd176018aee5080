"""Our side of the comparisons: sides that call `hybridtrain.train`."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt

import hybridtrain as ht
from bench.data import Dataset, Floats
from bench.harness import Sample, Side

L2 = 1e-7  # of the speed figures


def losses_of(margins: npt.NDArray[Any], y: Floats) -> npt.NDArray[np.float64]:
    """Return the logistic loss of each row."""
    losses: npt.NDArray[np.float64] = np.logaddexp(0, -y * margins.astype(np.float64))
    return losses


def errors_of(margins: npt.NDArray[Any], y: Floats) -> npt.NDArray[np.float64]:
    """Return 1 for each row whose margin has the wrong sign, else 0."""
    return ((margins > 0) != (y > 0)).astype(np.float64)


def measured(margins: npt.NDArray[Any], data: Dataset, **more: Any) -> Sample:
    """Return a sample with what a model's margins of the test rows say."""
    error = float(errors_of(margins, data.y_test).mean())
    return {
        "loss": float(losses_of(margins, data.y_test).mean()),
        "error": error,
        "accuracy": 1.0 - error,
        "margins": margins,
        **more,
    }


def rate(result: ht.Result) -> float:
    """Return rows a second of training alone."""
    return sum(h.rows for h in result.history) / sum(h.seconds for h in result.history)


def side(data: Dataset, *, epochs: int, l2: float = L2, seed: int = 0, **settings: Any) -> Side:
    """Return a side that trains on data and measures rate, call_rate, seconds and loss."""

    def run() -> Sample:
        started = time.perf_counter()
        result = ht.train(
            ht.Linear(l2=l2),
            (data.X, data.y),
            epochs=epochs,
            seed=seed,
            **{"progress": False, **settings},
        )
        seconds = time.perf_counter() - started
        return measured(
            result.decision_function(data.X_test),
            data,
            rate=rate(result),
            call_rate=epochs * len(data.y) / seconds,
            seconds=sum(h.seconds for h in result.history),
            whole=seconds,
            workers=result.settings["workers"],
            least_share=min(w.rows for w in result.workers) / sum(w.rows for w in result.workers),
        )

    return run


def losses(data: Dataset, *, epochs: int, l2: float = L2, **settings: Any) -> list[float]:
    """Return the test loss after each epoch of one unmeasured run."""
    result = ht.train(
        ht.Linear(l2=l2),
        (data.X, data.y),
        epochs=epochs,
        validation=(data.X_test, data.y_test),
        progress=False,
        **settings,
    )
    return [float(h.validation_loss or np.nan) for h in result.history]


def seconds_to(loss: float, after_epochs: list[float], seconds: list[float]) -> list[float]:
    """Return the seconds until a run's test loss is reached, NaN if it is not.

    `seconds` are those of runs of all epochs; epochs take equal parts of them.
    """
    reached = [k for k, value in enumerate(after_epochs, start=1) if value <= loss]
    share = reached[0] / len(after_epochs) if reached else np.nan
    return [share * s for s in seconds]
