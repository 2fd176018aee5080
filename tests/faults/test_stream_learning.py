# SPDX-License-Identifier: BSD-3-Clause
"""What streams of several nodes learn, beside one machine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import hybridtrain as ht

N_ROWS, N_VALID, N_FEATURES = 6000, 2000, 400


def _drawings() -> tuple[Any, Any]:
    """Return rows of ten classes, all of whose features are positive: rows that lead one way."""
    rng = np.random.default_rng(0)
    shapes = rng.random((10, N_FEATURES)) * (rng.random((10, N_FEATURES)) < 0.25)
    n = N_ROWS + N_VALID
    y = rng.integers(0, 10, n)
    X = shapes[y] * (rng.random((n, N_FEATURES)) < 0.7)
    X += (rng.random((n, N_FEATURES)) < 0.05) * rng.random((n, N_FEATURES))
    y = np.where(rng.random(n) < 0.05, rng.integers(0, 10, n), y)
    return X.astype(np.float32), y


@pytest.mark.parametrize("strategy", ["hybrid", "hogwild"])
def test_changes_of_nodes_that_lead_one_way_do_not_add_up(strategy: str) -> None:
    X, y = _drawings()
    rows, valid = (X[:N_ROWS], y[:N_ROWS]), (X[N_ROWS:], y[N_ROWS:])
    given: dict[str, Any] = {"epochs": 5, "workers": 1, "validation": valid, "strategy": strategy}
    model = ht.Linear(loss="softmax")
    alone = ht.train(model, rows, **given, progress=False).history
    nodes = ht.train(model, rows, **given, nodes=4, timeout=20.0, progress=False).history
    assert len(nodes) == 5
    losses = [record.validation_loss or np.inf for record in nodes]
    assert max(losses) < 1.2 * (alone[-1].validation_loss or 0.0)
