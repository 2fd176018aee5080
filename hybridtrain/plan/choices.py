# SPDX-License-Identifier: BSD-3-Clause
"""What "auto" chooses: hot features, workers, rate, order of rows.

Functions of the data, and of the machine's cache where the strategy promises no
bits; never of the clock.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hybridtrain._core.stream import OPTIMIZERS, intercept_rate
from hybridtrain.data.facts import Facts
from hybridtrain.data.matrix import Floats
from hybridtrain.errors import InvalidDataError
from hybridtrain.machine import second_level_cache_nbytes
from hybridtrain.optimizers.parse import SGD, Optimizer
from hybridtrain.plan.problem import Problem
from hybridtrain.strategies.parse import Hogwild, Hybrid

LRS_PER_EPOCH = 32  # a learning rate holds for so small a part of an epoch
_ALIKE = 0.2  # correlation of neighbouring targets from which rows count as clustered
_LEAST_EXCHANGES = 32  # of a worker in an epoch; HT_LEAST_EXCHANGES
_MOST_SHARE = 0.15  # of a worker's time, in exchanges at their least number
# Rough costs of current x86-64 servers, measured with bench/; only their ratios count.
_ROW_NS = 40.0
_ELEMENT_NS = 1.4
_LANES = 16  # outputs, or elements of a dense row, at a time
_LEAST_RATE = float(np.finfo(np.float32).tiny)  # a smaller one loses its digits
_MOST_RATE = float(np.finfo(np.float32).max)
_EXCHANGE_NS = 2.4  # of one hot feature, its way between two caches included


def hot_features(strategy: Hogwild | Hybrid, problem: Problem, workers: int, nbytes: int) -> int:
    """Choose how many features have replicas.

    Parameters
    ----------
    strategy : Hogwild or Hybrid
    problem : Problem
    workers : int
    nbytes : int
        What a hot feature takes in a worker's cache.

    Returns
    -------
    int
        "auto": all, if they fit the second-level cache, else as many as fit half
        of it; with several workers at most so many that the least number of
        exchanges takes 15 % of the time.
    """
    n_features = problem.matrix.n_features
    if isinstance(strategy, Hogwild):
        return 0
    if isinstance(strategy.hot, float):
        return round(strategy.hot * n_features)
    if isinstance(strategy.hot, int):
        return min(strategy.hot, n_features)
    cache = second_level_cache_nbytes()
    fitting = n_features if (n_features + 1) * nbytes <= cache else cache // 2 // nbytes
    if workers == 1:
        return fitting
    affordable = _MOST_SHARE * _period_ns(problem, workers) / _exchange_ns(problem)
    return max(1, min(fitting, int(affordable)))


def fewer_workers(
    strategy: Hogwild | Hybrid, problem: Problem, workers: int, n_hot_features: int
) -> tuple[int, str]:
    """Choose one worker where exchanges would cost more than the others bring.

    This can be so only where the user sets `hot` and leaves `every` to us.

    Returns
    -------
    workers : int
        As asked for, or 1.
    reason : str
        Why there are fewer; empty when there are not.
    """
    if isinstance(strategy, Hogwild) or strategy.every != "auto" or workers == 1:
        return workers, ""
    share = n_hot_features * _exchange_ns(problem) / _period_ns(problem, workers)
    if workers / (1.0 + share) >= 1.0:
        return workers, ""
    return 1, (
        f"{workers} workers would spend {share:.1f} times as long exchanging {n_hot_features} "
        "hot features as training; choose a smaller hot or a larger every"
    )


def _exchange_ns(problem: Problem) -> float:
    """Estimate the cost of exchanging one hot feature."""
    return _EXCHANGE_NS * problem.n_outputs


def _row_ns(problem: Problem) -> float:
    """Estimate the time of a step on one row."""
    elements = problem.matrix.n_elements / problem.matrix.n_rows
    lanes = max(problem.n_outputs, 2) / _LANES if problem.matrix.is_dense else problem.n_outputs
    return _ROW_NS + _ELEMENT_NS * elements * min(lanes, float(problem.n_outputs))


def _period_ns(problem: Problem, workers: int) -> float:
    """Estimate a worker's time between exchanges at their least number."""
    return problem.matrix.n_rows / (workers * _LEAST_EXCHANGES) * _row_ns(problem)


def is_clustered(targets: Floats) -> bool:
    """Whether rows that are neighbours in the file have similar targets.

    Such rows are read in many short strips, so that no worker trains on a
    stretch of one class; others in long ones, at the full speed of memory.
    """
    deviation = targets - targets.mean(dtype=np.float64)
    variance = float(_product("i,i", deviation, deviation))
    return (
        variance > 0 and float(_product("i,i", deviation[1:], deviation[:-1])) > _ALIKE * variance
    )


def _product(axes: str, left: Any, right: Any) -> Any:
    """Multiply arrays without BLAS.

    The threads of a BLAS spin for a tenth of a second after a call, and take a core
    from the workers that start then.
    """
    return np.einsum(axes, left, right)


def rate_of_intercept(optimizer: Optimizer, problem: Problem) -> float:
    """Return the optimizer's rate on the intercept, as a share of lr."""
    return intercept_rate(OPTIMIZERS[optimizer.kind], problem.matrix.is_dense)


