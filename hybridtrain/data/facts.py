# SPDX-License-Identifier: BSD-3-Clause
"""Facts of rows: norms, shares of the weight, largest values; they add up over rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np

from hybridtrain._core.rows import Rows
from hybridtrain.data.arrays import Doubles, Floats
from hybridtrain.parallel import over_ranges, worthwhile

_Sums = tuple[int, float, float, float]


@dataclass(frozen=True, slots=True)
class Facts:
    """Hold facts of rows; the facts of disjoint rows add up.

    Attributes
    ----------
    n_rows, n_elements : int
    n_ones : int
        Elements equal to 1.
    norm2, l1, norm : float
        Sums over rows of weight times squared norm, times 1-norm, and times the
        norm of the row with its intercept.
    share : float64 array (n_features,) or None
        Sum of the weights of the rows that hold a feature.
    curvature : float64 array (n_features,) or None
        Sum over rows of ``s |x_j|`` times the norm of the row with its intercept.
    """

    n_rows: int
    n_elements: int
    n_ones: int
    norm2: float
    l1: float
    norm: float
    share: Doubles | None = field(default=None)
    curvature: Doubles | None = field(default=None)


def count_rows(
    rows: Rows, *, intercept: bool, columns: bool, threads: int, ranges: int | None = None
) -> Facts:
    """Gather the facts of all rows.

    Parameters
    ----------
    rows : Rows
        Checked, with weights of mean 1.
    intercept : bool
        Whether every row also holds an intercept of value 1.
    columns : bool
        Whether to gather also the facts of features, which take most of the time.
    threads : int
    ranges : int, optional
        Ranges of rows that are counted one by one and added up; None: as many as
        threads. The sums' bits depend on it.

    Returns
    -------
    Facts
    """
    n_rows, n_features = rows.shape

    ranges = min(threads if ranges is None else ranges, n_rows)
    bounds = [n_rows * k // ranges for k in range(ranges + 1)]

    def count(before: int, k: int, _: int) -> tuple[_Sums, Doubles, Doubles]:
        size = n_features if columns else 0
        share, curvature = np.zeros(size), np.zeros(size)
        pair = (share, curvature) if columns else (None, None)
        first, last = bounds[before + k], bounds[before + k + 1]
        return rows.count(first, last, intercept, *pair), share, curvature

    sums: list[_Sums] = []
    share = curvature = np.zeros(0)
    for before in range(0, ranges, threads):  # few at a time: each has arrays of all features
        few = min(threads, ranges - before)
        helpful = worthwhile(few, rows.n_elements)
        for part in over_ranges(partial(count, before), few, helpful, few):
            share = share + part[1] if sums else part[1]
            curvature = curvature + part[2] if sums else part[2]
            sums.append(part[0])
    return Facts(
        n_rows,
        rows.n_elements,
        sum(s[0] for s in sums),
        sum(s[1] for s in sums),
        sum(s[2] for s in sums),
        sum(s[3] for s in sums),
        share if columns else None,
        curvature if columns else None,
    )


def squared_norms(rows: Rows, *, threads: int) -> Floats:
    """Return the squared norm of each row."""
    norm2 = np.empty(rows.shape[0], np.float32)
    threads = worthwhile(threads, rows.n_elements)
    over_ranges(lambda first, last: rows.norms(first, last, norm2), len(norm2), threads)
    return norm2


def largest_values(rows: Rows, *, threads: int) -> Floats:
    """Return the largest ``|x|`` of each column; 0 for a column that no row holds."""
    n_rows, n_features = rows.shape

    def find(first: int, last: int) -> Floats:
        largest = np.zeros(n_features, np.float32)
        rows.raise_largest(first, last, largest)
        return largest

    largest: Floats = np.maximum.reduce(
        over_ranges(find, n_rows, worthwhile(threads, rows.n_elements))
    )
    return largest
