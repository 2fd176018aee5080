# SPDX-License-Identifier: BSD-3-Clause
"""What is chosen for dense rows, each of which changes every parameter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import hybridtrain as ht
from hybridtrain.plan import costs

ROWS, FEATURES = 4000, 48


def _settings(strategy: Any) -> dict[str, Any]:
    X = np.random.default_rng(0).standard_normal((ROWS, FEATURES), np.float32)
    result = ht.train(ht.Linear(), (X, X[:, 0] > 0), strategy=strategy, workers=3, epochs=1)
    assert len(result.workers) == result.settings["workers"]
    return result.settings


@pytest.mark.parametrize("strategy", [ht.Hogwild(), ht.Hogwild(exact=True), ht.Hybrid(hot=16)])
def test_steps_in_place_are_made_by_one_worker(strategy: Any) -> None:
    settings = _settings(strategy)
    assert settings["workers"] == 1
    assert "3 workers that step dense rows in place" in settings["workers_reason"]


def test_a_given_period_keeps_the_workers() -> None:
    settings = _settings(ht.Hybrid(hot=0, every=1))
    assert (settings["workers"], settings["hot"], settings["workers_reason"]) == (3, 0, "")


def test_all_features_are_hot_though_they_do_not_fit_the_cache(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(costs, "second_level_cache_nbytes", lambda: FEATURES * 4)
    settings = _settings(ht.Hybrid())
    assert (settings["workers"], settings["hot"]) == (3, FEATURES)
