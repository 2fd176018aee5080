# SPDX-License-Identifier: BSD-3-Clause
"""Replicas of a run of the round against the reference, within rounding, on dense rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference import replicas

import hybridtrain as ht
from hybridtrain._core.optimizer import OPTIMIZERS

SEED, WIDTH, EPOCHS = 11, 21, 3
NAMES = {number: name for name, number in OPTIMIZERS.items()}
STEADY: dict[str, Any] = {"schedule": "constant"}
CASES = [
    ht.SGD(lr=0.25, **STEADY),
    ht.SGD(lr=0.1, momentum=0.8, **STEADY),
    ht.AdaGrad(lr=0.25, **STEADY),
    ht.Adam(lr=0.05, beta2=0.95, **STEADY),
    ht.RMSProp(lr=0.02, **STEADY),
    ht.FTRL(lr=0.5),
]
OUTER = {
    None: None,
    "nesterov(lr=0.6, momentum=0.7)": ("nesterov", 0.6, 0.7),
    "slowmo(lr=0.8, momentum=0.4)": ("slowmo", 0.8, 0.4),
}


def _check(n_rows: int, optimizer: Any, *, weighted: bool = False, **settings: Any) -> None:
    rng = np.random.default_rng(3)
    X = rng.standard_normal((n_rows, WIDTH)).astype(np.float32)
    labels = X @ rng.standard_normal(WIDTH) + rng.standard_normal(n_rows) > 0
    weights = rng.uniform(0.5, 2.0, n_rows).astype(np.float32) if weighted else None
    coef = np.linspace(-0.5, 0.5, WIDTH).astype(np.float32)
    l1, l2 = settings.pop("penalties", (0.0, 0.01))
    batch_size = settings.pop("batch_size", 4)
    result = ht.train(
        ht.Linear(l1=l1, l2=l2),
        (X, labels) if weights is None else (X, labels, weights),
        strategy=ht.LocalSGD(**settings),
        optimizer=optimizer,
        batch_size=batch_size,
        workers=2,
        epochs=EPOCHS,
        seed=SEED,
        scale=None,
        init={"coef": coef, "intercept": 0.0},
    )
    strip = result.settings["task_rows"]
    of_replica = min(settings["every"] * batch_size, -(-n_rows // settings["replicas"]))
    run = replicas.Run(
        loss="logistic",
        optimizer=NAMES[optimizer.number],
        constants=optimizer.constants(),
        lr=optimizer.lr,
        l1=l1,
        l2=l2,
        epochs=EPOCHS,
        seed=SEED,
        strip_rows=strip,
        batch_strips=settings["replicas"] * of_replica // strip,
        replicas=settings["replicas"],
        local_rows=batch_size,
        outer=OUTER[settings.get("outer")],
    )
    if weights is not None:
        weights /= weights.astype(np.float64).mean()
    targets = np.where(labels, 1, -1).astype(np.float32)
    expected, intercept = replicas.train(X, targets, weights, run, coef)
    size = float(np.abs(expected).max())
    assert np.abs(expected - coef).max() > 0.05
    assert result.params["coef"] == pytest.approx(expected, abs=1e-5 * size)
    assert result.params["intercept"] == pytest.approx(float(intercept), abs=1e-5 * size)


@pytest.mark.parametrize("replicas", [1, 3, 4])
@pytest.mark.parametrize("optimizer", CASES, ids=repr)
def test_every_optimizer_equals_the_reference(optimizer: Any, replicas: int) -> None:
    """The last step of an epoch has 42 rows, or fewer: replicas of unequal numbers of rows."""
    _check(330, optimizer, every=6, replicas=replicas, penalties=(0.002, 0.01))


@pytest.mark.parametrize("outer", [name for name in OUTER if name])
@pytest.mark.parametrize("optimizer", [CASES[0], CASES[2], CASES[3]], ids=repr)
def test_outer_optimizers_equal_the_reference(optimizer: Any, outer: str) -> None:
    _check(330, optimizer, every=6, replicas=4, outer=outer)


@pytest.mark.parametrize("optimizer", CASES, ids=repr)
def test_rows_have_weights_and_an_epoch_may_be_one_step(optimizer: Any) -> None:
    _check(331, optimizer, every=10**6, replicas=4, weighted=True)
