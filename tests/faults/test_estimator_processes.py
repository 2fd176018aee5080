# SPDX-License-Identifier: BSD-3-Clause
"""The scikit-learn estimators with worker processes, which are killed."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from support.processes import beside, kill_one, stop_one, workers_of

import hybridtrain as ht
from hybridtrain.sklearn import LinearClassifier, LinearRegressor

N_ROWS = 20_000
SETTINGS: dict[str, Any] = {
    "strategy": "sync",
    "optimizer": ht.SGD(lr=0.3),
    "workers": 2,
    "epochs": 100,
    "random_state": 0,
}


def _rows() -> tuple[Any, Any]:
    X = np.random.default_rng(0).standard_normal((N_ROWS, 20)).astype(np.float32)
    return X, X[:, :3].argmax(axis=1)


def _deaths(estimator: Any) -> list[str]:
    return [cause for worker in estimator.result_.workers for cause in worker.deaths]


@pytest.mark.parametrize("kind", [LinearClassifier, LinearRegressor])
def test_a_fit_whose_processes_are_killed_has_the_bits_of_threads(kind: Any) -> None:
    X, y = _rows()
    with beside(kill_one(seed=1), pause=0.02) as kills:
        killed = kind(backend="processes", **SETTINGS).fit(X, y)
    assert kills
    assert set(_deaths(killed)) == {"SIGKILL"}
    assert killed.result_.settings["backend"] == "processes"
    threads = kind(**SETTINGS).fit(X, y)
    assert threads.result_.settings["backend"] == "threads"
    assert killed.coef_.tobytes() == threads.coef_.tobytes()
    assert workers_of(os.getpid()) == []


@pytest.mark.parametrize("kind", [LinearClassifier, LinearRegressor])
def test_parts_are_trained_by_processes_with_the_bits_of_threads(kind: Any) -> None:
    X, y = (np.tile(rows, (10,) + (1,) * (rows.ndim - 1)) for rows in _rows())
    first: dict[str, Any] = {"classes": [0, 1, 2]} if kind is LinearClassifier else {}
    processes, threads = kind(backend="processes", **SETTINGS), kind(**SETTINGS)
    deaths: list[str] = []
    deadline = time.monotonic() + 60
    with beside(kill_one(seed=2), pause=0.002) as kills:
        while not deaths:
            assert time.monotonic() < deadline
            deaths = _deaths(processes.partial_fit(X, y, **first))
            threads.partial_fit(X, y, **first)
    assert kills
    assert set(deaths) == {"SIGKILL"}
    assert processes.result_.settings["backend"] == "processes"
    assert processes.coef_.tobytes() == threads.coef_.tobytes()


def test_a_stopped_process_is_killed_after_the_timeout() -> None:
    settings = {**SETTINGS, "workers": 1}
    with beside(stop_one(), pause=0.02) as stops:
        fitted = LinearClassifier(backend="processes", timeout=0.5, **settings).fit(*_rows())
    assert stops
    assert _deaths(fitted) == ["SIGKILL"]


def test_fits_in_processes_of_joblib_have_processes_of_their_own(tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "support" / "joblib_run.py"
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert len(said["fits"]) == 2
    for fit in said["fits"]:
        assert fit["kills"] > 0
        assert set(fit["deaths"]) == {"SIGKILL"}
        assert fit["same bits"]
    assert said["search"] == "processes"


@pytest.mark.parametrize("kind", [LinearClassifier, LinearRegressor])
def test_backend_and_timeout_are_parameters(kind: Any) -> None:
    estimator = kind(backend="processes", timeout=2.5)
    assert repr(estimator) == f"{kind.__name__}(backend='processes', timeout=2.5)"
    for copied in (clone(estimator), pickle.loads(pickle.dumps(estimator))):
        parameters = copied.get_params()
        assert (parameters["backend"], parameters["timeout"]) == ("processes", 2.5)
    X, y = _rows()
    estimator.set_params(backend="threads", timeout=1, epochs=1).fit(X, y)
    assert estimator.result_.settings["backend"] == "threads"
    with pytest.raises(ht.InvalidSettingError, match='backend must be "threads" or "processes"'):
        estimator.set_params(backend="loky").fit(X, y)
    with pytest.raises(ht.InvalidSettingError, match="timeout must be finite and > 0, got 0"):
        estimator.set_params(backend="processes", timeout=0).fit(X, y)
