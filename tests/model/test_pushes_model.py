# SPDX-License-Identifier: BSD-3-Clause
"""The asynchronous protocol between nodes: every interleaving of small settings, and planted flaws.

Modelled: pushes of items to the owners of all shards, in any order, doubled, late or never; copies
of shards at any time; new views that move shards to other owners, without nodes that have died or
stall, with nodes that come back; the end.

Wrong is: an item that a shard holds more often than once, and once more for each time that the
ledger calls it repeated; a push that its sender has forgotten, and that its shard does not hold;
an item that a shard lacks at the end; an item that is called repeated, and that every shard holds
once; members that end with different values; and a state from which the end cannot be reached
unless something else goes wrong.

Not modelled: how a view is agreed upon (`views_model`; here it is one transition, in which all
members copy the shards); what is under way and no longer kept (owners drop it: its sequence is in,
or its view is over); the size of a change, which grows while it waits; time.
"""

from __future__ import annotations

from typing import get_args

import pytest
from model.explore import explore, require_more_states, require_sound
from model.pushes_model import PUSHES
from model.pushes_state import Flaw, Setting

SOUND = {
    "nothing": Setting(n_items=3),
    "a death": Setting(n_items=2, kills=1),
    "2 deaths": Setting(kills=2),
    "2 busy, a death": Setting(n_busy=2, kills=1),
    "a stall": Setting(stalls=1, returns=1),
    "2 nodes: a stall": Setting(n_nodes=2, n_busy=2, n_items=2, stalls=1, returns=1),
    "a death, other owners": Setting(kills=1, calls=1),
    "1 push under way": Setting(n_items=2, most_kept=1, kills=1),
}

# States and seconds of each; 0.2 GB at most.
LARGE = {
    # 7,033, 1 s
    "2 stalls": Setting(stalls=2, returns=2),
    # 7,431, 1 s
    "a death and a stall": Setting(kills=1, stalls=1, returns=1),
    # 10,292, 1 s
    "2 busy: a death, other owners": Setting(n_busy=2, kills=1, calls=1),
    # 35,179, 4 s
    "3 shards: a death and a stall": Setting(n_shards=3, kills=1, stalls=1, returns=1),
    # 36,256, 4 s
    "4 nodes: a death and a stall": Setting(n_nodes=4, kills=1, stalls=1, returns=1),
    # 58,715, 7 s
    "2 items: a death and a stall": Setting(n_items=2, kills=1, stalls=1, returns=1),
    # 178,149, 25 s
    "2 busy, 2 items: a death": Setting(n_busy=2, n_items=2, kills=1),
}

FLAWED = {
    # The owner dies, and the node that has pulled is left out.
    "forgotten when pulled": (
        Setting(flaw="forgotten when pulled", n_nodes=4, kills=1, stalls=1),
        "a push is lost",
    ),
    "forgotten when added": (Setting(flaw="forgotten when added", kills=1), "a push is lost"),
    "no order": (Setting(flaw="no order", n_items=2), "a push is lost"),
    "no sequence": (Setting(flaw="no sequence"), "an item is in a shard too often"),
    "value alone": (Setting(flaw="value alone", kills=1), "an item is in a shard too often"),
    "own copy": (Setting(flaw="own copy", kills=1), "a push is lost"),
    "longest copy": (
        Setting(flaw="longest copy", kills=1, stalls=1, returns=1),
        "an item is in a shard too often",
    ),
    "not sent again": (Setting(flaw="not sent again", calls=1), "a push is lost"),
    "push of any view": (
        Setting(flaw="push of any view", stalls=1),
        "an item is in a shard too often",
    ),
    "old name": (
        Setting(flaw="old name", stalls=1, returns=1),
        "an item is in a shard too often",
    ),
    "torn is done": (Setting(flaw="torn is done", kills=1), "an item is lost"),
    "torn is silent": (Setting(flaw="torn is silent", kills=1), "an item is in a shard too often"),
    "all is torn": (
        Setting(flaw="all is torn", kills=1),
        "an item is called repeated and is not",
    ),
    "early end": (Setting(flaw="early end"), "an item is lost"),
    "no last pull": (Setting(flaw="no last pull"), "members end with different values"),
}


@pytest.mark.parametrize("setting", SOUND.values(), ids=SOUND)
def test_every_interleaving_is_right_and_can_end(setting: Setting) -> None:
    require_sound(PUSHES, setting, limit=20_000)


@pytest.mark.stress
@pytest.mark.timeout(600)
@pytest.mark.parametrize("setting", LARGE.values(), ids=LARGE)
def test_every_interleaving_of_more_is_right_and_can_end(setting: Setting) -> None:
    require_sound(PUSHES, setting, limit=500_000)


@pytest.mark.parametrize(("setting", "wrong"), FLAWED.values(), ids=FLAWED)
def test_a_planted_flaw_is_found(setting: Setting, wrong: str) -> None:
    outcome = explore(PUSHES, setting, limit=20_000)
    assert outcome.wrong == wrong, str(outcome)
    assert outcome.trace


def test_every_flaw_is_planted() -> None:
    assert {setting.flaw for setting, _ in FLAWED.values()} == set(get_args(Flaw)) - {""}


@pytest.mark.parametrize(
    ("calm", "setting"),
    [
        (Setting(), Setting(kills=1)),
        (Setting(), Setting(calls=1)),
        (Setting(), Setting(stalls=1)),
        (Setting(stalls=1), Setting(stalls=1, returns=1)),
    ],
    ids=["kill", "call", "stall", "return"],
)
def test_a_fault_adds_interleavings(calm: Setting, setting: Setting) -> None:
    require_more_states(PUSHES, calm, setting, limit=20_000)
