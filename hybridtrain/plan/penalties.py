# SPDX-License-Identifier: BSD-3-Clause
"""Penalties on the user's coefficients, in the coordinates of a run; see ht_optimizer.h.

A run on a column that was divided by its scale s learns ``v = w s``: ``l1 |w|`` is
``(l1 / s) |v|``, and ``(l2 / 2) w^2`` is ``(l2 / s^2 / 2) v^2``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hybridtrain._core.optimizer import has_shares
from hybridtrain.data.arrays import Doubles, Floats
from hybridtrain.models.linear import Linear
from hybridtrain.optimizers.base import Optimizer
from hybridtrain.plan.problem import Problem


def allows_scaled_sparse(model: Linear, optimizer: Optimizer) -> bool:
    """Whether a run can penalise columns of sparse rows, each by its own scale.

    An entry of the core has room for one factor, of l1 or of l2. FTRL has none.
    """
    if not model.has_penalty:
        return True
    has_both = model.l1 > 0 and model.l2 > 0
    return not has_both and (has_shares(optimizer.number) or optimizer.needs_dense_steps)


def reads_shares(problem: Problem, optimizer: Optimizer) -> bool:
    """Whether the steps of a run read the share of the rows that hold a feature."""
    has_share = has_shares(optimizer.number) and not problem.matrix.is_dense
    return problem.model.has_penalty and has_share


def scaled_shares(
    problem: Problem, inverse_share: Doubles, order: npt.NDArray[np.intp] | None = None
) -> Floats:
    """Return c of the intercept, which is 0, and of each feature of sparse rows.

    Parameters
    ----------
    problem : Problem
        Where columns are scaled, it has one penalty, l1 or l2.
    inverse_share : float64 array (n_features,)
        1 / share of the steps that touch a feature; 0: none does.
    order : int array (n_features,), optional
        The user's number of each feature; None: both numbers are equal.
    """
    factor = inverse_share
    scale = None if problem.scaling is None else problem.scaling.scale
    if scale is not None:
        factor = factor / (scale if problem.model.l1 > 0 else scale**2)
    shares = np.zeros(len(factor) + 1, np.float32)
    shares[1:] = factor if order is None else factor[order]
    return shares


def l1_factor(problem: Problem, optimizer: Optimizer) -> Floats | None:
    """Return the factor on l1 of the intercept and each feature; that on l2 is its square.

    Returns
    -------
    float32 array (n_features + 1,) or None
        None: all are 1, or no step reads them.
    """
    scale = None if problem.scaling is None else problem.scaling.scale
    if scale is None or not problem.model.has_penalty or reads_shares(problem, optimizer):
        return None
    return np.concatenate([[0.0], 1.0 / scale]).astype(np.float32)
