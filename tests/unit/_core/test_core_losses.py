# SPDX-License-Identifier: BSD-3-Clause
"""Losses and classes of the core: what it does not know or has no room for is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.core_edges import N_ROWS, make_rows, open_stream, open_sync

from hybridtrain._core.loss import (
    LOSSES,
    MAX_CLASSES,
    loss_curvature,
    loss_sum,
    outputs,
    softmax,
    softmax_sum,
)


def _f32(*values: float) -> Any:
    return np.array(values, np.float32)


@pytest.mark.parametrize("loss", [-1, max(LOSSES.values()) + 1, 2**31 - 1, -(2**31)])
def test_an_unknown_loss_is_refused(loss: int) -> None:
    with pytest.raises(ValueError, match="loss"):
        loss_sum(loss, _f32(1, 2), _f32(1, 1), None)
    with pytest.raises(ValueError, match="loss"):
        loss_curvature(loss)


@pytest.mark.parametrize(
    ("z", "y", "weight"), [((1, 2), (1,), None), ((1,), (1, 1), None), ((1, 2), (1, 1), (1,))]
)
def test_losses_need_arrays_of_one_length(z: Any, y: Any, weight: Any) -> None:
    with pytest.raises(ValueError, match="length"):
        loss_sum(0, _f32(*z), _f32(*y), None if weight is None else _f32(*weight))


@pytest.mark.parametrize("n_classes", [-16, -1, 0, 1, MAX_CLASSES + 1, 5000, 2**40])
def test_classes_that_the_core_has_no_room_for_are_refused(n_classes: int) -> None:
    width = max(16, min(-(-n_classes // 16) * 16, 5008))
    z, p = np.zeros((2, width), np.float32), np.zeros((2, max(1, min(n_classes, 5000))), np.float32)
    with pytest.raises(ValueError, match=r"."):
        softmax(n_classes, z, p)
    with pytest.raises(ValueError, match=r"."):
        softmax_sum(n_classes, z, _f32(0, 0), None)


@pytest.mark.parametrize("target", [-1, 3, 0.5, 1e30, -1e30, np.nan, np.inf, 2**31, 2.0**62])
def test_a_target_that_is_no_class_is_refused(target: float) -> None:
    z = np.zeros((3, 16), np.float32)
    with pytest.raises(ValueError, match=r"."):
        softmax_sum(3, z, _f32(0, target, 2), None)
    targets = np.arange(N_ROWS, dtype=np.float32) % 3
    targets[17] = target
    for open_run in (open_stream, open_sync):
        with pytest.raises(ValueError, match=r"."):
            open_run(make_rows(targets=targets), n_classes=3)


def test_softmax_sums_are_the_formula() -> None:
    random = np.random.default_rng(3)
    for n_classes in (2, 5, 17, MAX_CLASSES):
        z = np.zeros((9, outputs(n_classes)), np.float32)
        z[:, :n_classes] = random.standard_normal((9, n_classes))
        y, weight = random.integers(0, n_classes, 9), random.uniform(0.5, 2, 9)
        exact = z[:, :n_classes].astype(float)
        losses = np.log(np.exp(exact).sum(axis=1)) - exact[np.arange(9), y]
        found = softmax_sum(n_classes, z, y.astype(np.float32), weight.astype(np.float32))
        assert found == pytest.approx((losses * weight).sum(), rel=1e-5)
        with pytest.raises(ValueError, match="length"):
            softmax_sum(n_classes, z, y.astype(np.float32), weight[:8].astype(np.float32))
