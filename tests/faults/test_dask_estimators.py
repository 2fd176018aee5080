# SPDX-License-Identifier: BSD-3-Clause
"""Estimators on dask arrays and frames: the bits of the same rows in memory, lazy predictions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from support.dask_clusters import distributed, local_cluster

from hybridtrain.errors import InvalidDataError, InvalidSettingError
from hybridtrain.sklearn import LinearClassifier, LinearRegressor

da = pytest.importorskip("dask.array", reason="needs hybridtrain[dask]")
frames = pytest.importorskip("dask.dataframe", reason="needs dask[dataframe]")

pytestmark = [pytest.mark.engine, pytest.mark.filterwarnings("ignore::ResourceWarning")]
GIVEN: dict[str, Any] = {"strategy": "sync", "epochs": 5, "random_state": 0, "workers": 1}


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Two workers of one thread."""
    with local_cluster() as cluster, distributed.Client(cluster) as client:
        yield client


def rows() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((900, 12)).astype(np.float32)
    return X, np.array(["lo", "mid", "up"])[(X @ rng.standard_normal((12, 3))).argmax(axis=1)]


def test_a_fit_without_a_cluster_says_what_is_missing() -> None:
    # The first test of this file: the others' cluster is not there yet.
    X, y = rows()
    with pytest.raises(InvalidSettingError, match=r"make a dask\.distributed\.Client before"):
        LinearClassifier(**GIVEN).fit(da.from_array(X), da.from_array(y))


def test_a_classifier_of_dask_arrays_is_that_of_arrays(client: Any) -> None:
    X, y = rows()
    lazy, labels = da.from_array(X, chunks=(250, 5)), da.from_array(y, chunks=250)
    weight = {"lo": 1.0, "mid": 2.0, "up": 0.5}
    alone = LinearClassifier(**GIVEN, class_weight=weight).fit(X, y)
    fitted = LinearClassifier(**GIVEN, class_weight=weight).fit(lazy, labels)
    assert fitted.coef_.tobytes() == alone.coef_.tobytes()
    assert fitted.classes_.tolist() == ["lo", "mid", "up"]
    assert (fitted.n_features_in_, fitted.n_samples_seen_) == (12, 4500)
    assert fitted.result_.settings["nodes"]["lines"][0].startswith("2 nodes: ")
    for name in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        found = getattr(fitted, name)(lazy)
        assert isinstance(found, da.Array), name
        expected = getattr(alone, name)(X)
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        assert np.array_equal(found.compute(), expected)
    in_blocks = lazy.rechunk({1: -1}).map_blocks(sp.csr_matrix)
    assert np.array_equal(fitted.predict(in_blocks).compute(), alone.predict(X))
    assert fitted.score(lazy, labels) == alone.score(X, y)


def test_a_stream_of_steps_trains_on_dask_arrays(client: Any) -> None:
    X, y = rows()
    fitted = LinearClassifier(random_state=0, epochs=20).fit(
        da.from_array(X, chunks=300), da.from_array(y, chunks=300)
    )
    assert "Hybrid" in fitted.result_.settings["strategy"]
    assert len(fitted.result_.nodes) == 2
    assert fitted.score(X, y) > 0.9


def test_what_a_dask_array_predicts_is_of_the_model_at_the_call(client: Any) -> None:
    X, y = rows()
    fitted = LinearClassifier(**GIVEN).fit(X, y == "lo")
    lazy = fitted.decision_function(da.from_array(X, chunks=400))
    expected = fitted.decision_function(X)
    fitted.coef_ *= -1
    assert np.array_equal(lazy.compute(), expected)


def test_estimators_of_dask_frames_are_those_of_frames(client: Any) -> None:
    X, y = rows()
    frame = pd.DataFrame(X, columns=[f"c{k}" for k in range(12)])
    frame["y"], frame["z"], frame["w"] = y, X @ np.arange(12.0) + 100.0, np.linspace(1, 2, 900)
    lazy, names = frames.from_pandas(frame, npartitions=3), [f"c{k}" for k in range(12)]
    alone = LinearClassifier(**GIVEN).fit(frame[names], frame["y"])
    fitted = LinearClassifier(**GIVEN).fit(lazy[names], lazy["y"])
    assert fitted.coef_.tobytes() == alone.coef_.tobytes()
    assert fitted.feature_names_in_.tolist() == names
    shown = fitted.predict_proba(lazy[names]).compute()
    assert shown.columns.tolist() == ["lo", "mid", "up"]
    assert np.array_equal(shown.to_numpy(), alone.predict_proba(frame[names]))
    assert fitted.predict(lazy[names]).compute().index.equals(frame.index)
    one = LinearRegressor(**GIVEN).fit(frame[names], frame["z"], frame["w"])
    other = LinearRegressor(**GIVEN).fit(lazy[names], lazy["z"], lazy["w"])
    assert other.coef_.tobytes() == one.coef_.tobytes()
    found = other.predict(lazy[names])
    assert found.dtype == found.compute().dtype == one.predict(frame[names]).dtype
    assert np.array_equal(found.compute(), one.predict(frame[names]))


def test_what_cannot_be_fitted_is_refused(client: Any) -> None:
    X, y = rows()
    lazy = da.from_array(X, chunks=300)
    with pytest.raises(InvalidDataError, match="must all be dask collections"):
        LinearClassifier(**GIVEN).fit(lazy, y)
    with pytest.raises(InvalidDataError, match="two classes, got 1 class: 'a'"):
        LinearClassifier(**GIVEN).fit(lazy, da.full(900, "a", chunks=300))
