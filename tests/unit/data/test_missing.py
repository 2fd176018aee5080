# SPDX-License-Identifier: BSD-3-Clause
"""Missing values of any type, in labels, numbers, weights and frames: refused, counted, placed."""

from __future__ import annotations

import decimal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from reference.problems import Problem

import hybridtrain as ht
from hybridtrain.data.missing import find_missing
from hybridtrain.sklearn import LinearClassifier, LinearRegressor

ROWS = [7, 30, 31]


def _with(values: Any, missing: Any) -> Any:
    values = np.array(values, dtype=object)
    values[ROWS] = missing
    return values


def _series(values: Any, dtype: Any, missing: Any = None) -> Any:
    return pd.Series(_with(values, missing).tolist(), dtype=dtype)


WORDS = np.where(np.arange(400) % 2, "spam", "ham")
FLAGS = np.arange(400) % 2 == 1
NUMBERS = np.arange(400) % 2 + 0.5
DAYS = np.where(FLAGS, "2013-01-01", "2013-01-02")

LABELS: dict[str, Any] = {
    "bools and NaN": _with(FLAGS, np.nan),
    "bools and None": _with(FLAGS, None),
    "words and NaN": _with(WORDS, np.nan),
    "words and NA": _with(WORDS, pd.NA),
    "numbers and None": _with(NUMBERS, None),
    "decimals": _with([decimal.Decimal(k % 2) for k in range(400)], decimal.Decimal("NaN")),
    "dates": pd.to_datetime(_series(DAYS, object)).to_numpy(),
    "dates as objects": _with(pd.to_datetime(DAYS).to_pydatetime(), pd.NaT),
    "NumPy's NaT among objects": _with(list(DAYS.astype("M8[D]")), np.datetime64("NaT")),
    "spans": _with(FLAGS.astype("m8[s]"), np.timedelta64("NaT")).astype("m8[s]"),
    "complex": np.where(np.isin(np.arange(400), ROWS), complex(0, np.nan), NUMBERS + 1j),
    "floats": np.where(np.isin(np.arange(400), ROWS), np.nan, NUMBERS),
    "categories": _series(WORDS, "category"),
    "categories of numbers": _series(NUMBERS, "category"),
    "nullable ints": _series(FLAGS.astype(int), "Int64"),
    "nullable floats": _series(NUMBERS, "Float64"),
    "nullable bools": _series(FLAGS, "boolean"),
    "text": _series(WORDS, "string"),
    "periods": pd.Series(pd.PeriodIndex(_series(DAYS, object), freq="D")),
    "list of words": _with(WORDS, np.nan).tolist(),
    "tuple of bools": tuple(_with(FLAGS, None).tolist()),
}


@pytest.mark.parametrize("loss", ["logistic", "softmax"])
@pytest.mark.parametrize("kind", LABELS)
def test_missing_labels_are_refused_with_count_and_first_row(
    kind: str, loss: Any, problem: Problem
) -> None:
    with pytest.raises(ht.InvalidDataError) as caught:
        ht.train(ht.Linear(loss=loss), (problem.X, LABELS[kind]), workers=1)
    text = str(caught.value)
    assert "y must not hold NaN" in text
    assert "found 3 missing values, the first in row 7" in text
    assert "softmax" not in text


@pytest.mark.parametrize("kind", LABELS)
def test_missing_labels_are_refused_where_rows_are_held_out_or_scored(
    kind: str, problem: Problem
) -> None:
    y = LABELS[kind]
    present = np.delete(np.arange(400), ROWS)
    labels = np.asarray(_with(np.asarray(y, dtype=object), None))[present].tolist()
    result = ht.train(ht.Linear(), (problem.X[present], labels), workers=1, epochs=1)
    calls = [
        lambda: ht.train(ht.Linear(), (problem.X, y), validation=0.2, workers=1),
        lambda: ht.train(ht.Linear(), (problem.X[present], labels), validation=(problem.X, y)),
        lambda: result.score(problem.X, y),
    ]
    for call in calls:
        with pytest.raises(ht.InvalidDataError, match="found 3 missing values"):
            call()


@pytest.mark.parametrize("kind", [kind for kind in LABELS if kind not in ("floats", "complex")])
def test_the_estimators_refuse_missing_labels(kind: str, problem: Problem) -> None:
    for y in (LABELS[kind], pd.Series(LABELS[kind])):
        with pytest.raises(ValueError, match=r"missing values|NaN"):
            LinearClassifier().fit(problem.X, y)


NUMERIC = ["numbers and None", "floats", "nullable ints", "nullable floats", "decimals"]


@pytest.mark.parametrize("kind", [*NUMERIC, "bools and None"])
@pytest.mark.parametrize("loss", ["squared", "huber"])
def test_missing_numbers_are_refused_with_count_and_first_row(
    kind: str, loss: Any, problem: Problem
) -> None:
    with pytest.raises(ht.InvalidDataError, match="found 3 missing values, the first in row 7"):
        ht.train(ht.Linear(loss=loss), (problem.X, LABELS[kind]), workers=1)


