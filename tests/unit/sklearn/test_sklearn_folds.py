# SPDX-License-Identifier: BSD-3-Clause
"""Searches change the data between fits: what SGDClassifier trains on is trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - makes the import work
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    LeaveOneOut,
    RandomizedSearchCV,
    TimeSeriesSplit,
    cross_val_predict,
    cross_val_score,
)

import hybridtrain as ht
from hybridtrain.sklearn import LinearClassifier, LinearRegressor

RNG = np.random.default_rng(0)
X = RNG.normal(size=(240, 5))
Y = (X @ [1, -2, 3, 0, 1] > 0).astype(int)
LATE = np.where(np.arange(240) > 180, 2, Y)  # a class that comes late
SETTINGS: dict[str, Any] = {"workers": 1, "epochs": 5, "random_state": 0}


def _scores(estimator: Any, y: Any, **settings: Any) -> Any:
    return cross_val_score(estimator, X, y, error_score="raise", **settings)


@pytest.mark.parametrize("loss", ["logistic", "softmax"])
@pytest.mark.parametrize("labels", [[0, 1, 2], ["no", "yes", "late"], [-1.0, 1.0, 2.0]])
def test_class_weights_may_name_a_class_that_a_fold_lacks(loss: str, labels: list[Any]) -> None:
    y = np.array(labels)[LATE]
    class_weight = dict(zip(labels, [1, 5, 2], strict=True))
    ours = LinearClassifier(loss, class_weight=class_weight, **SETTINGS)
    peer = SGDClassifier(class_weight=class_weight, random_state=0)
    cv = TimeSeriesSplit(4)
    assert np.isfinite(_scores(peer, y, cv=cv)).all()
    assert _scores(ours, y, cv=cv)[:2].min() > 0.8
    first = ours.fit(X[:100], y[:100])
    assert first.classes_.tolist() == sorted(labels[:2])
    alone = LinearClassifier(
        loss, class_weight={label: class_weight[label] for label in labels[:2]}, **SETTINGS
    ).fit(X[:100], y[:100])
    assert first.coef_.tolist() == alone.coef_.tolist()


@pytest.mark.parametrize(
    "class_weight", [{2: 5.0}, {"0": 1.0}, {0: 1.0, "l": 2.0}, {1: 1.0, 5: 1.0}]
)
def test_a_class_left_out_beside_an_unknown_one_is_a_slip(class_weight: Any) -> None:
    with pytest.raises(ValueError, match="are not in class_weight"):
        SGDClassifier(class_weight=class_weight).fit(X, Y)
    with pytest.raises(ht.InvalidSettingError, match="class_weight must name the classes in y"):
        LinearClassifier(class_weight=class_weight, **SETTINGS).fit(X, Y)


@pytest.mark.parametrize("class_weight", [{}, {1: 2.0}, {True: 3.0}, {0: 1, 1: 2, 7: 9, "x": 1}])
def test_class_weights_that_are_no_slip_are_taken(class_weight: Any) -> None:
    SGDClassifier(class_weight=class_weight).fit(X, Y)
    LinearClassifier(class_weight=class_weight, **SETTINGS).fit(X, Y)
    LinearClassifier(class_weight=class_weight, **SETTINGS).partial_fit(
        X[:9], Y[:9], classes=[0, 1]
    )


def test_train_refuses_a_label_that_nothing_knows() -> None:
    model = ht.Linear(class_weight={0: 1, 1: 1, 2: 1})
    with pytest.raises(ht.InvalidSettingError, match="must name the classes in y, 0, 1; got 2"):
        ht.train(model, (X, Y))


@pytest.mark.parametrize("size", [64, 512, np.int64(10**6)])
@pytest.mark.parametrize("rows", [1, 2, 50, 240])
def test_a_batch_is_at_most_the_rows_of_the_fold(size: Any, rows: int) -> None:
    settings: dict[str, Any] = SETTINGS | {"strategy": "sync", "batch_size": size, "workers": 8}
    part = slice(0, rows)
    regressor = LinearRegressor(**settings).fit(X[part], X[part, 0])
    assert regressor.result_.settings["batch_size"] == min(size, rows)
    if rows > 2:
        early = LinearRegressor(**settings, patience=3).fit(X[part], X[part, 0])
        assert early.result_.settings["batch_size"] == min(size, rows - round(rows / 10))
    classifier = LinearClassifier(**settings)
    classifier.partial_fit(X[part], Y[part], classes=[0, 1])
    assert classifier.result_.settings["batch_size"] == min(size, rows)


def test_a_large_batch_is_cut_into_tasks_whatever_the_rows() -> None:
    for n_rows in (32_769, 40_009, 98_304, 69_632):
        rows = np.ones((n_rows, 1), np.float32)
        regressor = LinearRegressor(strategy="sync", batch_size=10**7, epochs=1, workers=2, lr=1e-3)
        regressor.fit(rows, np.arange(n_rows) % 7)
        assert n_rows - 512 < regressor.result_.settings["batch_size"] <= n_rows


@pytest.mark.parametrize("rows", [2, 3, 4, 5, 9])
@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.5, 0.99, np.float32(0.2)])
def test_of_few_rows_one_is_held_out_and_one_trained_on(rows: int, fraction: Any) -> None:
    regressor = LinearRegressor(
        **SETTINGS | {"workers": 8},
        strategy="hogwild",
        patience=3,
        validation_fraction=fraction,
    ).fit(sparse.csr_matrix(X[:rows]), X[:rows, 0])
    trained = regressor.result_.ledger[0].trained
    assert trained == rows - min(max(round(rows * float(fraction)), 1), rows - 1)
    assert regressor.result_.settings["workers"] == min(trained, 8)


@pytest.mark.parametrize("seed", range(6))
def test_rare_classes_of_a_fold_do_not_stop_patience(seed: int) -> None:
    for y in (np.arange(240) < 2, np.arange(240) == 7, np.arange(240).clip(0, 9), LATE):
        settings = SETTINGS | {"random_state": seed}
        classifier = LinearClassifier(**settings, patience=2, class_weight="balanced").fit(X, y)
        assert classifier.classes_.tolist() == sorted(set(y.tolist()))
        assert all(np.isfinite(r.validation_loss) for r in classifier.result_.history)


def test_too_few_rows_to_hold_some_out_are_refused_as_by_the_peer() -> None:
    y = np.arange(6)
    with pytest.raises(ValueError, match="least populated"):
        SGDClassifier(early_stopping=True).fit(X[:6], y)
    with pytest.raises(ht.InvalidSettingError, match="each of the 6 rows is the only one"):
        LinearClassifier(patience=3, **SETTINGS).fit(X[:6], y)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, np.nan, "0.1", None, True, [0.1]])
def test_a_fraction_out_of_range_is_refused_by_its_name(fraction: Any) -> None:
    with pytest.raises(ht.InvalidSettingError, match="validation_fraction must be a number in"):
        LinearClassifier(patience=3, validation_fraction=fraction).fit(X, Y)
    LinearClassifier(validation_fraction=fraction, epochs=1).fit(X, Y)  # nothing reads it


def test_a_fold_of_one_class_is_refused_as_by_the_peer() -> None:
    for estimator in (SGDClassifier(), LinearClassifier(**SETTINGS)):
        with pytest.raises(ValueError, match="class"):
            estimator.fit(X, np.ones(240, int))


@pytest.mark.parametrize("weight", [2.0, np.float32(0.5), 1])
def test_one_number_is_the_weight_of_all_rows(weight: Any) -> None:
    for estimator, y in ((LinearClassifier(**SETTINGS), Y), (LinearRegressor(**SETTINGS), X[:, 0])):
        without = estimator.fit(X, y).coef_.tolist()
        assert estimator.fit(X, y, sample_weight=weight).coef_.tolist() == without


def test_weights_of_zero_leave_no_more_workers_and_batches_than_rows_that_count() -> None:
    weight = (np.arange(240) < 7) * 2.0
    for extra in ({}, {"patience": 2}, {"class_weight": {0: 1.0, 1: 2.0}}):
        settings = SETTINGS | {"workers": 9, "strategy": "sync", "batch_size": 100} | extra
        classifier = LinearClassifier(**settings).fit(X, Y, sample_weight=weight)
        assert classifier.result_.settings["workers"] <= 7
        assert classifier.result_.settings["batch_size"] <= 7
    for estimator in (SGDClassifier(), LinearClassifier(**SETTINGS)):
        with pytest.raises(ValueError, match=r"[Ss]ample.?weight"):
            estimator.fit(X, Y, sample_weight=np.zeros(240))


LABELS: dict[str, Any] = {
    "bool": Y == 1,
    "text": np.where(Y, "yes", "no"),
    "object": np.where(Y, "yes", "no").astype(object),
    "Int64": pd.Series(Y, dtype="Int64"),
    "boolean": pd.Series(Y == 1, dtype="boolean"),
    "string": pd.Series(np.where(Y, "yes", "no"), dtype="string"),
    "category": pd.Series(np.where(Y, "yes", "no"), dtype="category"),
    "uint8": Y.astype(np.uint8),
    "float16": Y.astype(np.float16),
    "column": Y[:, None],
    "list": Y.tolist(),
}


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.filterwarnings("ignore:A column-vector")
def test_labels_of_any_type_are_those_of_the_peer(kind: str) -> None:
    y = LABELS[kind]
    peer = SGDClassifier(random_state=0).fit(X, y)
    for extra in ({}, {"patience": 3}, {"strategy": "sync"}):
        ours = LinearClassifier(**SETTINGS | extra).fit(X, y)
        assert ours.classes_.tolist() == peer.classes_.tolist()
        assert ours.score(X, y) > 0.9
    parts = LinearClassifier(**SETTINGS)
    for part in np.array_split(np.arange(240), 4):
        parts.partial_fit(X[part], np.asarray(y)[part], classes=np.unique(np.asarray(y)))
    assert parts.score(X, y) > 0.8


@pytest.mark.parametrize(
    "y",
    [
        pd.Series(np.where(Y, "yes", "no"), dtype="string").mask(np.arange(240) % 99 == 3),
        pd.Series(np.where(Y, "yes", "no"), dtype="category").mask(np.arange(240) % 99 == 3),
        np.where(np.arange(240) % 99 == 3, None, np.where(Y, "yes", "no").astype(object)),
    ],
)
def test_missing_labels_are_refused_with_their_number_and_first_row(y: Any) -> None:
    message = "found 3 missing values, the first in row 3"
    with pytest.raises(ht.InvalidDataError, match=message):
        LinearClassifier().fit(X, y)
    with pytest.raises(ht.InvalidDataError, match=message):
        LinearClassifier().partial_fit(X, y, classes=["no", "yes"])


def test_parts_announce_their_classes_as_they_like() -> None:
    for classes in ([1, 0], np.array([0, 1]), LATE[:100], pd.Series([0, 1]), {0, 1} and (1, 0, 1)):
        estimator = LinearClassifier(**SETTINGS).partial_fit(X, Y, classes=classes)
        assert estimator.classes_.tolist() == [0, 1]
    for classes in ([0, "1"], [0, None], [[0], [1]], "01", 2, [0.0, np.nan]):
        with pytest.raises(ht.InvalidSettingError, match="classes must"):
            LinearClassifier().partial_fit(X, Y, classes=classes)
    with pytest.raises(ht.InvalidDataError, match="y must hold text, got numbers"):
        LinearClassifier().partial_fit(X, Y, classes=["0", "1"])


@pytest.mark.parametrize("rows", [np.zeros((240, 5)), np.full((240, 5), 7.0)])
def test_constant_columns_are_trained_on(rows: Any) -> None:
    assert np.isfinite(LinearClassifier(**SETTINGS).fit(rows, Y).coef_).all()
    assert np.isfinite(
        LinearRegressor(**SETTINGS).fit(sparse.csr_matrix(rows), X[:, 0]).coef_
    ).all()
    regressor = LinearRegressor(**SETTINGS).fit(X, np.full(240, 3.0))
    assert regressor.predict(X) == pytest.approx(np.full(240, 3.0))


def test_grids_of_words_and_numpy_values_are_searched() -> None:
    grid = {
        "optimizer": ["sgd", "adagrad", "ftrl", "sgd(average=True)", ht.FTRL(beta=1.0)],
        "lr": ["auto", np.float32(0.1)],
        "l2": np.logspace(-6, -2, 2),
        "strategy": np.array(["hybrid", "sync"]),
        "fit_intercept": np.array([True, False]),
        "class_weight": [None, "balanced", {0: 1, 1: 2}],
        "random_state": np.arange(2),
        "epochs": np.arange(2, 4),
        "patience": [None, 2],
        "batch_size": [None],
    }
    search = RandomizedSearchCV(
        LinearClassifier(workers=1), grid, n_iter=25, cv=3, error_score="raise", random_state=0
    ).fit(X, Y)
    assert search.best_score_ > 0.9


@pytest.mark.parametrize("scoring", ["roc_auc", "neg_log_loss", "f1", "accuracy"])
def test_searches_score_in_any_way(scoring: str) -> None:
    search = GridSearchCV(
        LinearClassifier(**SETTINGS), {"l2": [1e-4, 1e-2]}, scoring=scoring, error_score="raise"
    ).fit(X, np.where(Y, "yes", "no") if scoring != "f1" else Y)
    assert np.isfinite(search.best_score_)


def test_halving_gives_few_rows_at_first() -> None:
    settings = SETTINGS | {"strategy": "sync", "batch_size": 128, "patience": 2}
    search = HalvingGridSearchCV(
        LinearClassifier(**settings),
        {"l2": [1e-4, 1e-3, 1e-2]},
        cv=2,
        min_resources=20,
        error_score="raise",
        random_state=0,  # which rows it draws: both classes must be among them
    ).fit(X, Y)
    assert search.n_resources_[0] == 20
    small = X[:12], X[:12, 0]
    left_out = cross_val_predict(LinearRegressor(**SETTINGS), *small, cv=LeaveOneOut())
    assert np.isfinite(left_out).all()


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(pd.date_range("2020", periods=20)),
        pd.Series(pd.date_range("2020", periods=20, tz="UTC")),
        pd.Series(pd.to_timedelta(range(20), unit="D")),
        pd.Series(np.ones(20) * 1j),
    ],
    ids=["dates", "dates of a zone", "durations", "complex"],
)
def test_columns_that_numpy_takes_for_numbers_are_refused_by_name(column: Any) -> None:
    frame = pd.DataFrame({"when": column, "x": np.arange(20.0)})
    with pytest.raises(ht.InvalidDataError, match="numeric and bool columns, got 'when'"):
        LinearClassifier(epochs=1).fit(frame, np.arange(20) % 2)


def test_masked_rows_are_refused_by_the_estimators() -> None:
    X = np.ma.masked_array(np.ones((20, 2)), np.arange(40).reshape(20, 2) == 3)
    with pytest.raises(ht.InvalidDataError, match="X must not be masked"):
        LinearClassifier(epochs=1).fit(X, np.arange(20) % 2)


def test_ragged_targets_are_refused_by_the_estimators() -> None:
    with pytest.raises(ht.InvalidDataError, match="y must have one value for each of the 2 rows"):
        LinearClassifier(epochs=1).fit(np.ones((2, 2)), [[1], [2, 3]])
