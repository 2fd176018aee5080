# SPDX-License-Identifier: BSD-3-Clause
"""Labels: types, guises, missing ones, and numbers for a regression."""

from __future__ import annotations

import datetime
import decimal
import fractions
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from fuzz import arrays
from fuzz.contract import Allowed, building, check_model, fingerprint, outcome_of, require
from fuzz.draw import Draw, dense_rows
from fuzz.ways import RUN
from scipy import sparse

import hybridtrain as ht
from hybridtrain.sklearn import LinearClassifier

_MISSING = (None, float("nan"), pd.NA, pd.NaT, np.datetime64("NaT"), np.float32("nan"))


def _types(draw: Draw, codes: Any) -> Any:
    """Return labels of one sortable type, in the order of the codes."""
    k = int(codes.max()) + 1
    words = draw.one([["", "a", "b"], ["a", "a ", "b"], ["A", "Z", "a"], ["x" * 99, "y", "z"]])
    words += [f"~{i:05}" for i in range(k)]
    day = np.datetime64("2020-01-01")
    numbers = draw.one([[-1, 1], [0, 1], [-(2**63), 2**63 - 1], [2**53, 2**53 + 1], [-5, 3]])
    made: dict[str, Callable[[], Any]] = {
        "words": lambda: np.array(words)[codes],
        "objects": lambda: np.array(words, object)[codes],
        "bytes": lambda: np.char.encode(np.array(words), "utf-8")[codes],
        "numbers": lambda: np.array(numbers)[codes],
        "small": lambda: codes.astype(draw.one(["i1", "u1", "u8", "f4", "f8", ">i4"])),
        "near": lambda: 1.0 + codes * 2.0**-52,
        "bool": lambda: codes.astype(bool),
        "dates": lambda: day + codes,
        "spans": lambda: codes.astype("m8[s]"),
        "series": lambda: pd.Series(np.array(words)[codes]),
        "category": lambda: pd.Series(np.array(words)[codes], dtype="category"),
        "nullable": lambda: pd.Series(codes, dtype="Int64"),
        "index": lambda: pd.Index(codes),
    }
    if k > 2:
        del made["numbers"], made["bool"]
    return draw.named(made)()


def _guise(draw: Draw, y: Any) -> Any:
    if isinstance(y, np.ndarray) and draw.chance(0.5):
        return draw.named(arrays.GUISES)(draw, y) if y.dtype.kind in "iuf" else y
    return draw.one([y, list(y), tuple(y), pd.Series(y) if isinstance(y, np.ndarray) else y])


def _missing(draw: Draw, y: Any) -> Any:
    """Return the labels with one missing; None where their type has no such value."""
    values = list(y)
    missing = draw.one(_MISSING)
    values[draw.below(len(values))] = missing
    draw.note(f"missing {missing!r}")
    forms: dict[str, Callable[[], Any]] = {
        "objects": lambda: np.array([*values, None], object)[:-1],
        "list": lambda: values,
        "series": lambda: pd.Series(values),
        "category": lambda: pd.Series(pd.Categorical(values)),
        "masked": lambda: np.ma.masked_array(np.asarray(y), np.arange(len(values)) == 1),
        "complex": lambda: np.array([1 + 0j, complex(0, float("nan"))] * len(values))[
            : len(values)
        ],
        "dates": lambda: np.array(["2020", "NaT"] * len(values), "M8[D]")[: len(values)],
        "spans": lambda: np.array([1, "NaT"] * len(values), "m8[D]")[: len(values)],
    }
    return draw.named(forms)()


