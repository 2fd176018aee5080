# SPDX-License-Identifier: BSD-3-Clause
"""Reference of the stream loop (ht_worker.c) with one worker on dense rows, for every optimizer.

The rate is constant. See `reference.optimizer` for the steps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from reference import feed, lanes, loss
from reference.optimizer import DUAL, STEPS, State, Step, from_dual

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a run is made of.

    Attributes
    ----------
    optimizer : str
        The core's name of it.
    constants : dict
        Those of `Optimizer.constants`.
    l1_factor : float32 array (n_features,) or None
        The factor on l1 of each feature; that on l2 is its square. None: all are 1.
    is_hot : bool
        Whether all parameters are in the worker's replica, else none is.
    """

    loss: str
    optimizer: str
    constants: dict[str, Any]
    lr: float
    l1: float
    l2: float
    intercept: bool
    is_hot: bool
    rows_in_flight: int
    epochs: int
    seed: int
    l1_factor: Floats | None = None


def train(X: Floats, y: Floats, run: Run) -> tuple[Floats, np.float32]:
    """Train from 0, row after row; return coef and intercept."""
    learner = _Learner(X, y, run)
    for epoch in range(1, run.epochs + 1):
        chunks = feed.chunks(len(X), run.seed, epoch, 1)
        for position, chunk in enumerate(chunks):
            learner.begin(((epoch - 1) + position / len(chunks)) * len(X))
            for i in range(0, len(chunk), run.rows_in_flight):
                learner.train(chunk[i : i + run.rows_in_flight])
        if run.is_hot:
            learner.exchange()
    learner.begin(run.epochs * len(X))
    return learner.parameters()


class _Learner:
    """Features and the intercept, each with their state."""

    def __init__(self, X: Floats, y: Floats, run: Run) -> None:
        self.X, self.y, self.run = X, y, run
        self.features, self.intercept = (
            State(*(np.zeros(n, np.float32) for _ in range(3))) for n in (X.shape[1], 1)
        )
        norms = np.array([lanes.norm2(x) for x in X], np.float32)
        self.reach = norms + np.float32(run.intercept)
        self.reach /= np.float32(1.0 - run.constants["decay1"])
        self.rows_done = 0
        given = {k: np.float32(run.constants[k]) for k in ("decay1", "decay2", "beta")}
        dual = run.optimizer in DUAL  # its penalties are sums over the rows so far
        penalties = {} if dual else {"l1": np.float32(run.l1), "l2": np.float32(run.l2)}
        self.free = Step(lr=np.float32(run.lr), **given)
        factor = np.float32(1) if run.l1_factor is None else run.l1_factor
        self.step = replace(self.free, **penalties, c1=factor, c2=factor * factor)

    def begin(self, rows: float) -> None:
        """Begin a chunk after so many rows."""
        if self.run.optimizer in DUAL:
            l1, l2 = (float(np.float32(penalty)) for penalty in (self.run.l1, self.run.l2))
            sums = {"l1_sum": np.float32(l1 * rows), "l2_sum": np.float32(l2 * rows)}
            self.step = replace(self.step, **sums)

    def parameters(self) -> tuple[Floats, np.float32]:
        """Return what margins are computed with now."""
        features, intercept = self.features, self.intercept
        if self.run.optimizer not in DUAL:
            return features.w, intercept.w[0]
        free = from_dual(intercept.a, intercept.b, self.free)
        return from_dual(features.a, features.b, self.step), free[0]

    def train(self, rows: list[int]) -> None:
        """Take the gradients of a few rows, then their steps."""
        coef, intercept = self.parameters()
        z = np.array([lanes.dot(coef, self.X[row]) + intercept for row in rows], np.float32)
        gradients = loss.gradient(self.run.loss, z, self.y[rows])
        if self.run.optimizer in {"sgd", "momentum"}:
            reach = self.step.lr * self.reach[rows]
            gradients = loss.bounded(self.run.loss, z, self.y[rows], gradients, reach)
        powers = self._powers()
        for row, gradient in zip(rows, gradients, strict=True):
            self._step(self.features, self.X[row], gradient, replace(self.step, **powers))
            if self.run.intercept:
                one = np.ones(1, np.float32)
                self._step(self.intercept, one, gradient, replace(self.free, **powers))
            powers["power1"] = powers["power1"] * self.step.decay1
            powers["power2"] = powers["power2"] * self.step.decay2
        self.rows_done += len(rows)

    def _powers(self) -> dict[str, Any]:
        decays = {"power1": self.step.decay1, "power2": self.step.decay2}
        return {k: np.float32(float(decay) ** self.rows_done) for k, decay in decays.items()}

    def _step(self, state: State, x: Floats, gradient: np.float32, step: Step) -> None:
        STEPS[self.run.optimizer](state, gradient * x, step.lr * gradient * x, step)

    def exchange(self) -> None:
        """Merge with nobody else: -0.0 becomes 0.0."""
        for state in (self.features, self.intercept):
            state.w, state.a, state.b = (array + np.float32(0) for array in vars(state).values())
