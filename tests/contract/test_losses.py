# SPDX-License-Identifier: BSD-3-Clause
"""What every loss must keep: each test runs over all of them."""

from __future__ import annotations

import inspect
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest
from reference.problems import Problem

import hybridtrain as ht
from hybridtrain._core import loss as core
from hybridtrain.models.loss import LossName
from hybridtrain.models.losses import LOSSES, PARAMETERS, require_loss
from hybridtrain.sklearn import LinearClassifier, LinearRegressor

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]

MODELS = [*(ht.Linear(loss=require_loss(name).name) for name in LOSSES)]
MODELS += [ht.Linear(loss="huber", delta=0.5), ht.Linear(loss="quantile", q=0.9)]
N_CLASSES = 3  # where each has a margin
STEP = 2.0**-8  # exact beside the margins that it is added to

every_loss = pytest.mark.parametrize("model", MODELS, ids=lambda m: f"{m.loss}-{m.delta:g}-{m.q:g}")


def _targets(model: ht.Linear, n: int, seed: int = 0) -> Floats:
    """Return targets as the core has them, all classes among the first."""
    rng = np.random.default_rng(seed)
    if not model.is_classifier:
        return rng.exponential(size=n).astype(np.float32)
    classes = [0, 1, 2] if model.loss_object.has_margin_per_class else [-1, 1]
    others = rng.choice(classes, n - len(classes), p=_shares(len(classes)))
    return np.concatenate([classes, others]).astype(np.float32)


def _shares(n_classes: int) -> list[float]:
    return [0.7, 0.3] if n_classes == 2 else [0.5, 0.3, 0.2]


def _margins(model: ht.Linear, n: int, size: float = 2.0, seed: int = 1) -> Doubles:
    """Return random margins (n, margins of a row), multiples of STEP, at most 4."""
    width = N_CLASSES if model.loss_object.has_margin_per_class else 1
    z = size * np.random.default_rng(seed).standard_normal((n, width))
    return np.clip(np.round(z / STEP) * STEP, -4.0, 4.0)


def _losses(model: ht.Linear, z: Doubles, y: Floats) -> Doubles:
    """Return the loss of each row; a call with weights sums in float64."""
    n_classes = N_CLASSES if model.loss_object.has_margin_per_class else 0
    padded = np.zeros((len(z), core.outputs(n_classes)), np.float32)
    padded[:, : z.shape[1]] = z
    margins, one = padded if n_classes else padded[:, 0].copy(), np.ones(1, np.float32)
    rows = [slice(i, i + 1) for i in range(len(y))]
    totals = [model.loss_object.total(margins[i], y[i], one, n_classes) for i in rows]
    return np.array(totals)


RATE = 2.0**-6


def _gradients(model: ht.Linear, z: Doubles, y: Floats) -> Doubles:
    """Return the derivatives in the margins: what a step subtracts, over its rate.

    The rate is so small that no step passes the minimum of its row.
    Each row has a feature of its own, whose coefficients are the row's margins.
    """
    n_margins = z.shape[1]
    start: dict[str, Any] = {"coef": z.T if n_margins > 1 else z[:, 0]}
    result = ht.train(
        replace(model, fit_intercept=False),
        (np.eye(len(y), dtype=np.float32), y),
        strategy="hogwild",
        optimizer=ht.SGD(lr=RATE, schedule="constant"),
        init=start | ({"classes": np.unique(y)} if model.is_classifier else {}),
        workers=1,
        epochs=1,
    )
    return (z - result.params["coef"].astype(np.float64).reshape(n_margins, len(y)).T) / RATE


def _constant(model: ht.Linear, intercept: Any, n: int) -> Doubles:
    return np.tile(np.atleast_1d(np.asarray(intercept, np.float64)), (n, 1))


def _first_intercept(model: ht.Linear, y: Floats, weights: Floats | None) -> Any:
    return model.loss_object.first_intercept(y, weights, N_CLASSES)


def _data(model: ht.Linear, problem: Problem) -> tuple[Any, Any]:
    """Return planted rows with labels as users have them, or numbers >= 0."""
    if not model.is_classifier:
        return problem.X, problem.values - problem.values.min()
    if model.loss_object.has_margin_per_class:
        ends = np.quantile(problem.values, [0.3, 0.7])
        return problem.X, np.array(["low", "middle", "high"])[np.digitize(problem.values, ends)]
    return problem.X, np.where(problem.labels, "late", "early")


