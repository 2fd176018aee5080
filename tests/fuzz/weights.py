# SPDX-License-Identifier: BSD-3-Clause
"""Weights of rows and classes: scales up to the limits of float64, zeros, and what is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from fuzz import arrays
from fuzz.contract import (
    Allowed,
    UnsoundError,
    building,
    check_model,
    fingerprint,
    outcome_of,
    require,
)
from fuzz.draw import Draw, dense_rows, sparse_rows, two_classes
from fuzz.ways import RUN

import hybridtrain as ht
from hybridtrain.sklearn import LinearClassifier

_SCALES = (2.0**-1070, 2.0**-1022, 2.0**-500, 2.0**-130, 0.5, 8.0, 2.0**130, 2.0**500, 2.0**1019)

_LEAST_EXACT = 2.0**-900


def _sound(draw: Draw, n: int) -> tuple[Any, Any]:
    """Return weights in some guise or at some scale, and what they stand for."""
    plain = draw.numbers.integers(1, 9, n) / 4.0
    if draw.chance(0.3):
        plain[2:][draw.numbers.random(n - 2) < 0.2] = 0.0  # the first two have both classes
    scaled = plain * draw.one(_SCALES)
    if draw.chance(0.5):
        return scaled, plain
    made: dict[str, Callable[[], Any]] = {
        "guise": lambda: draw.named(arrays.GUISES)(draw, plain),
        "list": plain.tolist,
        "series": lambda: pd.Series(plain),
        "float32": lambda: plain.astype(np.float32),
        "whole": lambda: (plain * 4).astype(draw.one(["i1", "i8", "u2"])),
    }
    return draw.named(made)(), plain


def _broken(draw: Draw, n: int) -> Any:
    plain = draw.numbers.integers(1, 9, n) / 4.0
    options: dict[str, Callable[[], Any]] = {
        "faulty": lambda: arrays.faulty(draw, plain),
        "one wrong": lambda: arrays.one_value(draw, plain),
        "negative": lambda: np.where(np.arange(n) == draw.below(n), -1e-300, plain),
        "all zero": lambda: np.zeros(n),
        "smallest": lambda: np.full(n, 5e-324) * draw.numbers.integers(0, 2, n),
        "largest": lambda: np.where(np.arange(n) % 2, 1.7e308, 1.6e308),
        "far apart": lambda: np.where(np.arange(n) % 2, 1e308, 1e-320),
        "scalar": lambda: draw.one([1.0, None, "balanced", np.float64(1), True]),
        "columns": lambda: np.ones((n, draw.randint(1, 2))),
        "ragged": lambda: [[1.0], [1.0, 2.0], *([1.0] * (n - 2))],
        "text": lambda: ["1"] * n,
        "objects": lambda: np.array([1.0, None] * n, object)[:n],
        "masked": lambda: np.ma.masked_array(plain, np.arange(n) == 1),
        "missing": lambda: pd.Series([None, *([1] * (n - 1))], dtype="Int64"),
        "dates": lambda: np.ones(n, "M8[s]"),
        "generator": lambda: (1.0 for _ in range(n)),
        "dict": lambda: {0: 1.0, 1: 2.0},
        "complex": lambda: plain + 1j,
    }
    return draw.named(options)()


def case(draw: Draw, place: Path) -> tuple[Callable[[], str | None], Allowed]:
    """Make weights, and train with them."""
    X = dense_rows(draw) if draw.chance(0.5) else sparse_rows(draw)
    y = two_classes(draw, X.shape[0])
    what = draw.one(["sound", "broken", "weightless", "classes"])
    draw.note(what)
    with building():
        if what == "weightless":
            return _case_of_weightless(draw, X, y), Allowed()
        if what == "classes":
            return _case_of_classes(draw, X, y), Allowed()
        weight, plain = (
            _sound(draw, X.shape[0]) if what == "sound" else (_broken(draw, X.shape[0]), None)
        )
    if draw.chance(0.2):
        draw.note("estimator")
        return lambda: _fit(X, y, weight), Allowed(scikit_learn=True)
    as_validation = draw.chance(0.2)
    draw.note("validation" if as_validation else "train")
    return lambda: _train(X, y, weight, plain, as_validation), Allowed()


def _fit(X: Any, y: Any, weight: Any) -> str:
    classifier = LinearClassifier(strategy="sync", workers=1, epochs=2, random_state=0)
    check_model(classifier.fit(X, y, sample_weight=weight).result_, X)
    return "sound"


def _train(X: Any, y: Any, weight: Any, plain: Any, as_validation: bool) -> str:
    def run(weights: Any) -> ht.Result:
        if as_validation:
            return ht.train(ht.Linear(), (X, y), validation=(X, y, weights), **RUN)
        return ht.train(ht.Linear(), (X, y, weights), **RUN)

    try:
        result = run(weight)
    except Exception as error:
        name = outcome_of(error, Allowed())
        require(plain is None, f"sound weights are refused: {error}")
        return f"refused ({name})"
    check_model(result, X)
    if plain is not None:
        if np.max(np.asarray(weight)) < _LEAST_EXACT:
            return "sound"  # their mean is rounded to a subnormal number
        require(fingerprint(result) == fingerprint(run(plain)), "the scale of weights changes bits")
        return "equal"
    if weight is None:
        return "sound"
    require(not isinstance(weight, np.ma.MaskedArray), "the mask of the weights is ignored")
    numbers = np.asarray(weight)
    require(numbers.shape == (X.shape[0],), f"weights of shape {numbers.shape} are used")
    require(numbers.dtype.kind in "fiub", f"weights of {numbers.dtype} are used")
    require(np.isfinite(numbers).all() and (numbers >= 0).all(), "weights < 0 or not finite")
    return "sound"


def _case_of_weightless(draw: Draw, X: Any, y: Any) -> Callable[[], str]:
    """Give rows of weight 0 values that are far off: they change nothing."""
    weightless = draw.numbers.random(X.shape[0]) < 0.3
    weightless[:2] = False
    rows = X.toarray() if hasattr(X, "toarray") else X.copy()
    rows[weightless] = draw.one([1e30, 3e38, -1e20, 1e-30, 1e6, 0.0])
    hostile: Any = type(X)(rows) if hasattr(X, "toarray") else rows
    if draw.chance(0.5):
        weight = np.where(weightless, 0.0, 1.0)
    else:
        weight = np.where(weightless, 0.0, draw.numbers.integers(1, 9, X.shape[0]) / 4.0)
    kept = np.flatnonzero(~weightless)
    run = {**RUN, "strategy": draw.one(["sync", "hybrid", "hogwild"])}
    draw.note(run["strategy"])

    def use() -> str:
        def trained(X: Any, y: Any, weight: Any) -> ht.Result:
            return ht.train(ht.Linear(l2=1e-3), (X, y, weight), **run)

        try:
            wanted = trained(X[kept], y[kept], weight[kept])
        except ht.HybridTrainError:
            return "refused without weightless rows"
        try:
            result = trained(hostile, y, weight)
        except ht.HybridTrainError as error:
            raise UnsoundError(f"rows of weight 0 are refused: {error}") from error
        check_model(result, n_rows=None)
        same = result.params["coef"].tobytes() == wanted.params["coef"].tobytes()
        require(same, "rows of weight 0 change the bits")
        return "equal"

    return use


def _case_of_classes(draw: Draw, X: Any, y: Any) -> Callable[[], str]:
    """Give the classes weights, sound or not."""
    value = draw.one([0, 1, 2.5, 1e308, 1e-320, -1, np.nan, np.inf, "x", None, True, [1], 10**400])
    keys: Any = draw.one(
        [[0, 1], [1, 0], [0], [0, 1, 2], ["0", "1"], [0.0, 1.0], [None, 1], [(0,), 1]]
    )
    class_weight: Any = {key: 1.0 for key in keys} | {keys[0]: value}
    class_weight = draw.one([class_weight, class_weight, "balanced", "other", [1, 2], 3, {}])
    weight = draw.one(
        [None, np.where(y, 1e308, 1.0), np.where(y, 0.0, 1.0), np.full(len(y), 1e-320)]
    )
    draw.note(repr(class_weight)[:80])

    def use() -> str:
        data = (X, y) if weight is None else (X, y, weight)
        model = ht.Linear(class_weight=class_weight)
        check_model(ht.train(model, data, **RUN), X)
        return "sound"

    return use
