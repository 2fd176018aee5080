# SPDX-License-Identifier: BSD-3-Clause
"""The learning rate of rows that come in parts."""

from __future__ import annotations

from dataclasses import dataclass

from hybridtrain.optimizers.schedules import Schedule

_ROWS_PER_FEATURE, _LEAST_ROWS, _MOST_ROWS = 10, 1_000, 20_000
_POWER = 0.75


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamSchedule:
    """Give the learning rate of one call of `partial_fit`.

    A schedule without an end continues where the last call left it. A schedule that
    goes to 0 at the end of the run cannot: a stream has no known end, and may be cut
    into calls of any size. Its rate is divided by ``(1 + rows / k) ** 0.75``, with k
    ten times the number of features, but in 1,000 .. 20,000. After k rows every
    parameter has had its first large steps. Of sixteen such rules on seven data
    sets this one was never far from the best, at one pass and at eight.

    Parameters
    ----------
    schedule : Schedule
        The schedule of the optimizer.
    seen : int
        Rows trained before this call.
    rows : int
        Rows of this call.
    n_features : int
    epochs : int
        Epochs and calls before this one.
    weight : float
        Mean weight of this call's rows, divided by the mean weight of all rows so
        far: `train` scales weights to mean 1.

    References
    ----------
    Robbins and Monro 1951, "A stochastic approximation method": the rates of an
    endless stream reach the optimum if their sum is infinite and that of their
    squares is not, for powers above 1/2 up to 1.
    """

    schedule: Schedule
    seen: int
    rows: int
    n_features: int
    epochs: int
    weight: float = 1.0

    def factor(self, epochs: float, total: float) -> float:
        """Return the factor after `epochs` epochs of this call."""
        if self.schedule.factor(0.5, 1) != self.schedule.factor(0.5, 2):  # it has an end
            scale = _ROWS_PER_FEATURE * self.n_features
            scale = min(max(scale, _LEAST_ROWS), _MOST_ROWS)
            factor = (1.0 + (self.seen + epochs * self.rows) / scale) ** -_POWER
        else:
            factor = self.schedule.factor(self.epochs + epochs, self.epochs + total)
        return float(self.weight * factor)
