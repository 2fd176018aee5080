# SPDX-License-Identifier: BSD-3-Clause
"""Softmax beside the other losses: two classes, names of classes, files."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.problems import Problem, planted

import hybridtrain as ht

L2 = 0.02


@pytest.fixture(scope="module")
def tall() -> Problem:
    return planted(5, 900, 21, longest=20)


def test_softmax_of_two_classes_is_logistic(tall: Problem) -> None:
    settings: dict[str, Any] = {"epochs": 100, "workers": 1}  # with two, chance has a share
    two = ht.train(ht.Linear(loss="softmax", l2=L2), (tall.X, tall.labels), **settings)
    one = ht.train(ht.Linear(l2=L2 / 2), (tall.X, tall.labels), **settings)
    difference = two.predict_proba(tall.X) - one.predict_proba(tall.X)
    assert np.abs(difference).max() < 1e-4
    assert two.classes is not None
    assert two.classes.tolist() == [False, True]


def test_a_saved_softmax_comes_back(tall: Problem, tmp_path: Any) -> None:
    classes = np.digitize(tall.values, np.quantile(tall.values, [0.3, 0.7]))
    names = np.array(["low", "middle", "high"])[classes]
    result = ht.train(ht.Linear(loss="softmax"), (tall.X, names), workers=1)
    result.save(tmp_path / "model.npz")
    loaded = ht.load(tmp_path / "model.npz")
    assert loaded.classes is not None
    assert loaded.classes.tolist() == ["high", "low", "middle"]
    assert np.array_equal(loaded.predict(tall.X), result.predict(tall.X))
    again = ht.train(ht.Linear(loss="softmax"), (tall.X, names), workers=1, init=loaded)
    assert again.history[-1].loss < result.history[-1].loss
