# SPDX-License-Identifier: BSD-3-Clause
"""The argument `nodes` of `train`: its forms, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

import hybridtrain as ht
from hybridtrain.errors import InvalidSettingError


def test_the_short_forms_stand_for_the_long_one() -> None:
    assert ht.Nodes.of(3) == ht.Nodes(3)
    assert ht.Nodes.of(["a:1", "b:1"]) == ht.Nodes(("a:1", "b:1"))
    assert ht.Nodes.of("env") == ht.Nodes("env")
    assert [ht.Nodes(3).n_here, ht.Nodes(3, listen="a:1").n_here] == [3, None]
    assert [ht.Nodes("env").n_here, ht.Nodes(["a:1"]).n_here] == [None, None]


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"members": 0}, "must be a number of nodes .* got 0"),
        ({"members": 65}, "1 to 64"),
        ({"members": "four"}, "got 'four'"),
        ({"members": []}, r"got \[\]"),
        ({"members": ["a:1", 2]}, "a list of addresses"),
        ({"members": ["a:1", "a:1"]}, "names an address twice"),
        ({"members": 2, "listen": 7000}, "listen must be"),
        ({"members": 2, "listen": ""}, "listen must be"),
        ({"members": 2, "token_file": 3}, "a path must be"),
        ({"members": 2, "insecure": "no"}, "insecure must be"),
        ({"members": 2, "insecure": True, "token_file": "t"}, "leave token_file out"),
        ({"members": 2, "wait": 0.0}, "wait must be > 0"),
        ({"members": 2, "wait": float("inf")}, "wait must be > 0"),
        ({"members": "env", "listen": "a:1"}, "HYBRIDTRAIN_ADDRESS"),
        ({"members": 2, "min_nodes": 0}, "min_nodes must be"),
        ({"members": 2, "min_nodes": 3, "max_nodes": 2}, "max_nodes must be"),
        ({"members": 2, "max_nodes": 2}, "go with an engine"),
    ],
)
def test_what_is_out_of_range_or_does_not_go_together_is_refused(
    given: dict[str, Any], what: str
) -> None:
    with pytest.raises(InvalidSettingError, match=what):
        ht.Nodes(**given)
