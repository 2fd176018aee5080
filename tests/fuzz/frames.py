# SPDX-License-Identifier: BSD-3-Clause
"""pandas frames: types of columns, missing values, names; the same columns in another order."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from fuzz.contract import Allowed, building, refused, require
from fuzz.draw import Draw, eighths, two_classes
from fuzz.matrices import compare
from fuzz.ways import RUN, of_scikit_learn, ways
from scipy import sparse

import hybridtrain as ht

Columns = list[tuple[Any, Any, Any]]  # name, column, numbers as float64 or None


def _real(draw: Draw, n: int) -> tuple[Any, Any]:
    values = eighths(draw, n)
    return pd.Series(values).astype(draw.one(["float32", "float64"])), values


def _whole(draw: Draw, n: int) -> tuple[Any, Any]:
    values = draw.numbers.integers(0, 50, n)
    dtype = draw.one(["int8", "int64", "uint8", "uint64", "Int8", "Int64", "UInt16", "Float32"])
    return pd.Series(values).astype(dtype), values.astype(float)


def _bool(draw: Draw, n: int) -> tuple[Any, Any]:
    values = draw.numbers.random(n) < 0.5
    return pd.Series(values).astype(draw.one(["bool", "boolean"])), values.astype(float)


def _sparse(draw: Draw, n: int) -> tuple[Any, Any]:
    values = np.where(draw.numbers.random(n) < 0.3, eighths(draw, n), 0.0)
    fill = draw.one([0.0, 0.0, 1.0])
    return pd.Series(pd.arrays.SparseArray(values, fill_value=fill)), values


_SOUND = {"real": _real, "whole": _whole, "bool": _bool, "sparse": _sparse}


def _missing(draw: Draw, n: int) -> tuple[Any, Any]:
    values = eighths(draw, n)
    series = pd.Series(values).astype(draw.one(["float32", "float64", "Float64", "object"]))
    series.iloc[draw.below(n)] = draw.one([None, np.nan, pd.NA]) if series.dtype == object else None
    return series, None


def _missing_whole(draw: Draw, n: int) -> tuple[Any, Any]:
    values = [None, *range(1, n)]
    draw.shuffle(values)
    return pd.Series(values, dtype=draw.one(["Int64", "boolean", "UInt8"][::2])), None


def _missing_sparse(draw: Draw, n: int) -> tuple[Any, Any]:
    values = eighths(draw, n)
    values[draw.below(n)] = np.nan
    return pd.Series(pd.arrays.SparseArray(values)), None


def _beyond(draw: Draw, n: int) -> tuple[Any, Any]:
    values = eighths(draw, n)
    values[draw.below(n)] = draw.one([1e39, -1e300, np.inf, -np.inf])
    return pd.Series(values), None


def _no_numbers(draw: Draw, n: int) -> tuple[Any, Any]:
    made = draw.one(
        [
            lambda: pd.Series(["a", "b"] * n)[:n],
            lambda: pd.Series(["a", "b"] * n, dtype="category")[:n],
            lambda: pd.Series(pd.date_range("2020", periods=n)),
            lambda: pd.Series(pd.date_range("2020", periods=n, tz="UTC")),
            lambda: pd.Series(pd.timedelta_range("1h", periods=n)),
            lambda: pd.Series(np.ones(n) * 1j),
            lambda: pd.Series([[1]] * n),
            lambda: pd.Series(pd.period_range("2020", periods=n, freq="D")),
            lambda: pd.Series(pd.interval_range(0, n)),
        ]
    )
    return made(), None


_BROKEN = {
    "missing": _missing,
    "missing whole": _missing_whole,
    "missing sparse": _missing_sparse,
    "beyond": _beyond,
    "no numbers": _no_numbers,
}


def _names(draw: Draw, n: int) -> list[Any]:
    made: Callable[[], Any] = draw.named(
        {
            "text": lambda: [f"c{k}" for k in range(n)],
            "numbers": lambda: list(range(n)),
            "twice": lambda: ["same"] * n,
            "mixed": lambda: [k if k % 2 else f"c{k}" for k in range(n)],
            "pairs": lambda: [("a", k) for k in range(n)],
            "odd": lambda: ["", "x" * 5000, "\0", "\ud800", "naïve", None, np.nan, 1.5][:n],
        }
    )
    found = list(made())
    return [*found, *(f"more{k}" for k in range(n - len(found)))]


def _frame(draw: Draw, n_rows: int, makers: list[Any], names: list[Any]) -> tuple[Any, Any]:
    """Return a frame, and its numbers; None where it has others."""
    columns, numbers = [], []
    for maker in makers:
        series, values = maker(draw, n_rows)
        columns.append(series.reset_index(drop=True))
        numbers.append(values)
    frame = pd.concat(columns, axis=1)
    inferred = None
    if not draw.chance(0.5):
        with contextlib.suppress(UnicodeEncodeError):  # pandas holds no half of a pair beside Arrow
            inferred = pd.Index(names)
    frame.columns = pd.Index(names, dtype=object) if inferred is None else inferred
    if draw.chance(0.2):
        frame.index = pd.Index([7] * n_rows)
    if any(values is None for values in numbers):
        return frame, None
    return frame, np.column_stack(numbers).astype(np.float32)


def case(draw: Draw, place: Path) -> tuple[Callable[[], str], Allowed]:
    """Make a frame, and the way in that takes it."""
    if draw.chance(0.3):
        return _case_of_names(draw), Allowed()
    n_rows, n_columns = draw.randint(3, 30), draw.randint(1, 6)
    with building():
        makers = [draw.one(list(_SOUND.values())) for _ in range(n_columns)]
        is_sound = draw.chance(0.4)
        if not is_sound:
            makers[draw.below(n_columns)] = draw.named(_BROKEN)
        names = _names(draw, n_columns)
        frame, numbers = _frame(draw, n_rows, makers, names)
    rows = np.ones((n_rows, n_columns), np.float32) if numbers is None else numbers
    found = ways(draw, rows, place)
    name = draw.one(list(found))
    draw.note(name)
    allowed = of_scikit_learn(name)
    if draw.chance(0.1):
        draw.note("empty")
        frame, numbers, is_sound = frame.iloc[:0], None, False
    expected: Any = numbers
    if numbers is not None and _sparse in makers:  # sparse columns may become sparse rows
        expected = [numbers, sparse.csr_matrix(numbers)]
    accepts = is_sound and not allowed.scikit_learn
    return lambda: compare(found[name], frame, expected, accepts, allowed), allowed


def _case_of_names(draw: Draw) -> Callable[[], str]:
    """Train on a frame, then use one with the columns in another order, or with other names."""
    n_rows, n_columns = draw.randint(4, 30), draw.randint(2, 6)
    numbers = eighths(draw, (n_rows, n_columns))
    frame = pd.DataFrame(numbers, columns=[f"c{k}" for k in range(n_columns)])
    y = two_classes(draw, n_rows)
    order = draw.sample(range(n_columns), n_columns)
    what = draw.one(["reordered", "renamed", "one more", "one less", "array"])
    draw.note(what)
    other = {
        "reordered": lambda: frame.iloc[:, order],
        "renamed": lambda: frame.rename(columns={"c0": "other"}),
        "one more": lambda: frame.assign(more=1.0),
        "one less": lambda: frame.iloc[:, 1:],
        "array": lambda: numbers.astype(np.float32),
    }[what]()
    use = draw.one(["predict", "validation"])
    draw.note(use)

    def run() -> str:
        result = ht.train(ht.Linear(), (frame, y), **RUN)

        def used(X: Any) -> bytes:
            if use == "predict":
                return bytes(result.decision_function(X).tobytes())
            trained = ht.train(ht.Linear(), (frame, y), validation=(X, y), **RUN)
            return repr([record.validation_loss for record in trained.history]).encode()

        if what in ("reordered", "array"):
            require(used(other) == used(frame), "columns are matched by position, not by name")
            return "reordered" if what == "reordered" else "equal"
        return refused(lambda: used(other), "other columns than in training", Allowed())

    return run