@pytest.mark.parametrize("kind", NUMERIC)
def test_missing_weights_are_refused_with_count_and_first_row(kind: str, problem: Problem) -> None:
    data = (problem.X, problem.labels, LABELS[kind])
    text = r"sample_weight must .* found 3 missing values, the first in row 7"
    with pytest.raises(ht.InvalidDataError, match=text):
        ht.train(ht.Linear(), data, workers=1)
    with pytest.raises(ht.InvalidDataError, match=text):
        LinearClassifier().fit(*data)


def test_one_missing_value_is_one(problem: Problem) -> None:
    y = problem.labels.astype(object)
    y[399] = None
    with pytest.raises(ht.InvalidDataError, match=r"found 1 missing value, in row 399 \(None\)"):
        ht.train(ht.Linear(), (problem.X, y), workers=1)


@pytest.mark.parametrize("masked", [True, False])
def test_masked_targets_and_weights_are_refused_with_what_to_do(
    masked: bool, problem: Problem
) -> None:
    mask = np.arange(400) < 20 if masked else np.zeros(400, bool)
    y = np.ma.masked_array(problem.values, mask)
    weight = np.ma.masked_array(np.ones(400), mask)
    for loss, data, name in (
        ("squared", (problem.X, y), "y"),
        ("logistic", (problem.X, y > 0), "y"),
        ("logistic", (problem.X, problem.labels, weight), "sample_weight"),
    ):
        kinds: Any = loss
        with pytest.raises(ht.InvalidDataError, match=rf"{name} must not be masked.*keep = ~numpy"):
            ht.train(ht.Linear(loss=kinds), data, workers=1)
    with pytest.raises(ht.InvalidDataError, match="y must not be masked"):
        LinearRegressor().fit(problem.X, y)
    with pytest.raises(ht.InvalidDataError, match="sample_weight must not be masked"):
        LinearRegressor().fit(problem.X, problem.values, weight)


def test_words_and_numbers_in_one_list_are_not_made_text(problem: Problem) -> None:
    y = [1 if label else "ham" for label in problem.labels]
    with pytest.raises(ht.InvalidDataError, match="the labels in y cannot be sorted"):
        ht.train(ht.Linear(), (problem.X, y), workers=1)


COLUMNS: dict[str, Any] = {
    "dates": lambda: pd.to_datetime(_series(DAYS, object)),
    "categories": lambda: _series(WORDS, "category"),
    "text": lambda: _series(WORDS, object),
    "nullable": lambda: _series(NUMBERS, "Float64"),
    "floats": lambda: _series(NUMBERS, float),
    "sparse": lambda: pd.Series(pd.arrays.SparseArray(_series(NUMBERS, float), fill_value=0)),
    "sparse with NaN": lambda: pd.Series(pd.arrays.SparseArray(_series(NUMBERS, float))),
}


@pytest.mark.parametrize("beside", ["dense", "sparse"])
@pytest.mark.parametrize("kind", COLUMNS)
def test_missing_values_of_a_frame_are_refused_with_count_column_and_row(
    kind: str, beside: str
) -> None:
    frame = pd.DataFrame({"fine": NUMBERS, "gaps": COLUMNS[kind]()})
    if beside == "sparse":
        frame["fine"] = pd.arrays.SparseArray(np.zeros(400), fill_value=0)
    with pytest.raises(ht.InvalidDataError, match="got 3 in column 'gaps', the first in row 7;"):
        ht.train(ht.Linear(), (frame, FLAGS), workers=1)


def test_missing_values_in_other_columns_are_counted_too() -> None:
    frame = pd.DataFrame({f"c{k}": _series(NUMBERS, float) for k in range(3)})
    text = "got 3 in column 'c0', the first in row 7, and 6 in 2 others"
    with pytest.raises(ht.InvalidDataError, match=text):
        ht.train(ht.Linear(), (frame, FLAGS), workers=1)


def test_labels_that_are_saved_are_not_missing(problem: Problem, tmp_path: Path) -> None:
    for kind in ("list of words", "bools and None", "dates", "categories"):
        with pytest.raises(ht.InvalidDataError, match="found 3 missing values"):
            ht.save_directory(tmp_path / "rows", problem.X, LABELS[kind])
    assert not (tmp_path / "rows").exists()


def test_missing_objects_are_found_without_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = ["bools and NaN", "numbers and None", "decimals", "NumPy's NaT among objects"]
    arrays = [LABELS[kind] for kind in kinds]
    monkeypatch.delitem(sys.modules, "pandas")
    for array in arrays:
        is_missing = find_missing(array)
        assert is_missing is not None
        assert np.flatnonzero(is_missing).tolist() == ROWS
    assert find_missing(np.array(["a", (1, 2), 3, 1j], dtype=object)) is None
