# SPDX-License-Identifier: BSD-3-Clause
"""Automatic learning rates: functions of the data alone, the same on every machine."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridtrain._core.optimizer import intercept_rate
from hybridtrain.data.arrays import Floats
from hybridtrain.data.facts import Facts, squared_norms
from hybridtrain.data.targets import numbers_of
from hybridtrain.errors import InvalidDataError
from hybridtrain.optimizers.base import Optimizer
from hybridtrain.optimizers.schedules import Rates
from hybridtrain.plan.problem import Problem

if TYPE_CHECKING:
    from hybridtrain.plan.base import Plan

LRS_PER_EPOCH = 32  # a learning rate holds for so small a part of an epoch
_LEAST_RATE = float(np.finfo(np.float32).tiny)  # a smaller one loses its digits
_MOST_RATE = float(np.finfo(np.float32).max)
_CLASSES_SLACK = 8.0  # the largest eigenvalue of classes is divided by it
_SAMPLED_ROWS = 2048
_POWER_STEPS = 20


def learning_rate(optimizer: Optimizer, problem: Problem, facts: Facts) -> float:
    """Return the optimizer's automatic rate for rows with these facts.

    Raises
    ------
    InvalidDataError
        When the rows are so large or small that float32 cannot hold the rate.
    """
    scale = problem.target_scale
    extra = _extra(optimizer, problem)
    norm2, l1 = facts.norm2 / facts.n_rows + extra, facts.l1 / facts.n_rows + extra
    if l1 == 0 or scale == 0:  # nothing to learn: any rate will do
        return 1.0
    lr = 0.0
    if norm2 > 0:  # else too small to be squared
        lr = optimizer.auto_lr(norm2=norm2, l1=l1, curvature=problem.curvature, scale=scale)
    return _in_range(lr, facts, None if problem.model.is_classifier else scale)


def batch_learning_rate(
    optimizer: Optimizer, problem: Problem, facts: Facts, *, batch: int
) -> float:
    """Return the automatic rate for the mean gradient of a batch.

    `Optimizer.batch_lr` computes the rate. The power method on a fixed sample gives the
    largest eigenvalue of the rows' second moment, to three digits, so that it is the same on
    every machine. For classes the eigenvalue is divided by 8, and multiplied by the curvature
    at the shares of the classes over the largest one: large batches then start beyond the edge
    of stability, where gradients are bounded, and come back as the rate and the curvature fall.
    On eleven data sets trials of the rate (run/trial.py) found 1 to 4 times this one best.
    """
    single = learning_rate(optimizer, problem, facts)
    lr = optimizer.batch_lr(
        single,
        batch=batch,
        norm2=mean_norm2(optimizer, problem, facts),
        largest=lambda: steepness(optimizer, problem, facts),
    )
    return _in_range(float(f"{lr:.3g}"), facts, None)


def mean_norm2(optimizer: Optimizer, problem: Problem, facts: Facts) -> float:
    """Return the mean squared norm of the rows, the intercept included."""
    return facts.norm2 / facts.n_rows + _extra(optimizer, problem)


def steepness(optimizer: Optimizer, problem: Problem, facts: Facts) -> float:
    """Return how steep the steepest direction is, over the loss's largest second derivative.

    See `batch_learning_rate`.
    """
    eigenvalue = _largest_eigenvalue(problem, _extra(optimizer, problem))
    eigenvalue = min(eigenvalue, mean_norm2(optimizer, problem, facts))
    if not problem.model.is_classifier:
        return eigenvalue
    return eigenvalue / _CLASSES_SLACK * _curvature_at_shares(problem)


def _curvature_at_shares(problem: Problem) -> float:
    """Return the curvature of the loss where margins are those of the classes' shares.

    It is a share of the largest one. A Hessian is a mean over rows, most of which are near
    their class's share as long as little is learned; for a rare class, or many classes, it
    is much smaller than the bound.
    """
    if not problem.model.has_probabilities:
        return 1.0
    numbers = numbers_of(problem.targets, problem.loss)
    sums = np.bincount(numbers, problem.weights)
    share = sums / sums.sum()
    # Of two classes p (1 - p) of 1/4; of several the largest eigenvalue of diag(p) - p p' of 1/2.
    return float(4.0 * share.prod() if len(share) == 2 else min(1.0, 2.0 * share.max()))


def reach_of_rows(
    problem: Problem, optimizer: Optimizer, *, batch: int, threads: int
) -> Floats | None:
    """Return how far a gradient of 1 moves each row's own margin at rate 1.

    The core bounds steps by it, so that no row, however long, is moved past the minimum of its
    own loss; a rate that fits the mean row is too large for rows that are many times as long.

    Returns
    -------
    float32 array (n_rows,) or None
        None: steps have no such bound, because the loss has no minimum, or because the optimizer
        divides by the size of the gradients.
    """
    if optimizer.is_adaptive or not problem.loss.has_minimum:
        return None
    reach = squared_norms(problem.rows(), threads=threads)
    with np.errstate(over="ignore"):  # an infinite reach leaves no step
        reach += np.float32(_extra(optimizer, problem))
        if problem.weights is not None:
            reach *= problem.weights
        reach /= np.float32(batch * (1.0 - optimizer.constants()["decay1"]))  # the momentum
    return reach


def rate_fields(plan: Plan, lr: float) -> dict[str, Any]:
    """Return the fields of a plan that differ at another first learning rate."""
    rates = Rates(plan.optimizer.schedule, lr, plan.rates.epochs, LRS_PER_EPOCH)
    return {"rates": rates, "choices": {**plan.choices, "lr": lr}}


def rate_of_intercept(optimizer: Optimizer, problem: Problem) -> float:
    """Return the optimizer's rate on the intercept, as a share of lr."""
    return intercept_rate(optimizer.number, problem.matrix.is_dense)


