# SPDX-License-Identifier: BSD-3-Clause
"""The scikit-learn estimators, under scikit-learn's own checks and in its tools."""

from __future__ import annotations

import importlib
import pickle
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import hybridtrain as ht
from hybridtrain.models.losses import LOSSES
from hybridtrain.sklearn import LinearClassifier, LinearRegressor

INEXACT = "equal weights and repeated rows reach the same optimum, not the same bits"
EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": INEXACT,
    "check_sample_weight_equivalence_on_sparse_data": INEXACT,
}


@parametrize_with_checks(
    [
        LinearClassifier(),
        LinearClassifier(strategy="sync", epochs=30),
        LinearClassifier(strategy="sync", epochs=30, workers=2, backend="processes"),
        *([LinearClassifier("hinge", workers=1, epochs=30)] if "hinge" in LOSSES else []),
        LinearClassifier(loss="softmax", optimizer="adagrad", epochs=30),
        LinearRegressor(),
        LinearRegressor(
            "huber" if "huber" in LOSSES else "squared", workers=1, epochs=30, patience=30
        ),
    ],
    expected_failed_checks=lambda estimator: EXPECTED,
    xfail_strict=True,
)
@pytest.mark.filterwarnings("ignore")
def test_a_check_of_scikit_learn_passes(estimator: Any, check: Any) -> None:
    check(estimator)


def _cancer() -> tuple[Any, Any]:
    X, y = load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def _names(y: Any) -> Any:
    return np.array(["malignant", "benign"])[y]


def _objective(X: Any, y: Any, coef: Any, intercept: float, l2: float) -> float:
    z = X @ np.asarray(coef, float) + intercept
    return float(
        np.logaddexp(0, -(2 * y - 1) * z).mean() + l2 / 2 * np.sum(np.square(coef, dtype=float))
    )


@pytest.mark.parametrize("strategy", ["hybrid", "hogwild", "sync"])
def test_the_default_epochs_reach_the_optimum_of_logistic_regression(strategy: str) -> None:
    X, y = _cancer()
    l2 = 0.01
    ours = LinearClassifier(l2=l2, strategy=strategy, random_state=0).fit(X, y)
    best = LogisticRegression(C=1 / (l2 * len(y)), tol=1e-8).fit(X, y)
    reached = _objective(X, y, ours.coef_[0], ours.intercept_[0], l2)
    assert reached < 1.005 * _objective(X, y, best.coef_[0], best.intercept_[0], l2)


def test_the_accuracy_is_that_of_scikit_learns_linear_models() -> None:
    X, y = load_digits(return_X_y=True)
    X, y = X[:900] / 16, y[:900] % 2
    ours = cross_val_score(LinearClassifier(random_state=0), X, y, cv=3).mean()
    exact = cross_val_score(LogisticRegression(C=10, max_iter=500), X, y, cv=3).mean()
    peer = cross_val_score(SGDClassifier(loss="log_loss", random_state=0), X, y, cv=3).mean()
    assert ours > max(exact, peer) - 0.01
    assert ours > 0.8


