# SPDX-License-Identifier: BSD-3-Clause
"""partial_fit: rows that come in parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, make_classification, make_regression
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import hybridtrain as ht
from hybridtrain.sklearn import LinearClassifier, LinearRegressor


def _cancer() -> tuple[Any, Any]:
    X, y = load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def _rates(estimator: Any) -> list[float]:
    return [record.lr for record in estimator.result_.history]


def _stream(n_rows: int = 12000) -> tuple[Any, Any]:
    X, y = make_classification(n_rows, 20, n_informative=10, random_state=0)
    return StandardScaler().fit_transform(X), y


@pytest.mark.parametrize("rows", [100, 3000])
def test_a_stream_reaches_the_optimum_however_it_is_cut(rows: int) -> None:
    X, y = _stream()
    estimator = LinearClassifier(random_state=0, workers=1)
    for start in range(0, len(y), rows):
        part = slice(start, start + rows)
        estimator.partial_fit(X[part], y[part], classes=[0, 1])
    assert estimator.n_iter_ == len(y) // rows
    assert estimator.n_samples_seen_ == len(y)
    best = LogisticRegression(C=1 / (1e-4 * len(y))).fit(X, y)
    assert estimator.score(X, y) > best.score(X, y) - 0.01


def test_the_rate_falls_with_the_rows_and_not_with_the_calls() -> None:
    X, y = _stream()
    coarse = LinearClassifier(lr=0.01, random_state=0, workers=1)
    fine = clone(coarse)
    for start in range(0, 12000, 3000):
        coarse.partial_fit(X[start : start + 3000], y[start : start + 3000], classes=[0, 1])
    for start in range(0, 9000 + 1, 500):
        fine.partial_fit(X[start : start + 500], y[start : start + 500], classes=[0, 1])
    assert _rates(coarse) == pytest.approx([0.01 * 10**-0.75])
    assert _rates(fine) == pytest.approx(_rates(coarse))


@pytest.mark.parametrize("schedule", ["constant", ht.Constant()])
def test_a_constant_rate_stays(schedule: Any) -> None:
    X, y = _stream(1000)
    estimator = LinearRegressor(optimizer=ht.SGD(lr=0.01, schedule=schedule))
    for _ in range(3):
        estimator.partial_fit(X, y)
        assert _rates(estimator) == pytest.approx([0.01])


def test_a_schedule_without_an_end_goes_on_with_the_calls() -> None:
    X, y = _stream(1000)
    estimator = LinearRegressor(optimizer=ht.SGD(lr=0.01, schedule="inverse_scaling"))
    seen = [_rates(estimator.partial_fit(X, y))[0] for _ in range(3)]
    assert seen == pytest.approx([0.01, 0.01 * 2**-0.5, 0.01 * 3**-0.5])


def test_a_fit_that_ended_at_rate_0_can_go_on_and_stays_at_its_optimum() -> None:
    X, y = _stream()
    estimator = LinearClassifier(l2=1e-3, random_state=0, workers=1).fit(X, y)
    coef = estimator.coef_
    estimator.partial_fit(X, y)
    assert 0 < np.abs(estimator.coef_ - coef).max() < 0.1 * np.abs(coef).max()


def test_a_fit_forgets_the_parts_before() -> None:
    X, y = _stream(1000)
    fresh = LinearClassifier(epochs=2, random_state=0, workers=1)
    used = clone(fresh).partial_fit(X[:, ::-1], 1 - y, classes=[0, 1])
    assert used.fit(X, y).coef_.tolist() == fresh.fit(X, y).coef_.tolist()
    assert used.n_iter_ == 2


def test_a_part_is_one_epoch_of_train_from_the_parameters_so_far() -> None:
    X, y = _cancer()
    estimator = LinearClassifier(optimizer=ht.SGD(lr=0.01, schedule="constant"), workers=1)
    estimator.set_params(random_state=3, l2=0.0).partial_fit(X, y, classes=[0, 1])
    first = estimator.result_
    estimator.partial_fit(X[::2], y[::2])
    rows = np.ascontiguousarray(X[::2], np.float32)
    again = ht.train(
        ht.Linear(),
        (rows, y[::2]),
        optimizer=ht.SGD(lr=0.01, schedule="constant"),
        epochs=1,
        workers=1,
        seed=3,
        init=first,
    )
    assert estimator.coef_[0].tolist() == again.params["coef"].tolist()


@pytest.mark.parametrize("n_classes", [2, 3])
def test_parts_that_hold_one_class_train_all_that_were_announced(n_classes: int) -> None:
    X, y = make_classification(900, 10, n_informative=8, n_classes=n_classes, random_state=1)
    names = np.array(["c", "a", "b"])[y]
    estimator = LinearClassifier(random_state=0, workers=1)
    for _ in range(20):
        for name in "abc"[:n_classes] if n_classes == 3 else "ac":
            estimator.partial_fit(X[names == name][:30], [name] * 30, classes=np.unique(names))
    assert estimator.classes_.tolist() == sorted(set(names))
    assert estimator.score(X, names) > 0.6
    assert set(estimator.predict(X)) == set(names)


def test_a_single_row_is_a_part() -> None:
    X, y = _cancer()
    estimator = LinearClassifier(random_state=0)
    for row in range(300):
        estimator.partial_fit(X[row : row + 1], y[row : row + 1], classes=[0, 1])
    assert estimator.score(X, y) > 0.9


def test_weights_count_between_parts_too() -> None:
    X, y = _cancer()
    X, y = X[:, :1], np.r_[np.zeros(285, int), np.ones(284, int)]
    plain = LinearClassifier(lr=0.05, workers=1, random_state=0, fit_intercept=True)
    heavy = clone(plain).set_params(class_weight={1: 10.0})
    for estimator in (plain, heavy):
        for _ in range(20):
            estimator.partial_fit(X[y == 0], y[y == 0], classes=[0, 1])
            estimator.partial_fit(X[y == 1], y[y == 1])
    assert heavy.intercept_ > plain.intercept_ + 0.2
    by_rows = clone(plain)
    for _ in range(20):
        by_rows.partial_fit(X[y == 0], y[y == 0], classes=[0, 1])
        by_rows.partial_fit(X[y == 1], y[y == 1], sample_weight=np.full(284, 10.0))
    assert by_rows.coef_.tolist() == heavy.coef_.tolist()


def test_a_regression_in_parts_reaches_the_fit() -> None:
    X, y = make_regression(6000, 10, noise=5.0, random_state=0)
    estimator = LinearRegressor(random_state=0, workers=1)
    for start in range(0, 6000, 500):
        estimator.partial_fit(X[start : start + 500], y[start : start + 500])
    assert estimator.score(X, y) > LinearRegressor(random_state=0).fit(X, y).score(X, y) - 0.005


def test_the_first_part_needs_the_classes() -> None:
    X, y = _cancer()
    with pytest.raises(ht.InvalidSettingError, match=r"classes=\[all labels"):
        LinearClassifier().partial_fit(X, y)


def test_other_classes_than_announced_are_refused() -> None:
    X, y = _cancer()
    estimator = LinearClassifier()
    with pytest.raises(ht.InvalidDataError, match=r"must hold the classes \[1, 2\], got 0"):
        estimator.partial_fit(X, y, classes=[1, 2])
    estimator.partial_fit(X, y, classes=[1, 0])
    with pytest.raises(ht.InvalidDataError, match=r"must hold the classes \[0, 1\], got 5"):
        estimator.partial_fit(X[:1], [5])
    with pytest.raises(ht.InvalidDataError, match="must be those of the first call"):
        estimator.partial_fit(X, y, classes=[0, 1, 2])


def test_balanced_weights_are_refused_in_parts() -> None:
    X, y = _cancer()
    with pytest.raises(ht.InvalidSettingError, match="class_weight must be None or a dict"):
        LinearClassifier(class_weight="balanced").partial_fit(X, y, classes=[0, 1])


def test_an_optimizer_with_more_state_than_the_parameters_has_no_parts() -> None:
    estimator = LinearRegressor(optimizer="adagrad")
    assert not hasattr(estimator, "partial_fit")
    with pytest.raises(AttributeError) as caught:
        estimator.partial_fit([[1.0]], [1.0])
    assert "the sums of AdaGrad would start anew" in str(caught.value.__cause__)


def test_a_part_with_other_features_is_refused() -> None:
    X, y = _cancer()
    estimator = LinearRegressor().partial_fit(X, y)
    with pytest.raises(ValueError, match="30 features"):
        estimator.partial_fit(X[:, :3], y)