def _extra(optimizer: Optimizer, problem: Problem) -> float:
    """Return the intercept's part of a row's squared norm, scaled by its own rate."""
    return rate_of_intercept(optimizer, problem) if problem.model.fit_intercept else 0.0


def _in_range(lr: float, facts: Facts, scale: float | None) -> float:
    """Refuse a rate that float32 cannot hold; the training would stand still or overflow."""
    if _LEAST_RATE <= lr <= _MOST_RATE:
        return lr
    chosen = f"{lr:.3g}" if lr > 0 and math.isfinite(lr) else "too large or small to be computed"
    size = facts.l1 / facts.n_rows
    found = f"{size:.3g}" if size <= _MOST_RATE else f"more than {_MOST_RATE:.3g}"
    of_targets = "" if scale is None else f" and y has a standard deviation of {scale:.3g}"
    raise InvalidDataError(
        f"the learning rate chosen from the data must be in {_LEAST_RATE:.3g} .. "
        f"{_MOST_RATE:.3g}, got {chosen}: the absolute values of a row of X add up to {found} on "
        f"average{of_targets}; scale the features (for instance divide each by its largest "
        "absolute value), or set lr"
    )


def _largest_eigenvalue(problem: Problem, extra: float) -> float:
    """Estimate the largest eigenvalue of the mean of s x x', x with sqrt(extra) appended."""
    matrix, weights = problem.matrix, problem.weights
    n_sampled = min(_SAMPLED_ROWS, matrix.n_rows)
    ids = np.unique(np.linspace(0, matrix.n_rows - 1, n_sampled).astype(np.intp))
    rows = matrix.take(ids).user_form().astype(np.float64)
    weight = np.ones(len(ids)) if weights is None else weights[ids].astype(np.float64)
    # einsum calls no BLAS, whose threads spin for a tenth of a second after a call and take
    # a core from the workers that start then.
    vector, last = np.ones(matrix.n_features), 1.0
    value = 0.0
    for _ in range(_POWER_STEPS):
        size = math.sqrt(float((vector * vector).sum()) + last * last)
        if size == 0:
            return 0.0
        vector, last = vector / size, last / size
        margins = np.einsum("ij,j", rows, vector) if matrix.is_dense else rows @ vector
        z = (margins + math.sqrt(extra) * last) * weight / len(ids)
        vector = np.einsum("ij,i", rows, z) if matrix.is_dense else rows.T @ z
        last = math.sqrt(extra) * float(z.sum())
        value = math.sqrt(float((vector * vector).sum()) + last * last)
    return value
