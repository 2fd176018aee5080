# SPDX-License-Identifier: BSD-3-Clause
"""Stochastic gradient descent, with momentum, with averages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from hybridtrain._core.optimizer import OPTIMIZERS, is_dense
from hybridtrain.arguments import require_bool
from hybridtrain.optimizers.base import Rate, core_constants, require_rate, require_share
from hybridtrain.optimizers.schedules import LinearDecay, Schedule

_AVERAGES_PER_EPOCH = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class SGD:
    """Step down the gradient of a row or a batch, ``w -= lr * gradient``.

    With squared, huber, squared hinge and poisson loss, a step does not move a row past the
    minimum of its own loss: rows many times as long as the mean one would be moved further
    away each time.

    Parameters
    ----------
    lr : float, "auto" or "formula"
        Learning rate; multiplies the gradient of one row. "formula": the rate that
        would undo the error of a mean row at once, ``1 / (h mean(||x||^2))``, with h the
        largest second derivative of the loss (1/4 logistic, 1/2 softmax, 1
        squared). With momentum, this is multiplied by ``1 - momentum``. "auto": the
        formula's rate times a factor that short trials on a sample of the rows choose.
    momentum : float
        In 0 .. 1, 1 excluded: ``m = momentum * m + gradient; w -= lr * m`` (heavy
        ball; Polyak 1964). With momentum above 0, every step changes every parameter.
        Use it with `Sync`, or with `Hybrid` on dense rows.
    average : bool
        True: the result is a mean of the iterates, taken 16 times an epoch. The weights
        grow with the 11th power of an iterate's number: wherever a run ends, its last
        sixteenth has half of the weight. With l1 the result is the last iterate, since a
        mean has few zeros.
    schedule : Schedule or str
        "linear", "constant", "cosine", "inverse_scaling" or "exponential", one of
        the classes, or any object with `Schedule`'s method. The default, linear,
        was the best of nine on eight real sets, at 5 and at 10 epochs.

    References
    ----------
    The rate and the bound: Nagumo and Noda 1967 (normalised least mean squares). Averages:
    Polyak and Juditsky 1992; their weights: Shamir and Zhang 2013, arXiv:1212.1824.
    """

    is_adaptive: ClassVar[bool] = False
    trains_in_parts: ClassVar[bool] = True
    takes_schedule: ClassVar[bool] = True
    lr: Rate = "auto"
    momentum: float = 0.0
    average: bool = False
    schedule: str | Schedule = field(default_factory=LinearDecay)

    def __post_init__(self) -> None:
        object.__setattr__(self, "momentum", require_share("momentum", self.momentum))
        object.__setattr__(self, "average", require_bool("average", self.average))
        object.__setattr__(self, "lr", require_rate(self.lr, self.schedule))

    @property
    def number(self) -> int:
        """The core's number of the optimizer."""
        return OPTIMIZERS["momentum" if self.momentum else "sgd"]

    @property
    def needs_dense_steps(self) -> bool:
        """Whether a step changes every parameter."""
        return is_dense(self.number)

    def constants(self) -> dict[str, Any]:
        """Return the constants that a run of the core reads."""
        each = _AVERAGES_PER_EPOCH if self.average else 0
        return core_constants(self.number, decay1=self.momentum, averages_per_epoch=each)

    def auto_lr(self, *, norm2: float, l1: float, curvature: float, scale: float) -> float:
        """Return the rate for rows with these means; see the class."""
        del l1, scale
        return (1.0 - self.momentum) / (curvature * norm2)

    def batch_lr(
        self, lr: float, *, batch: int, norm2: float, largest: Callable[[], float]
    ) -> float:
        """Return the automatic rate for the mean gradient of a batch.

        This is the rate of one row times ``B R / (R + (B - 1) L)``, with R the mean squared
        norm of a row and L the largest eigenvalue of the rows' second moment. Momentum m
        multiplies the noise of the rows by ``1 / (1 - m)``, which `auto_lr` allows for. It
        does not change the bound by L.

        References
        ----------
        Ma, Bassily and Belkin 2018, "The power of interpolation", arXiv:1712.06559, equation
        of the optimal step size. Momentum: Polyak 1964.
        """
        if norm2 == 0:
            return lr
        slower = 1.0 - self.momentum
        return lr * (batch * norm2 / (norm2 + slower * (batch - 1) * largest()))

    def path(self, steps: int) -> float:
        """Return half the steps, for a rate that falls to 0; momentum lengthens each step."""
        return 0.5 * steps / (1.0 - self.momentum)
