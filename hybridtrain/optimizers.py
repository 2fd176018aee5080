# SPDX-License-Identifier: BSD-3-Clause
"""Optimizers and learning-rate schedules."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

from hybridtrain._core.stream import OPTIMIZERS
from hybridtrain.errors import InvalidSettingError


def _require_positive(name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidSettingError(f"{name} must be a number > 0, got {value!r}")
    if not (math.isfinite(value) and value > 0):
        raise InvalidSettingError(f"{name} must be finite and > 0, got {value}")


class Schedule(Protocol):
    """How the learning rate changes with the rows processed by all workers."""

    def factor(self, epochs: float, total: int) -> float:
        """Return what to multiply the first learning rate with.

        Parameters
        ----------
        epochs : float
            Rows processed so far by all workers, divided by the rows of an epoch;
            below `total`.
        total : int
            The epochs of the run.

        Returns
        -------
        float
            In 0 .. 1.
        """


@dataclass(frozen=True, slots=True)
class Constant:
    """Keep the learning rate."""

    def factor(self, epochs: float, total: int) -> float:
        """Return 1."""
        return 1.0


@dataclass(frozen=True, slots=True)
class LinearDecay:
    """Lower the learning rate in a straight line to 0 at the end of the run.

    References
    ----------
    Defazio, Cutkosky, Mehta and Mishchenko 2023, "When, Why and How Much?
    Adaptive Learning Rate Scheduling by Refinement", arXiv:2310.07831.
    """

    def factor(self, epochs: float, total: int) -> float:
        """Return ``1 - t / total``."""
        return 1.0 - epochs / total


@dataclass(frozen=True, kw_only=True, slots=True)
class InverseScaling:
    """Divide the learning rate by ``(1 + t / epochs) ** power`` after t epochs.

    Parameters
    ----------
    power : float
        Greater than 0. With 1, SGD reaches the optimum of a strongly convex
        objective; 0.5 is the safe choice otherwise.
    epochs : float
        Greater than 0: after so many epochs the rate is 2 ** -power of the first.

    References
    ----------
    Bottou 2012, "Stochastic Gradient Descent Tricks", section 5.
    """

    power: float = 0.5
    epochs: float = 1.0

    def __post_init__(self) -> None:
        _require_positive("power", self.power)
        _require_positive("epochs", self.epochs)

    def factor(self, epochs: float, total: int) -> float:
        """Return ``(1 + t / epochs) ** -power``."""
        return float((1.0 + epochs / self.epochs) ** -self.power)


@dataclass(frozen=True, kw_only=True, slots=True)
class Exponential:
    """Multiply the learning rate by `decay` each epoch, smoothly.

    Parameters
    ----------
    decay : float
        In 0 .. 1, both excluded.
    """

    decay: float = 0.7

    def __post_init__(self) -> None:
        _require_positive("decay", self.decay)
        if self.decay >= 1:
            raise InvalidSettingError(f"decay must be below 1, got {self.decay}")

    def factor(self, epochs: float, total: int) -> float:
        """Return ``decay ** t``."""
        return float(self.decay**epochs)


_SCHEDULES: dict[str, type[Constant | LinearDecay | InverseScaling | Exponential]] = {
    "constant": Constant,
    "linear": LinearDecay,
    "inverse_scaling": InverseScaling,
    "exponential": Exponential,
}
Rate = float | Literal["auto"]


def _check(lr: Rate, schedule: str | Schedule | None) -> None:
    if lr != "auto":
        if isinstance(lr, str):
            raise InvalidSettingError(f'lr must be "auto" or a number > 0, got {lr!r}')
        _require_positive("lr", lr)
    if isinstance(schedule, str):
        if schedule not in _SCHEDULES:
            names = ", ".join(_SCHEDULES)
            raise InvalidSettingError(f"schedule must be one of {names}, got {schedule!r}")
    elif not callable(getattr(schedule, "factor", None)):
        raise InvalidSettingError(
            f"schedule must have a method factor(epochs, total), got {schedule!r}"
        )


_AVERAGES_PER_EPOCH = 16


def _require_share(name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise InvalidSettingError(f"{name} must be a number in 0 .. 1, 1 excluded, got {value!r}")


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
        "linear", "constant", "inverse_scaling" or "exponential", one of the
        classes, or any object with `Schedule`'s method. None: "linear", which was
        the best of nine on eight real sets, at 5 and at 10 epochs; with `average`
        "constant".

    References
    ----------
    The rate: Nagumo and Noda 1967 (normalised least mean squares). Averages:
    Polyak and Juditsky 1992; Xu 2011, arXiv:1107.2490.
    """

    name: ClassVar[str] = "sgd"
    lr: Rate = "auto"
    momentum: float = 0.0
    average: bool = False
    schedule: str | Schedule | None = None

    def __post_init__(self) -> None:
        _require_share("momentum", self.momentum)
        if not isinstance(self.average, bool):
            raise InvalidSettingError(f"average must be True or False, got {self.average!r}")
        if self.schedule is None:
            object.__setattr__(self, "schedule", Constant() if self.average else LinearDecay())
        _check(self.lr, self.schedule)

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
        _check(self.lr, self.schedule)

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
        _require_share("beta1", self.beta1)
        _require_share("beta2", self.beta2)
        _check(self.lr, self.schedule)

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
        Greater than 0: what is added to the root of the sum of squares.

    References
    ----------
    McMahan et al. 2013, "Ad click prediction: a view from the trenches", KDD,
    doi:10.1145/2487575.2488200; penalties that add up with the rows: McMahan
    2011, "Follow-the-regularized-leader and mirror descent", AISTATS.
    """

    name: ClassVar[str] = "ftrl"
    lr: Rate = "auto"
    beta: float = 1.0

    def __post_init__(self) -> None:
        _require_positive("beta", self.beta)
        _check(self.lr, self.schedule)

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
    """Turn a name into an optimizer with its defaults.

    Parameters
    ----------
    optimizer : "sgd", "adagrad", "adam", "ftrl" or an optimizer
        An optimizer is returned as it is.

    Returns
    -------
    Optimizer

    Raises
    ------
    InvalidSettingError
        When the name is unknown.
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    if not isinstance(optimizer, str) or optimizer not in _OPTIMIZERS:
        raise InvalidSettingError(
            f"optimizer must be one of {', '.join(_OPTIMIZERS)}, or ht.SGD(...), "
            f"ht.AdaGrad(...), ht.Adam(...) or ht.FTRL(...), got {optimizer!r}"
        )
    return _OPTIMIZERS[optimizer]()


def parse_schedule(schedule: str | Schedule | None) -> Schedule:
    """Return a schedule by its name; None: a constant; others are returned as they are."""
    return _SCHEDULES[schedule]() if isinstance(schedule, str) else schedule or Constant()


def learning_rates(
    schedule: str | Schedule | None, lr: float, epochs: int, per_epoch: int
) -> list[float]:
    """Return the learning rates at equal steps of all epochs.

    Parameters
    ----------
    schedule : Schedule or str
    lr : float
        The first learning rate.
    epochs, per_epoch : int
        Number of epochs, and of steps in each.

    Returns
    -------
    list of float
        ``epochs * per_epoch`` rates.

    Raises
    ------
    InvalidSettingError
        When a rate of a user's schedule is not finite and at least 0.
    """
    chosen = parse_schedule(schedule)
    rates = [lr * chosen.factor(step / per_epoch, epochs) for step in range(epochs * per_epoch)]
    if not all(math.isfinite(rate) and rate >= 0 for rate in rates):
        raise InvalidSettingError(f"{schedule!r} gives a learning rate that is not finite and >= 0")
    return rates
