# SPDX-License-Identifier: BSD-3-Clause
"""Periods: how many steps replicas make by themselves before they are merged."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from hybridtrain.arguments import called, plain, require_int, require_positive, shown
from hybridtrain.errors import InvalidSettingError


@dataclass(frozen=True, kw_only=True, slots=True)
class Course:
    """Hold what a period may follow, at the start of an epoch after the first.

    Attributes
    ----------
    lr, first_lr : float
        Learning rates at the start of this epoch and of the run.
    loss, first_loss : float
        Mean losses of the rows of the epoch before this one, and of the first epoch.
    merging : float
        The share of the workers' time that merges took in the epoch before this one.
    """

    lr: float
    first_lr: float
    loss: float
    first_loss: float
    merging: float


class Period(Protocol):
    """Choose the steps between two merges, epoch by epoch."""

    @property
    def follows_time(self) -> bool:
        """Whether the choice depends on time: then equal runs have different bits."""

    def first(self, usual: int, lr: float) -> int:
        """Return the steps of the first epoch, at rate lr; usual: those that nobody has chosen."""

    def following(self, steps: int, first: int, course: Course) -> int:
        """Return the steps of an epoch, from those of the epoch before it and of the first."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """Keep one number of steps; None: the usual one."""

    every: int | None

    @property
    def follows_time(self) -> bool:
        """Return False."""
        return False

    def first(self, usual: int, lr: float) -> int:
        """Return the number."""
        del lr
        return self.every or usual

    def following(self, steps: int, first: int, course: Course) -> int:
        """Return the number of the epoch before."""
        del first, course
        return steps


@dataclass(frozen=True, slots=True)
class AdaComm:
    """Merge more often as the loss falls: ``ceil(sqrt(lr_0 / lr * loss / loss_0) * first)``.

    Where this is no less than in the epoch before, half of the number before is taken.

    References
    ----------
    Wang and Joshi 2019, "Adaptive communication strategies", arXiv:1810.08313.
    """

    @property
    def follows_time(self) -> bool:
        """Return False."""
        return False

    def first(self, usual: int, lr: float) -> int:
        """Return the usual number."""
        del lr
        return usual

    def following(self, steps: int, first: int, course: Course) -> int:
        """Return fewer steps than in the epoch before, at least 1."""
        if not (course.first_loss > 0 and course.lr > 0):
            return -(-steps // 2)
        ratio = course.first_lr / course.lr * course.loss / course.first_loss
        chosen = math.ceil(math.sqrt(max(ratio, 0.0)) * first)
        return max(chosen, 1) if chosen < steps else -(-steps // 2)


@dataclass(frozen=True, slots=True)
class Measured:
    """Merge as often as takes a tenth of the workers' time."""

    @property
    def follows_time(self) -> bool:
        """Return True."""
        return True

    def first(self, usual: int, lr: float) -> int:
        """Return the usual number."""
        del lr
        return usual

    def following(self, steps: int, first: int, course: Course) -> int:
        """Return the steps with which merges would have taken a tenth of the time."""
        del first
        share = min(course.merging, 0.99)
        return max(math.ceil(steps * share / (1.0 - share) * (1.0 - _SHARE) / _SHARE), 1)


_SHARE = 0.1  # of the time, in merges


@dataclass(frozen=True, kw_only=True, slots=True)
class QSR:
    """Merge less often as the learning rate falls, by the quadratic synchronisation rule.

    The steps between two merges are ``max(every, floor((alpha / lr) ** 2))``, with the learning
    rate at the start of an epoch. An epoch has at least one merge.

    Parameters
    ----------
    every : int
        The fewest steps, at least 1.
    alpha : float, optional
        Greater than 0, in units of the learning rate. None: ``sqrt(every)`` times the run's first
        learning rate, so that the number grows from `every` on.

    References
    ----------
    Gu, Lyu, Arora, Zhang and Huang 2024, "A quadratic synchronization rule for distributed deep
    learning", arXiv:2310.14423.
    """

    every: int = 4
    alpha: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "every", require_int("every", self.every, least=1))
        if self.alpha is not None:
            object.__setattr__(self, "alpha", require_positive("alpha", self.alpha))

    @property
    def follows_time(self) -> bool:
        """Return False."""
        return False

    def first(self, usual: int, lr: float) -> int:
        """Return the steps at the first rate."""
        del usual
        return self._at(lr, lr)

    def following(self, steps: int, first: int, course: Course) -> int:
        """Return the steps at this epoch's rate."""
        del steps, first
        return self._at(course.lr, course.first_lr)

    def _at(self, lr: float, first_lr: float) -> int:
        alpha = math.sqrt(self.every) * first_lr if self.alpha is None else self.alpha
        if not alpha < lr * _MOST:  # also where lr is 0
            return _MOST
        return max(self.every, math.floor((alpha / lr) ** 2 * (1 + _EPS)))


_EPS = 2.0**-40  # a square of a root is not quite the number
_MOST = 1 << 15


def parse_period(every: int | str | QSR | None) -> Period:
    """Turn a number of steps, "adacomm", "auto", "qsr(every=4)" or None into a period.

    Raises
    ------
    InvalidSettingError
        When it is something else, or out of range.
    """
    expected = 'every must be an int >= 1, "adacomm", "auto", or ht.QSR(...) such as "qsr(every=4)"'
    value = plain(every)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return Fixed(
            None if value is None else require_int("every", value, least=1, most=_MOST_STEPS)
        )
    if isinstance(value, str):
        made: Period = called(value, {"adacomm": AdaComm, "auto": Measured, "qsr": QSR}, expected)
        return made
    if not isinstance(value, QSR):
        raise InvalidSettingError(f"{expected}, got {shown(every)}")
    return value


_MOST_STEPS = (1 << 32) - 1
