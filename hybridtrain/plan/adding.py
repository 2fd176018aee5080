# SPDX-License-Identifier: BSD-3-Clause
"""How often workers merge where their changes add up, and the rate that this allows.

P workers that each go a share r of the way to the same optimum go P r of it together: past it
where P r > 1, and further away than before where P r > 2. In n rows at a rate lr, r is
1 - exp(-lr h a n), with h the second derivative of the loss and a the steepest direction of the
rows. Steps that are divided by the size of gradients are largest at the start; they count as
those of a rate with which lr h ||x||^2 is 1.

Changes that are compensated for staleness and revised by sums of squares are stable at every rate
(bench/test_compensation.py). Their rate is not lowered; the period is chosen alike, since fresh
views cost little and learn more. Other changes are compensated within both bounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hybridtrain._core.optimizer import WEIGHINGS, contents
from hybridtrain._core.stream import LEAST_EXCHANGES
from hybridtrain.data.facts import Facts
from hybridtrain.optimizers.base import Optimizer
from hybridtrain.plan import costs
from hybridtrain.plan.problem import Problem
from hybridtrain.plan.rates import mean_norm2, steepness

_MOST_TOGETHER = 1.5  # P r; less than 2, for slopes differ from row to row
_MOST_REACH = 0.9  # r
_UNDIMINISHED = 8.0  # steps of Adam and RMSProp, over AdaGrad's after the first rows
_USUAL_SHARE, _MOST_SHARE = 0.05, 0.5  # of a worker's time, in merges


def weighing(adds: bool, compensates: bool) -> int:
    """Return the core's number of how changes of replicas are weighed."""
    if not adds:
        return WEIGHINGS["weighted"]
    return WEIGHINGS["compensated" if compensates else "added"]


def compensation(optimizer: Optimizer, compensates: bool) -> str | None:
    """Return how added changes are compensated for the staleness of views; see ht_optimizer.h."""
    if not compensates:
        return None
    revised = ", revised by the newest sums of squares" if _has_sums(optimizer) else ""
    return f"delay-adaptive steps{revised}"


def _has_sums(optimizer: Optimizer) -> bool:
    """Whether the optimizer divides by the root of a sum of squares."""
    return "sum of squares" in contents(optimizer.number)


@dataclass(frozen=True, slots=True)
class Adding:
    """Choose the rows between merges, and the share of the automatic rate that is stable.

    Attributes
    ----------
    workers : int
        At least 2.
    every : int
        Rows of a worker between merges as the user has set them; 0: chosen here.
    speed : float
        h a; of an optimizer that divides by the size of gradients, lr h a.
    is_adaptive : bool
        Whether it does.
    keeps_rate : bool
        Whether every rate is stable.
    usual : int
        Rows with which merges take a twentieth of the time, or fewer: at least 32 merges an
        epoch.
    least : int
        Rows with which merges take half of the time.
    """

    workers: int
    every: int
    speed: float
    is_adaptive: bool
    keeps_rate: bool
    usual: int
    least: int

    @classmethod
    def of(
        cls,
        problem: Problem,
        optimizer: Optimizer,
        facts: Facts,
        *,
        workers: int,
        every: int,
        compensates: bool,
    ) -> Adding:
        """Gather what the choices need."""
        merge_rows = costs.merge_rows(problem)
        most = max(problem.matrix.n_rows // (workers * LEAST_EXCHANGES), 1)
        constants = optimizer.constants()
        scale = problem.curvature / (1.0 - constants["decay1"])  # momentum moves as far as that
        if optimizer.is_adaptive:
            norm2 = mean_norm2(optimizer, problem, facts)
            scale = 1.0 / norm2 if norm2 > 0 else 0.0
            scale *= _UNDIMINISHED if constants["decay2"] > 0 else 1.0
        return cls(
            workers,
            every,
            scale * steepness(optimizer, problem, facts),
            optimizer.is_adaptive,
            keeps_rate=compensates and _has_sums(optimizer),
            usual=max(min(int(merge_rows / _USUAL_SHARE), most), 1),
            least=max(int(merge_rows / _MOST_SHARE), 1),
        )

    def _stable(self, lr: float) -> float:
        """Return the most rows between merges with which changes that add up converge."""
        speed = self.speed if self.is_adaptive else lr * self.speed
        if not speed > 0:  # also NaN: rows of zeros
            return math.inf
        return -math.log1p(-min(_MOST_TOGETHER / self.workers, _MOST_REACH)) / speed

    def period(self, lr: float) -> int:
        """Return the rows of a worker between its merges."""
        if self.every:
            return self.every
        stable = min(self._stable(lr), self.usual)
        return min(max(int(stable), self.least), self.usual)

    def share(self, lr: float) -> float:
        """Return the share of an automatic rate to train with."""
        return 1.0 if self.keeps_rate else min(self._stable(lr) / self.period(lr), 1.0)