# ---- names


def test_each_loss_of_the_core_has_one_class_and_users_may_name_it() -> None:
    of_one_margin = {name for name in LOSSES if not LOSSES[name].has_margin_per_class}
    assert set(core.LOSSES) == of_one_margin
    assert sorted(core.LOSSES.values()) == list(range(len(core.LOSSES)))
    assert get_args(LossName) == tuple(LOSSES)


def test_a_parameter_of_a_loss_is_an_argument_and_refused_with_any_other_loss() -> None:
    assert set(PARAMETERS) <= {field.name for field in fields(ht.Linear)}
    for name, owner in PARAMETERS.items():
        estimator: Any = LinearClassifier if owner.is_classifier else LinearRegressor
        assert name in inspect.signature(estimator).parameters
        for other in LOSSES.values():
            if other is not owner:
                with pytest.raises(ht.InvalidSettingError, match=f"{name} is for {owner.name} los"):
                    ht.Linear(loss=other.name, **{name: 0.25})  # type: ignore[arg-type]


# ---- arithmetic


@every_loss
def test_the_gradient_is_between_the_differences_of_the_loss(model: ht.Linear) -> None:
    z, y = _margins(model, 64), _targets(model, 64)
    found, here = _gradients(model, z, y), _losses(model, z, y)
    for k in range(z.shape[1]):
        step = np.zeros_like(z)
        step[:, k] = STEP
        below = (here - _losses(model, z - step, y)) / STEP
        above = (_losses(model, z + step, y) - here) / STEP
        assert np.all(below - 1e-4 <= found[:, k])  # the losses are convex
        assert np.all(found[:, k] <= above + 1e-4)


@every_loss
def test_no_gradient_changes_faster_than_the_curvature_says(model: ht.Linear) -> None:
    y = _targets(model, 256)
    z = _margins(model, 256)
    way = _margins(model, 256, seed=2)
    way *= np.maximum(1.0 / np.linalg.norm(way, axis=1, keepdims=True), 1.0)  # corners: 1 at least
    change = _gradients(model, z + way, y) - _gradients(model, z, y)
    faster = np.linalg.norm(change, axis=1) / np.linalg.norm(way, axis=1)
    if model.loss == "poisson":  # it has no bound: as long as no mean is larger than that
        faster = faster[np.exp(np.maximum(z, z + way))[:, 0] < model.loss_object.curvature(y)]
    assert faster.max() <= model.loss_object.curvature(y) * (1 + 1e-4)


# ---- what is chosen from the targets


@pytest.mark.parametrize("weighted", [False, True])
@every_loss
def test_the_first_intercept_is_the_best_without_features(model: ht.Linear, weighted: bool) -> None:
    y = _targets(model, 301)
    weights = np.random.default_rng(3).uniform(0, 2, 301).astype(np.float32) if weighted else None

    def mean(intercept: Any) -> float:
        losses = _losses(model, _constant(model, intercept, len(y)), y)
        return float(np.average(losses, weights=weights))

    first = np.atleast_1d(_first_intercept(model, y, weights))
    assert mean(first) < mean(np.zeros_like(first)) - 1e-3
    if model.loss == "hinge":  # takes that of squared hinge, see `Hinge`
        return
    for k in range(len(first)):
        for change in (0.05, -0.05):
            assert mean(first) < mean(first + change * (np.arange(len(first)) == k))


@pytest.mark.parametrize("heaviest", [None, 0.3, 5.0])
@every_loss
def test_the_first_bound_is_a_power_of_two_that_gradients_keep(
    model: ht.Linear, heaviest: float | None
) -> None:
    y = _targets(model, 256)
    weights = None if heaviest is None else np.linspace(0.1, heaviest, 256, dtype=np.float32)
    bound, is_bound = model.loss_object.first_bound(y, weights)
    assert np.log2(bound) % 1 == 0
    z = _constant(model, _first_intercept(model, y, weights), len(y))
    if is_bound:
        z = _margins(model, len(y), size=30.0)
    of_rows = np.abs(_gradients(model, z, y)).max(axis=1)
    assert (of_rows * (1.0 if weights is None else weights)).max() <= bound * (1 + 1e-5)


