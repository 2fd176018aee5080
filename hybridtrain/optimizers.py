# SPDX-License-Identifier: BSD-3-Clause
"""Optimizers: small constants that say how a gradient becomes a step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from hybridtrain.arguments import plain, require_positive
from hybridtrain.errors import InvalidSettingError
from hybridtrain.schedules import Constant, LinearDecay, Schedule, parse_schedule

Rate = float | Literal["auto"]


def _checked(lr: Rate, schedule: str | Schedule) -> Rate:
    parse_schedule(schedule)
    if isinstance(lr, str):
        if lr != "auto":
            raise InvalidSettingError(f'lr must be "auto" or a number > 0, got {plain(lr)!r}')
        return "auto"
    return require_positive("lr", lr)


@dataclass(frozen=True, kw_only=True, slots=True)
class SGD:
    """Plain stochastic gradient descent, ``w -= lr * gradient``.

    Parameters
    ----------
    lr : float or "auto"
        Learning rate, multiplies the gradient of one row. "auto": half of what
        would undo a row's error at once, ``1 / (2 h mean(||x||^2))``, h the
        largest second derivative of the loss (1/4 logistic, 1 squared).
    schedule : Schedule or str
        "linear", "constant", "cosine", "inverse_scaling" or "exponential", one of
        the classes, or any object with `Schedule`'s method. The default was the best
        of nine on eight real sets, at 5 and at 10 epochs.

    References
    ----------
    The rate: Nagumo and Noda 1967 (normalised least mean squares).
    """

    name: ClassVar[str] = "sgd"
    lr: Rate = "auto"
    schedule: str | Schedule = field(default_factory=LinearDecay)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lr", _checked(self.lr, self.schedule))

    def auto_lr(self, *, norm2: float, l1: float, curvature: float, scale: float) -> float:
        """Return the rate for rows with these means; see the class."""
        del l1, scale
        return 1.0 / (2.0 * curvature * norm2)


@dataclass(frozen=True, kw_only=True, slots=True)
class AdaGrad:
    """SGD with a rate per parameter, ``lr / sqrt(sum of squared gradients)``.

    Parameters
    ----------
    lr : float or "auto"
        "auto": ``4 scale / mean(||x||_1)``, so that the first steps of a
        row's parameters move its margin by a few units; scale is 1, or the
        standard deviation of the targets for squared loss.
    schedule : Schedule or str
        As for `SGD`; the sums already slow the steps, so it is constant.

    References
    ----------
    Duchi, Hazan and Singer 2011, "Adaptive subgradient methods for online
    learning and stochastic optimization", JMLR 12.
    """

    name: ClassVar[str] = "adagrad"
    lr: Rate = "auto"
    schedule: str | Schedule = field(default_factory=Constant)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lr", _checked(self.lr, self.schedule))

    def auto_lr(self, *, norm2: float, l1: float, curvature: float, scale: float) -> float:
        """Return the rate for rows with these means; see the class."""
        del norm2, curvature
        return 4.0 * scale / l1


Optimizer = SGD | AdaGrad
_OPTIMIZERS: dict[str, type[Optimizer]] = {"sgd": SGD, "adagrad": AdaGrad}


def parse_optimizer(optimizer: str | Optimizer) -> Optimizer:
    """Turn a name into an optimizer with its defaults.

    Parameters
    ----------
    optimizer : "sgd", "adagrad" or an optimizer
        An optimizer is returned as it is.

    Returns
    -------
    Optimizer

    Raises
    ------
    InvalidSettingError
        When the name is unknown.
    """
    if isinstance(optimizer, SGD | AdaGrad):
        return optimizer
    if not isinstance(optimizer, str) or optimizer not in _OPTIMIZERS:
        raise InvalidSettingError(
            f"optimizer must be one of {', '.join(_OPTIMIZERS)}, or ht.SGD(...) or "
            f"ht.AdaGrad(...), got {optimizer!r}"
        )
    return _OPTIMIZERS[optimizer]()
