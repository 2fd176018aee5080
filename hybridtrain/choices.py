# SPDX-License-Identifier: BSD-3-Clause
"""What "auto" chooses: hot features, workers, rate, first intercept, order of rows.

Functions of the data and the machine's cache alone, never of the clock.
"""

from __future__ import annotations

import math

import numpy as np

from hybridtrain._core.rows import LOSSES, loss_curvature
from hybridtrain._core.stream import OPTIMIZERS, intercept_rate
from hybridtrain.data import Csr, Facts, Floats
from hybridtrain.machine import second_level_cache_nbytes
from hybridtrain.models import Linear
from hybridtrain.optimizers import Optimizer
from hybridtrain.strategies import Hogwild, Strategy

_ALIKE = 0.2  # correlation of neighbouring targets from which rows count as clustered
_LEAST_EXCHANGES = 32  # of a worker in an epoch; HT_LEAST_EXCHANGES
_MOST_SHARE = 0.15  # of a worker's time, in exchanges at their least number
# Rough costs of current x86-64 servers, measured with bench/; only their ratios count.
_ROW_NS = 40.0
_ELEMENT_NS = 1.4
_EXCHANGE_NS = 2.4  # of one hot feature, its way between two caches included


def hot_features(strategy: Strategy, csr: Csr, workers: int, nbytes: int) -> int:
    """Choose how many features have replicas.

    Parameters
    ----------
    strategy : Strategy
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
    strategy: Strategy, csr: Csr, workers: int, n_hot_features: int
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
    scale = float(targets.std(dtype=np.float64)) if not model.is_classifier else 1.0
    extra = intercept_rate(OPTIMIZERS[optimizer.name]) if model.fit_intercept else 0.0
    norm2, l1 = facts.norm2 / facts.n_rows + extra, facts.l1 / facts.n_rows + extra
    if norm2 == 0 or scale == 0:  # nothing to learn: any rate will do
        return 1.0
    return optimizer.auto_lr(
        norm2=norm2, l1=l1, curvature=loss_curvature(LOSSES[model.loss]), scale=scale
    )


def first_intercept(model: Linear, targets: Floats, weights: Floats | None) -> float:
    """Return the best intercept of a model without features.

    The mean target, or the log-odds of the classes. From 0, SGD's small rate on
    the intercept would take long on a rare class.
    """
    if not model.fit_intercept:
        return 0.0
    mean = float(np.average(targets, weights=weights))
    if model.is_classifier:
        share = min(max((1.0 + mean) / 2.0, 1e-6), 1.0 - 1e-6)
        return math.log(share / (1.0 - share))
    return mean