def _broken(draw: Draw, y: Any) -> Any:
    """Return what are no labels, or hold one class, or too many."""
    n = len(y)
    options: dict[str, Callable[[], Any]] = {
        "one class": lambda: np.full(n, 3),
        "of no value": lambda: np.full(n, draw.one([np.nan, np.inf, -np.inf])),
        "one infinite": lambda: np.where(np.arange(n) == 1, np.inf, 1.0),
        "shorter": lambda: y[:-1],
        "longer": lambda: [*y, y[0]],
        "none": list,
        "column": lambda: np.asarray(y).reshape(-1, 1),
        "row": lambda: np.asarray(y).reshape(1, -1),
        "two columns": lambda: np.zeros((n, 2)),
        "scalar": lambda: draw.one([0, "a", None, np.float64(3), np.array(1)]),
        "ragged": lambda: [[1], [1, 2], *([3] * (n - 2))],
        "mixed": lambda: [1, "a", *([1] * (n - 2))],
        "objects": lambda: [object() for _ in range(n)],
        "sets": lambda: [{1}, {2}, *([{1}] * (n - 2))],
        "lists": lambda: [[1, 2]] * n,
        "tuples": lambda: np.array([(1, 2)] * n, [("a", "i4"), ("b", "i4")]),
        "dict": lambda: dict.fromkeys(range(n), 1),
        "set": lambda: set(range(n)),
        "generator": lambda: (label for label in y),
        "deque": lambda: deque([*y]),
        "memory": lambda: memoryview(bytes(n)),
        "sparse": lambda: sparse.csr_matrix(np.eye(n)),
        "frame": lambda: pd.DataFrame({"y": list(y)}),
        "decimals": lambda: [decimal.Decimal(k % 2) for k in range(n)],
        "signalling": lambda: [decimal.Decimal("sNaN"), decimal.Decimal(1)] * (n // 2 + 1),
        "fractions": lambda: [fractions.Fraction(k % 2, 3) for k in range(n)],
        "huge": lambda: [10**400 if k % 2 else 1 for k in range(n)],
        "datetimes": lambda: [datetime.datetime(2020, 1, 1 + k % 2) for k in range(n)],
        "zones": lambda: [datetime.datetime.now(), datetime.datetime.now(datetime.UTC)] * n,
        "complex": lambda: np.arange(n) % 2 * 1j,
        "void": lambda: np.zeros(n, "V3"),
        "text of numbers": lambda: ["1", "2"] * n,
        "surrogates": lambda: [["\ud800", "\udfff"][k % 2] for k in range(n)],
        "zeros in text": lambda: ["a\0" if k % 2 else "a" for k in range(n)],
        "read as one": lambda: [True if k % 2 else 1 for k in range(n)],
        "minus zero": lambda: np.where(np.arange(n) % 2, -0.0, 0.0),
    }
    return draw.named(options)()


def _strange(draw: Draw, n: int) -> Any:
    return _broken(draw, list(draw.numbers.integers(0, 2, n)))


def case(draw: Draw, place: Path) -> tuple[Callable[[], str], Allowed]:
    """Make labels, and train on them."""
    X = dense_rows(draw)
    if draw.chance(0.25):
        return _case_of_numbers(draw, X), Allowed()
    n = len(X)
    k = 2 if draw.chance(0.6) or n < 9 else draw.randint(3, 6)
    codes = draw.numbers.integers(0, k, n)
    codes[:k] = np.arange(k)
    loss = "softmax" if k > 2 else draw.one(["logistic", "hinge", "softmax"])
    what = draw.one(["sound", "missing", "broken"])
    draw.note(what)
    with building():
        y = _types(draw, codes)
        if what == "sound":
            y = _guise(draw, y)
        elif what == "missing":
            y = _missing(draw, y)
        else:
            y = _broken(draw, y)
    if draw.chance(0.2):
        draw.note("estimator")
        allowed = Allowed(scikit_learn=True)
        return lambda: _fit(X, y, what), allowed
    if draw.chance(0.2) and what != "sound":
        use = draw.one(["score", "validation"])
        draw.note(use)
        return lambda: _measure((X, y), codes, use, what), Allowed()
    return lambda: _train((X, y), codes, loss, what), Allowed()


def _train(data: tuple[Any, Any], codes: Any, loss: Any, what: str) -> str:
    X, y = data

    def run(labels: Any) -> ht.Result:
        return ht.train(ht.Linear(loss=loss), (X, labels), **RUN)

    try:
        result = run(y)
    except Exception as error:
        name = outcome_of(error, Allowed())
        require(what != "sound", f"sound labels are refused: {error}")
        return f"refused ({name})"
    require(what != "missing", f"labels that are missing are a class: {result.classes!r}")
    check_model(result, X, n_rows=len(X))
    if what == "sound":
        require(fingerprint(result) == fingerprint(run(codes)), "other bits than of numbers")
        accuracy = result.score(X, y)
        require(0 <= accuracy <= 1, f"accuracy {accuracy}")
    return "sound"


def _measure(data: tuple[Any, Any], codes: Any, use: str, what: str) -> str:
    """Train on sound labels, and measure with the others."""
    X, y = data
    model = ht.Linear(loss="softmax")
    if use == "score":
        measured = ht.train(model, (X, codes), **RUN).score(X, y)
        require(0 <= measured <= 1, f"accuracy {measured}")
    else:
        check_model(ht.train(model, (X, codes), validation=(X, y), **RUN))
    require(what != "missing", "labels that are missing are measured with")
    return "measured"


def _fit(X: Any, y: Any, what: str) -> str:
    fitted = LinearClassifier(strategy="sync", workers=1, epochs=2, random_state=0).fit(X, y)
    require(what != "missing", f"labels that are missing are a class: {fitted.classes_!r}")
    check_model(fitted.result_, X, n_rows=len(X))
    require(np.isin(fitted.predict(X), fitted.classes_).all(), "predictions are not of the classes")
    return "sound"


def _case_of_numbers(draw: Draw, X: Any) -> Callable[[], str]:
    """Train a regression on numbers in some guise, or on what holds none."""
    n = len(X)
    numbers = draw.numbers.integers(-40, 40, n) / 8.0
    loss = draw.one(["squared", "huber"])
    is_sound = draw.chance(0.4)
    with building():
        if is_sound:
            y: Any = numbers.astype(draw.one(["f2", "f4", "f8", "longdouble"]))
            y = draw.one([draw.named(arrays.GUISES)(draw, y), y.tolist(), pd.Series(y.tolist())])
        elif draw.chance(0.6):
            y = arrays.faulty(draw, numbers)
        else:
            y = _strange(draw, n)
    draw.note(loss)

    def run() -> str:
        try:
            result = ht.train(ht.Linear(loss=loss), (X, y), **RUN)
        except Exception as error:
            name = outcome_of(error, Allowed())
            require(not is_sound, f"sound numbers are refused: {error}")
            return f"refused ({name})"
        require(not isinstance(y, np.ma.MaskedArray), "the mask of y is ignored")
        as_array = np.asarray(y)
        require(as_array.dtype.kind in "fiub" and as_array.shape == (n,), "y holds no numbers")
        require(np.isfinite(as_array).all(), "y holds NaN or infinity")
        check_model(result, X, n_rows=n)
        if is_sound:
            wanted = ht.train(ht.Linear(loss=loss), (X, numbers), **RUN)
            require(fingerprint(result) == fingerprint(wanted), "other bits than of float64")
        return "sound"

    return run
