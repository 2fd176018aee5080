# SPDX-License-Identifier: BSD-3-Clause
"""Losses: a class for each, with all facts that Python needs.

The core does the arithmetic (ht_loss.h; ht_softmax.h for softmax) and knows a loss by its
name. To add one: its line in ht_loss.h, its arithmetic in ht_loss.c, its class here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hybridtrain._core import loss as core
from hybridtrain.arguments import nearest, shown
from hybridtrain.errors import InvalidDataError, InvalidSettingError
from hybridtrain.models.loss import Loss

if TYPE_CHECKING:
    from hybridtrain.data.arrays import Floats


_BOUND_HEADROOM = 4.0  # of a first bound that is a guess; later ones follow the gradients
_DEVIATION = 1.4826  # standard deviations in a median absolute deviation, of a normal law
_HUBER_STEPS = 30
_LARGEST_TARGET = 1e15  # sums of squared errors stay far below the limit of float32
_LEAST_DELTA, _MOST_DELTA = 1e-30, 1e30  # float32 computes with its products
_LEAST_LEVEL = 1e-6  # of a quantile, from 0 and from 1
_MOST_LOG = 88.0  # of a number that float32 holds
_LOSS_ROOT = 8.0  # of how many bounds squared a loss may be; 2^23 is the most of all rows of a task
_RAREST = 1e-6  # share of a class, for its first intercept


class _OfTwoClasses(Loss):
    is_classifier = True
    most_classes = 2


class _OfNumbers(Loss):
    is_classifier = False
    most_classes = 0
    is_shift_invariant = True

    def check_targets(self, targets: Floats) -> None:
        largest = float(np.abs(targets).max(initial=0.0))
        if largest > _LARGEST_TARGET:
            raise InvalidDataError(
                f"y must be at most {_LARGEST_TARGET:g} in absolute value, as float32 cannot hold "
                f"the sums of squares of larger errors; found {largest:.3g}: scale y"
            )

    def target_scale(self, targets: Floats) -> float:
        return float(targets.std(dtype=np.float64))

    def largest_gradient(self, targets: Floats) -> tuple[float, bool]:
        return _BOUND_HEADROOM * float(np.abs(targets - targets.mean()).max()), False


def _spread(targets: Floats) -> float:
    """Return the spread of most targets, from the median deviation; distant ones hardly count."""
    far = np.abs(targets - np.median(targets))
    return float(_DEVIATION * np.median(far)) or float(far.std(dtype=np.float64))


def _of_straight_line(slope: float, spread: float) -> float:
    """Return a slope, or more where losses would be too large beside its square.

    They are counted in units of the bound squared, up to a limit (ht_sync_parts.h).
    """
    return max(slope, math.sqrt(slope * spread) / _LOSS_ROOT)


class Logistic(_OfTwoClasses):
    """``log(1 + exp(-y margin))``."""

    name = "logistic"
    has_probabilities = True
    counterpart = "softmax"

    def first_intercept(self, targets: Floats, weights: Floats | None, n_classes: int) -> float:
        """Return the log-odds of the second class."""
        mean = float(np.average(targets.astype(np.float64), weights=weights))
        share = min(max((1.0 + mean) / 2.0, _RAREST), 1.0 - _RAREST)
        return math.log(share / (1.0 - share))

    def probabilities(self, z: Floats, n_classes: int) -> Floats:
        """Return those of the first and of the second class."""
        both = np.empty((2, len(z)), np.float32)
        core.sigmoid(-z, both[0])
        core.sigmoid(z, both[1])
        return np.ascontiguousarray(both.T)


class Hinge(_OfTwoClasses):
    """``max(0, 1 - y margin)``.

    The first intercept is that of `SquaredHinge`. The best one, -1 or 1, is far from any
    other where the classes are nearly balanced.
    """

    name = "hinge"


class SquaredHinge(_OfTwoClasses):
    """``max(0, 1 - y margin)^2``."""

    name = "squared_hinge"

    def largest_gradient(self, targets: Floats) -> tuple[float, bool]:
        """Return 2 (1 - y margin) of the first margin, which is in -1 .. 1."""
        return 4.0, False


class Softmax(Loss):
    """``log(sum_k exp(margin_k)) - margin_y``, for two classes or more."""

    name = "softmax"
    is_classifier = True
    most_classes = core.MAX_CLASSES
    has_margin_per_class = True
    has_probabilities = True
    counterpart = "logistic"

    @property
    def number(self) -> int:
        """0, which the core passes over: there are classes."""
        return 0

    def curvature(self, targets: Floats) -> float:
        """Return the largest eigenvalue of the second derivative in the margins."""
        return core.SOFTMAX_CURVATURE

    def total(self, z: Floats, targets: Floats, weights: Floats | None, n_classes: int) -> float:
        """Return the sum of the rows' losses, each times its weight."""
        return core.softmax_sum(n_classes, z, targets, weights)

    def first_intercept(self, targets: Floats, weights: Floats | None, n_classes: int) -> Floats:
        """Return the logarithms of the classes' shares, of mean 0."""
        counts = np.bincount(targets.astype(np.intp), weights, n_classes)
        logs = np.log(np.maximum(counts / counts.sum(), _RAREST))
        centered: Floats = (logs - logs.mean()).astype(np.float32)
        return centered

    def probabilities(self, z: Floats, n_classes: int) -> Floats:
        """Return those of the classes, in their order."""
        proba = np.empty((len(z), n_classes), np.float32)
        core.softmax(n_classes, z, proba)
        return proba


