# SPDX-License-Identifier: BSD-3-Clause
"""Figures of several seeds: their band, and whether two strategies differ by more than that."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LEVEL = 0.05  # the chance that any strategy is said to differ though none does


@dataclass(frozen=True, kw_only=True, slots=True)
class Band:
    """Hold the middle and the ends of one figure over all seeds.

    Attributes
    ----------
    median, lowest, highest : float
        In the figure's unit. A run without the figure counts as the worst one, infinity
        or, of a score, minus infinity.
    """

    median: float
    lowest: float
    highest: float


def band(figures: Iterable[float | None], *, worst: float = math.inf) -> Band:
    """Return the band of one figure over all seeds.

    Parameters
    ----------
    figures : iterable of float or None
        At least one; None and NaN: the run has no such figure.
    worst : float
        What such a run counts as.

    Returns
    -------
    Band

    Examples
    --------
    >>> band([3.0, 1.0, None])
    Band(median=3.0, lowest=1.0, highest=inf)
    """
    values = [worst if figure is None or math.isnan(figure) else figure for figure in figures]
    return Band(median=statistics.median(values), lowest=min(values), highest=max(values))


def differ(first: Sequence[float], second: Sequence[float], *, n_pairs: int) -> bool | None:
    """Decide whether the figures of two strategies differ by more than their spread.

    Figures of the same seed are subtracted. The strategies differ if the mean of these
    differences is further from 0 than their scatter explains: Student's t test of the
    pairs, two-sided, at 5 % shared among all pairs of strategies of the comparison.

    Parameters
    ----------
    first, second : sequence of float (n_seeds,)
        The k-th figures of both are of the same seed.
    n_pairs : int
        Pairs of strategies in the comparison, at least 1.

    Returns
    -------
    bool or None
        None: there are fewer than two seeds, or not all figures are finite.

    References
    ----------
    Student 1908, "The probable error of a mean", Biometrika 6; Dunn 1961, "Multiple
    comparisons among means", JASA 56, for the shares of the level.

    Examples
    --------
    >>> differ([0.40, 0.41, 0.42], [0.50, 0.51, 0.53], n_pairs=1)
    True
    >>> differ([0.40, 0.41, 0.42], [0.43, 0.41, 0.40], n_pairs=1)
    False
    """
    n = len(first)
    if n < 2 or not all(map(math.isfinite, [*first, *second])):
        return None
    # SciPy's import takes long, and only a comparison of several seeds needs it.
    from scipy.special import stdtrit  # noqa: PLC0415

    differences = [b - a for a, b in zip(first, second, strict=True)]
    bound = float(stdtrit(n - 1, 1.0 - LEVEL / n_pairs / 2.0))
    mean, scatter = statistics.fmean(differences), statistics.stdev(differences)
    return abs(mean) * math.sqrt(n) > bound * scatter


def differ_in_ratio(
    first: Sequence[float], second: Sequence[float], *, n_pairs: int
) -> bool | None:
    """Decide as `differ`, of the ratios of positive figures: times are "2x", not "3 s more".

    Examples
    --------
    >>> differ_in_ratio([1.0, 2.0, 4.0], [2.0, 4.1, 8.1], n_pairs=1)
    True
    """
    logs = [[math.log(x) if x > 0 else math.nan for x in side] for side in (first, second)]
    return differ(*logs, n_pairs=n_pairs)
