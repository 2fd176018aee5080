# SPDX-License-Identifier: BSD-3-Clause
"""Learning-rate schedules: how the rate changes with the rows that all workers have processed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from hybridtrain.arguments import is_finite, nearest, plain, require_positive, shown
from hybridtrain.errors import InvalidSettingError

_LARGEST_RATE = float(np.finfo(np.float32).max)
_EPOCHS_AHEAD = 1000  # whose rates are made, and checked, before a run
_FIRST_SHARE = 1.0 / 32.0  # of a warm-up is done at its first row: a rate of 0 trains nothing


class Schedule(Protocol):
    """Change the learning rate with the rows processed by all workers.

    Notes
    -----
    **Thread safety.** Only the thread that called `train` calls `factor`. If several
    threads train with one schedule object, its `factor` must allow calls at the same time.
    """

    def factor(self, epochs: float, total: float) -> float:
        """Return the factor on the first learning rate.

        Parameters
        ----------
        epochs : float
            Rows processed so far by all workers, divided by the rows of an epoch;
            below `total`.
        total : float
            The epochs of the run. It is a whole number, except in a run with `seconds`.

        Returns
        -------
        float
            In 0 .. 1.
        """


@dataclass(frozen=True, slots=True)
class Constant:
    """Keep the learning rate."""

    def factor(self, epochs: float, total: float) -> float:
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

    def factor(self, epochs: float, total: float) -> float:
        """Return ``1 - t / total``."""
        return 1.0 - epochs / total


@dataclass(frozen=True, slots=True)
class Cosine:
    """Lower the learning rate along half a cosine to 0 at the end of the run.

    It stays higher than `LinearDecay` in the first half, and lower in the second.

    References
    ----------
    Loshchilov and Hutter 2017, "SGDR: Stochastic Gradient Descent with Warm
    Restarts", arXiv:1608.03983, equation 5 without restarts.
    """

    def factor(self, epochs: float, total: float) -> float:
        """Return ``(1 + cos(pi t / total)) / 2``."""
        return (1.0 + math.cos(math.pi * epochs / total)) / 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class InverseScaling:
    """Divide the learning rate by ``(1 + t / epochs) ** power`` after t epochs.

    Parameters
    ----------
    power : float
        Greater than 0. With 1, SGD reaches the optimum of a strongly convex
        objective; 0.5 is the safe choice otherwise.
    epochs : float
        Greater than 0: the number of epochs after which the rate is 2 ** -power of the
        first rate.

    References
    ----------
    Bottou 2012, "Stochastic Gradient Descent Tricks", section 5.
    """

    power: float = 0.5
    epochs: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "power", require_positive("power", self.power))
        object.__setattr__(self, "epochs", require_positive("epochs", self.epochs))

    def factor(self, epochs: float, total: float) -> float:
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
        object.__setattr__(self, "decay", require_positive("decay", self.decay))
        if self.decay >= 1:
            raise InvalidSettingError(f"decay must be below 1, got {self.decay}")

    def factor(self, epochs: float, total: float) -> float:
        """Return ``decay ** t``."""
        return float(self.decay**epochs)


@dataclass(frozen=True, slots=True)
class Warmup:
    """Raise the learning rate in a straight line from near 0, then follow another schedule.

    Parameters
    ----------
    epochs : float
        Greater than 0: how long the rate rises; less than one epoch is common.
        The first rows have 1/32 of the rate that the next schedule starts with.
    then : Schedule or str
        The next schedule. It sees the rest of the run as a whole run.

    References
    ----------
    Goyal et al. 2017, "Accurate, Large Minibatch SGD: Training ImageNet in 1
    Hour", arXiv:1706.02677, section 2.2, gradual warm-up.
    """

    epochs: float
    then: str | Schedule = field(default_factory=LinearDecay)

    def __post_init__(self) -> None:
        object.__setattr__(self, "epochs", require_positive("epochs", self.epochs))
        object.__setattr__(self, "then", parse_schedule(self.then))

    def factor(self, epochs: float, total: float) -> float:
        """Return a rising share of the next schedule's first factor, then its factors."""
        then = parse_schedule(self.then)
        rest = total - self.epochs
        if epochs < self.epochs or rest <= 0:
            first = then.factor(0.0, rest) if rest > 0 else 1.0
            return first * min(_FIRST_SHARE + (1.0 - _FIRST_SHARE) * epochs / self.epochs, 1.0)
        return then.factor(epochs - self.epochs, rest)


SCHEDULES: dict[str, type[Constant | LinearDecay | Cosine | InverseScaling | Exponential]] = {
    "constant": Constant,
    "linear": LinearDecay,
    "cosine": Cosine,
    "inverse_scaling": InverseScaling,
    "exponential": Exponential,
}


