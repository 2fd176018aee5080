# SPDX-License-Identifier: BSD-3-Clause
"""What a loss says of its targets: the first intercept, and how far margins have to move."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hybridtrain.data.matrix import Doubles, Floats
from hybridtrain.models.linear import Linear
from hybridtrain.plan.problem import Problem

_DEVIATION = 1.4826  # standard deviations in a median absolute deviation, of a normal law
_RAREST = 1e-6  # share of a class, for its first intercept
_HUBER_STEPS = 30


def target_scale(model: Linear, targets: Floats) -> float:
    """Return how far margins have to move; for huber of most rows, not of those far off."""
    if model.is_classifier:
        return 1.0
    if model.loss == "huber":
        far = np.abs(targets - np.median(targets))
        return float(_DEVIATION * np.median(far)) or float(far.std(dtype=np.float64))
    return float(targets.std(dtype=np.float64))


def first_intercept(problem: Problem) -> Any:
    """Return the best intercept of a model without features.

    From 0, SGD's small rate on the intercept would take long on a rare class.

    Returns
    -------
    float, or float32 array (n_classes,) of softmax
        The mean target (squared), the log-odds of the classes (logistic, softmax), the
        difference of their shares (squared hinge), the robust mean (huber).
        Hinge takes what squared hinge does: its own best, -1 or 1, is far from
        any other where the classes are nearly balanced.
    """
    targets, weights = problem.targets, problem.weights
    if problem.n_classes:
        counts = np.bincount(targets.astype(np.intp), weights, problem.n_classes)
        logs = np.log(np.maximum(counts / counts.sum(), _RAREST))
        return (logs - logs.mean()).astype(np.float32) * problem.model.fit_intercept
    if not problem.model.fit_intercept:
        return 0.0
    doubles = targets.astype(np.float64)
    mean = float(np.average(doubles, weights=weights))
    if problem.model.loss == "logistic":
        share = min(max((1.0 + mean) / 2.0, _RAREST), 1.0 - _RAREST)
        return math.log(share / (1.0 - share))
    if problem.model.loss == "huber":
        return _huber_mean(doubles, weights, problem.model.delta)
    return mean


def _huber_mean(targets: Doubles, weights: Floats | None, delta: float) -> float:
    """Return the location with the smallest sum of huber losses.

    From the median by means in which a target further away than delta has the
    weight delta / distance: each is no worse than the one before (Huber 1981,
    "Robust Statistics", chapter 7).
    """
    center = float(np.median(targets))
    for _ in range(_HUBER_STEPS):
        share = delta / np.maximum(np.abs(targets - center), delta)
        center = float(np.average(targets, weights=share if weights is None else share * weights))
    return center
