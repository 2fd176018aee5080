# SPDX-License-Identifier: BSD-3-Clause
"""FTRL: exact zeros."""

from __future__ import annotations

import numpy as np
from reference.problems import planted
from sklearn.linear_model import LogisticRegression

import hybridtrain as ht


def test_ftrl_finds_the_zeros_of_the_optimum_under_l1() -> None:
    tall = planted(5, 900, 21, longest=20)
    l1, n_rows = 0.03, tall.X.shape[0]
    peer = LogisticRegression(
        C=1 / (l1 * n_rows), l1_ratio=1.0, solver="saga", tol=1e-4, max_iter=10_000, random_state=0
    )
    best = peer.fit(tall.X, tall.labels).coef_[0]
    assert 2 < (best == 0).sum() < 19
    model = ht.Linear(l1=l1)
    result = ht.train(model, (tall.X, tall.labels), optimizer="ftrl", workers=1, epochs=100)
    found = result.params["coef"]
    assert np.array_equal(found == 0, best == 0)
    assert np.abs(found - best).max() < 0.02
