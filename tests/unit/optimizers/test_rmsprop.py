# SPDX-License-Identifier: BSD-3-Clause
"""RMSProp: its automatic rate, and means that decay fast, merged by several workers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from reference.problems import planted

import hybridtrain as ht


@pytest.mark.parametrize("decay", [0.0, 0.9, 0.999])
@pytest.mark.parametrize("loss", ["logistic", "squared"])
def test_at_the_automatic_rate_the_first_step_is_that_of_adagrad(loss: str, decay: float) -> None:
    tall = planted(5, 64, 21, longest=20)
    y = tall.labels if loss == "logistic" else tall.values

    def trained(optimizer: ht.RMSProp | ht.AdaGrad) -> ht.Result:
        return ht.train(
            ht.Linear(loss=loss),  # type: ignore[arg-type]
            (tall.X.toarray(), y),
            strategy="sync",
            optimizer=optimizer,
            batch_size=64,
            workers=1,
            epochs=1,
        )

    def closed_form(optimizer: ht.RMSProp | ht.AdaGrad) -> float:
        settings = trained(optimizer).settings
        return float(settings["lr"] / settings["lr_trials"]["factor"])

    scaled, summed = ht.RMSProp(decay=decay), ht.AdaGrad()
    first = [
        trained(replace(optimizer, lr=closed_form(optimizer))).params["coef"]
        for optimizer in (scaled, summed)
    ]
    assert np.any(first[1])
    assert first[0] == pytest.approx(first[1], rel=5e-3)  # a rate has three digits


@pytest.mark.parametrize("every", ["auto", 7])
@pytest.mark.parametrize("decay", [0.9, 0.5])
def test_means_of_squares_that_decay_fast_bear_several_workers(decay: float, every: int) -> None:
    tall = planted(5, 900, 21, longest=20)
    result = ht.train(
        ht.Linear(loss="squared"),
        (tall.X.toarray(), tall.values),
        strategy=ht.Hybrid(every=every),
        optimizer=ht.RMSProp(decay=decay),
        workers=3,
        epochs=8,
    )
    assert result.history[-1].loss < 0.5 * result.history[0].loss
