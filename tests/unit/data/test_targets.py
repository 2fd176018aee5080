# SPDX-License-Identifier: BSD-3-Clause
"""Labels, numeric targets and sample weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from reference.problems import Problem, planted
from scipy import sparse

import hybridtrain as ht


def _refusal(problem: Problem, y: Any, weight: Any = None, loss: str = "logistic") -> str:
    data = (problem.X, y) if weight is None else (problem.X, y, weight)
    with pytest.raises(ht.InvalidDataError) as caught:
        ht.train(ht.Linear(loss=loss), data, workers=1)
    return str(caught.value)


LABELS: dict[str, Any] = {
    "bool": lambda y: y,
    "int": lambda y: np.where(y, 7, -3),
    "int8": lambda y: np.where(y, 7, -3).astype(np.int8),
    "uint64": lambda y: np.where(y, 2**64 - 1, 2**64 - 2).astype(np.uint64),
    "float": lambda y: np.where(y, 0.5, -0.25),
    "str": lambda y: np.where(y, "spam", "ham"),
    "bytes": lambda y: np.where(y, b"spam", b"ham"),
    "object of str": lambda y: np.where(y, "spam", "ham").astype(object),
    "list of str": lambda y: ["spam" if label else "ham" for label in y],
    "list of int": lambda y: [int(label) for label in y],
    "series": lambda y: pd.Series(np.where(y, "spam", "ham"), index=np.arange(len(y)) + 5),
    "series of int": lambda y: pd.Series(np.where(y, 3, 4)),
    "categorical": lambda y: pd.Series(np.where(y, "spam", "ham")).astype("category"),
    "datetime": lambda y: np.where(y, np.datetime64("2020-01-01"), np.datetime64("2019-01-01")),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_any_type_come_back_in_their_own_type(kind: str, problem: Problem) -> None:
    y = LABELS[kind](problem.labels)
    result = ht.train(ht.Linear(), (problem.X, y), workers=1, epochs=20)
    predicted = result.predict(problem.X)
    own = np.asarray(y)
    assert result.classes is not None
    assert predicted.dtype == own.dtype
    assert result.classes.tolist() == np.unique(own).tolist()
    assert set(predicted.tolist()) == set(own.tolist())
    assert result.score(problem.X, y) == pytest.approx(np.mean(predicted == own))
    assert result.score(problem.X, y) > 0.9


@pytest.mark.parametrize("kind", LABELS)
def test_every_type_of_labels_gives_the_bits_of_bool(kind: str, problem: Problem) -> None:
    y = LABELS[kind](problem.labels)
    second = np.asarray(y)[problem.labels][0] == np.unique(np.asarray(y))[1]
    same = ht.train(ht.Linear(), (problem.X, problem.labels == second), workers=1)
    found = ht.train(ht.Linear(), (problem.X, y), workers=1)
    assert np.array_equal(found.params["coef"], same.params["coef"])


@pytest.mark.parametrize(
    ("label", "shown"), [(1, "1"), (True, "True"), ("spam", "'spam'"), (0.5, "0.5")]
)
def test_one_class_is_refused_and_shown(label: Any, shown: str, problem: Problem) -> None:
    text = _refusal(problem, np.full(400, label))
    assert text == f"y must hold two classes for logistic loss, found 1: {shown}"


@pytest.mark.parametrize(
    "labels", [np.arange(400) % 7, np.array(list("abcdefg"))[np.arange(400) % 7]]
)
def test_many_classes_are_refused_with_what_to_do(labels: Any, problem: Problem) -> None:
    text = _refusal(problem, labels)
    assert "found 7" in text
    assert ", ..." in text
    assert "pass y == label" in text


def test_three_classes_of_which_two_are_the_extremes_are_counted_as_three(
    problem: Problem,
) -> None:
    assert "found 3: 0, 1, 2" in _refusal(problem, np.minimum(np.arange(400), 2))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("loss", ["logistic", "squared"])
def test_targets_that_are_not_finite_are_refused(bad: float, loss: str, problem: Problem) -> None:
    y = problem.labels.astype(np.float64)
    y[3] = bad
    text = _refusal(problem, y, loss=loss)
    assert "y must not hold NaN or infinity" in text
    assert "(400,) float64" in text


def test_numbers_too_large_for_float32_are_refused(problem: Problem) -> None:
    text = _refusal(problem, problem.values.astype(np.float64) * 1e60, loss="squared")
    assert "NaN or infinity (as float32)" in text


def test_labels_of_mixed_types_are_refused(problem: Problem) -> None:
    y = np.array([1 if label else "ham" for label in problem.labels], dtype=object)
    text = _refusal(problem, y)
    assert "the labels in y cannot be sorted" in text
    assert "str" in text


@pytest.mark.parametrize("dtype", ["complex128", "U4", "O"])
def test_targets_for_squared_loss_that_are_not_real_numbers_are_refused(
    dtype: str, problem: Problem
) -> None:
    text = _refusal(problem, problem.values.astype(dtype), loss="squared")
    assert "y must hold real numbers for a regression" in text
    assert str(np.dtype(dtype)) in text


@pytest.mark.parametrize("y_shape", [399, 401, 0, (400, 2), (1, 400), ()])
@pytest.mark.parametrize("loss", ["logistic", "squared"])
def test_targets_of_another_shape_are_refused(y_shape: Any, loss: str, problem: Problem) -> None:
    text = _refusal(problem, np.zeros(y_shape), loss=loss)
    assert "y must be one-dimensional with one value for each of the 400 rows of X" in text
    assert str(np.zeros(y_shape).shape) in text


def test_a_column_of_targets_is_refused_with_what_to_do(problem: Problem) -> None:
    assert "use y.ravel()" in _refusal(problem, problem.labels[:, None])


def test_targets_of_any_real_type_give_the_bits_of_float32(problem: Problem) -> None:
    y = np.round(problem.values)
    model = ht.Linear(loss="squared")
    expected = ht.train(model, (problem.X, y), workers=1).params["coef"]
    for other in (y.astype(np.float64), y.astype(np.int64), y.astype(np.int8), y.tolist()):
        found = ht.train(model, (problem.X, other), workers=1).params["coef"]
        assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("bad", "shown"), [(np.nan, "nan"), (np.inf, "inf"), (-1.0, "-1.0"), (-np.inf, "-inf")]
)
def test_a_bad_weight_is_refused_and_shown(bad: float, shown: str, problem: Problem) -> None:
    weight = np.ones(400)
    weight[7] = bad
    text = _refusal(problem, problem.labels, weight)
    assert "sample_weight must be finite, >= 0 and not all zero" in text
    assert shown in text


def test_weights_that_are_all_zero_are_refused(problem: Problem) -> None:
    text = _refusal(problem, problem.labels, np.zeros(400))
    assert "not all zero" in text
    assert "0.0 .. 0.0" in text


@pytest.mark.parametrize("weight", [np.ones(399), np.ones((400, 1)), np.ones((2, 200)), 1.0])
def test_weights_of_another_shape_are_refused(weight: Any, problem: Problem) -> None:
    text = _refusal(problem, problem.labels, weight)
    assert "sample_weight must be one-dimensional with one value for each of the 400" in text


@pytest.mark.parametrize("dtype", ["complex64", "U4", "O"])
def test_weights_that_are_not_real_numbers_are_refused(dtype: str, problem: Problem) -> None:
    text = _refusal(problem, problem.labels, np.ones(400).astype(dtype))
    assert "sample_weight must hold real numbers" in text


def _coef(problem: Problem, weight: Any, **settings: Any) -> Any:
    model = ht.Linear(l2=1e-3)
    data = (problem.X, problem.labels, weight)
    return ht.train(model, data, workers=1, **settings).params["coef"]


@pytest.mark.parametrize("optimizer", ["sgd", "adagrad"])
@pytest.mark.parametrize("factor", [4.0, 1 / 1024, 3.7, 1e-30, 1e30])
def test_weights_times_a_constant_change_nothing(
    optimizer: str, factor: float, problem: Problem
) -> None:
    weight = np.random.default_rng(0).integers(1, 5, 400).astype(np.float64)
    expected = _coef(problem, weight, optimizer=optimizer)
    found = _coef(problem, factor * weight, optimizer=optimizer)
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_equal_weights_are_no_weights(problem: Problem) -> None:
    without = ht.train(ht.Linear(l2=1e-3), (problem.X, problem.labels), workers=1)
    assert np.array_equal(_coef(problem, np.full(400, 2.5)), without.params["coef"])


def test_a_row_of_weight_zero_is_a_row_that_is_not_there(problem: Problem) -> None:
    """The rows that count must not see the label of one that does not."""
    weight = np.ones(400)
    weight[::3] = 0
    flipped = problem.labels.copy()
    flipped[::3] ^= True
    data = (problem.X, flipped, weight)
    found = ht.train(ht.Linear(l2=1e-3), data, workers=1, optimizer="sgd")
    assert found.ledger[0].trained == 266
    assert np.array_equal(found.params["coef"], _coef(problem, weight))


@pytest.mark.parametrize("loss", ["logistic", "squared"])
def test_weight_two_is_close_to_a_row_twice(loss: str) -> None:
    problem = planted(9, 1500, 20, longest=10, noise=2.0)
    y = problem.labels if loss == "logistic" else problem.values
    twice = np.arange(1500) % 3 == 0
    model = ht.Linear(loss=loss, l2=0.02)
    settings: dict[str, Any] = {
        "workers": 1,
        "epochs": 60,
        "optimizer": ht.SGD(lr=0.05, schedule=ht.Exponential(decay=0.9)),
    }
    weighted = ht.train(model, (problem.X, y, 1.0 + twice), **settings)
    X = sparse.vstack([problem.X, problem.X[twice]]).tocsr()
    repeated = ht.train(model, (X, np.concatenate([y, y[twice]])), **settings)
    plain = ht.train(model, (problem.X, y), **settings)

    def distance(other: ht.Result) -> float:
        return float(np.linalg.norm(weighted.params["coef"] - other.params["coef"]))

    assert distance(repeated) < 0.02 * np.linalg.norm(weighted.params["coef"])
    assert distance(repeated) < distance(plain) / 3