def test_a_regression_reaches_ridge() -> None:
    X, y = load_diabetes(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    l2 = 0.01
    ours = LinearRegressor(l2=l2, random_state=0).fit(X, y)
    best = Ridge(alpha=l2 * len(y)).fit(X, y)
    assert ours.coef_.shape == (10,)
    assert ours.coef_ == pytest.approx(best.coef_, abs=0.5)
    assert ours.intercept_ == pytest.approx(best.intercept_, abs=0.5)
    assert ours.score(X, y) == pytest.approx(best.score(X, y), abs=1e-3)


@pytest.mark.parametrize("loss", ["logistic", "softmax"])
def test_three_classes_are_trained_by_softmax(loss: str) -> None:
    X, y = load_wine(return_X_y=True, as_frame=True)
    names = np.array(["red", "white", "rose"])[y]
    pipeline = make_pipeline(StandardScaler(), LinearClassifier(loss, random_state=0))
    pipeline.fit(X, names)
    classifier = pipeline[-1]
    assert pipeline.score(X, names) > 0.98
    assert classifier.classes_.tolist() == ["red", "rose", "white"]
    assert classifier.coef_.shape == (3, 13)
    assert classifier.intercept_.shape == (3,)
    assert classifier.decision_function(StandardScaler().fit_transform(X)).shape == (178, 3)
    assert classifier.result_.model.loss == "softmax"


def test_softmax_of_two_classes_has_one_margin() -> None:
    X, y = _cancer()
    classifier = LinearClassifier("softmax", epochs=20, random_state=0).fit(X, y)
    z = classifier.decision_function(X)
    assert z.shape == (len(y),)
    assert X @ classifier.coef_[0] + classifier.intercept_[0] == pytest.approx(z, abs=1e-3)
    assert classifier.predict_proba(X)[:, 1] == pytest.approx(1 / (1 + np.exp(-z)), abs=1e-5)


def test_a_hinge_separates_more_classes_one_against_the_rest() -> None:
    X, y = load_wine(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    with pytest.raises(ht.InvalidDataError, match=r"3 classes; .* OneVsRestClassifier"):
        LinearClassifier("hinge").fit(X, y)
    assert OneVsRestClassifier(LinearClassifier("hinge", epochs=50)).fit(X, y).score(X, y) > 0.95


def test_probabilities_are_there_for_losses_that_have_them() -> None:
    X, y = _cancer()
    hinge = LinearClassifier("squared_hinge", epochs=20, random_state=0)
    assert not hasattr(hinge, "predict_proba")
    assert hasattr(LinearClassifier(), "predict_log_proba")
    with pytest.raises(AttributeError) as caught:
        hinge.predict_proba(X)
    assert "CalibratedClassifierCV" in str(caught.value.__cause__)
    calibrated = CalibratedClassifierCV(hinge, cv=3).fit(X, y)
    assert ((calibrated.predict_proba(X)[:, 1] > 0.5) == y).mean() > 0.95


def test_a_pipeline_on_a_frame_with_text_labels_is_searched() -> None:
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    pipeline = make_pipeline(StandardScaler(), LinearClassifier(epochs=20, random_state=0))
    pipeline.set_output(transform="pandas")
    grid = {"linearclassifier__l2": np.logspace(-5, -1, 3), "linearclassifier__lr": ["auto", 0.1]}
    search = GridSearchCV(pipeline, grid, cv=3).fit(X, _names(y))
    assert search.best_score_ > 0.95
    best = search.best_estimator_[-1]
    assert best.feature_names_in_.tolist() == X.columns.tolist()
    assert best.n_features_in_ == 30
    assert set(search.predict(X)) == {"malignant", "benign"}
    assert cross_val_score(pipeline, X, _names(y), scoring="roc_auc", cv=3).mean() > 0.98


def test_calibration_gets_probabilities_of_text_labels() -> None:
    X, y = _cancer()
    calibrated = CalibratedClassifierCV(LinearClassifier(epochs=20, random_state=0), cv=3)
    proba = calibrated.fit(X, _names(y)).predict_proba(X)
    assert ((proba[:, 1] > 0.5) == (y == 0)).mean() > 0.95


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_array, sparse.coo_array])
def test_sparse_rows_give_the_parameters_of_dense_ones(kind: Any) -> None:
    X, y = _cancer()
    X = MaxAbsScaler().fit_transform(np.where(X > 0, X, 0))
    settings: dict[str, Any] = {"l2": 0.01, "workers": 1, "epochs": 200, "random_state": 0}
    dense = LinearClassifier(**settings).fit(X, y)
    thin = LinearClassifier(**settings).fit(kind(X), y)
    assert thin.coef_ == pytest.approx(dense.coef_, abs=0.02)
    assert thin.predict(kind(X)).tolist() == thin.predict(X).tolist()


def test_weights_of_rows_and_of_classes_are_those_of_repeated_rows() -> None:
    X, y = _cancer()
    settings: dict[str, Any] = {"l2": 0.01, "epochs": 300, "workers": 1, "random_state": 0}
    repeated = LinearClassifier(**settings).fit(
        np.concatenate([X, X[y == 1], X[y == 1]]), np.concatenate([y, y[y == 1], y[y == 1]])
    )
    for weighted in (
        LinearClassifier(**settings).fit(X, y, sample_weight=np.where(y == 1, 3.0, 1.0)),
        LinearClassifier(class_weight={1: 3.0}, **settings).fit(X, y),
    ):
        assert weighted.coef_ == pytest.approx(repeated.coef_, abs=0.02)
        assert weighted.intercept_ == pytest.approx(repeated.intercept_, abs=0.1)
    plain = LinearClassifier(**settings).fit(X, y)
    assert plain.intercept_ != pytest.approx(repeated.intercept_, abs=0.2)


def test_balanced_weights_help_the_rare_class() -> None:
    X, y = _cancer()
    X, y = X[:, :1], (X[:, 0] + np.random.default_rng(0).normal(size=len(X)) > 2).astype(int)
    plain = LinearClassifier(random_state=0, epochs=50).fit(X, y)
    balanced = clone(plain).set_params(class_weight="balanced").fit(X, y)
    assert balanced.predict(X).sum() > 1.5 * plain.predict(X).sum()


