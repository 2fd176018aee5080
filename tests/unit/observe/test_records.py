# SPDX-License-Identifier: BSD-3-Clause
"""Records of a run, as values."""

from __future__ import annotations

import pytest

from hybridtrain.observe.records import Staleness


def _histogram(values: list[int]) -> Staleness:
    """Return the histogram of values, counted here in the plain way."""
    counts = [0] * 48
    for value in values:
        counts[value.bit_length()] += 1
    return Staleness(tuple(counts), sum(values), max(values), "exchange")


def test_the_mean_is_that_of_the_values() -> None:
    assert _histogram([0, 1, 2, 5]).mean == 2.0


def test_without_observations_everything_is_zero() -> None:
    empty = Staleness((0,) * 48, 0, 0, "exchange")
    assert empty.mean == 0
    assert empty.quantile(0.5) == 0


@pytest.mark.parametrize("q", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_a_quantile_is_bounded_within_a_factor_of_two(q: float) -> None:
    values = sorted([0, 0, 1, 1, 2, 3, 4, 7, 8, 100, 1000])
    position = max(0, -int(-q * len(values) // 1) - 1)
    exact = values[position]
    bound = _histogram(values).quantile(q)
    assert exact <= bound <= max(2 * exact - 1, exact)


def test_a_quantile_is_at_most_the_largest_value() -> None:
    assert _histogram([5]).quantile(1.0) == 5
    assert _histogram([0, 0, 0, 5]).quantile(0.5) == 0


@pytest.mark.parametrize("q", [-0.1, 1.1, float("nan")])
def test_a_quantile_outside_0_to_1_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match=r"q must be in 0 \.\. 1, got"):
        _histogram([1]).quantile(q)


def test_histograms_of_workers_add_up() -> None:
    a, b = _histogram([0, 3, 9]), _histogram([2, 2, 70])
    assert Staleness.add([a, b]) == _histogram([0, 3, 9, 2, 2, 70])
