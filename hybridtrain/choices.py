# SPDX-License-Identifier: BSD-3-Clause
"""What "auto" chooses: hot features, workers, rate, first intercept, order of rows.

Functions of the data, and of the machine's cache where the strategy promises no
bits; never of the clock.
"""

from __future__ import annotations

import math

import numpy as np

from hybridtrain._core.rows import LOSSES, loss_curvature
from hybridtrain._core.stream import OPTIMIZERS, intercept_rate
from hybridtrain.data import Csr, Doubles, Facts, Floats
from hybridtrain.machine import second_level_cache_nbytes
from hybridtrain.models import Linear
from hybridtrain.optimizers import SGD, Optimizer
from hybridtrain.strategies import Hogwild, Hybrid

LRS_PER_EPOCH = 32  # a learning rate holds for so small a part of an epoch
_ALIKE = 0.2  # correlation of neighbouring targets from which rows count as clustered
_LEAST_EXCHANGES = 32  # of a worker in an epoch; HT_LEAST_EXCHANGES
_DEVIATION = 1.4826  # standard deviations in a median absolute deviation, of a normal law
_MOST_SHARE = 0.15  # of a worker's time, in exchanges at their least number
# Rough costs of current x86-64 servers, measured with bench/; only their ratios count.
_ROW_NS = 40.0
_ELEMENT_NS = 1.4
_EXCHANGE_NS = 2.4  # of one hot feature, its way between two caches included


def hot_features(strategy: Hogwild | Hybrid, csr: Csr, workers: int, nbytes: int) -> int:
    """Choose how many features have replicas.

    Parameters
    ----------
    strategy : Hogwild or Hybrid
    csr : Csr
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
    n_features = csr.n_features
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
    affordable = _MOST_SHARE * _period_ns(csr, workers) / _EXCHANGE_NS
    return max(1, min(fitting, int(affordable)))


def fewer_workers(
    strategy: Hogwild | Hybrid, csr: Csr, workers: int, n_hot_features: int
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
    share = n_hot_features * _EXCHANGE_NS / _period_ns(csr, workers)
    if workers / (1.0 + share) >= 1.0:
        return workers, ""
    return 1, (
        f"{workers} workers would spend {share:.1f} times as long exchanging {n_hot_features} "
        "hot features as training; choose a smaller hot or a larger every"
    )


def _period_ns(csr: Csr, workers: int) -> float:
    """Estimate a worker's time between exchanges at their least number."""
    rows = csr.n_rows / (workers * _LEAST_EXCHANGES)
    return rows * (_ROW_NS + _ELEMENT_NS * len(csr.indices) / csr.n_rows)


def is_clustered(targets: Floats) -> bool:
    """Whether rows that are neighbours in the file have similar targets.

    Such rows are read in many short strips, so that no worker trains on a
    stretch of one class; others in long ones, at the full speed of memory.
    """
    deviation = targets - targets.mean(dtype=np.float64)
    variance = float(np.dot(deviation, deviation))
    return variance > 0 and float(np.dot(deviation[1:], deviation[:-1])) > _ALIKE * variance


def learning_rate(optimizer: Optimizer, model: Linear, facts: Facts, targets: Floats) -> float:
    """Return the optimizer's automatic rate for rows with these facts."""
    scale = _scale(model, targets)
    extra = intercept_rate(OPTIMIZERS[optimizer.name]) if model.fit_intercept else 0.0
    norm2, l1 = facts.norm2 / facts.n_rows + extra, facts.l1 / facts.n_rows + extra
    if norm2 == 0 or scale == 0:  # nothing to learn: any rate will do
        return 1.0
    return optimizer.auto_lr(
        norm2=norm2, l1=l1, curvature=loss_curvature(LOSSES[model.loss]), scale=scale
    )


def _scale(model: Linear, targets: Floats) -> float:
    """Return how far margins have to move; for huber of most rows, not of those far off."""
    if model.is_classifier:
        return 1.0
    if model.loss == "huber":
        far = np.abs(targets - np.median(targets))
        return float(_DEVIATION * np.median(far)) or float(far.std(dtype=np.float64))
    return float(targets.std(dtype=np.float64))


# ---- of the round: functions of the data alone, so that bits are the same everywhere

COUNTING_RANGES = 4  # of rows whose facts are added up
LEAST_TASKS = 32  # in a batch: a straggler costs about one
_MOST_TASK_ROWS = 128
_MERGE_NS = 1.5  # of one coordinate of a dense merge, and of clearing its sum
_TOUCHED_MERGE_NS = 3.0  # where a batch touches few coordinates
_MERGE_SHARE = 0.1  # of the time of the work; more, and a second worker gains less
_LEAST_BATCHES = 32  # in an epoch


