# SPDX-License-Identifier: BSD-3-Clause
"""RMSProp: a rate for each parameter, by a decaying mean of its squared gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from hybridtrain._core.optimizer import OPTIMIZERS, is_dense
from hybridtrain.optimizers.base import Rate, core_constants, require_rate, require_share
from hybridtrain.optimizers.schedules import LinearDecay, Schedule


@dataclass(frozen=True, kw_only=True, slots=True)
class RMSProp:
    """SGD with a rate per parameter, ``lr / sqrt(decaying mean of squared gradients)``.

    Every step changes every parameter. Use it with `Sync` or `LocalSGD`, or with `Hybrid` on dense
    rows.

    Parameters
    ----------
    lr : float, "auto" or "formula"
        As for `SGD`: how far a step moves a parameter whose gradients are of equal size.
        The formula: ``sqrt(1 - decay)`` times the rate of `AdaGrad`. The first steps are then those
        of AdaGrad: the mean starts from 0, as ``1 - decay`` times the sum.
    decay : float
        In 0 .. 1, 1 excluded: the share of the mean that a step keeps. The lecture has
        0.9, for the gradients of large batches. If each row is a step, 0.9 forgets
        rare large gradients, and training ends far from the optimum.
    schedule : Schedule or str
        As for `SGD`.

    References
    ----------
    Tieleman and Hinton 2012, "Lecture 6.5: rmsprop, divide the gradient by a
    running average of its recent magnitude", Neural Networks for Machine
    Learning, Coursera. Penalties are applied apart from the mean, as for `Adam`.
    """

    is_adaptive: ClassVar[bool] = True
    trains_in_parts: ClassVar[bool] = False
    takes_schedule: ClassVar[bool] = True
    lr: Rate = "auto"
    decay: float = 0.999
    schedule: str | Schedule = field(default_factory=LinearDecay)

    def __post_init__(self) -> None:
        object.__setattr__(self, "decay", require_share("decay", self.decay))
        object.__setattr__(self, "lr", require_rate(self.lr, self.schedule))

    @property
    def number(self) -> int:
        """The core's number of the optimizer."""
        return OPTIMIZERS["rmsprop"]

    @property
    def needs_dense_steps(self) -> bool:
        """Whether a step changes every parameter."""
        return is_dense(self.number)

    def constants(self) -> dict[str, Any]:
        """Return what a run of the core needs to know."""
        return core_constants(self.number, decay2=self.decay)

    def auto_lr(self, *, norm2: float, l1: float, curvature: float, scale: float) -> float:
        """Return the rate for rows with these means; see the class."""
        del norm2, curvature
        return 4.0 * math.sqrt(1.0 - self.decay) * scale / l1

    def batch_lr(
        self, lr: float, *, batch: int, norm2: float, largest: Callable[[], float]
    ) -> float:
        """Return that of one row: steps follow the size of the gradients, whatever a batch is."""
        del batch, norm2, largest
        return lr

    def path(self, steps: int) -> float:
        """Return half the steps, each of length lr, for a rate that falls to 0."""
        return 0.5 * steps
