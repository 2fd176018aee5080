# SPDX-License-Identifier: BSD-3-Clause
"""A run that cannot learn from most columns says so; sensible data are left in peace."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import hybridtrain as ht
from hybridtrain.sklearn import LinearClassifier

STRATEGIES = ["hybrid", "hogwild", "local_sgd(replicas=3)", "sync"]
OPTIMIZERS = ["sgd", "adagrad", "ftrl", "sgd(average=True)"]
RNG = np.random.default_rng(0)
N = 3000
GOOD = RNG.normal(size=(N, 3))
NUMBERS = GOOD @ [1, -1, 0.5] + 0.1 * RNG.normal(size=N)
Y = NUMBERS > 0

LARGE: dict[str, Any] = {
    "seconds since 1970": 1.7e9 + RNG.uniform(0, 2.6e6, N),
    "seconds from 0": RNG.uniform(0, 2.6e6, N),
    "salaries": RNG.lognormal(11, 1, N),
    "a rare huge value": np.where(np.arange(N) == 1234, 1e9, RNG.normal(size=N)),
}


def _said(X: Any, y: Any = Y, **settings: Any) -> list[str]:
    model = settings.pop("model", ht.Linear())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ht.train(model, (X, y), **{"workers": 1, "epochs": 5, "scale": None, **settings})
    return [str(one.message) for one in caught]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("kind", LARGE)
def test_a_column_that_dwarfs_the_others_is_named_with_what_to_do(
    kind: str, strategy: str, optimizer: str
) -> None:
    X = np.c_[GOOD[:, :2], LARGE[kind], GOOD[:, 2]]
    (text,) = _said(X, strategy=strategy, optimizer=optimizer)
    assert "this run cannot learn from" in text
    assert "of 4 columns of X that vary: column 2 is so much larger" in text
    assert "StandardScaler" in text


@pytest.mark.parametrize("optimizer", ["adam", "sgd(momentum=0.9)"])
def test_optimizers_of_dense_steps_say_it_too(optimizer: str) -> None:
    X = np.c_[GOOD, LARGE["seconds since 1970"]]
    for strategy in ("hybrid", "sync"):
        assert "column 3 is so much larger" in _said(X, strategy=strategy, optimizer=optimizer)[0]


@pytest.mark.parametrize("loss", ["squared", "huber", "hinge", "squared_hinge", "softmax"])
def test_every_loss_says_it(loss: Any) -> None:
    X = np.c_[GOOD, LARGE["seconds from 0"]]
    y = NUMBERS if loss in ("squared", "huber") else Y
    (text,) = _said(X, y, model=ht.Linear(loss=loss))
    assert "column 3 is so much larger" in text


def test_names_and_sparse_rows_are_known() -> None:
    X = np.c_[GOOD, LARGE["seconds from 0"]]
    assert "column 3 is" in _said(sparse.csr_matrix(X))[0]
    frame = pd.DataFrame(X, columns=["a", "b", "c", "clock"])
    assert "column 3 ('clock') is" in _said(frame)[0]
    two = np.c_[X, LARGE["seconds since 1970"]]
    assert "columns 4, 3 are" in _said(two)[0] or "column 4 is" in _said(two)[0]


def test_one_hot_rows_beside_a_large_column_are_known() -> None:
    codes = RNG.integers(0, 30, N)
    hot = np.zeros((N, 31))
    hot[np.arange(N), codes] = 1
    hot[:, 30] = RNG.lognormal(10, 1, N)
    (text,) = _said(sparse.csr_matrix(hot), codes < 15, epochs=50)
    assert "column 30 is" in text


def test_the_same_columns_scaled_are_learned_without_a_word() -> None:
    for large in LARGE.values():
        scaled = (large - large.mean()) / large.std()
        for strategy in STRATEGIES:
            assert _said(np.c_[GOOD, scaled], strategy=strategy) == []


def test_sensible_data_are_left_in_peace() -> None:
    words = sparse.random(N, 3000, density=0.01, format="csr", random_state=0)
    words.data = 1.0 + RNG.zipf(2.0, len(words.data)).clip(1, 30)
    pixels = RNG.integers(0, 256, (N, 50)) * (RNG.random((N, 50)) < RNG.random(50))
    ages = np.c_[GOOD, RNG.uniform(20, 80, N)]
    ones = sparse.csr_matrix((words > 0).astype(np.float32))
    for X in (words, pixels, ages, ones, GOOD * 1e-6, GOOD * 1e6, np.c_[GOOD, np.ones(N)]):
        for strategy in STRATEGIES:
            assert _said(X, strategy=strategy) == []


def test_short_runs_and_rates_of_the_user_say_nothing() -> None:
    X = np.c_[GOOD, LARGE["seconds from 0"]]
    assert _said(X[:12], Y[:12], epochs=1) == []
    assert _said(X, optimizer=ht.SGD(lr=1e-12)) == []


def test_the_estimators_warn_at_the_users_line() -> None:
    X = np.c_[GOOD, LARGE["seconds from 0"]]
    with pytest.warns(ht.DataWarning, match="column 3 is so much larger") as caught:
        LinearClassifier(random_state=0, epochs=5, scale=None).fit(X, Y)
    assert {one.filename for one in caught} == {__file__}


def test_the_command_line_prints_a_warning_as_one_line(tmp_path: Path) -> None:
    X = np.c_[GOOD, LARGE["seconds from 0"]].astype(np.float32)
    ht.save_directory(tmp_path / "rows", X, Y.astype(int))
    unscaled = ["--scale", "none"]
    for command in (["train"], ["compare", "--strategies", "sync", "--repeats", "1"]):
        done = subprocess.run(
            [
                sys.executable,
                "-P",
                "-m",
                "hybridtrain",
                *command,
                str(tmp_path / "rows"),
                *unscaled,
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert done.stderr.startswith("warning: this run cannot learn from 3 of 4 columns")
        assert "DataWarning" not in done.stderr
        assert ".py" not in done.stderr
