# SPDX-License-Identifier: BSD-3-Clause
"""Estimators on columns of any scale and offset."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge

from hybridtrain.sklearn import LinearClassifier, LinearRegressor

RNG = np.random.default_rng(0)
N = 3000
GOOD = RNG.normal(size=(N, 3))
MILLISECONDS = 1.7e12 + RNG.uniform(0, 1e4, N)
LATER = (MILLISECONDS - 1.7e12) / 5e3 - 1
X = np.c_[GOOD, MILLISECONDS]
NUMBERS = GOOD @ [1, 2, 3] + LATER + 1e8
CLASSES = np.digitize(GOOD[:, 0] + 2 * LATER, [-1, 1])
SETTINGS: dict[str, Any] = {"random_state": 0, "workers": 1, "epochs": 20}


@pytest.mark.parametrize("rows", [X, pd.DataFrame(X, columns=["a", "b", "c", "clock"])])
@pytest.mark.parametrize("loss", ["logistic", "softmax", "softmax of two", "hinge"])
def test_a_classifier_predicts_what_it_learned(rows: Any, loss: str) -> None:
    y = CLASSES if loss in ("logistic", "softmax") else CLASSES > 1
    classifier = LinearClassifier(loss.removesuffix(" of two"), **SETTINGS).fit(rows, y)
    assert classifier.intercept_.dtype == np.float64
    assert classifier.score(rows, y) > 0.95
    z = X @ classifier.coef_.T.astype(np.float64) + classifier.intercept_
    found = classifier.decision_function(rows)
    np.testing.assert_allclose(found, z if z.shape[1] > 1 else z[:, 0], atol=0.01)
    assert np.array_equal(classifier.result_.predict(rows), classifier.predict(rows))


def test_a_regressor_has_the_penalty_of_ridge_on_the_users_columns() -> None:
    columns = GOOD * [1, 1e3, 1e-2] + [0, 1e6, 5]
    y = columns[:, 0] + columns[:, 1] / 1e3 + columns[:, 2]
    regressor = LinearRegressor(l2=1e-3, **SETTINGS).fit(columns, y)
    best = Ridge(alpha=1e-3 * N, solver="cholesky").fit(columns, y)
    np.testing.assert_allclose(regressor.coef_, best.coef_, rtol=0.05)
    assert LinearRegressor(l2=0.0, **SETTINGS).fit(X, NUMBERS).score(X, NUMBERS) > 0.999


def test_parameters_that_the_user_sets_are_used() -> None:
    regressor = LinearRegressor(**SETTINGS).fit(X, NUMBERS)
    regressor.coef_ = np.array([1, 2, 3, 1 / 5e3], np.float32)
    regressor.intercept_ = 1e8 - 1 - 1.7e12 * float(regressor.coef_[3])
    np.testing.assert_allclose(regressor.predict(X), NUMBERS, atol=1e-3)


@pytest.mark.parametrize("rows", [150, 1000])
def test_a_stream_keeps_the_coordinates_of_its_first_part(rows: int) -> None:
    y = CLASSES > 1
    classifier = LinearClassifier(random_state=0, workers=1)
    for turn in range(2):
        for start in range(0, N, rows):
            part = slice(start, start + rows)
            classifier.partial_fit(X[part], y[part], classes=[False, True])
            if start == turn == 0:
                first = classifier.result_.scaling
    assert first is not None
    assert classifier.result_.scaling is first
    assert classifier.score(X, y) > 0.93


def test_a_part_of_one_row_is_no_reason_to_scale() -> None:
    regressor = LinearRegressor(random_state=0).partial_fit(X[:1, :3], NUMBERS[:1])
    assert regressor.result_.scaling is None
    regressor.partial_fit(X[:, :3] * [1, 1e5, 1], NUMBERS)
    assert regressor.result_.settings["scale"]["scaled"] == 3


def test_a_warm_start_goes_on_from_the_users_parameters() -> None:
    regressor = LinearRegressor(l2=0.0, warm_start=True, **SETTINGS).fit(X, NUMBERS)
    before = regressor.predict(X)
    regressor.set_params(epochs=1, lr=1e-12).fit(X, NUMBERS)
    np.testing.assert_allclose(regressor.predict(X), before, atol=0.1)
    assert np.std(before - NUMBERS) < 0.1


def test_none_leaves_columns_as_they_are() -> None:
    with pytest.warns(match="this run cannot learn|rounding"):
        classifier = LinearClassifier(scale=None, **SETTINGS).fit(X, CLASSES > 1)
    assert classifier.result_.scaling is None
    assert classifier.intercept_.dtype == np.float32


def test_copies_of_an_estimator_are_scaled_alike() -> None:
    classifier = LinearClassifier(**SETTINGS).fit(X, CLASSES)
    again = pickle.loads(pickle.dumps(classifier))
    assert np.array_equal(again.predict_proba(X), classifier.predict_proba(X))
    assert clone(classifier).scale == "auto"
    best = LogisticRegression().fit(np.c_[GOOD, LATER], CLASSES)
    assert classifier.score(X, CLASSES) > best.score(np.c_[GOOD, LATER], CLASSES) - 0.01
