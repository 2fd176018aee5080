# SPDX-License-Identifier: BSD-3-Clause
"""Estimators: arguments of every kind, attributes that the user sets, calls in any order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fuzz import settings
from fuzz.contract import Allowed, building, check_model, require
from fuzz.draw import Draw, dense_rows, sparse_rows, two_classes

from hybridtrain.sklearn import LinearClassifier, LinearRegressor

_MADE = {"strategy": settings.strategy, "optimizer": settings.optimizer}
_SHORT = ("epochs", "patience", "workers")  # large ones are sound, and take long


def _arguments(draw: Draw, estimator: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {"workers": 1, "epochs": 2, "random_state": 0, "strategy": "sync"}
    names = [name for name in estimator().get_params() if name != "verbose"]
    for name in draw.sample(names, draw.randint(1, 3)):
        value = _MADE[name](draw) if name in _MADE else settings.hostile(draw)
        if name in _SHORT and isinstance(value, int | np.integer) and value > 5:
            value = -value
        arguments[name] = value
    return arguments


def case(draw: Draw, place: Path) -> tuple[Callable[[], str], Allowed]:
    """Make an estimator, and call its methods."""
    with building():
        X = dense_rows(draw) if draw.chance(0.5) else sparse_rows(draw)
        y: Any = two_classes(draw, X.shape[0])
    is_classifier = draw.chance(0.6)
    estimator: Any = LinearClassifier if is_classifier else LinearRegressor
    run = draw.named({"arguments": _run, "arguments again": _run, "attributes": _attributes})
    return lambda: run(draw, estimator, X, y if is_classifier else y * 2.5), Allowed(
        scikit_learn=True
    )


def _run(draw: Draw, estimator: Any, X: Any, y: Any) -> str:
    """Construct with any arguments: they are checked by fit alone."""
    arguments = _arguments(draw, estimator)
    draw.note(", ".join(f"{name}={value!r}"[:80] for name, value in arguments.items()))
    made = estimator(**arguments)
    is_partial = draw.chance(0.3)
    if is_partial and not hasattr(made, "partial_fit"):
        return "no partial_fit"
    if is_partial:
        classes = {"classes": [0, 1]} if estimator is LinearClassifier else {}
        made.partial_fit(X, y, **classes).partial_fit(X, y)
    else:
        made.fit(X, y)
    check_model(made.result_, X)
    _check(made, X, estimator is LinearClassifier)
    return "sound"


def _check(made: Any, X: Any, is_classifier: bool) -> None:
    labels = made.predict(X)
    if is_classifier:
        require(np.isin(labels, made.classes_).all(), "predictions are not of the classes")
        if hasattr(made, "predict_proba"):
            p = made.predict_proba(X)
            require(((p >= 0) & (p <= 1)).all(), "probabilities outside 0 .. 1, or NaN")
            require((abs(p.sum(axis=1) - 1) < 1e-5).all(), "probabilities do not add up to 1")
    else:
        require(np.isfinite(labels).all(), "predictions are not finite")


def _attributes(draw: Draw, estimator: Any, X: Any, y: Any) -> str:
    """Set what fit has found: it counts, or is refused; a model is never half of each."""
    made = estimator(workers=1, epochs=2, random_state=0, strategy="sync").fit(X, y)
    name = draw.one(["coef_", "intercept_"])
    old = np.asarray(getattr(made, name), np.float32)
    how = draw.one(["set", "in place", "hostile"])
    draw.note(f"{name} {how}")
    if how == "hostile":
        value = draw.one([settings.hostile(draw), np.full(old.shape, np.nan), np.zeros(0)])
        draw.note(repr(value)[:80])
        setattr(made, name, value)
        _check(made, X, estimator is LinearClassifier)
        return "sound"
    if how == "in place" and isinstance(getattr(made, name), np.ndarray):
        getattr(made, name)[...] = old + 1
    else:
        setattr(made, name, old + 1 if old.ndim else float(old) + 1)
    z = made.decision_function(X) if estimator is LinearClassifier else made.predict(X)
    rows = X.toarray() if hasattr(X, "toarray") else X
    coef, intercept = np.asarray(made.coef_), np.asarray(made.intercept_)
    wanted = (rows.astype(np.float64) @ np.atleast_2d(coef).T + intercept).ravel()
    require(np.allclose(z, wanted, rtol=1e-3, atol=1e-3), f"{name} that the user sets is ignored")
    if draw.chance(0.5):
        made.partial_fit(X, y)
        check_model(made.result_, X)
    return "sound"
