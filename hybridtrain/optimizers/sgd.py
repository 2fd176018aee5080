# SPDX-License-Identifier: BSD-3-Clause
"""Optimizers: small constants that say how a gradient becomes a step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from hybridtrain._core.stream import OPTIMIZERS
from hybridtrain.arguments import called, plain, require_bool, require_positive, shown
from hybridtrain.errors import InvalidSettingError
from hybridtrain.optimizers.schedules import Constant, LinearDecay, Schedule, parse_schedule

Rate = float | Literal["auto"]


def _checked(lr: Rate, schedule: str | Schedule) -> Rate:
    parse_schedule(schedule)
    if isinstance(lr, str):
        if lr != "auto":
            raise InvalidSettingError(f'lr must be "auto" or a number > 0, got {shown(plain(lr))}')
        return "auto"
    return require_positive("lr", lr)


_AVERAGES_PER_EPOCH = 16
_LEAST_BETA, _MOST_BETA = 1e-30, 1e30  # float32 computes with it


def _require_share(name: str, value: Any) -> float:
    share = plain(value)
    is_number = isinstance(share, int | float) and not isinstance(share, bool)
    if not (is_number and 0 <= share < 1 and np.float32(share) < 1):
        raise InvalidSettingError(
            f"{name} must be a number in 0 .. 1, 1 excluded, got {shown(value)}"
        )
    return float(share)


def _constants(kind: str, **given: float) -> dict[str, Any]:
    """Return what a run of the core needs to know of an optimizer."""
    return {
        "optimizer": OPTIMIZERS[kind],
        "decay1": 0.0,
        "decay2": 0.0,
        "beta": 0.0,
        "averages_per_epoch": 0,
        "average_from": 0,
        **given,
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class SGD:
    """Stochastic gradient descent, ``w -= lr * gradient``.

    Parameters
    ----------
    lr : float or "auto"
        Learning rate, multiplies the gradient of one row. "auto": half of what
        would undo a row's error at once, ``1 / (2 h mean(||x||^2))``, h the
        largest second derivative of the loss (1/4 logistic, 1/2 softmax, 1
        squared); with momentum, ``1 - momentum`` of that.
    momentum : float
        In 0 .. 1, 1 excluded: ``m = momentum * m + gradient; w -= lr * m`` (heavy
        ball; Polyak 1964). A step then changes every parameter: for `Sync`, and for
        `Hybrid` on dense rows.
    average : bool
        The result is the mean of the iterates from the second epoch on (of a single
        epoch, from its middle on), taken 16 times an epoch.
    schedule : Schedule or str, optional
        "linear", "constant", "cosine", "inverse_scaling" or "exponential", one of
        the classes, or any object with `Schedule`'s method. None: "linear", which
        was the best of nine on eight real sets, at 5 and at 10 epochs; with
        `average` "constant".

    References
    ----------
    The rate: Nagumo and Noda 1967 (normalised least mean squares). Averages:
    Polyak and Juditsky 1992; Xu 2011, arXiv:1107.2490.
    """

    name: ClassVar[str] = "sgd"
    lr: Rate = "auto"
    momentum: float = 0.0
    average: bool = False
    schedule: str | Schedule = None  # type: ignore[assignment]  # set in __post_init__

    def __post_init__(self) -> None:
        object.__setattr__(self, "momentum", _require_share("momentum", self.momentum))
        object.__setattr__(self, "average", require_bool("average", self.average))
        if self.schedule is None:
            object.__setattr__(self, "schedule", Constant() if self.average else LinearDecay())
        object.__setattr__(self, "lr", _checked(self.lr, self.schedule))

    @property
    def kind(self) -> str:
        """The core's name of it."""
        return "momentum" if self.momentum else "sgd"

    @property
    def needs_dense_steps(self) -> bool:
        """Whether a step changes every parameter."""
        return self.momentum > 0

    def constants(self, epochs: int) -> dict[str, Any]:
        """Return what a run of the core needs to know."""
        each = _AVERAGES_PER_EPOCH if self.average else 0
        return _constants(
            self.kind,
            decay1=self.momentum,
            averages_per_epoch=each,
            average_from=each if epochs > 1 else each // 2,
        )

    def auto_lr(self, *, norm2: float, l1: float, curvature: float, scale: float) -> float:
        """Return the rate for rows with these means; see the class."""
        del l1, scale
        return (1.0 - self.momentum) / (2.0 * curvature * norm2)


class _Adaptive:
    """What optimizers with a rate for each parameter have in common."""

    __slots__ = ()
    name: ClassVar[str]

    @property
    def kind(self) -> str:
        """The core's name of it."""
        return self.name

    @property
    def needs_dense_steps(self) -> bool:
        """Whether a step changes every parameter."""
        return self.name == "adam"


