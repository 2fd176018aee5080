# SPDX-License-Identifier: BSD-3-Clause
"""Reference of the stream loop (ht_worker.c) with one worker: sequential SGD and AdaGrad.

The steps are those of ht_linear_sparse_racy.c and ht_optimizer.h, in float32 and in
the same order of operations.  Two things of the C code do not show here,
because they have the same bits: hot entries of SGD may hold the factor
``1 / (1 + lr l2 c)`` instead of c, and features may be renumbered.  Two do:
hot elements of a row stand before cold ones, which decides their lanes, and an
exchange turns a parameter of -0.0 into 0.0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from reference import feed, lanes, loss

Floats = npt.NDArray[np.float32]
_EPS = np.float32(2.0**-27)
_ONE = np.float32(1.0)
_INTERCEPT_RATE = {"sgd": np.float32(0.01), "adagrad": np.float32(1.0)}


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a run is made of.

    Attributes
    ----------
    lrs : float32 array
        lrs_per_epoch learning rates for each epoch.
    rows_in_flight : int
        Rows whose gradients are taken before their steps.
    hot : int
        Features with replicas; 0: none, and no exchange.
    every : int or None
        Rows between exchanges; None: at the end of an epoch alone.
    """

    loss: str
    optimizer: str
    lrs: Floats
    lrs_per_epoch: int
    rows_in_flight: int
    hot: int
    every: int | None
    strips: int
    seed: int
    l1: float
    l2: float
    intercept: bool
    parameter: float = 1.0


def _shares(X: Any, weights: Floats | None) -> Floats:
    """Return the weight of the rows that hold each feature, added up in their order."""
    each = np.ones(X.shape[0], np.float32) if weights is None else weights
    share = np.zeros(X.shape[1], np.float32)
    np.add.at(share, X.indices, np.repeat(each, np.diff(X.indptr)))
    return share


def _rows(X: Any, share: Floats, hot: int) -> list[tuple[npt.NDArray[np.intp], Floats]]:
    """Return indices and values of each row, hot elements first."""
    rank = np.empty(X.shape[1], np.intp)
    rank[np.argsort(-share.astype(np.float64), kind="stable")] = np.arange(X.shape[1])
    rows = []
    for begin, end in zip(X.indptr[:-1], X.indptr[1:], strict=True):
        index, value = X.indices[begin:end].astype(np.intp), X.data[begin:end]
        if 0 < hot < X.shape[1]:
            is_cold = rank[index] >= hot
            order = np.argsort(is_cold, kind="stable")
            index, value = index[order], value[order]
        rows.append((index, value))
    return rows


def _soft_threshold(w: Floats, t: Floats) -> Floats:
    shrunk = np.abs(w) - t
    return np.where(shrunk <= 0, np.float32(0), np.copysign(shrunk, w))


def _groups(rows: list[int], run: Run, since_exchange: int) -> Iterator[tuple[list[int], bool]]:
    """Cut a chunk into the groups that are in flight at once; True: exchange after it."""
    i = 0
    while i < len(rows):
        n = run.rows_in_flight
        if run.every is not None and run.hot:
            n = min(n, run.every - since_exchange)
        group = rows[i : i + n]
        i += len(group)
        since_exchange += len(group)
        exchanges = bool(run.hot) and since_exchange == run.every
        since_exchange = 0 if exchanges else since_exchange
        yield group, exchanges


