# SPDX-License-Identifier: BSD-3-Clause
"""Rounding to float32: a warning where it takes away what varies, and scores of the user's y."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import hybridtrain as ht
from hybridtrain.data.rounding import lost_in_dense, lost_in_sparse, lost_in_targets

RNG = np.random.default_rng(0)
N = 2000
FINE = RNG.normal(size=(N, 3))
Y = FINE @ [1, -1, 0.5] > 0
COARSE = 1e9 + RNG.uniform(0, 100, N)  # float32 has steps of 64 there

FORMS: dict[str, Any] = {
    "dense": lambda X: X,
    "Fortran order": np.asfortranarray,
    "csr": sparse.csr_matrix,
    "csc": sparse.csc_array,
    "frame": lambda X: pd.DataFrame(X, columns=["u", "v", "w", "clock"]),
    "mixed frame": lambda X: pd.DataFrame(X, columns=["u", "v", "w", "clock"]).astype(
        {"u": pd.SparseDtype(float, 0.0)}
    ),
    "sparse frame": lambda X: pd.DataFrame(X, columns=["u", "v", "w", "clock"]).astype(
        pd.SparseDtype(float, 0.0)
    ),
}


def _said(data: Any, loss: Any = "logistic", **settings: Any) -> tuple[list[str], ht.Result]:
    """Return what a run on the rows as they are warns of, and its result."""
    settings.setdefault("scale", None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = ht.train(ht.Linear(loss=loss), data, workers=1, epochs=1, **settings)
    assert all(one.category is ht.DataWarning for one in caught)
    said = [str(one.message) for one in caught]
    assert result.settings["warnings"] == said
    return said, result


def _of_rounding(said: list[str]) -> list[str]:
    return [text for text in said if text.startswith("rounding")]


@pytest.mark.parametrize("form", FORMS)
def test_a_column_that_becomes_coarse_is_named_once_with_what_to_do(form: str) -> None:
    X = FORMS[form](np.c_[FINE, COARSE])
    (text,) = _of_rounding(_said((X, Y))[0])
    assert "rounding X to float32 loses what varies: column 3 " in text
    assert "varies by 99.9 around 1e+09" in text or "varies by 1" in text or "varies by 9" in text
    assert "as float32 it has steps of 64" in text
    assert "StandardScaler" in text
    assert ("'clock'" in text) == ("frame" in form)


def test_a_column_that_becomes_constant_is_said_to() -> None:
    (text,) = _of_rounding(_said((np.c_[FINE, 1e10 + RNG.random(N)], Y))[0])
    assert "as float32 it is constant" in text


@pytest.mark.parametrize("dtype", ["int64", "uint64", "int32", "longdouble"])
def test_whole_numbers_are_rounded_as_well(dtype: str) -> None:
    X = np.c_[np.arange(N) % 7, 2e9 + np.arange(N) % 50].astype(dtype)
    assert "column 1 " in _of_rounding(_said((X, Y))[0])[0]


def test_of_many_columns_the_first_are_named() -> None:
    X = COARSE[:, None] + RNG.uniform(0, 100, (N, 6))
    text = _of_rounding(_said((X, Y))[0])[0]
    assert "column 2 " in text
    assert "; and 3 more columns" in text


@pytest.mark.parametrize("loss", ["squared", "huber"])
@pytest.mark.parametrize("offset", [1e6, 1e8, -1e10])
def test_targets_that_become_coarse_are_named(loss: str, offset: float) -> None:
    y = FINE.sum(axis=1) + offset
    (text,) = _said((FINE, y), loss)[0]
    assert "rounding y to float32 loses what varies: y varies by" in text
    assert "Subtract its mean" in text


def test_nothing_is_said_where_nothing_is_lost() -> None:
    constant = np.full((N, 1), 0.1)
    noise = 0.3 + 1e-16 * RNG.integers(0, 3, (N, 1))
    ones = np.ones((N, 1)) * (RNG.random((N, 1)) < 0.1)
    heavy = RNG.lognormal(0, 3, (N, 1))
    years = 2000.0 + RNG.integers(0, 25, (N, 1))
    X = np.c_[FINE, constant, noise, ones, heavy / 100, years / 1000]
    for form in (X, sparse.csr_matrix(X), pd.DataFrame(X)):
        assert _of_rounding(_said((form, Y))[0]) == []
    for y in (FINE[:, 0], np.round(FINE[:, 0] * 100), 1e6 * FINE[:, 0], np.full(N, 0.1)):
        assert lost_in_targets(y) is None
    assert lost_in_dense(COARSE.astype(np.float32)[:, None]) == {}


def test_rare_columns_are_not_judged_by_a_few_elements() -> None:
    values = np.array([0.123456789, 0.12345679] * 5)
    assert lost_in_sparse(np.repeat(np.arange(5), 2), values) == {}


def test_prediction_and_validation_say_nothing_more() -> None:
    X = np.c_[FINE, COARSE]
    said, result = _said((X, Y), validation=(X, Y))
    assert len(_of_rounding(said)) == 1
    result.predict(X)  # warnings are errors here
    result.score(X, Y)


def test_the_warning_points_at_the_users_line() -> None:
    X = np.c_[FINE, COARSE]
    with pytest.warns(ht.DataWarning) as caught:
        ht.train(ht.Linear(), (X, Y), workers=1, scale=None)
    assert {one.filename for one in caught} == {__file__}
    with pytest.warns(ht.DataWarning) as caught:
        ht.compare(ht.Linear(), (X, Y), strategies=["sync"], workers=1, repeats=1, scale=None)
    assert {one.filename for one in caught} == {__file__}


def test_what_was_said_is_saved(tmp_path: Path) -> None:
    said, result = _said((np.c_[FINE, COARSE], Y))
    result.save(tmp_path / "model.npz")
    assert ht.load(tmp_path / "model.npz").settings["warnings"] == said


def test_the_score_is_that_of_the_users_own_targets() -> None:
    y = FINE @ [1, 2, 3] + 1e8
    with pytest.warns(ht.DataWarning, match="rounding y"):
        result = ht.train(ht.Linear(loss="squared"), (FINE, y), workers=1, epochs=5, scale=None)
    residual = y - result.predict(FINE).astype(np.float64)
    expected = 1 - (residual**2).sum() / ((y - y.mean()) ** 2).sum()
    assert result.score(FINE, y) == pytest.approx(expected, abs=1e-12)
