# SPDX-License-Identifier: BSD-3-Clause
"""FTRL: parameters computed from sums of gradients, exact zeros under l1."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from hybridtrain._core.optimizer import OPTIMIZERS, is_dense
from hybridtrain.arguments import require_positive, shown
from hybridtrain.errors import InvalidSettingError
from hybridtrain.optimizers.base import Rate, core_constants, require_rate
from hybridtrain.optimizers.schedules import Constant, Schedule

_LEAST_BETA, _MOST_BETA = 1e-30, 1e30  # float32 computes with it


@dataclass(frozen=True, kw_only=True, slots=True)
class FTRL:
    """Follow the regularised leader (proximal), with exact zeros under l1.

    The parameters are not stored. They are computed from the sum of gradients, the sum of
    squared gradients, and the penalties of all rows so far.

    Parameters
    ----------
    lr : float, "auto" or "formula"
        The paper's alpha; the formula is that of `AdaGrad`.
    beta : float
        In 1e-30 .. 1e30: added to the root of the sum of squares. The paper has 1, for
        rows whose values are about 1. With a small beta, the sums alone follow the scale
        of the features.

    References
    ----------
    McMahan et al. 2013, "Ad click prediction: a view from the trenches", KDD,
    doi:10.1145/2487575.2488200; penalties that add up with the rows: McMahan
    2011, "Follow-the-regularized-leader and mirror descent", AISTATS.
    """

    is_adaptive: ClassVar[bool] = True
    trains_in_parts: ClassVar[bool] = False
    takes_schedule: ClassVar[bool] = False
    lr: Rate = "auto"
    beta: float = 1e-3

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta", require_positive("beta", self.beta))
        if not _LEAST_BETA <= self.beta <= _MOST_BETA:
            raise InvalidSettingError(
                f"beta must be in {_LEAST_BETA} .. {_MOST_BETA}, got {shown(self.beta)}"
            )
        object.__setattr__(self, "lr", require_rate(self.lr, self.schedule))

    @property
    def schedule(self) -> Schedule:
        """The constant schedule: the sums are of gradients at one rate."""
        return Constant()

    @property
    def number(self) -> int:
        """The core's number of the optimizer."""
        return OPTIMIZERS["ftrl"]

    @property
    def needs_dense_steps(self) -> bool:
        """Whether a step changes every parameter."""
        return is_dense(self.number)

    def constants(self) -> dict[str, Any]:
        """Return the constants that a run of the core reads."""
        return core_constants(self.number, beta=self.beta)

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
