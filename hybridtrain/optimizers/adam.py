# SPDX-License-Identifier: BSD-3-Clause
"""Adam: steps by decaying means of the gradient and of its square."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from hybridtrain._core.optimizer import OPTIMIZERS, is_dense
from hybridtrain.optimizers.base import Rate, core_constants, require_rate, require_share
from hybridtrain.optimizers.schedules import LinearDecay, Schedule


@dataclass(frozen=True, kw_only=True, slots=True)
class Adam:
    """Step by decaying means of the gradient and its square.

    Every step changes every parameter. Use it with `Sync` or `LocalSGD`, or with `Hybrid` on dense
    rows.

    Parameters
    ----------
    lr : float, "auto" or "formula"
        As for `SGD`: how far a step may move a parameter. The formula:
        ``scale / (2 mean(||x||_1))``, with the scale of `AdaGrad`.
    beta1, beta2 : float
        In 0 .. 1, 1 excluded: the share of the mean that a step keeps, of the gradient
        and of its square.
    schedule : Schedule or str
        As for `SGD`.

    References
    ----------
    Kingma and Ba 2015, "Adam: a method for stochastic optimization",
    arXiv:1412.6980. Penalties are applied apart from the means, at the
    parameter's own step (proximal); Loshchilov and Hutter 2019, arXiv:1711.05101,
    also decouple them.
    """

    is_adaptive: ClassVar[bool] = True
    trains_in_parts: ClassVar[bool] = False
    takes_schedule: ClassVar[bool] = True
    lr: Rate = "auto"
    beta1: float = 0.9
    beta2: float = 0.999
    schedule: str | Schedule = field(default_factory=LinearDecay)

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta1", require_share("beta1", self.beta1))
        object.__setattr__(self, "beta2", require_share("beta2", self.beta2))
        object.__setattr__(self, "lr", require_rate(self.lr, self.schedule))

    @property
    def number(self) -> int:
        """The core's number of the optimizer."""
        return OPTIMIZERS["adam"]

    @property
    def needs_dense_steps(self) -> bool:
        """Whether a step changes every parameter."""
        return is_dense(self.number)

    def constants(self) -> dict[str, Any]:
        """Return the constants that a run of the core reads."""
        return core_constants(self.number, decay1=self.beta1, decay2=self.beta2)

    def auto_lr(self, *, norm2: float, l1: float, curvature: float, scale: float) -> float:
        """Return the rate for rows with these means; see the class."""
        del norm2, curvature
        return 0.5 * scale / l1

    def batch_lr(
        self, lr: float, *, batch: int, norm2: float, largest: Callable[[], float]
    ) -> float:
        """Return the rate of one row: the steps do not depend on the size of a batch."""
        del batch, norm2, largest
        return lr

    def path(self, steps: int) -> float:
        """Return half the steps, each of length lr, for a rate that falls to 0."""
        return 0.5 * steps
