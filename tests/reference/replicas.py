# SPDX-License-Identifier: BSD-3-Clause
"""Reference of ht_sync_local.c and ht_changes.h on dense rows: replicas one after the other.

Steps are float32 as `reference.optimizer` has them; margins, means of gradients and merges are
float64, so that a run agrees within rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from reference import feed, loss
from reference.optimizer import DUAL, STEPS, State, Step, from_dual

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
_ADDS_UP = {"adagrad": ("a",), "ftrl": ("b",)}  # sums of squares


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a run is made of.

    Attributes
    ----------
    optimizer : str
        The core's name of it.
    constants : dict
        Those of `Optimizer.constants`.
    strip_rows, batch_strips : int
        Neighbouring rows that stay together; strips of a step of the round.
    local_rows : int
        Of a step of a replica.
    outer : tuple or None
        "nesterov" or "slowmo", its rate and its momentum.
    """

    loss: str
    optimizer: str
    constants: dict[str, Any]
    lr: float
    l1: float
    l2: float
    epochs: int
    seed: int
    strip_rows: int
    batch_strips: int
    replicas: int
    local_rows: int
    outer: tuple[str, float, float] | None = None


def train(
    X: Floats, y: Floats, weights: Floats | None, run: Run, coef: Floats
) -> tuple[Floats, np.float32]:
    """Train from `coef` and an intercept of 0; return both."""
    learner = _Learner(X, y, weights, run, coef)
    for epoch in range(1, run.epochs + 1):
        for shares in _rounds(len(X), run, epoch):
            learner.round(shares)
    coef, intercept = learner.state.w[1:], learner.state.w[0]
    return (learner.from_dual()[1:] if run.optimizer in DUAL else coef), intercept


def _rounds(n_rows: int, run: Run, epoch: int) -> Iterator[list[list[int]]]:
    """Yield the rows of each replica in each step of an epoch: equal shares of its strips."""
    full = n_rows // run.strip_rows
    key = feed.random_u64(run.seed, epoch)
    strips = [feed.permute(key, full, k) for k in range(full)]
    strips += [full] * (n_rows % run.strip_rows != 0)
    rows = [list(range(n_rows))[s * run.strip_rows : (s + 1) * run.strip_rows] for s in strips]
    for first in range(0, len(rows), run.batch_strips):
        batch = rows[first : first + run.batch_strips]
        n = min(run.replicas, len(batch))
        ends = [len(batch) * k // n for k in range(n + 1)]
        yield [[row for strip in batch[ends[k] : ends[k + 1]] for row in strip] for k in range(n)]


class _Learner:
    """All coordinates, the intercept first."""

    def __init__(
        self, X: Floats, y: Floats, weights: Floats | None, run: Run, coef: Floats
    ) -> None:
        self.X = np.concatenate([np.ones((len(X), 1), np.float32), X], axis=1)
        self.y, self.weights, self.run = y, weights, run
        w = np.concatenate([np.zeros(1, np.float32), coef])
        self.state = State(w, np.zeros_like(w), np.zeros_like(w))
        self.velocity = np.zeros(len(w))
        self.steps_done = 0
        given = {k: np.float32(run.constants[k]) for k in ("decay1", "decay2", "beta")}
        self.step = Step(lr=np.float32(run.lr), **given)
        if run.optimizer in DUAL:
            self.state.a = -w * self.step.beta / self.step.lr

    def round(self, shares: list[list[int]]) -> None:
        """Train each replica on its rows, from the same state, and merge them."""
        n_rows = sum(map(len, shares))
        before, weights = self.state, [len(rows) / n_rows for rows in shares]
        after = [self._replica(rows) for rows in shares]
        self.steps_done += -(-n_rows // (len(shares) * self.run.local_rows))
        self.state = self._merged(before, after, weights)
        if self.run.optimizer in DUAL and len(after) > 1:
            self.state.w = self.from_dual()
        if self.run.outer is not None:
            self._step_out(before.w)

    def from_dual(self) -> Floats:
        """Return the parameters that z and n of FTRL stand for now."""
        return from_dual(self.state.a, self.state.b, self._constants(self.steps_done))

    def _replica(self, rows: list[int]) -> State:
        state = replace(self.state)
        for number, first in enumerate(range(0, len(rows), self.run.local_rows)):
            self._step(state, rows[first : first + self.run.local_rows], self.steps_done + number)
        return state

    def _constants(self, steps: int) -> Step:
        run, every = self.run, np.ones(self.X.shape[1], np.float32)
        every[0] = 0  # the intercept has no penalty
        if run.optimizer in DUAL:
            sums = {"l1_sum": np.float32(run.l1 * steps), "l2_sum": np.float32(run.l2 * steps)}
            return replace(self.step, **sums, c1=every, c2=every)
        decays = {"power1": float(self.step.decay1), "power2": float(self.step.decay2)}
        return replace(
            self.step,
            l1=np.float32(run.l1),
            l2=np.float32(run.l2),
            c1=every,
            c2=every,
            **{name: np.float32(decay**steps) for name, decay in decays.items()},
        )

    def _step(self, state: State, ids: list[int], steps: int) -> None:
        X, y, run = self.X[ids], self.y[ids], self.run
        z = (X.astype(np.float64) @ state.w.astype(np.float64)).astype(np.float32)
        gradients = loss.gradient(run.loss, z, y)
        if self.weights is not None:
            gradients = gradients * self.weights[ids]
        mean = (X.T.astype(np.float64) @ gradients.astype(np.float64) / len(ids)).astype(np.float32)
        constants = self._constants(steps)
        STEPS[run.optimizer](state, mean, constants.lr * mean, constants)

    def _joined(self, state: State) -> Doubles:
        """Return what is averaged of z: z + w sqrt(n) / lr."""
        w, z, n = (array.astype(np.float64) for array in (state.w, state.a, state.b))
        return z + w * np.sqrt(n) / float(self.step.lr)

    def _merged(self, before: State, after: list[State], weights: list[float]) -> State:
        optimizer = self.run.optimizer
        arrays = {}
        for name in ("w", "a", "b"):
            base = getattr(before, name).astype(np.float64)
            changes = [getattr(state, name).astype(np.float64) - base for state in after]
            of_each = np.ones(len(after)) if name in _ADDS_UP.get(optimizer, ()) else weights
            arrays[name] = base + sum(f * d for f, d in zip(of_each, changes, strict=True))
        if optimizer in DUAL:
            joined = sum(f * self._joined(s) for f, s in zip(weights, after, strict=True))
            arrays["a"] = joined - arrays["w"] * np.sqrt(arrays["b"]) / float(self.step.lr)
        return State(*(array.astype(np.float32) for array in arrays.values()))

    def _step_out(self, w: Floats) -> None:
        assert self.run.outer is not None
        name, rate, momentum = self.run.outer
        gradient = w.astype(np.float64) - self.state.w
        if name == "nesterov":
            self.velocity = momentum * self.velocity + gradient
            new = w - rate * (gradient + momentum * self.velocity)
        else:
            self.velocity = momentum * self.velocity + gradient / self.run.lr
            new = w - rate * self.run.lr * self.velocity
        self.state.w = new.astype(np.float32)