@every_loss
def test_a_run_without_intercept_has_none(model: ht.Linear, problem: Problem) -> None:
    result = ht.train(
        replace(model, fit_intercept=False), _data(model, problem), workers=1, epochs=1
    )
    assert not np.any(result.params["intercept"])


# ---- targets


@every_loss
def test_targets_are_what_the_class_says(model: ht.Linear) -> None:
    loss = model.loss_object
    most = loss.most_classes
    X = np.random.default_rng(0).standard_normal((most + 1 if most else 4, 3))
    labels = np.array([f"{k:05}" for k in range(len(X))])

    def train(y: Any) -> ht.Result:
        return ht.train(model, (X[: len(y)], y), workers=1, epochs=1)

    if loss.is_classifier:
        assert train(labels[:most]).classes.tolist() == labels[:most].tolist()  # type: ignore[union-attr]
        for wrong in (labels, labels[:1]):
            with pytest.raises(ht.InvalidDataError, match=f"classes for {model.loss} loss, found"):
                train(wrong)
    else:
        assert train(np.arange(4.0)).classes is None
        for wrong in (labels, [0, 1, 2, 1e16]):
            with pytest.raises(ht.InvalidDataError, match="y must"):
                train(wrong)


@every_loss
def test_the_estimator_of_its_kind_takes_it_and_the_other_refuses_it(
    model: ht.Linear, problem: Problem
) -> None:
    X, y = _data(model, problem)
    kinds: list[Any] = [LinearRegressor, LinearClassifier]
    estimator = kinds[model.is_classifier](model.loss, workers=1, epochs=2).fit(X, y)
    assert estimator.predict(X).shape == y.shape
    assert hasattr(estimator, "predict_proba") == model.has_probabilities
    other = kinds[not model.is_classifier]
    with pytest.raises(ht.InvalidSettingError, match=f"{model.loss!r} is a loss of Linear"):
        other(model.loss).fit(X, np.arange(len(y)) % 2)


# ---- runs


@pytest.mark.parametrize(
    "strategy", ["hybrid", "hogwild", "local_sgd(replicas=3)", "sync", "sync(exact=False)"]
)
@every_loss
def test_a_short_training_lowers_the_loss(
    model: ht.Linear, strategy: str, problem: Problem
) -> None:
    data = _data(model, problem)
    result = ht.train(model, data, strategy=strategy, workers=2, epochs=10, validation=data)
    losses = [record.validation_loss for record in result.history]
    assert losses[-1] < 0.9 * losses[0] or losses[-1] < 0.2  # type: ignore[operator]


@every_loss
def test_probabilities_add_up_to_one_or_are_refused(model: ht.Linear, problem: Problem) -> None:
    X, y = _data(model, problem)
    result = ht.train(model, (X, y), workers=1, epochs=3)
    if not model.has_probabilities:
        with pytest.raises(ht.InvalidSettingError, match=f"this model has {model.loss} loss"):
            result.predict_proba(X)
        with pytest.raises(ht.InvalidSettingError, match=f"{model.loss} loss has no probabilities"):
            model.loss_object.probabilities(result.decision_function(X), 0)
        return
    proba = result.predict_proba(X)
    assert proba.shape == (len(y), len(np.unique(y)))
    assert proba.min() >= 0
    assert proba.sum(axis=1) == pytest.approx(np.ones(len(y)), abs=1e-6)
    assert result.classes is not None
    assert np.array_equal(result.classes[proba.argmax(axis=1)], result.predict(X))


@every_loss
def test_a_stored_model_predicts_the_same(
    model: ht.Linear, problem: Problem, tmp_path: Path
) -> None:
    X, y = _data(model, problem)
    result = ht.train(model, (X, y), workers=1, epochs=3)
    result.save(tmp_path / "model")
    loaded = ht.load(tmp_path / "model.npz")
    assert loaded.model == model
    assert loaded.model.loss_object == model.loss_object
    assert np.array_equal(loaded.predict(X), result.predict(X))
    assert loaded.score(X, y) == result.score(X, y)
    margins = result.decision_function(X)
    assert np.array_equal(loaded.decision_function(X), margins)
    if not model.is_classifier:
        assert np.array_equal(result.predict(X), model.loss_object.predictions(margins))