@dataclass(frozen=True, kw_only=True, slots=True)
class AdaGrad(_Adaptive):
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

    def constants(self, epochs: int) -> dict[str, Any]:
        """Return what a run of the core needs to know."""
        del epochs
        return _constants(self.name)

    def auto_lr(self, *, norm2: float, l1: float, curvature: float, scale: float) -> float:
        """Return the rate for rows with these means; see the class."""
        del norm2, curvature
        return 4.0 * scale / l1


@dataclass(frozen=True, kw_only=True, slots=True)
class Adam(_Adaptive):
    """Steps by decaying means of the gradient and its square.

    Every step changes every parameter: for `Sync`, and for `Hybrid` on dense rows.

    Parameters
    ----------
    lr : float or "auto"
        How far a step may move a parameter. "auto": ``scale / (2 mean(||x||_1))``,
        scale as for `AdaGrad`.
    beta1, beta2 : float
        In 0 .. 1, 1 excluded: how much of the two means a step keeps.
    schedule : Schedule or str
        As for `SGD`.

    References
    ----------
    Kingma and Ba 2015, "Adam: a method for stochastic optimization",
    arXiv:1412.6980. Penalties are applied apart from the means, at the
    parameter's own step (proximal; Loshchilov and Hutter 2019, arXiv:1711.05101,
    decouple them, too).
    """

    name: ClassVar[str] = "adam"
    lr: Rate = "auto"
    beta1: float = 0.9
    beta2: float = 0.999
    schedule: str | Schedule = field(default_factory=LinearDecay)

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta1", _require_share("beta1", self.beta1))
        object.__setattr__(self, "beta2", _require_share("beta2", self.beta2))
        object.__setattr__(self, "lr", _checked(self.lr, self.schedule))

    def constants(self, epochs: int) -> dict[str, Any]:
        """Return what a run of the core needs to know."""
        del epochs
        return _constants(self.name, decay1=self.beta1, decay2=self.beta2)

    def auto_lr(self, *, norm2: float, l1: float, curvature: float, scale: float) -> float:
        """Return the rate for rows with these means; see the class."""
        del norm2, curvature
        return 0.5 * scale / l1


@dataclass(frozen=True, kw_only=True, slots=True)
class FTRL(_Adaptive):
    """Follow the regularised leader, proximal: exact zeros under l1.

    The parameters are not stored but computed from two sums, of gradients and of
    their squares, and from the penalties of all rows so far.

    Parameters
    ----------
    lr : float or "auto"
        alpha of the paper. "auto": as for `AdaGrad`.
    beta : float
        In 1e-30 .. 1e30: what is added to the root of the sum of squares. The paper has
        1, for rows whose values are about 1; small, it leaves the scale of the
        features to the sums.

    References
    ----------
    McMahan et al. 2013, "Ad click prediction: a view from the trenches", KDD,
    doi:10.1145/2487575.2488200; penalties that add up with the rows: McMahan
    2011, "Follow-the-regularized-leader and mirror descent", AISTATS.
    """

    name: ClassVar[str] = "ftrl"
    lr: Rate = "auto"
    beta: float = 1e-3

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta", require_positive("beta", self.beta))
        if not _LEAST_BETA <= self.beta <= _MOST_BETA:
            raise InvalidSettingError(
                f"beta must be in {_LEAST_BETA} .. {_MOST_BETA}, got {shown(self.beta)}"
            )
        object.__setattr__(self, "lr", _checked(self.lr, self.schedule))

    @property
    def schedule(self) -> Schedule:
        """The rate is constant: the sums are of gradients at one rate."""
        return Constant()

    def constants(self, epochs: int) -> dict[str, Any]:
        """Return what a run of the core needs to know."""
        del epochs
        return _constants(self.name, beta=self.beta)

    def auto_lr(self, *, norm2: float, l1: float, curvature: float, scale: float) -> float:
        """Return the rate for rows with these means; see the class."""
        del norm2, curvature
        return 4.0 * scale / l1


Optimizer = SGD | AdaGrad | Adam | FTRL
_OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "adagrad": AdaGrad,
    "adam": Adam,
    "ftrl": FTRL,
}


def parse_optimizer(optimizer: str | Optimizer) -> Optimizer:
    """Turn "sgd" or "sgd(average=True)" into an optimizer.

    Parameters
    ----------
    optimizer : str or an optimizer
        An optimizer is returned as it is.

    Returns
    -------
    Optimizer

    Raises
    ------
    InvalidSettingError
        When the name or an argument is unknown.
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    expected = (
        f'optimizer must be one of {", ".join(_OPTIMIZERS)}, such as "sgd" or '
        '"sgd(average=True)", or ht.SGD(average=True)'
    )
    if not isinstance(optimizer, str):
        raise InvalidSettingError(f"{expected}, got {shown(optimizer)}")
    made: Optimizer = called(optimizer, _OPTIMIZERS, expected)
    return made