class Squared(_OfNumbers):
    """``(margin - y)^2 / 2``."""

    name = "squared"


@dataclass(frozen=True)
class Huber(_OfNumbers):
    """``(margin - y)^2 / 2`` up to a distance of `delta`, a straight line beyond."""

    name = "huber"
    delta: float

    def __post_init__(self) -> None:
        if isinstance(self.delta, bool) or not isinstance(self.delta, int | float):
            raise InvalidSettingError(f"delta must be a number > 0, got {shown(self.delta)}")
        if not _LEAST_DELTA <= self.delta <= _MOST_DELTA:
            raise InvalidSettingError(
                f"delta must be in {_LEAST_DELTA} .. {_MOST_DELTA}, got {shown(self.delta)}"
            )

    def parameter(self, targets: Floats) -> float:
        """Return delta."""
        return self.delta

    def target_scale(self, targets: Floats) -> float:
        """Return the spread of most targets, not of those far off."""
        return _spread(targets)

    def first_intercept(self, targets: Floats, weights: Floats | None, n_classes: int) -> float:
        """Return the location with the smallest sum of losses.

        Starts from the median and takes weighted means. A target further away than delta
        has the weight delta / distance. No mean is worse than the one before (Huber 1981,
        "Robust Statistics", chapter 7).
        """
        doubles = targets.astype(np.float64)
        center = float(np.median(doubles))
        for _ in range(_HUBER_STEPS):
            share = self.delta / np.maximum(np.abs(doubles - center), self.delta)
            weight = share if weights is None else share * weights
            center = float(np.average(doubles, weights=weight))
        return center

    def largest_gradient(self, targets: Floats) -> tuple[float, bool]:
        """Return delta, the slope of the straight lines; see `_of_straight_line`."""
        spread, _ = super().largest_gradient(targets)
        if self.delta >= spread:
            return spread, False
        return _of_straight_line(self.delta, spread), True