def tasks_of_batch(csr: Csr) -> tuple[int, int]:
    """Choose the rows of a task and the tasks of a batch.

    Returns
    -------
    task_rows, batch_tasks : int
        The smallest batch, in doublings from 32 tasks of 2 rows, whose merge is
        expected to take a tenth of the time of its work; but at least 32 batches
        in an epoch where there are rows enough.
    """
    elements = len(csr.indices) / csr.n_rows
    row_ns = _ROW_NS + 2 * _ELEMENT_NS * elements
    most = max(csr.n_rows // _LEAST_BATCHES, 1)
    batch = 2 * LEAST_TASKS
    while batch * 2 <= most:
        touched = min(float(csr.n_features), batch * elements)
        merge_ns = min(_TOUCHED_MERGE_NS * touched, _MERGE_NS * csr.n_features)
        if merge_ns <= _MERGE_SHARE * batch * row_ns:
            break
        batch *= 2
    batch = min(batch, most)
    task_rows = min(max(batch // LEAST_TASKS, 1), _MOST_TASK_ROWS)
    return task_rows, max(batch // task_rows, 1)


_SAMPLED_ROWS = 2048
_POWER_STEPS = 20
_CLASSES_SLACK = 4.0


def batch_learning_rate(
    optimizer: Optimizer,
    model: Linear,
    csr: Csr,
    facts: Facts,
    *,
    targets: Floats,
    weights: Floats | None,
    batch: int,
) -> float:
    """Return the automatic rate for the mean gradient of a batch.

    The rate of one row, times ``B R / (R + (B - 1) L)`` with R the mean squared
    norm of a row and L the largest eigenvalue of the rows' second moment, by
    the power method on a fixed sample (Ma, Bassily and Belkin 2018, "The power
    of interpolation", arXiv:1712.06559, equation of the optimal step size). For
    classes L is divided by 4: large batches then start at the edge of
    stability, and leave it as the margins grow and the curvature falls (of 1/4
    to 8 times this rate the best or next to it on seven data sets). To three
    digits, so that it is the same everywhere.
    """
    single = learning_rate(optimizer, model, facts, targets)
    if isinstance(optimizer, SGD):
        extra = intercept_rate(OPTIMIZERS[optimizer.name]) if model.fit_intercept else 0.0
        norm2 = facts.norm2 / facts.n_rows + extra
        if norm2 > 0:
            top = min(_largest_eigenvalue(csr, weights, extra), norm2)
            if model.is_classifier:
                top /= _CLASSES_SLACK
            single *= batch * norm2 / (norm2 + (batch - 1) * top)
    return float(f"{single:.3g}")


def _largest_eigenvalue(csr: Csr, weights: Floats | None, extra: float) -> float:
    """Estimate the largest eigenvalue of the mean of s x x', x with sqrt(extra) appended."""
    from scipy import sparse  # noqa: PLC0415 - costs 0.1 s at import

    ids = np.unique(np.linspace(0, csr.n_rows - 1, min(_SAMPLED_ROWS, csr.n_rows)).astype(np.intp))
    values = np.ones(len(csr.indices), np.float32) if csr.values is None else csr.values
    matrix = sparse.csr_matrix(
        (values, csr.indices, csr.pointers), shape=(csr.n_rows, csr.n_features), copy=False
    )
    rows = matrix[ids].astype(np.float64)
    weight = np.ones(len(ids)) if weights is None else weights[ids].astype(np.float64)
    vector, last = np.ones(csr.n_features), 1.0
    value = 0.0
    for _ in range(_POWER_STEPS):
        size = math.sqrt(float((vector * vector).sum()) + last * last)
        if size == 0:
            return 0.0
        vector, last = vector / size, last / size
        z = (rows @ vector + math.sqrt(extra) * last) * weight / len(ids)
        vector, last = rows.T @ z, math.sqrt(extra) * float(z.sum())
        value = math.sqrt(float((vector * vector).sum()) + last * last)
    return value


_HUBER_STEPS = 30


def first_intercept(model: Linear, targets: Floats, weights: Floats | None) -> float:
    """Return the best intercept of a model without features.

    From 0, SGD's small rate on the intercept would take long on a rare class.

    Returns
    -------
    float
        The mean target (squared), the log-odds of the classes (logistic), the
        difference of their shares (squared hinge), the robust mean (huber).
        Hinge takes what squared hinge does: its own best, -1 or 1, is far from
        any other where the classes are nearly balanced.
    """
    if not model.fit_intercept:
        return 0.0
    doubles = targets.astype(np.float64)
    mean = float(np.average(doubles, weights=weights))
    if model.loss == "logistic":
        share = min(max((1.0 + mean) / 2.0, 1e-6), 1.0 - 1e-6)
        return math.log(share / (1.0 - share))
    if model.loss == "huber":
        return _huber_mean(doubles, weights, model.delta)
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
