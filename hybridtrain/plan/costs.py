# SPDX-License-Identifier: BSD-3-Clause
"""Costs of rows, exchanges and merges, and the choices that follow from them.

Every choice is a function of the data. Only the number of hot features also follows
the size of the machine's cache. No choice follows the clock.
"""

from __future__ import annotations

import numpy as np

from hybridtrain._core.stream import LANES, LEAST_EXCHANGES
from hybridtrain.data.arrays import Floats
from hybridtrain.machine import second_level_cache_nbytes
from hybridtrain.plan.problem import Problem

COUNTING_RANGES = 4  # of rows whose facts are added up for a round
LEAST_TASKS = 32  # in a batch: a straggler costs about one
_ALIKE = 0.2  # correlation of neighbouring targets from which rows count as clustered
_MOST_SHARE = 0.15  # of a worker's time, in exchanges at their least number
_LEAST_BATCHES = 32  # in an epoch
_MOST_TASK_ROWS = 128
_DENSE_TASK_ROWS = 16  # with these, rounding a task's sum is a small part of its work
_MERGE_SHARE = 0.1  # of the time of the work; more, and a second worker gains less
# Rough costs of current x86-64 servers, measured with bench/; only their ratios count.
_ROW_NS = 40.0
_ELEMENT_NS = 1.4
_EXCHANGE_NS = 2.4  # of one hot feature, its way between two caches included
_RENUMBERING_NS = 2.0  # of an element
_MERGE_NS = 1.5  # of one coordinate of a dense merge, and of clearing its sum
_TOUCHED_MERGE_NS = 3.0  # where a batch touches few coordinates


def hot_features(problem: Problem, workers: int, epochs: int, nbytes: int) -> int:
    """Choose how many features have replicas.

    Parameters
    ----------
    problem : Problem
    workers : int
    epochs : int
    nbytes : int
        The bytes of a hot feature in a worker's cache.

    Returns
    -------
    int
        All features of dense rows: each row changes each of them. Of sparse rows all
        features, if they fit the second-level cache, else the number that fits half
        of it. Several workers exchange hot features. They have at most the number of hot
        features with which the least number of exchanges takes 15 % of the time, but all where
        to exchange the others costs less than to renumber the features.
    """
    n_features = problem.matrix.n_features
    if problem.matrix.is_dense:
        return n_features
    cache = second_level_cache_nbytes()
    fitting = n_features if (n_features + 1) * nbytes <= cache else cache // 2 // nbytes
    if workers == 1:
        return fitting
    affordable = int(_MOST_SHARE * _period_ns(problem, workers) / _exchange_ns(problem))
    if fitting == n_features:
        others = max(n_features - affordable, 0)
        exchanging_ns = others * _exchange_ns(problem) * epochs * LEAST_EXCHANGES
        if exchanging_ns <= _RENUMBERING_NS * problem.matrix.n_elements / workers:
            return n_features
    return max(1, min(fitting, affordable))


def fewer_workers(problem: Problem, workers: int, n_hot_features: int) -> tuple[int, str]:
    """Choose one worker where the others would cost more time than they bring.

    Workers that step dense rows in place write the same cache lines in each row: two take
    several times as long as one, and each loses updates of the other. Exchanges at their
    least number cost more than other workers bring if there are few rows beside the hot
    features.

    Returns
    -------
    workers : int
        The number that was asked for, or 1.
    reason : str
        Why there is only one worker; empty if the number is unchanged.
    """
    if workers == 1:
        return workers, ""
    if problem.matrix.is_dense and n_hot_features < problem.matrix.n_features:
        return 1, (
            f"{workers} workers that step dense rows in place would write the same parameters in "
            "every row, several times slower than one worker; hybrid gives each a replica"
        )
    share = n_hot_features * _exchange_ns(problem) / _period_ns(problem, workers)
    if workers / (1.0 + share) >= 1.0:
        return workers, ""
    return 1, (
        f"{workers} workers would spend {share:.1f} times as long exchanging {n_hot_features} "
        "hot features as training; choose a smaller hot or a larger every"
    )


def merge_rows(problem: Problem) -> float:
    """Estimate how many rows are trained in the time of a merge of the whole model."""
    return problem.matrix.n_features * _exchange_ns(problem) / _row_ns(problem)


def _exchange_ns(problem: Problem) -> float:
    """Estimate the cost of exchanging one hot feature."""
    return _EXCHANGE_NS * problem.n_outputs


def _row_ns(problem: Problem) -> float:
    """Estimate the time of a step on one row."""
    elements = problem.matrix.n_elements / problem.matrix.n_rows
    lanes = max(problem.n_outputs, 2) / LANES if problem.matrix.is_dense else problem.n_outputs
    return _ROW_NS + _ELEMENT_NS * elements * min(lanes, float(problem.n_outputs))


def _period_ns(problem: Problem, workers: int) -> float:
    """Estimate a worker's time between exchanges at their least number."""
    return problem.matrix.n_rows / (workers * LEAST_EXCHANGES) * _row_ns(problem)


def is_clustered(targets: Floats) -> bool:
    """Whether rows that are neighbours in the file have similar targets.

    Such rows are read in many short strips, so that no worker trains on a
    stretch of one class. Other rows are read in long strips, at the full speed of memory.
    """
    deviation = targets - targets.mean(dtype=np.float64)
    # einsum calls no BLAS, whose threads would take cores from the workers that start next.
    variance = float(np.einsum("i,i", deviation, deviation))
    product = float(np.einsum("i,i", deviation[1:], deviation[:-1]))
    return variance > 0 and product > _ALIKE * variance


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


def most_task_rows(problem: Problem) -> int:
    """Choose the largest task of a batch whose size the user chose.

    Returns
    -------
    int
        The rows of the default task. Of dense rows a task's sum is rounded once, so at
        least 16, unless the targets of neighbouring rows are similar.
    """
    task_rows, _ = tasks_of_batch(problem)
    if not problem.matrix.is_dense or is_clustered(problem.targets):
        return task_rows
    return max(task_rows, _DENSE_TASK_ROWS)
