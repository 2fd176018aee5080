# SPDX-License-Identifier: BSD-3-Clause
"""Adam: means that decay fast, merged by several workers."""

from __future__ import annotations

import pytest
from reference.problems import planted

import hybridtrain as ht


@pytest.mark.parametrize("every", ["auto", 7])
@pytest.mark.parametrize("beta2", [0.9, 0.5])
def test_means_of_squares_that_decay_fast_bear_several_workers(beta2: float, every: int) -> None:
    tall = planted(5, 900, 21, longest=20)
    result = ht.train(
        ht.Linear(loss="squared"),
        (tall.X.toarray(), tall.values),
        strategy=ht.Hybrid(every=every),
        optimizer=ht.Adam(beta2=beta2),
        workers=3,
        epochs=8,
    )
    assert result.history[-1].loss < 0.5 * result.history[0].loss
