# SPDX-License-Identifier: BSD-3-Clause
"""The ways in that take a matrix; each returns what equal rows must have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fuzz.contract import Allowed, check_model, fingerprint, require
from fuzz.draw import Draw, two_classes
from scipy import sparse

import hybridtrain as ht
from hybridtrain.sklearn import LinearClassifier

Way = Callable[[Any], bytes]
RUN: dict[str, Any] = {"strategy": "sync", "workers": 1, "epochs": 2, "progress": False}


def _like(X: Any, n_rows: int, n_features: int) -> Any:
    """Return other rows of this width, sound and in the canonical form of their kind."""
    values = np.random.default_rng(1).integers(-8, 9, (n_rows, n_features)) / 8.0
    values[0, 0] = 1.0
    rows = values.astype(np.float32)
    return sparse.csr_matrix(rows) if sparse.issparse(X) else rows


def _labels(n_rows: int) -> Any:
    y = np.random.default_rng(n_rows).integers(0, 2, n_rows)
    y[:2] = 0, 1
    return y


def ways(draw: Draw, sound: Any, place: Path) -> dict[str, Way]:
    """Return the ways in; labels and the models to predict with go with the sound rows."""
    n_rows, n_features = sound.shape
    y = two_classes(draw, n_rows)
    other, model = _like(sound, 20, n_features), ht.Linear(loss=draw.one(["logistic", "softmax"]))
    other_y, seed = _labels(20), draw.getrandbits(64)
    settings = {**RUN, "seed": seed}

    def trained(X: Any, **more: Any) -> bytes:
        result = ht.train(model, (X, y), **{**settings, **more})
        check_model(result, n_rows=None if "validation" in more else n_rows)
        return fingerprint(result)

    def validated(X: Any) -> bytes:
        result = ht.train(model, (other, other_y), validation=(X, y), **settings)
        check_model(result, n_rows=20)
        return fingerprint(result)

    def compared(X: Any) -> bytes:
        run = {"strategies": ["sync"], "workers": 1, "epochs": 1, "progress": False}
        found = ht.compare(model, (X, y), validation=(other, other_y), repeats=1, **run)
        return b"".join(fingerprint(run.result) for run in found.runs)

    def saved(X: Any) -> bytes:
        folder = place / f"saved{draw.getrandbits(32)}"
        ht.save_directory(folder, X, y)
        rows, labels = ht.read_data(folder)
        require(np.array_equal(labels, y), "other labels are read than were saved")
        return trained(rows)

    def fitted(X: Any) -> bytes:
        classifier = LinearClassifier(strategy="sync", workers=1, epochs=2, random_state=1)
        return fingerprint(classifier.fit(X, y).result_)

    def partly_fitted(X: Any) -> bytes:
        classifier = LinearClassifier(strategy="sync", workers=1, random_state=1)
        return fingerprint(classifier.partial_fit(X, y, classes=[0, 1]).result_)

    found: dict[str, Way] = {
        "train": trained,
        "train, many workers": lambda X: trained(X, workers=3),
        "train, a share held out": lambda X: trained(X, validation=0.3),
        "validation": validated,
        "save_directory": saved,
        "fit": fitted,
        "partial_fit": partly_fitted,
    }
    if draw.chance(0.1):
        found["compare"] = compared
    return found | _predicting(other, other_y, y, settings, model)


def _predicting(
    other: Any, other_y: Any, y: Any, settings: dict[str, Any], model: ht.Linear
) -> dict[str, Way]:
    def result() -> ht.Result:
        return ht.train(model, (other, other_y), **settings)

    def estimator() -> LinearClassifier:
        fitted = LinearClassifier(strategy="sync", workers=1, epochs=1, random_state=1)
        return fitted.fit(other, other_y)

    return {
        "decision_function": lambda X: result().decision_function(X).tobytes(),
        "predict": lambda X: result().predict(X).tobytes(),
        "predict_proba": lambda X: result().predict_proba(X).tobytes(),
        "score": lambda X: np.float64(result().score(X, y)).tobytes(),
        "estimator.predict_proba": lambda X: estimator().predict_proba(X).tobytes(),
    }


def of_scikit_learn(name: str) -> Allowed:
    """Return the errors that a way in may end with: estimators use scikit-learn's checks."""
    return Allowed(scikit_learn=name in ("fit", "partial_fit", "estimator.predict_proba"))