def parse_schedule(schedule: str | Schedule) -> Schedule:
    """Turn a name into a schedule with its defaults.

    Parameters
    ----------
    schedule : str or Schedule
        A schedule is returned as it is.

    Returns
    -------
    Schedule

    Raises
    ------
    InvalidSettingError
        When the name is unknown, or the object has no `factor`.
    """
    if isinstance(schedule, str):
        if schedule not in SCHEDULES:
            names = ", ".join(SCHEDULES)
            raise InvalidSettingError(
                f"schedule must be one of {names}, got {shown(schedule)}"
                + nearest(schedule, SCHEDULES)
            )
        return SCHEDULES[schedule]()
    if isinstance(schedule, type) or not callable(getattr(schedule, "factor", None)):
        raise InvalidSettingError(
            f"schedule must have a method factor(epochs, total), got {shown(schedule)}"
        )
    return schedule


class Rates:
    """Make the learning rates of a run, an epoch at a time.

    Parameters
    ----------
    schedule : Schedule or str
    lr : float
        The first learning rate.
    epochs : int
        The epochs of the run.
    per_epoch : int
        Rates in each epoch.

    Raises
    ------
    InvalidSettingError
        As `learning_rates`, for the first 1,000 epochs.
    """

    def __init__(self, schedule: str | Schedule, lr: float, epochs: int, per_epoch: int) -> None:
        self.epochs = epochs
        self._schedule, self._lr, self._per_epoch = parse_schedule(schedule), lr, per_epoch
        ahead = learning_rates(
            self._schedule, lr, epochs, per_epoch, most=_EPOCHS_AHEAD * per_epoch
        )
        self._ahead = np.array(ahead, np.float32)

    def of_epoch(self, epoch: int) -> npt.NDArray[np.float32]:
        """Return the rates of an epoch, from 1.

        Raises
        ------
        InvalidSettingError
            When a rate is not finite and at least 0 as float32.
        """
        each = self._per_epoch
        first = (epoch - 1) * each
        if first < len(self._ahead):
            return self._ahead[first : first + each]
        steps = range(first, first + each)
        rates = [rate_at(self._schedule, self._lr, k / each, self.epochs) for k in steps]
        return np.array(rates, np.float32)


def learning_rates(
    schedule: str | Schedule, lr: float, epochs: float, per_epoch: int, *, most: int | None = None
) -> list[float]:
    """Return the learning rates at equal steps of a run.

    Parameters
    ----------
    schedule : Schedule or str
    lr : float
        The first learning rate.
    epochs : float
        The epochs of the run.
    per_epoch : int
        Steps in each epoch.
    most : int, optional
        The most steps to return; None: all.

    Returns
    -------
    list of float
        One rate for each step that begins within `epochs`.

    Raises
    ------
    InvalidSettingError
        When a rate is not finite and at least 0 as float32, or all are 0.
    """
    chosen = parse_schedule(schedule)
    n_steps = math.ceil(epochs * per_epoch)
    n_made = n_steps if most is None else min(n_steps, most)
    rates = [rate_at(chosen, lr, step / per_epoch, epochs) for step in range(n_made)]
    if n_made == n_steps and not np.any(np.asarray(rates, np.float32)):
        raise InvalidSettingError(
            "a learning rate must be above 0 (as float32) somewhere in the run, got 0 everywhere: "
            f"lr is {lr:.6g}, its largest product with a factor of {shown(chosen)} {max(rates):.6g}"
        )
    return rates


def rate_at(schedule: Schedule, lr: float, epochs: float, total: float) -> float:
    """Return the learning rate after some epochs.

    Parameters
    ----------
    schedule : Schedule
    lr : float
        The first learning rate.
    epochs, total : float
        As for `Schedule.factor`.

    Returns
    -------
    float

    Raises
    ------
    InvalidSettingError
        When the factor is not a number, or the rate not finite and at least 0 as float32.
    """
    factor = plain(schedule.factor(epochs, total))
    if not isinstance(factor, int | float):
        raise InvalidSettingError(
            f"schedule must have factors that are numbers, got {shown(factor)} from "
            f"{shown(schedule)} after {epochs:g} epochs"
        )
    if isinstance(factor, int) and not is_finite(factor):
        factor = math.inf if factor > 0 else -math.inf
    rate = float(lr * factor)
    if not 0 <= rate <= _LARGEST_RATE:
        raise InvalidSettingError(
            f"learning rates must be in 0 .. {_LARGEST_RATE:.3g}, got {rate:.6g} after "
            f"{epochs:g} epochs: lr is {lr:.6g}, the factor of {shown(schedule)} {factor:.6g}"
        )
    return rate
