# SPDX-License-Identifier: BSD-3-Clause
"""One state: coef_, intercept_ and classes_ are what predicts and is trained further."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import joblib
import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import make_classification, make_regression
from sklearn.exceptions import NotFittedError

import hybridtrain as ht
from hybridtrain.sklearn import LinearClassifier, LinearRegressor

SETTINGS: dict[str, Any] = {"workers": 1, "random_state": 0, "epochs": 5}


def _data(n_classes: int) -> tuple[Any, Any]:
    if n_classes == 0:
        X, y = make_regression(300, 6, noise=1.0, random_state=0)
        return X, y
    X, y = make_classification(
        300, 6, n_informative=5, n_redundant=0, n_classes=n_classes, class_sep=2.0, random_state=0
    )
    return X, np.array(["ash", "beech", "cedar", "elm"])[y]


def _estimator(kind: str, **settings: Any) -> Any:
    if kind == "regression":
        return LinearRegressor(**SETTINGS | settings)
    loss = {"three": "logistic", "two": "logistic"}.get(kind, kind)
    return LinearClassifier(loss, **SETTINGS | settings)


def _fitted(kind: str, **settings: Any) -> tuple[Any, Any, Any]:
    X, y = _data({"regression": 0, "three": 3}.get(kind, 2))
    return _estimator(kind, **settings).fit(X, y), X, y


def _margins(estimator: Any, X: Any) -> Any:
    if isinstance(estimator, LinearRegressor):
        return estimator.predict(X)
    return estimator.decision_function(X)


KINDS = ["regression", "two", "three", "softmax", "hinge", "squared_hinge"]


def _negate(estimator: Any) -> None:
    estimator.coef_ = -estimator.coef_
    estimator.intercept_ = -estimator.intercept_


def _negate_in_place(estimator: Any) -> None:
    estimator.coef_ *= -1
    if isinstance(estimator.intercept_, float):
        estimator.intercept_ = -estimator.intercept_
    else:
        estimator.intercept_ *= -1


def _negate_each(estimator: Any) -> None:
    flat = estimator.coef_.reshape(-1)
    for k in range(flat.size):
        flat[k] = -flat[k]
    estimator.intercept_ = np.negative(estimator.intercept_)


def _negate_as_float64(estimator: Any) -> None:
    estimator.coef_ = estimator.coef_.astype(np.float64)
    estimator.coef_[:] = -estimator.coef_
    estimator.intercept_ = np.asarray(estimator.intercept_, np.float64) * -1


def _negate_as_lists(estimator: Any) -> None:
    estimator.coef_ = (-estimator.coef_).tolist()
    estimator.intercept_ = (-np.asarray(estimator.intercept_)).tolist()


def _negate_sparse(estimator: Any) -> None:
    estimator.coef_ = sparse.csr_matrix(-np.atleast_2d(estimator.coef_))
    estimator.intercept_ = -np.asarray(estimator.intercept_)


CHANGES = [
    _negate,
    _negate_in_place,
    _negate_each,
    _negate_as_float64,
    _negate_as_lists,
    _negate_sparse,
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", CHANGES)
def test_what_is_set_or_changed_in_place_predicts(kind: str, change: Callable[[Any], None]) -> None:
    estimator, X, y = _fitted(kind)
    before, score = _margins(estimator, X), estimator.score(X, y)
    change(estimator)
    assert _margins(estimator, X) == pytest.approx(-before, rel=1e-4, abs=1e-5)
    assert estimator.score(X, y) < score - 0.3
    if kind not in ("regression", "three"):
        assert (estimator.predict(X) == estimator.classes_[(before < 0).astype(int)]).all()
    if hasattr(estimator, "predict_proba"):
        proba = estimator.predict_proba(X)
        assert proba.argmax(axis=1).tolist() == [
            estimator.classes_.tolist().index(label) for label in estimator.predict(X)
        ]
        assert np.exp(estimator.predict_log_proba(X)) == pytest.approx(proba, abs=1e-5)
    result = estimator.result_
    assert result.score(X, y) == pytest.approx(estimator.score(X, y), abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("how", ["partial_fit", "warm_start"])
def test_what_is_set_is_trained_further(kind: str, change: Callable[[Any], None], how: str) -> None:
    still = {"lr": 1e-30, "warm_start": True}
    estimator, X, y = _fitted(kind)
    change(estimator)
    before = _margins(estimator, X)
    estimator.set_params(**still)
    (estimator.fit if how == "warm_start" else estimator.partial_fit)(X, y)
    assert isinstance(estimator.coef_, np.ndarray)
    assert _margins(estimator, X) == pytest.approx(before, rel=1e-4, abs=1e-4)


def test_averaged_parameters_are_those_of_the_next_round() -> None:
    """Federated averaging: a server without data, clients that go on from its model."""
    X, y = _data(3)
    server = _estimator("three", warm_start=True)
    server.classes_ = np.unique(y)
    server.coef_ = np.zeros((3, 6))
    server.intercept_ = np.zeros(3)
    assert set(server.predict(X)) == {"ash"}
    for _ in range(5):
        clients = [
            copy.deepcopy(server).fit(X[part], y[part]) for part in np.array_split(range(300), 3)
        ]
        server.coef_ = np.mean([client.coef_ for client in clients], axis=0)
        server.intercept_ = np.mean([client.intercept_ for client in clients], axis=0)
    assert server.score(X, y) > 0.6
    assert not hasattr(server, "result_"), "it was never trained"
    assert clients[0].result_.classes.tolist() == ["ash", "beech", "cedar"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_set_by_hand_predicts_and_goes_on_without_a_fit(kind: str) -> None:
    fitted, X, y = _fitted(kind)
    for how in ("partial_fit", "fit"):
        bare = _estimator(kind, warm_start=True, lr=1e-30)
        bare.coef_, bare.intercept_ = fitted.coef_.copy(), fitted.intercept_
        if kind != "regression":
            bare.classes_ = fitted.classes_.tolist()
        assert _margins(bare, X).tolist() == _margins(fitted, X).tolist()
        getattr(bare, how)(X, y)
        assert _margins(bare, X) == pytest.approx(_margins(fitted, X), abs=1e-4)


def test_pruning_sets_coefficients_to_zero() -> None:
    estimator, X, _ = _fitted("two")
    estimator.coef_[0, 3] = 0
    changed = X.copy()
    changed[:, 3] = 1e6
    assert estimator.predict_proba(changed).tolist() == estimator.predict_proba(X).tolist()


def _copies(estimator: Any) -> list[Any]:
    file = io.BytesIO()
    joblib.dump(estimator, file)
    file.seek(0)
    return [
        pickle.loads(pickle.dumps(estimator)),
        joblib.load(file),
        copy.deepcopy(estimator),
        copy.copy(estimator),
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_has_one_state_of_its_own(kind: str) -> None:
    estimator, X, _ = _fitted(kind)
    _negate(estimator)
    expected = _margins(estimator, X)
    for again in _copies(estimator):
        assert _margins(again, X).tolist() == expected.tolist()
        assert again.result_.history == estimator.result_.history
        again.coef_ = again.coef_ * 2
        again.intercept_ = again.intercept_ * 2
        assert _margins(again, X) == pytest.approx(2 * expected, rel=1e-5, abs=1e-6)
        assert again.result_.decision_function(X).shape[0] == 300
        assert _margins(estimator, X).tolist() == expected.tolist()
    assert pickle.dumps(estimator).count(estimator.coef_.tobytes()) == 1
    with pytest.raises(NotFittedError):
        clone(estimator).predict(X)


def test_classes_may_be_set_in_another_order() -> None:
    estimator, X, y = _fitted("three", lr=1e-30, warm_start=True)
    names, margins = estimator.predict(X).tolist(), estimator.decision_function(X)
    order = [2, 0, 1]
    estimator.classes_ = estimator.classes_[order]
    estimator.coef_, estimator.intercept_ = estimator.coef_[order], estimator.intercept_[order]
    assert estimator.predict(X).tolist() == names
    estimator.partial_fit(X, y)
    assert estimator.classes_.tolist() == ["ash", "beech", "cedar"]
    assert estimator.decision_function(X) == pytest.approx(margins, abs=1e-5)


def test_two_classes_set_in_reverse_have_the_opposite_margin() -> None:
    estimator, X, y = _fitted("two", warm_start=True)
    names, proba = estimator.predict(X).tolist(), estimator.predict_proba(X)
    estimator.classes_ = estimator.classes_[::-1]
    _negate(estimator)
    assert estimator.predict(X).tolist() == names
    assert estimator.predict_proba(X)[:, ::-1] == pytest.approx(proba, abs=1e-6)
    assert estimator.fit(X, y).score(X, y) > 0.8


@pytest.mark.parametrize("kind", KINDS)
def test_the_result_has_the_parameters_and_does_not_change_them(kind: str) -> None:
    estimator, X, _ = _fitted(kind)
    before = estimator.result_
    margins = _margins(estimator, X)
    with pytest.raises(ValueError, match="read-only"):
        before.params["coef"][...] = 0
    estimator.coef_ = estimator.coef_ * 2
    estimator.intercept_ = estimator.intercept_ * 2
    of_result = estimator.result_.decision_function(X)
    if kind == "softmax":
        assert estimator.result_.params["coef"].shape == (2, 6)
        of_result = of_result[:, 1] - of_result[:, 0]
    assert of_result == pytest.approx(2 * margins, rel=1e-4, abs=1e-5)
    assert len(estimator.result_.history) == 5
    with pytest.raises(AttributeError, match=r"can't set|no setter"):
        estimator.result_ = before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("coef_", np.zeros(5), "coef_ must have shape"),
        ("coef_", np.zeros((4, 6)), "coef_ must have shape"),
        ("coef_", None, "coef_ must"),
        ("coef_", "zero", "coef_ must hold numbers"),
        ("coef_", sparse.csr_matrix((3, 7)), "coef_ must have shape"),
        ("intercept_", np.zeros(7), "intercept_ must have shape"),
        ("intercept_", np.nan, "intercept_ must be finite as float32, got nan"),
        ("intercept_", "0", "intercept_ must hold numbers"),
    ],
)
def test_what_cannot_be_parameters_is_refused_where_it_is_used(
    kind: str, name: str, value: Any, message: str
) -> None:
    estimator, X, y = _fitted(kind, warm_start=True)
    setattr(estimator, name, value)
    for use in (
        lambda: estimator.predict(X),
        lambda: estimator.score(X, y),
        lambda: estimator.fit(X, y),
        lambda: estimator.partial_fit(X, y),
        lambda: estimator.result_,
    ):
        with pytest.raises(ht.InvalidSettingError, match=message):
            use()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e39])
def test_coefficients_that_are_not_finite_are_refused(bad: float) -> None:
    estimator, X, _ = _fitted("three")
    estimator.coef_ = estimator.coef_.astype(float)
    estimator.coef_[1, 2] = bad
    with pytest.raises(ht.InvalidSettingError, match=r"coef_ must be finite as float32.* at 8"):
        estimator.predict(X)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["ash", "ash", "elm"], "classes_ must name each class once"),
        (["ash"], "at least two classes"),
        (["ash", "elm"], r"coef_ must have shape \(1, 6\)"),
        ([1.0, np.nan, 2.0], "classes_ must not hold missing values"),
        ("ash", "classes_ must be one list of labels"),
    ],
)
def test_classes_that_do_not_fit_are_refused(classes: Any, message: str) -> None:
    estimator, X, _ = _fitted("three")
    estimator.classes_ = classes
    with pytest.raises(ValueError, match=message):
        estimator.predict(X)


def test_an_intercept_needs_a_model_with_one_to_go_on() -> None:
    for kind in ("two", "regression"):
        estimator, X, y = _fitted(kind, fit_intercept=False, warm_start=True)
        estimator.intercept_ = np.ones(1)
        estimator.predict(X)
        for method in (estimator.fit, estimator.partial_fit):
            with pytest.raises(ht.InvalidSettingError, match="intercept_ must be 0 to train on"):
                method(X, y)


def test_a_failed_fit_leaves_the_model_as_it_was() -> None:
    estimator, X, y = _fitted("three")
    names = estimator.predict(X).tolist()
    with pytest.raises(ht.InvalidSettingError):
        estimator.set_params(l2=-1.0).fit(X, np.where(y == "ash", "oak", "yew"))
    assert estimator.predict(X).tolist() == names


def test_a_warm_start_goes_on_with_fewer_classes() -> None:
    estimator, X, y = _fitted("three", warm_start=True)
    known = y != "cedar"
    estimator.fit(X[known], y[known])
    assert estimator.classes_.tolist() == ["ash", "beech", "cedar"]
    with pytest.raises(ht.InvalidDataError, match=r"y must hold the classes .* got 'oak'"):
        estimator.fit(X, np.where(y == "ash", "oak", y))
