# SPDX-License-Identifier: BSD-3-Clause
"""Tables of text, and numbers in few figures."""

from __future__ import annotations

import math

import pytest

from hybridtrain.comparison.text_table import digits, text_table

ROWS = [("workers", ["2", "12", "1"]), ("loss", ["0.51", "-", "1,234.5"])]


def test_columns_are_flush_right_under_their_names() -> None:
    lines = text_table(["sync", "hogwild", "hybrid"], ROWS).splitlines()
    assert lines == [
        "             sync   hogwild    hybrid",
        "workers         2        12         1",
        "loss         0.51         -   1,234.5",
    ]


def test_arguments_stand_below_their_strategy() -> None:
    lines = text_table(["hybrid(hot=0.5, every=64)", "sync"], [("a", ["1", "2"])]).splitlines()
    words = [line.split() for line in lines]
    assert words == [["hybrid", "sync"], ["hot=0.5,"], ["every=64"], ["a", "1", "2"]]


def test_parentheses_of_an_argument_stay() -> None:
    words = text_table(["hierarchical(groups=((0,), (1,)))"], [("a", ["1"])]).split()
    assert words == ["hierarchical", "groups=((0,),", "(1,))", "a", "1"]


@pytest.mark.parametrize("width", [20, 27, 30, 38, 100])
def test_a_table_that_is_too_wide_goes_on_below(width: int) -> None:
    text = text_table(["sync", "hogwild", "hybrid"], ROWS, width=width)
    assert max(map(len, text.splitlines())) <= width
    assert text.split().count("workers") == len(text.split("\n\n"))
    assert [word for word in text.split() if word in ("sync", "hogwild", "hybrid")] == [
        "sync",
        "hogwild",
        "hybrid",
    ]


@pytest.mark.parametrize(
    ("value", "figures", "text"),
    [
        (0.0, 3, "0"),
        (9.996, 3, "10.0"),
        (9.8, 3, "9.80"),
        (-0.05, 2, "-0.050"),
        (1234567.0, 3, "1,234,567"),
        (1e-12, 3, "0.000000000"),
        (math.inf, 3, "inf"),
        (math.nan, 3, "-"),
        (None, 3, "-"),
    ],
)
def test_numbers_have_so_many_significant_figures(
    value: float | None, figures: int, text: str
) -> None:
    assert digits(value, figures) == text