def _extra(optimizer: Optimizer, problem: Problem) -> float:
    """Return what the intercept adds to a row's squared norm, as far as rates go."""
    return rate_of_intercept(optimizer, problem) if problem.model.fit_intercept else 0.0


def learning_rate(optimizer: Optimizer, problem: Problem, facts: Facts) -> float:
    """Return the optimizer's automatic rate for rows with these facts.

    Raises
    ------
    InvalidDataError
        When the rows are so large or small that the rate is none of float32.
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


# ---- of the round: functions of the data alone, so that bits are the same everywhere

COUNTING_RANGES = 4  # of rows whose facts are added up
LEAST_TASKS = 32  # in a batch: a straggler costs about one
_MOST_TASK_ROWS = 128
_MERGE_NS = 1.5  # of one coordinate of a dense merge, and of clearing its sum
_TOUCHED_MERGE_NS = 3.0  # where a batch touches few coordinates
_MERGE_SHARE = 0.1  # of the time of the work; more, and a second worker gains less
_LEAST_BATCHES = 32  # in an epoch


def tasks_of_batch(problem: Problem) -> tuple[int, int]:
    """Choose the rows of a task and the tasks of a batch.

    Returns
    -------
    task_rows, batch_tasks : int
        The smallest batch, in doublings from 32 tasks of 2 rows, whose merge is
        expected to take a tenth of the time of its work; but at least 32 batches
        in an epoch where there are rows enough.
    """
    matrix = problem.matrix
    elements = matrix.n_elements / matrix.n_rows
    row_ns = 2 * _row_ns(problem) - _ROW_NS
    most = max(matrix.n_rows // _LEAST_BATCHES, 1)
    batch = 2 * LEAST_TASKS
    while batch * 2 <= most:
        touched = min(float(matrix.n_features), batch * elements)
        merge_ns = min(_TOUCHED_MERGE_NS * touched, _MERGE_NS * matrix.n_features)
        if merge_ns * problem.n_outputs <= _MERGE_SHARE * batch * row_ns:
            break
        batch *= 2
    batch = min(batch, most)
    task_rows = min(max(batch // LEAST_TASKS, 1), _MOST_TASK_ROWS)
    return task_rows, max(batch // task_rows, 1)


_SAMPLED_ROWS = 2048
_POWER_STEPS = 20
_CLASSES_SLACK = 4.0


def batch_learning_rate(
    optimizer: Optimizer, problem: Problem, facts: Facts, *, batch: int
) -> float:
    """Return the automatic rate for the mean gradient of a batch.

    The rate of one row, times ``B R / (R + (B - 1) L)`` with R the mean squared
    norm of a row and L the largest eigenvalue of the rows' second moment, by
    the power method on a fixed sample (Ma, Bassily and Belkin 2018, "The power
    of interpolation", arXiv:1712.06559, equation of the optimal step size). For
    classes L is divided by 4: large batches then start at the edge of
    stability, and leave it as the margins grow and the curvature falls (of 1/4
    to 8 times this rate the best or next to it on seven data sets). Momentum m
    multiplies the noise of the rows by 1 / (1 - m), as `learning_rate` has it, but
    not the bound by L, which heavy-ball steps keep (Polyak 1964). To three
    digits, so that it is the same everywhere.
    """
    single = learning_rate(optimizer, problem, facts)
    if isinstance(optimizer, SGD):
        extra = _extra(optimizer, problem)
        norm2 = facts.norm2 / facts.n_rows + extra
        if norm2 > 0:
            top = min(_largest_eigenvalue(problem, extra), norm2)
            if problem.model.is_classifier:
                top /= _CLASSES_SLACK
            slower = 1.0 - optimizer.momentum
            single *= batch * norm2 / (norm2 + slower * (batch - 1) * top)
    return _in_range(float(f"{single:.3g}"), facts, None)


def _largest_eigenvalue(problem: Problem, extra: float) -> float:
    """Estimate the largest eigenvalue of the mean of s x x', x with sqrt(extra) appended."""
    matrix, weights = problem.matrix, problem.weights
    n_sampled = min(_SAMPLED_ROWS, matrix.n_rows)
    ids = np.unique(np.linspace(0, matrix.n_rows - 1, n_sampled).astype(np.intp))
    rows = matrix.take(ids).user_form().astype(np.float64)
    weight = np.ones(len(ids)) if weights is None else weights[ids].astype(np.float64)
    vector, last = np.ones(matrix.n_features), 1.0
    value = 0.0
    for _ in range(_POWER_STEPS):
        size = math.sqrt(float((vector * vector).sum()) + last * last)
        if size == 0:
            return 0.0
        vector, last = vector / size, last / size
        margins = _product("ij,j", rows, vector) if matrix.is_dense else rows @ vector
        z = (margins + math.sqrt(extra) * last) * weight / len(ids)
        vector = _product("ij,i", rows, z) if matrix.is_dense else rows.T @ z
        last = math.sqrt(extra) * float(z.sum())
        value = math.sqrt(float((vector * vector).sum()) + last * last)
    return value
