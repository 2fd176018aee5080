# SPDX-License-Identifier: BSD-3-Clause
"""Arithmetic of views: whose parameters go on, and how a batch and the coordinates are cut."""

from __future__ import annotations

import pytest

from hybridtrain.nodes.messages import WHOLE_BATCH, Label, Member
from hybridtrain.nodes.views import Answer, next_view, shard_bounds, shares

MEMBERS = [Member(i, f"n{i}", f"inproc://{i}") for i in range(1, 5)]


def _answer(i: int, installed: int, steps: int, ballot: int) -> Answer:
    return Answer(MEMBERS[i - 1], installed, Label(steps, ballot))


def test_the_first_view_starts_from_the_most_steps() -> None:
    view = next_view(1, 0, [_answer(1, 0, 0, 0), _answer(2, 0, 9, 4)])
    assert view is not None
    assert (view.source, view.label, view.incarnations) == (2, Label(9, 4), (1, 2))


def test_a_view_goes_on_from_the_farthest_of_the_newest_view() -> None:
    answers = [_answer(1, 5, 7, 5), _answer(2, 5, 8, 5), _answer(3, 4, 99, 4), _answer(4, 0, 0, 0)]
    view = next_view(6, 5, answers, gone=[9])
    assert view is not None
    assert (view.source, view.label, view.ballot, view.gone) == (2, Label(8, 5), 6, (9,))


def test_a_view_that_was_installed_after_the_newest_begun_one_goes_on() -> None:
    view = next_view(7, 5, [_answer(1, 5, 8, 5), _answer(2, 6, 7, 5)])
    assert view is not None
    assert view.source == 2


@pytest.mark.parametrize("answers", [[], [_answer(1, 4, 99, 4)], [_answer(1, 0, 0, 0)]])
def test_without_an_answer_of_the_newest_begun_view_there_is_none(answers: list[Answer]) -> None:
    assert next_view(6, 5, answers) is None


def test_shares_are_equal_unless_all_rates_are_known() -> None:
    assert shares(3) == (0, 21845, 43691, WHOLE_BATCH)
    assert shares(2, [3.0, 0.0]) == (0, WHOLE_BATCH // 2, WHOLE_BATCH)
    assert shares(2, [3.0, 1.0]) == (0, 3 * WHOLE_BATCH // 4, WHOLE_BATCH)


def test_the_slowest_node_has_a_share_as_well() -> None:
    bounds = shares(3, [1e9, 1e9, 1.0])
    assert bounds[3] - bounds[2] > WHOLE_BATCH // 100


@pytest.mark.parametrize(
    ("n", "n_shards", "unit"), [(10, 3, 4), (1000, 7, 8), (3, 5, 8), (0, 2, 8)]
)
def test_shards_hold_every_coordinate_once(n: int, n_shards: int, unit: int) -> None:
    bounds = shard_bounds(n, n_shards, unit)
    assert bounds[0] == 0
    assert bounds[-1] == n
    assert list(bounds) == sorted(bounds)
    assert len(bounds) == n_shards + 1
    assert not [bound for bound in bounds[:-1] if bound % unit and bound < n]
