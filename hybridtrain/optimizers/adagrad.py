# SPDX-License-Identifier: BSD-3-Clause
"""AdaGrad: a rate for each parameter, which falls as its gradients add up."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from hybridtrain._core.optimizer import OPTIMIZERS, is_dense
from hybridtrain.optimizers.base import Rate, core_constants, require_rate
from hybridtrain.optimizers.schedules import Constant, Schedule


@dataclass(frozen=True, kw_only=True, slots=True)
class AdaGrad:
    """Step with a rate for each parameter, ``lr / sqrt(sum of squared gradients)``.

    Parameters
    ----------
    lr : float, "auto" or "formula"
        As for `SGD`; the formula: ``4 scale / mean(||x||_1)``, so that the first steps of a
        row's parameters move its margin by a few units. The scale is 1; for squared
        loss, it is the standard deviation of the targets.
    schedule : Schedule or str
        As for `SGD`. The default is constant, because the sums already slow the steps.

    References
    ----------
    Duchi, Hazan and Singer 2011, "Adaptive subgradient methods for online
    learning and stochastic optimization", JMLR 12.
    """

    is_adaptive: ClassVar[bool] = True
    trains_in_parts: ClassVar[bool] = False
    takes_schedule: ClassVar[bool] = True
    lr: Rate = "auto"
    schedule: str | Schedule = field(default_factory=Constant)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lr", require_rate(self.lr, self.schedule))

    @property
    def number(self) -> int:
        """The core's number of the optimizer."""
        return OPTIMIZERS["adagrad"]

    @property
    def needs_dense_steps(self) -> bool:
        """Whether a step changes every parameter."""
        return is_dense(self.number)

    def constants(self) -> dict[str, Any]:
        """Return the constants that a run of the core reads."""
        return core_constants(self.number)

    def auto_lr(self, *, norm2: float, l1: float, curvature: float, scale: float) -> float:
        """Return the rate for rows with these means; see the class."""
        del norm2, curvature
        return 4.0 * scale / l1

    def batch_lr(
        self, lr: float, *, batch: int, norm2: float, largest: Callable[[], float]
    ) -> float:
        """Return the rate of one row: the steps do not depend on the size of a batch."""
        del batch, norm2, largest
        return lr

    def path(self, steps: int) -> float:
        """Return the sum of ``1 / sqrt(t)``, for gradients of equal size."""
        return 2.0 * math.sqrt(steps)
