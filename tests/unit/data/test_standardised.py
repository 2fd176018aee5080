# SPDX-License-Identifier: BSD-3-Clause
"""Columns of any scale and offset are learned; sensible rows are left as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import hybridtrain as ht

RNG = np.random.default_rng(0)
N = 2500
GOOD = RNG.normal(size=(N, 3))
STRATEGIES = ["hybrid", "hogwild", "local_sgd(replicas=3)", "sync"]
MILLISECONDS = 1.7e12 + RNG.uniform(0, 1e4, N)  # float32 has steps of 131,072 there
LATER = (MILLISECONDS - 1.7e12) / 5e3 - 1
BY_TIME = GOOD[:, 0] + 2 * LATER > 0
STAMPED = np.c_[GOOD, MILLISECONDS]
NAMES = ["a", "b", "c", "clock"]

FORMS: dict[str, Any] = {
    "array": np.asarray,
    "Fortran order": np.asfortranarray,
    "frame": lambda X: pd.DataFrame(X, columns=NAMES),
    "frame of many types": lambda X: pd.DataFrame(X, columns=NAMES).astype(
        {"clock": "int64", "a": "Float64"}
    ),
}


def _train(data: Any, loss: Any = "logistic", **settings: Any) -> ht.Result:
    model = settings.pop("model", ht.Linear(loss=loss))
    return ht.train(model, data, **{"workers": 1, "epochs": 10, "progress": False, **settings})


@pytest.mark.parametrize("form", FORMS)
def test_a_time_in_milliseconds_keeps_what_it_varies_by(form: str) -> None:
    X = FORMS[form](STAMPED)
    result = _train((X, BY_TIME), validation=0.2)  # warnings are errors here
    assert result.settings["scale"]["centred"] == 4
    assert "float32 cannot hold" in result.settings["scale"]["reason"]
    assert result.settings["warnings"] == []
    assert result.score(X, BY_TIME) > 0.97
    z = result.decision_function(X)
    exact = (
        np.asarray(X, np.float64).astype(np.longdouble) @ result.params["coef"]
        + result.params["intercept"]
    )
    np.testing.assert_allclose(z, exact.astype(np.float64), atol=2e-3)


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("size", [1e-12, 1e-4, 1e-2, 1e12])
def test_columns_of_one_size_are_learned_whatever_it_is(
    size: float, strategy: str, form: Any
) -> None:
    X, y = form(GOOD * size), GOOD @ [1, -1, 0.5]
    assert _train((X, y), loss="squared", strategy=strategy).score(X, y) > 0.99
    assert _train((X, y > 0), strategy=strategy).score(X, y > 0) > 0.96


@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "ftrl"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_time_in_seconds_does_not_hide_the_other_columns(strategy: str, optimizer: str) -> None:
    y = GOOD @ [1, -1, 0.5] + 0.1 * RNG.normal(size=N) > 0
    X = np.c_[GOOD, 1.7e9 + RNG.uniform(0, 86400 * 30, N)]
    for rows in (X, X.astype(np.float32)):
        result = _train((rows, y), strategy=strategy, optimizer=optimizer, epochs=20)
        assert result.score(rows, y) > 0.95


def test_a_run_has_the_bits_of_one_on_columns_that_the_user_scaled() -> None:
    X = GOOD * [1, 1e3, 1e-3] + [0, 1e5, 7]
    y = GOOD.sum(axis=1) > 0
    result = _train((X, y))
    scaling = result.scaling
    assert scaling is not None
    by_hand = (X - scaling.centre) / scaling.scale
    same = _train((by_hand, y), scale=None)
    expected = (same.params["coef"] / scaling.scale).astype(np.float32)
    assert np.array_equal(result.params["coef"], expected)
    assert [one.loss for one in result.history] == [one.loss for one in same.history]
    np.testing.assert_allclose(
        result.decision_function(X), same.decision_function(by_hand), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_sparse_columns_of_other_sizes_are_scaled(strategy: str) -> None:
    hot = np.zeros((N, 31), np.float32)
    codes = RNG.integers(0, 30, N)
    hot[np.arange(N), codes] = 1
    hot[:, 30] = RNG.lognormal(10, 1, N)
    rows = sparse.csr_matrix(hot)
    y = (codes < 15) ^ (RNG.random(N) < 0.05)
    for model in (ht.Linear(), ht.Linear(l2=1e-4), ht.Linear(l1=1e-4)):
        result = _train((rows, y), model=model, strategy=strategy, epochs=20)
        said = result.settings["scale"]
        assert (said["centred"], said["scaled"]) == (0, 1)
        assert result.score(rows, y) > 0.93
        assert result.scaling is not None
        assert result.scaling.centre is None


@pytest.mark.filterwarnings("ignore:this run cannot learn")
def test_sparse_columns_stay_where_a_run_cannot_penalise_them_apart() -> None:
    rows = sparse.csr_matrix(np.c_[GOOD, 1e4 * (1 + np.arange(N) % 3)])
    for model, optimizer in ((ht.Linear(l1=1e-4, l2=1e-4), "sgd"), (ht.Linear(l2=1e-4), "ftrl")):
        result = _train((rows, BY_TIME), model=model, optimizer=optimizer)
        assert result.settings["scale"] is None


def test_without_an_intercept_columns_are_scaled_and_not_centred() -> None:
    X = GOOD * [1, 1e4, 1e-3]
    result = _train((X, GOOD.sum(axis=1) > 0), model=ht.Linear(fit_intercept=False))
    assert result.settings["scale"]["centred"] == 0
    assert result.params["intercept"] == 0.0
    assert result.score(X, GOOD.sum(axis=1) > 0) > 0.98


def test_sensible_rows_are_left_as_they_are() -> None:
    words = sparse.random(N, 3000, density=0.01, format="csr", random_state=0, dtype=np.float32)
    pixels = RNG.random((N, 50)) * (RNG.random((N, 50)) < RNG.uniform(0.05, 1, 50))
    dummies = np.eye(40)[RNG.integers(0, 40, N)]
    for X in (GOOD, GOOD * 1e6, words, words > 0, pixels, dummies, GOOD + 0.5):
        result = _train((X, BY_TIME), epochs=1)
        assert result.settings["scale"] is None
        assert result.scaling is None
        assert not any("scaled" in text for text in result.settings["copied"])


def test_a_rare_dummy_is_measured_by_the_rows_that_hold_it() -> None:
    X = np.c_[GOOD * [1e4, 1, 1], np.arange(N) % 500 == 0]
    scaling = _train((X, BY_TIME)).scaling
    assert scaling is not None
    assert scaling.scale is not None
    assert scaling.scale[3] == pytest.approx(1.0, abs=0.01)


def test_constant_columns_are_centred_and_not_scaled() -> None:
    X = np.c_[GOOD * [1, 1e4, 1], np.full(N, 1e9)]
    result = _train((X, BY_TIME))
    assert result.scaling is not None
    assert result.scaling.scale is not None
    assert result.scaling.scale[3] == 1.0
    assert result.params["coef"][3] == 0.0


def test_rows_of_weight_0_do_not_count() -> None:
    weight = (np.arange(N) % 3 > 0).astype(float)
    X = np.where(weight[:, None] > 0, STAMPED, 1e6)
    some = _train((X, BY_TIME, weight))
    alone = _train((STAMPED[weight > 0], BY_TIME[weight > 0]))
    assert np.array_equal(some.params["coef"], alone.params["coef"])


@pytest.mark.parametrize(("loss", "arguments"), [("squared", {}), ("huber", {}), ("quantile", {})])
@pytest.mark.parametrize("offset", [1e8, -1e10])
def test_targets_far_from_0_keep_what_they_vary_by(
    loss: Any, arguments: dict[str, Any], offset: float
) -> None:
    y = GOOD @ [1.0, 2.0, 3.0] + offset
    result = _train((GOOD, y), loss, epochs=30, **arguments)
    assert result.settings["scale"]["target_centred"]
    assert result.settings["warnings"] == []
    predicted = result.predict(GOOD)
    assert predicted.dtype == np.float64
    share = ((y - predicted) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    assert share < 1e-3
    assert result.score(GOOD, y) == pytest.approx(1 - share, abs=1e-12)


def test_targets_near_0_and_counts_are_left_as_they_are() -> None:
    for loss, y in (("squared", GOOD.sum(axis=1) + 5), ("poisson", np.full(N, 1000.0))):
        result = _train((GOOD, y), loss, epochs=1)
        assert result.settings["scale"] is None
        assert result.predict(GOOD).dtype == np.float32


@pytest.mark.parametrize("loss", ["squared", "logistic", "softmax"])
def test_the_validation_loss_is_that_of_the_result(loss: Any) -> None:
    y = GOOD @ [1, 2, 3] + LATER + 1e9 if loss == "squared" else BY_TIME
    held = slice(0, 300)
    result = _train((STAMPED[300:], y[300:]), loss, validation=(STAMPED[held], y[held]))
    z = result.decision_function(STAMPED[held])
    if loss == "squared":
        expected = ((z - y[held]) ** 2).mean() / 2
    else:
        p = result.predict_proba(STAMPED[held])
        expected = -np.log(p[np.arange(300), y[held].astype(int)]).mean()
    assert result.history[-1].validation_loss == pytest.approx(expected, rel=1e-3)


def test_sparse_rows_can_be_measured_on_by_a_model_of_centred_ones() -> None:
    X = GOOD * [1, 1e4, 1] + [0, 1e5, 0]
    result = _train((X, BY_TIME), validation=(sparse.csr_matrix(X[:300]), BY_TIME[:300]))
    dense = _train((X, BY_TIME), validation=(X[:300], BY_TIME[:300]))
    losses = [run.history[-1].validation_loss for run in (result, dense)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    z = result.decision_function(sparse.csr_matrix(X))
    np.testing.assert_allclose(z, result.decision_function(X), atol=1e-3)


@pytest.mark.parametrize("loss", ["squared", "logistic", "softmax"])
def test_a_run_goes_on_from_a_result(loss: Any) -> None:
    y = GOOD @ [1, 2, 3] + LATER + 1e9 if loss == "squared" else BY_TIME
    first = _train((STAMPED, y), loss)
    for init in (first, {**first.params}):
        stays = _train((STAMPED, y), loss, init=init, epochs=1, optimizer=ht.SGD(lr=1e-12))
        np.testing.assert_allclose(stays.params["coef"], first.params["coef"], rtol=1e-5)
        z = stays.decision_function(STAMPED) - first.decision_function(STAMPED)
        assert np.abs(z).max() < 1e-3


def test_a_column_that_was_rounded_away_before_is_named() -> None:
    frame = pd.DataFrame(STAMPED.astype(np.float32), columns=NAMES)
    frame["clock"] = 1.7e12 + 131072.0 * (np.arange(N) % 3 == 0)
    with pytest.warns(ht.DataWarning, match="X is float32, which has lost") as caught:
        result = _train((frame.astype(np.float32), BY_TIME))
    assert "column 3 ('clock') varies by 6.18e+04 around 1.7e+12, with steps of 1.31e+05" in str(
        caught[0].message
    )
    assert len(caught) == 1
    assert result.settings["warnings"] == [str(caught[0].message)]
    fine = STAMPED - [0, 0, 0, 1.7e12 - 1e9]
    assert _train((fine.astype(np.float32), BY_TIME)).settings["warnings"] == []


def test_a_mapped_file_is_trained_in_place(tmp_path: Path) -> None:
    X = (GOOD * [1, 1e4, 1]).astype(np.float32)
    ht.save_directory(tmp_path / "rows", X, BY_TIME.astype(int))
    with pytest.warns(ht.DataWarning, match="this run cannot learn from 2 of 3 columns"):
        result = _train(str(tmp_path / "rows"))
    assert result.settings["scale"] is None
    assert result.settings["copied"] == []


def test_none_trains_on_the_rows_as_they_are() -> None:
    with pytest.warns(ht.DataWarning) as caught:
        result = _train((STAMPED, BY_TIME), scale=None)
    assert len(caught) == 2
    assert result.settings["scale"] is None


@pytest.mark.parametrize("wrong", ["Auto", 1, True, 0.5, [1.0]])
def test_another_value_is_refused(wrong: Any) -> None:
    with pytest.raises(ht.InvalidSettingError, match='scale must be "auto" or None, got'):
        _train((GOOD, BY_TIME), scale=wrong)


def test_coordinates_of_a_result_can_be_used_for_rows_of_its_columns() -> None:
    first = _train((STAMPED[:1000], BY_TIME[:1000]))
    other = _train((STAMPED[1000:], BY_TIME[1000:]), scale=first.scaling)
    assert other.scaling is first.scaling
    with pytest.raises(ht.InvalidSettingError, match="for the 3 features of X"):
        _train((GOOD, BY_TIME), scale=first.scaling)
    for rows, model in (
        (sparse.csr_matrix(GOOD), ht.Linear()),
        (GOOD, ht.Linear(fit_intercept=False)),
    ):
        centred = _train((GOOD + 1e5, BY_TIME)).scaling
        assert _train((rows, BY_TIME), model=model, scale=centred).scaling is None


def test_a_comparison_is_of_the_users_rows() -> None:
    y = GOOD @ [1, 2, 3] + LATER + 1e9
    held = (STAMPED[:500], y[:500])
    found = ht.compare(
        ht.Linear(loss="squared"), (STAMPED, y), validation=held, workers=1, epochs=10, repeats=1
    )
    for run in found.runs:
        assert run.score > 0.99
        assert run.score == pytest.approx(run.result.score(*held))
        assert run.result.settings["scale"]["centred"] == 4
        assert not any("scaled" in text for text in run.result.settings["copied"])