class _Learner:
    """Parameters and sums of squares, the intercept last, and the rows that move them."""

    def __init__(self, X: Any, y: Floats, weights: Floats | None, run: Run) -> None:
        n_rows, n_features = X.shape
        share = _shares(X, weights)
        self.rows = _rows(X, share, run.hot)
        self.y = y
        self.weights = np.ones(n_rows, np.float32) if weights is None else weights
        self.run = run
        self.w = np.zeros(n_features + 1, np.float32)
        self.g = np.zeros(n_features + 1, np.float32)
        self.c = np.zeros(n_features + 1, np.float32)
        held = share > 0
        self.c[:-1][held] = n_rows / share[held].astype(np.float64)
        values = np.split(X.data, X.indptr[1:-1])  # in the user's order
        norms = np.array([lanes.norm2(x) for x in values], np.float32)
        extra = _INTERCEPT_RATE[run.optimizer] if run.intercept else np.float32(0)
        self.reach = (norms + extra) * self.weights
        self.exchanged = np.zeros(n_features + 1, np.bool_)
        if run.hot:  # the intercept is one of them
            order = np.argsort(-share.astype(np.float64), kind="stable")
            self.exchanged[order[: run.hot]] = self.exchanged[-1] = True

    def margin(self, row: int) -> np.float32:
        """Return row times parameters, plus the intercept."""
        index, x = self.rows[row]
        return lanes.dot(self.w[index], x) + self.w[-1]

    def step(self, row: int, gradient: np.float32, lr: np.float32) -> None:
        """Step on the parameters of one row."""
        run, weight = self.run, self.weights[row]
        index, x = self.rows[row]
        rate = np.full(len(index), lr)
        if run.intercept:
            index, x = np.append(index, len(self.w) - 1), np.append(x, _ONE)
            rate = np.append(rate, lr * _INTERCEPT_RATE[run.optimizer])
        l1, l2 = np.float32(run.l1) * weight, np.float32(run.l2) * weight
        w, c = self.w[index], self.c[index]
        if run.optimizer == "sgd":
            w = w - rate * gradient * x
            if run.l1 or run.l2:
                w = w * (_ONE / (_ONE + rate * l2 * c))
            threshold = rate * l1 * c
        else:
            d = gradient * x
            self.g[index] = self.g[index] + d * d
            root = np.sqrt(self.g[index]) + _EPS
            is_penalised = (c > 0) & bool(run.l1 or run.l2)  # not so the intercept
            penalised = (w * root - rate * d) / (root + rate * l2 * c)
            w = np.where(is_penalised, penalised, w - rate * d / root)
            threshold = rate / root * l1 * c
        w = _soft_threshold(w, threshold) if run.l1 else w
        if run.optimizer == "adagrad":
            w = np.where(self.g[index] == 0, self.w[index], w)
        self.w[index] = w

    def exchange(self) -> None:
        """Merge with nobody else: -0.0 becomes 0.0."""
        self.w[self.exchanged] += np.float32(0)

    def train_epoch(self, epoch: int) -> float:
        """Train every row once; return the mean loss, each row before its step."""
        run = self.run
        chunks = feed.chunks(len(self.rows), run.seed, epoch, run.strips)
        since_exchange = 0
        loss_sum = 0.0
        for position, chunk in enumerate(chunks):
            share = position * run.lrs_per_epoch // len(chunks)
            lr = run.lrs[(epoch - 1) * run.lrs_per_epoch + share]
            for group, exchanges in _groups(chunk, run, since_exchange):
                z = np.array([self.margin(row) for row in group], np.float32)
                known = run.loss, z, self.y[group], run.parameter
                gradients = loss.gradient(*known)
                if run.optimizer == "sgd":
                    reach = lr * self.reach[group]
                    gradients = loss.bounded(run.loss, z, self.y[group], gradients, reach)
                gradients = gradients * self.weights[group]
                values = loss.value(*known) * self.weights[group]
                loss_sum += float(values.sum())
                for row, gradient in zip(group, gradients, strict=True):
                    self.step(row, gradient, lr)
                since_exchange = 0 if exchanges else since_exchange + len(group)
                if exchanges:
                    self.exchange()
        self.exchange()
        return loss_sum / len(self.rows)


def train(
    X: Any, y: Floats, weights: Floats | None, run: Run, init: tuple[Floats, float] | None = None
) -> tuple[Floats, np.float32, list[float]]:
    """Train in sequence; equal weights are None or 1.

    Returns
    -------
    coef : float32 array (n_features,)
    intercept : float32
    losses : list of float
        Mean weighted loss of each epoch, each row before its step.
    """
    learner = _Learner(X, y, weights, run)
    if init is not None:
        learner.w[:-1], learner.w[-1] = init
    n_epochs = len(run.lrs) // run.lrs_per_epoch
    losses = [learner.train_epoch(epoch) for epoch in range(1, n_epochs + 1)]
    return learner.w[:-1], learner.w[-1], losses