class Poisson(_OfNumbers):
    """Half of the Poisson deviance of counts, whose mean is ``exp(margin)``.

    ``exp(margin) - y margin``, plus a constant that makes it 0 where the mean is y.
    """

    name = "poisson"
    is_shift_invariant = False

    def check_targets(self, targets: Floats) -> None:
        """Refuse negative numbers."""
        super().check_targets(targets)
        if targets.min() < 0:
            row = int(np.argmin(targets))
            raise InvalidDataError(
                f"y must be >= 0 for poisson loss, found {targets[row]} in row {row}"
            )

    def curvature_scale(self, targets: Floats) -> float:
        """Return twice the mean of y weighted by y.

        The second derivative is a row's mean, which has no bound. With the plain mean of y,
        the rate would be too large for the rows of the largest counts: steps would diverge.
        """
        doubles = targets.astype(np.float64)
        return float(2.0 * (doubles * doubles).sum() / (doubles.sum() or 1.0)) or 1.0

    def target_scale(self, targets: Floats) -> float:
        """Return 1: a factor of e."""
        return 1.0

    def first_intercept(self, targets: Floats, weights: Floats | None, n_classes: int) -> float:
        """Return the logarithm of the mean."""
        mean = float(np.average(targets.astype(np.float64), weights=weights))
        return math.log(max(mean, _RAREST))

    def predictions(self, z: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the means."""
        means: npt.NDArray[Any] = np.exp(np.minimum(z, _MOST_LOG))
        return means


@dataclass(frozen=True)
class Quantile(_OfNumbers):
    """``q (y - margin)`` below y, ``(1 - q) (margin - y)`` above: least at the quantile q."""

    name = "quantile"
    q: float

    def __post_init__(self) -> None:
        if isinstance(self.q, bool) or not isinstance(self.q, int | float):
            raise InvalidSettingError(f"q must be a number in 0 .. 1, got {shown(self.q)}")
        if not _LEAST_LEVEL <= self.q <= 1 - _LEAST_LEVEL:
            raise InvalidSettingError(
                f"q must be in {_LEAST_LEVEL} .. {1 - _LEAST_LEVEL}, got {shown(self.q)}"
            )

    def parameter(self, targets: Floats) -> float:
        """Return q."""
        return self.q

    def curvature_scale(self, targets: Floats) -> float:
        """Return 1 / scale of the targets: the gradient changes by 1 over the scale."""
        return 1.0 / (self.target_scale(targets) or 1.0)

    def target_scale(self, targets: Floats) -> float:
        """Return the spread of most targets, not of those far off."""
        return _spread(targets)

    def first_intercept(self, targets: Floats, weights: Floats | None, n_classes: int) -> float:
        """Return the quantile of the targets."""
        order = np.argsort(targets)
        shares = np.ones(len(targets)) if weights is None else weights[order].astype(np.float64)
        reached = np.cumsum(shares)
        return float(targets[order[np.searchsorted(reached, self.q * reached[-1])]])

    def largest_gradient(self, targets: Floats) -> tuple[float, bool]:
        """Return the slope of the steeper side; see `_of_straight_line`."""
        spread, _ = super().largest_gradient(targets)
        return _of_straight_line(max(self.q, 1.0 - self.q), spread), True


_ALL: tuple[type[Loss], ...] = (
    *(Logistic, Hinge, SquaredHinge, Softmax),
    *(Squared, Huber, Poisson, Quantile),
)
LOSSES: dict[str, type[Loss]] = {loss.name: loss for loss in _ALL}
OF_CLASSES = tuple(loss.name for loss in _ALL if loss.is_classifier)
OF_NUMBERS = tuple(loss.name for loss in _ALL if not loss.is_classifier)
WITH_PROBABILITIES = tuple(loss.name for loss in _ALL if loss.has_probabilities)
PARAMETERS = {field.name: loss for loss in _ALL for field in fields(loss)}  # name -> its loss


def require_loss(name: Any) -> type[Loss]:
    """Return the loss of a name.

    Raises
    ------
    InvalidSettingError
        When no loss has this name.
    """
    if not isinstance(name, str) or name not in LOSSES:
        raise InvalidSettingError(
            f"loss must be one of {', '.join(LOSSES)}, got {shown(name)}" + nearest(name, LOSSES)
        )
    return LOSSES[name]
