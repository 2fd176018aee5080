# SPDX-License-Identifier: BSD-3-Clause
"""Words for strategies, and the constants of Hybrid: what is read and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from reference.problems import Problem

import hybridtrain as ht
from hybridtrain.strategies.parse import parse_strategy

GOOD = {
    "hybrid": ht.Hybrid(),
    "hogwild": ht.Hogwild(),
    " hybrid ": ht.Hybrid(),
    "hybrid()": ht.Hybrid(),
    "hybrid(every=4096)": ht.Hybrid(every=4096),
    "hybrid(hot=0.5, every='auto')": ht.Hybrid(hot=0.5),
    "hybrid(hot=0)": ht.Hybrid(hot=0),
    'hybrid(hot="auto")': ht.Hybrid(),
    "hogwild(exact=True)": ht.Hogwild(exact=True),
    "sync": ht.Sync(),
    "sync(exact=False)": ht.Sync(exact=False),
}


@pytest.mark.parametrize("text", GOOD)
def test_a_strategy_can_be_written_as_text(text: str) -> None:
    assert parse_strategy(text) == GOOD[text]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "synchronous",
        "Hybrid",
        "hybrid(",
        "hybrid)",
        "hybrid(4096)",
        "hybrid(evry=4096)",
        "hybrid(every=4096)(every=2)",
        "hybrid; hogwild",
        "hybrid.every",
        "hybrid(**{'every': 2})",
        "hogwild(every=4)",
        "__import__('os')",
        "hybrid hogwild",
        "1",
        "\n",
    ],
)
def test_a_bad_text_is_refused_with_the_good_ones(text: str) -> None:
    with pytest.raises(ht.InvalidSettingError) as caught:
        parse_strategy(text)
    assert "hogwild, hybrid" in str(caught.value)
    assert '"hybrid(every=4096)"' in str(caught.value)
    assert f"got {text!r}" in str(caught.value)


@pytest.mark.parametrize("value", [None, 1, ht.Linear(), ht.Hybrid, b"hybrid", ["hybrid"]])
def test_what_is_no_strategy_is_refused(value: Any, problem: Problem) -> None:
    with pytest.raises(
        ht.InvalidSettingError, match="strategy must be one of async, hogwild, hybrid"
    ):
        ht.train(ht.Linear(), (problem.X, problem.labels), strategy=value)


@pytest.mark.parametrize("text", ["hybrid(every=x)", "hybrid(every=open('f'))", "hybrid(hot=1/0)"])
def test_arguments_in_text_are_constants(text: str) -> None:
    with pytest.raises(ht.InvalidSettingError, match="malformed") as caught:
        parse_strategy(text)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("hierarchical(between=async(every=64))", "between='async(every=64)'"),
        ("hierarchical(groups=2, within=hogwild)", "within='hogwild'"),
        ("switch((async, 2), ('hybrid', None))", "'async'"),
        ("switch(('sync', 2), (hybrid(hot=4), None))", "'hybrid(hot=4)'"),
    ],
)
def test_a_strategy_within_another_is_in_quotes(text: str, quoted: str) -> None:
    with pytest.raises(ht.InvalidSettingError) as caught:
        parse_strategy(text)
    assert str(caught.value).endswith(f"; what is within another is in quotes: {quoted}")


@pytest.mark.parametrize(
    "text", ["async(compensate=auto)", "hybrid(every=4", "hybrid(every=sync4)"]
)
def test_quotes_are_asked_for_around_strategies_alone(text: str) -> None:
    with pytest.raises(ht.InvalidSettingError) as caught:
        parse_strategy(text)
    assert "within another" not in str(caught.value)


def test_a_value_out_of_range_in_a_text_is_named_with_the_text() -> None:
    with pytest.raises(ht.InvalidSettingError) as caught:
        parse_strategy("hybrid(every=0)")
    assert str(caught.value) == "'hybrid(every=0)': every must be >= 1 row, got 0"


@pytest.mark.parametrize("every", [0, -1])
def test_every_is_at_least_one_row(every: int) -> None:
    with pytest.raises(ht.InvalidSettingError, match=f"every must be >= 1 row, got {every}"):
        ht.Hybrid(every=every)


def test_every_fits_32_bits() -> None:
    with pytest.raises(ht.InvalidSettingError, match="every must be at most 4294967295, got 4294"):
        ht.Hybrid(every=1 << 32)


@pytest.mark.parametrize("every", [1.0, "7", None, True])
def test_every_is_an_int_or_auto(every: Any) -> None:
    with pytest.raises(ht.InvalidSettingError, match='every must be "auto" or an int, got'):
        ht.Hybrid(every=every)


@pytest.mark.parametrize("hot", [-1, -0.1, 1.1, float("nan"), float("inf"), True, "7", None, 1j])
def test_hot_is_a_number_or_a_share_of_the_features(hot: Any) -> None:
    with pytest.raises(ht.InvalidSettingError) as caught:
        ht.Hybrid(hot=hot)
    assert "a number of features (int >= 0) or a share of them (float in 0 .. 1)" in str(
        caught.value
    )
    assert str(caught.value).endswith(f"got {hot!r}")
