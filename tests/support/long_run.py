# SPDX-License-Identifier: BSD-3-Clause
"""Train for long and report how it ended, for test_interrupt.py; logs its epochs to stdout."""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from typing import Any

import numpy as np
from scipy import sparse

import hybridtrain as ht

ROWS, FEATURES, PER_ROW = 100_000, 400, 50


def rows(n_rows: int = ROWS) -> Any:
    """Return rows that take a hundredth of a second an epoch, made without a sort."""
    rng = np.random.default_rng(0)
    step = FEATURES // PER_ROW
    indices = np.arange(PER_ROW) * step + rng.integers(0, step, (n_rows, PER_ROW))
    values = rng.standard_normal((n_rows, PER_ROW), np.float32)
    pointers = np.arange(0, n_rows * PER_ROW + 1, PER_ROW)
    return sparse.csr_matrix(
        (values.ravel(), indices.astype(np.int32).ravel(), pointers), shape=(n_rows, FEATURES)
    )


def report(stop: BaseException) -> dict[str, Any]:
    """Return what is left of the run and whether its partial result can be used."""
    found: dict[str, Any] = {
        "stopped_by": type(stop).__name__,
        "threads": [t.name for t in threading.enumerate() if t.name.startswith("hybridtrain-")],
    }
    if isinstance(stop, ht.TrainingInterrupted):
        result = stop.result
        found |= {
            "message": str(stop),
            "epochs": len(result.history),
            "ledger": [(r.trained, r.repeated, r.dropped, r.reason) for r in result.ledger],
            "ended": [worker.ended for worker in result.workers],
            "worker_rows": sum(worker.rows for worker in result.workers),
            "finite": bool(np.isfinite(result.params["coef"]).all()),
            "predicted": len(result.predict(X[:10])),
        }
    return found


if __name__ == "__main__":
    strategy, workers = sys.argv[1], int(sys.argv[2])
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
    X = rows()
    y = np.asarray(X[:, :20].sum(axis=1)).ravel() > 0
    try:
        ht.train(
            ht.Linear(l1=1e-6),  # the slowest kernels
            (X, y),
            strategy=strategy,
            optimizer="adagrad",
            workers=workers,
            epochs=1000,
            progress=False,
        )
    except BaseException as stop:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        print("report", json.dumps(report(stop)), flush=True)
