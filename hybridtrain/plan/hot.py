# SPDX-License-Identifier: BSD-3-Clause
"""Which features have replicas, and what the stream must know of them."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from hybridtrain._core.optimizer import hot_nbytes
from hybridtrain._core.stream import LANES
from hybridtrain.data.arrays import Floats
from hybridtrain.data.facts import Facts
from hybridtrain.optimizers.base import Optimizer
from hybridtrain.plan import costs
from hybridtrain.plan.base import Settings
from hybridtrain.plan.penalties import scaled_shares
from hybridtrain.plan.problem import Problem
from hybridtrain.plan.rates import rate_of_intercept


def hot_features(
    problem: Problem,
    settings: Settings,
    hot: Literal["auto"] | int | float,
    needs_shares: bool,
) -> int:
    """Return how many features have replicas."""
    matrix, optimizer = problem.matrix, settings.optimizer
    if optimizer.needs_dense_steps:
        return matrix.n_features
    if hot == "auto":
        nbytes = hot_nbytes(optimizer.number, needs_shares) * problem.n_outputs
        n_hot = costs.hot_features(problem, settings.workers, settings.epochs, nbytes)
    elif isinstance(hot, float):
        n_hot = round(hot * matrix.n_features)
    else:
        n_hot = min(hot, matrix.n_features)
    if matrix.is_dense and n_hot:
        n_hot = min(-(-n_hot // LANES) * LANES, matrix.n_features)
    return n_hot


def inverse_share(problem: Problem, facts: Facts, order: npt.NDArray[np.intp] | None) -> Floats:
    """Return c of the intercept and each feature: 1 / (share of the weight that touches it)."""
    share = facts.share
    assert share is not None
    inverse = np.divide(facts.n_rows, share, out=np.zeros(len(share)), where=share > 0)
    return scaled_shares(problem, inverse, order)


def curvature_of_hot(
    problem: Problem,
    optimizer: Optimizer,
    facts: Facts,
    order: npt.NDArray[np.intp] | None,
    n_hot: int,
) -> Floats | None:
    """Return the mean of ``s |x_j| ||x||`` of each hot feature, times its share of lr."""
    if n_hot == 0:
        return None
    result = np.zeros(n_hot, np.float32)
    if facts.curvature is not None:
        curvature = facts.curvature if order is None else facts.curvature[order]
        if problem.model.fit_intercept:
            rate = rate_of_intercept(optimizer, problem)
            result[0] = rate * facts.norm / facts.n_rows
        result[1:] = curvature[: n_hot - 1] / facts.n_rows
        result *= np.float32(problem.loss.curvature_scale(problem.targets))
    return result
