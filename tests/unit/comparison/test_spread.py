# SPDX-License-Identifier: BSD-3-Clause
"""Bands of figures over seeds, and the rule that tells a difference from their spread."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from hybridtrain.comparison.spread import Band, band, differ, differ_in_ratio


def test_a_band_has_the_median_and_both_ends() -> None:
    assert band([3.0, 1.0, 7.0]) == Band(median=3.0, lowest=1.0, highest=7.0)
    assert band([3.0, 1.0]) == Band(median=2.0, lowest=1.0, highest=3.0)
    assert band([0.5]) == Band(median=0.5, lowest=0.5, highest=0.5)


def test_a_run_without_the_figure_counts_as_the_worst() -> None:
    assert band([None, 1.0, 2.0]) == Band(median=2.0, lowest=1.0, highest=math.inf)
    of_scores = band([math.nan, 0.5, 0.75], worst=-math.inf)
    assert of_scores == Band(median=0.5, lowest=-math.inf, highest=0.75)


@pytest.mark.parametrize(
    ("first", "second", "answer"),
    [
        ([0.4, 0.4, 0.4], [0.4, 0.4, 0.4], False),  # equal
        ([0.4, 0.5, 0.6], [0.4, 0.5, 0.6], False),
        ([0.400, 0.410, 0.420, 0.430, 0.440], [0.502, 0.511, 0.519, 0.530, 0.541], True),
        # The bands overlap, but each seed says the same: runs of one seed are paired.
        ([0.1, 0.2, 0.3, 0.4, 0.5], [0.111, 0.209, 0.312, 0.408, 0.511], True),
        ([0.1, 0.2, 0.3, 0.4, 0.5], [0.3, 0.1, 0.5, 0.2, 0.6], False),  # overlapping
        ([0.1, 0.2], [0.2, 0.35], False),  # two seeds: t must be above 12.7, is 5
        ([0.25, 0.5], [0.5, 0.75], True),  # the same difference each time
        ([0.4], [0.5], None),  # one seed
        ([0.4, math.inf, 0.4], [0.5, 0.5, 0.5], None),  # one did not get there
    ],
)
def test_strategies_differ_by_more_than_their_spread_or_not(
    first: list[float], second: list[float], answer: bool | None
) -> None:
    assert differ(first, second, n_pairs=1) is answer
    assert differ(second, first, n_pairs=1) is answer


def test_the_rule_is_the_paired_t_test_with_its_level_shared_among_all_pairs() -> None:
    rng = np.random.default_rng(0)
    answers = []
    for n_seeds in (2, 3, 5, 8):
        for n_pairs in (1, 6, 15):
            for gap in (0.0, 1.0, 3.0):
                first = rng.normal(size=n_seeds)
                second = first + gap + rng.normal(size=n_seeds)
                probability = stats.ttest_rel(first, second).pvalue
                answers.append(differ(first.tolist(), second.tolist(), n_pairs=n_pairs))
                assert answers[-1] is bool(probability < 0.05 / n_pairs)
    assert {True, False} == set(answers)


def test_times_are_compared_by_their_ratios() -> None:
    first, second = [1.0, 10.0, 100.0], [2.0, 21.0, 190.0]
    assert differ(first, second, n_pairs=1) is False
    assert differ_in_ratio(first, second, n_pairs=1) is True
    assert differ_in_ratio([0.0, 1.0], [1.0, 1.0], n_pairs=1) is None
    assert differ_in_ratio([math.inf, 1.0], [1.0, 1.0], n_pairs=1) is None
