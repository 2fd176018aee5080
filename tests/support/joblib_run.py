# SPDX-License-Identifier: BSD-3-Clause
"""Fit estimators with worker processes in processes of joblib. For test_estimator_processes.py.

Two fits are disturbed: their workers are killed. Printed are, as JSON, the kills, the causes of
deaths and whether the bits are those of threads, for each fit; and the backend of a search.
"""

from __future__ import annotations

import json
from typing import Any

import joblib
import numpy as np
from processes import beside, kill_one
from sklearn.model_selection import GridSearchCV

import hybridtrain as ht
from hybridtrain.sklearn import LinearClassifier

SETTINGS: dict[str, Any] = {
    "strategy": "sync",
    "optimizer": ht.SGD(lr=0.3),
    "workers": 2,
    "random_state": 0,
}


def _rows() -> tuple[Any, Any]:
    X = np.random.default_rng(0).standard_normal((20_000, 20)).astype(np.float32)
    return X, X[:, :3].argmax(axis=1)


def _disturbed(l2: float) -> dict[str, Any]:
    settings = {**SETTINGS, "l2": l2, "epochs": 50}
    with beside(kill_one(seed=0), pause=0.02) as kills:
        fitted = LinearClassifier(backend="processes", **settings).fit(*_rows())
    threads = LinearClassifier(**settings).fit(*_rows())
    return {
        "kills": len(kills),
        "deaths": [cause for worker in fitted.result_.workers for cause in worker.deaths],
        "same bits": fitted.coef_.tobytes() == threads.coef_.tobytes(),
    }


if __name__ == "__main__":
    parallel = joblib.Parallel(n_jobs=2, backend="loky")
    fits = parallel(joblib.delayed(_disturbed)(l2) for l2 in (0.0, 1e-3))
    estimator = LinearClassifier(backend="processes", epochs=3, **SETTINGS)
    search = GridSearchCV(estimator, {"timeout": [30.0, 60.0]}, cv=2, n_jobs=2, error_score="raise")
    best = search.fit(*_rows()).best_estimator_
    print(json.dumps({"fits": fits, "search": best.result_.settings["backend"]}))