def test_an_int_is_the_seed_of_train() -> None:
    X, y = _cancer()
    rows = sparse.csr_matrix(X, dtype=np.float32)
    estimator = LinearClassifier(random_state=7, epochs=3, workers=1, lr=0.01, l1=1e-3).fit(rows, y)
    same = ht.train(
        ht.Linear(l1=1e-3, l2=1e-4),
        (rows, y),
        optimizer=ht.SGD(lr=0.01),
        epochs=3,
        workers=1,
        seed=7,
    )
    assert estimator.coef_[0].tolist() == same.params["coef"].tolist()
    assert estimator.n_iter_ == 3
    assert estimator.n_samples_seen_ == 3 * len(y)


def test_an_estimator_survives_pickle_and_clone() -> None:
    X, y = _cancer()
    estimator = LinearClassifier(
        optimizer=ht.SGD(lr=0.1), strategy=ht.Hybrid(every=64), epochs=3, random_state=0
    ).fit(X, _names(y))
    again = pickle.loads(pickle.dumps(estimator))
    assert again.predict(X).tolist() == estimator.predict(X).tolist()
    assert again.result_.history == estimator.result_.history
    again.partial_fit(X, _names(y))
    bare = clone(estimator)
    assert bare.get_params() == estimator.get_params()
    with pytest.raises(NotFittedError):
        bare.predict(X)


def test_a_warm_start_goes_on_from_the_last_fit() -> None:
    X, y = _cancer()
    cold = LinearRegressor(epochs=1, lr=1e-4, random_state=0, workers=1)
    warm = clone(cold).set_params(warm_start=True)
    first = warm.fit(X, y).coef_
    second = warm.fit(X, y).coef_
    assert cold.fit(X, y).fit(X, y).coef_.tolist() == first.tolist()
    assert np.linalg.norm(second) > 1.2 * np.linalg.norm(first)


def test_patience_ends_a_run_and_says_after_how_many_epochs() -> None:
    X, y = _cancer()
    estimator = LinearClassifier(
        patience=2, epochs=200, validation_fraction=0.3, random_state=0, lr=1.0
    ).fit(X, y)
    assert estimator.n_iter_ < 200
    assert estimator.result_.history[-1].validation_loss is not None


def test_without_scikit_learn_the_import_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("", ".classifier", ".regressor", ".estimator"):
        monkeypatch.delitem(sys.modules, f"hybridtrain.sklearn{module}")
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    with pytest.raises(ImportError, match=r"pip install 'hybridtrain\[sklearn\]'"):
        importlib.import_module("hybridtrain.sklearn")


def test_more_workers_than_rows_are_not_started() -> None:
    X, _ = _cancer()
    estimator = LinearClassifier(workers=8, epochs=2, strategy="hogwild").fit(
        sparse.csr_matrix(X[:5]), [0, 1, 0, 1, 0]
    )
    assert estimator.result_.settings["workers"] == 5


def test_few_rows_are_trained_by_one_worker() -> None:
    X, y = _cancer()
    assert LinearClassifier(epochs=2).fit(X, y).result_.settings["workers"] == 1


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"loss": "squared"}, "loss"),
        ({"l2": -1.0}, "l2 must be finite and >= 0"),
        ({"lr": 0.0}, "lr must be finite and > 0"),
        ({"strategy": "fast"}, "strategy must be one of"),
        ({"optimizer": "newton"}, "optimizer must be one of"),
        ({"epochs": 0}, "epochs must be >= 1"),
        ({"workers": 0}, "workers must be >= 1"),
        ({"batch_size": 7}, "batch_size must be 1"),
    ],
)
def test_a_setting_out_of_range_is_refused_by_fit(settings: dict[str, Any], part: str) -> None:
    X, y = _cancer()
    with pytest.raises(ht.InvalidSettingError, match=part):
        LinearClassifier(**settings).fit(X, y)


def test_a_regression_loss_is_refused_by_name() -> None:
    X, y = _cancer()
    with pytest.raises(ht.InvalidSettingError, match="'squared' is a loss of LinearRegressor"):
        LinearClassifier("squared").fit(X, y)
    with pytest.raises(ht.InvalidSettingError, match="'logistic' is a loss of LinearClassifier"):
        LinearRegressor("logistic").fit(X, y)


def test_rows_of_a_frame_with_other_names_are_refused() -> None:
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    estimator = LinearClassifier(epochs=2).fit(X, y)
    with pytest.raises(ValueError, match="feature names"):
        estimator.predict(X.rename(columns={"mean radius": "radius"}))
    assert isinstance(X, pd.DataFrame)
