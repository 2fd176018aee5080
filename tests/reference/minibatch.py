# SPDX-License-Identifier: BSD-3-Clause
"""Reference of ht_sync.c with one worker: plain minibatch steps, float32, row by row.

`exact` sums contributions as Python integers on the grid of ht_sums.h instead. A contribution
is one element of a sparse row, or what a task's dense rows add up to in one coordinate.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from reference import feed, loss
from reference.lanes import dot, norm2

Floats = npt.NDArray[np.float32]
_EPS = np.float32(2.0**-27)
_GRID_BITS = 51


@dataclass(frozen=True)
class Run:
    """The constants of a run; see ht_sync_config_t."""

    loss: str
    optimizer: str
    lrs: Floats
    lrs_per_epoch: int
    task_rows: int
    batch_tasks: int
    seed: int
    l1: float
    l2: float
    intercept: bool
    exact: bool
    bound: float
    largest_value: float
    parameter: float = 1.0


def batches(n_rows: int, run: Run, epoch: int) -> list[list[range]]:
    """Return the tasks of each batch: full strips of rows permuted, a shorter one last."""
    full = n_rows // run.task_rows
    key = feed.random_u64(run.seed, epoch)
    strips = [feed.permute(key, full, k) for k in range(full)]
    if n_rows % run.task_rows:
        strips.append(full)
    rows = [range(s * run.task_rows, min((s + 1) * run.task_rows, n_rows)) for s in strips]
    return [rows[first : first + run.batch_tasks] for first in range(0, len(rows), run.batch_tasks)]


def _shares(X: Any, weights: Floats | None, batch: int) -> Floats:
    """Return 1 / (probability that a batch touches it) of each feature; 0: no row holds it."""
    if isinstance(X, np.ndarray):
        return np.ones(X.shape[1], np.float32)
    weight = np.ones(X.shape[0]) if weights is None else weights.astype(np.float64)
    share = np.zeros(X.shape[1])
    np.add.at(share, X.indices, np.repeat(weight, np.diff(X.indptr)))
    share = np.clip(share / X.shape[0], 0.0, 1.0)
    touched = -np.expm1(batch * np.log1p(-np.minimum(share, 1.0 - 1e-12)))
    result = np.zeros(len(share))
    np.divide(1.0, touched, out=result, where=touched > 0)
    return result.astype(np.float32)


def _elements(X: Any, row: int, run: Run) -> list[tuple[int, np.float32]]:
    """Return coordinate and value of each element of a sparse row."""
    span = slice(X.indptr[row], X.indptr[row + 1])
    intercept = [(0, np.float32(1.0))] if run.intercept else []
    elements = zip(X.indices[span], X.data[span], strict=True)
    return [*((int(j) + 1, x) for j, x in elements), *intercept]


def _plain_sums(X: Any, rows: list[int], gradients: Floats, run: Run) -> Floats:
    sums = np.zeros(X.shape[1] + 1, np.float32)
    for row, gradient in zip(rows, gradients, strict=True):
        if isinstance(X, np.ndarray):
            sums += gradient * np.append(np.float32(run.intercept), X[row])
            continue
        for j, x in _elements(X, row, run):
            sums[j] += gradient * x
    return sums


def _contributions(
    X: Any, tasks: list[range], gradients: Floats, run: Run
) -> Iterator[tuple[int, float]]:
    """Yield coordinate and value of each contribution to the exact sums of a batch."""
    of_row = iter(gradients)
    for task in tasks:
        mine = np.array([next(of_row) for _ in task], np.float32)
        if isinstance(X, np.ndarray):
            yield from enumerate(_plain_sums(X, list(task), mine, run).tolist())
            continue
        for row, gradient in zip(task, mine, strict=True):
            yield from ((j, float(gradient) * float(x)) for j, x in _elements(X, row, run))


def _exact_sums(X: Any, tasks: list[range], gradients: Floats, run: Run) -> Floats:
    largest, n = run.bound * run.largest_value, len(gradients)
    if isinstance(X, np.ndarray):
        largest, n = largest * 2 * run.task_rows, len(tasks)
    exponent = max(math.frexp(largest)[1] - _GRID_BITS, math.frexp(largest * n)[1] - 62)
    sums = [0] * (X.shape[1] + 1)
    for j, value in _contributions(X, tasks, gradients, run):
        sums[j] += round(math.ldexp(value, -exponent))
    return np.array([np.float32(float(s) * math.ldexp(1.0, exponent)) for s in sums])


def train(
    X: Any, y: Floats, weights: Floats | None, run: Run, init: tuple[Floats, float]
) -> tuple[Floats, np.float32, list[float]]:
    """Return coef, intercept and the mean loss of each epoch."""
    w = np.concatenate([np.array([init[1]], np.float32), init[0].astype(np.float32)])
    squares = np.zeros_like(w)
    batch = min(run.task_rows * run.batch_tasks, X.shape[0])
    c = np.concatenate([np.zeros(1, np.float32), _shares(X, weights, batch)])
    if run.l1 == run.l2 == 0:
        c[:] = 0
    reach = np.array([_norm2(X, row) for row in range(X.shape[0])], np.float32)
    slow = np.float32(1.0 if isinstance(X, np.ndarray) else 0.01)  # the rate of the intercept
    reach += slow * np.float32(run.intercept)
    reach = (reach if weights is None else reach * weights) / np.float32(batch)
    losses = []
    for epoch in range(1, len(run.lrs) // run.lrs_per_epoch + 1):
        steps = batches(X.shape[0], run, epoch)
        total = 0.0
        for b, tasks in enumerate(steps):
            ids = [row for task in tasks for row in task]
            share = b * run.lrs_per_epoch // len(steps)
            lr = np.full_like(w, run.lrs[(epoch - 1) * run.lrs_per_epoch + share])
            if run.optimizer == "sgd":
                lr[0] *= slow
            z = np.array([_margin(X, row, w, run.intercept) for row in ids], np.float32)
            gradients = loss.gradient(run.loss, z, y[ids], run.parameter)
            if run.optimizer == "sgd":
                gradients = loss.bounded(run.loss, z, y[ids], gradients, lr[1] * reach[ids])
            values = loss.value(run.loss, z, y[ids], run.parameter)
            if weights is not None:
                gradients, values = gradients * weights[ids], values * weights[ids]
            total += float(values.sum())
            if run.exact:
                sums = _exact_sums(X, tasks, gradients, run)
            else:
                sums = _plain_sums(X, ids, gradients, run)
            g = sums * (np.float32(1.0) / np.float32(len(ids)))
            penalty = _Penalty(c, np.float32(run.l1), np.float32(run.l2))
            w = np.where(g == 0, w, _step(w, g, squares, lr, penalty, run.optimizer))
        losses.append(total / X.shape[0])
    return w[1:], w[0], losses


def _norm2(X: Any, row: int) -> np.float32:
    return norm2(X[row] if isinstance(X, np.ndarray) else X.data[X.indptr[row] : X.indptr[row + 1]])


def _margin(X: Any, row: int, w: Floats, intercept: bool) -> np.float32:
    if isinstance(X, np.ndarray):
        z = dot(w[1:], X[row])
    else:
        span = slice(X.indptr[row], X.indptr[row + 1])
        z = dot(w[1:][X.indices[span]], X.data[span])
    return np.float32(z + w[0]) if intercept else np.float32(z + np.float32(0))


@dataclass(frozen=True)
class _Penalty:
    c: Floats
    l1: np.float32
    l2: np.float32


def _step(  # noqa: PLR0917 - the arrays of one step
    w: Floats, g: Floats, squares: Floats, lr: Floats, penalty: _Penalty, optimizer: str
) -> Floats:
    c, l1, l2 = penalty.c, penalty.l1, penalty.l2
    one = np.float32(1)
    root = np.ones_like(w)
    if optimizer == "sgd":
        found = w - lr * g
        if l1 or l2:
            found = found * (one / (lr * l2 * c + one))
    else:
        squares += g * g
        root = np.sqrt(squares) + _EPS
        is_penalised = (c > 0) & bool(l1 or l2)  # not so the intercept
        penalised = (w * root - lr * g) / (root + lr * l2 * c)
        found = np.where(is_penalised, penalised, w - lr * g / root)
    if l1 == 0:
        return found
    size = np.abs(found) - lr / root * l1 * c
    return np.where(size <= 0, np.float32(0), np.copysign(size, found))
