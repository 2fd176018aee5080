# SPDX-License-Identifier: BSD-3-Clause
"""The synchronous protocol between nodes: every interleaving of small settings, and planted flaws.

Modelled: the driver's ballots, FREEZE, FROZEN, VIEW, INSTALLED, START; sums and totals of several
reducers; messages that come late, doubled, in any order or never; connections that lose what is
under way; nodes that die anywhere, stall (a view goes on without them, and they come back with all
that they had) and join; a driver that suspects without need.  A node is one incarnation: a process
that starts again is a joiner.

Wrong is: equal labels of different parameters; a sum of different parameters; a row that is summed
twice or not at all; a step of two views; a node whose view or parameters change below its promise;
two views that train at once; a step that all members had applied, and that a later view has not;
nodes that end with different parameters; a run that is given up although a member of the newest
begun view lives; and a state from which the end cannot be reached unless something else goes wrong.

Not modelled: time and patience; the workers within a node; the death of the driver (the run ends);
DRAIN (a stall that is announced) and partitions (stalls of one side); lost data; the frames of a
message and of a copy; link sequences and ASK (what a node sends is a function of its state, and is
sent until it has arrived).
"""

from __future__ import annotations

from typing import get_args

import pytest
from model.explore import explore, require_more_states, require_sound
from model.views_model import VIEWS
from model.views_state import Flaw, Setting

SOUND = {
    "nothing": Setting(),
    "2 cuts": Setting(cuts=2),
    "a death and a cut": Setting(kills=1, cuts=1),
    "2 deaths": Setting(kills=2),
    "all die": Setting(n_nodes=2, kills=2, cuts=1),
    "a suspicion and a cut": Setting(suspicions=1, cuts=1),
    "a stall": Setting(suspicions=1, stalls=1),
    "2 nodes: a stall, a death, a cut": Setting(n_nodes=2, suspicions=1, stalls=1, kills=1, cuts=1),
    "a joiner": Setting(n_nodes=2, n_joiners=1, joins=1),
    "a joiner and a death": Setting(n_nodes=2, n_joiners=1, joins=1, kills=1),
    "a node alone": Setting(n_nodes=1, n_joiners=1, joins=1, kills=1),
}

# States and seconds of each; 0.8 GB at most.
LARGE = {
    # 24,118, 2 s
    "2 deaths and a cut": Setting(kills=2, cuts=1),
    # 35,304, 4 s
    "4 nodes: 2 deaths": Setting(n_nodes=4, n_steps=1, kills=2),
    # 50,013, 5 s
    "a stall and a cut": Setting(suspicions=1, stalls=1, cuts=1),
    # 123,907, 15 s
    "2 nodes: 2 stalls, a cut": Setting(n_nodes=2, suspicions=2, stalls=2, cuts=1),
    # 155,706, 20 s
    "a joiner and a stall": Setting(n_nodes=2, n_joiners=1, joins=1, suspicions=1, stalls=1),
    # 305,979, 30 s
    "a stall and a death": Setting(suspicions=1, stalls=1, kills=1),
    # 318,891, 40 s
    "2 joiners and a death": Setting(n_nodes=2, n_joiners=2, joins=2, kills=1),
    # 664,299, 120 s
    "2 stalls": Setting(n_steps=1, n_reducers=1, suspicions=2, stalls=2),
}

FLAWED = {
    "no freeze": (Setting(flaw="no freeze", suspicions=1), "a node changes below its promise"),
    "promise lowered": (
        Setting(flaw="promise lowered", n_nodes=2, suspicions=2),
        "a stuck state",
    ),
    "no ballot check": (
        Setting(flaw="no ballot check", n_nodes=2, suspicions=2),
        "a node changes below its promise",
    ),
    # The driver does not know that the view trains: it lets others do its steps again.
    "no start": (
        Setting(flaw="no start", n_nodes=2, suspicions=1, stalls=1, kills=1),
        "a step that all members had applied is lost",
    ),
    "no copy": (Setting(flaw="no copy", suspicions=1), "a stuck state"),
    "no label": (
        Setting(flaw="no label", n_nodes=2, suspicions=1, stalls=1),
        "a step that all members had applied is lost",
    ),
    "any copy": (Setting(flaw="any copy", suspicions=1), "a stuck state"),
    "any copy, as long": (
        Setting(flaw="any copy", n_steps=1, suspicions=1, stalls=1),
        "nodes end with different parameters",
    ),
    "smallest step": (Setting(flaw="smallest step", suspicions=1), "a stuck state"),
    "largest step of anybody": (
        Setting(flaw="largest step of anybody", n_nodes=2, suspicions=1, stalls=1),
        "a step that all members had applied is lost",
    ),
    "any answer": (
        Setting(flaw="any answer", n_nodes=2, suspicions=1, stalls=2),
        "two views train at once",
    ),
    "any answer, a death": (
        Setting(flaw="any answer", n_nodes=2, suspicions=1, stalls=1, kills=1),
        "a step that all members had applied is lost",
    ),
    "late answer": (
        Setting(flaw="late answer", n_nodes=2, suspicions=2),
        "given up although a member of the newest begun view lives",
    ),
    "begun when named": (
        Setting(flaw="begun when named", n_steps=1, suspicions=2),
        "given up although a member of the newest begun view lives",
    ),
    "sum of any view": (
        Setting(flaw="sum of any view", kills=1),
        "a row is summed twice or not at all",
    ),
    "total of any view": (
        Setting(flaw="total of any view", suspicions=1),
        "a step of two views",
    ),
    "total of any view, 1 reducer": (
        Setting(flaw="total of any view", n_reducers=1, suspicions=1, cuts=1),
        "a sum of different parameters",
    ),
    "total of any view, 1 step": (
        Setting(flaw="total of any view", n_reducers=1, n_steps=1, suspicions=1, cuts=1),
        "nodes end with different parameters",
    ),
    "total without the dead": (
        Setting(flaw="total without the dead", kills=1),
        "a row is summed twice or not at all",
    ),
    "alone": (Setting(flaw="alone", n_nodes=2), "equal labels of different parameters"),
    # It costs a view, where a cut must cost none.
    "total forgotten": (Setting(flaw="total forgotten", cuts=1), "a stuck state"),
}


@pytest.mark.parametrize("setting", SOUND.values(), ids=SOUND)
def test_every_interleaving_is_right_and_can_end(setting: Setting) -> None:
    require_sound(VIEWS, setting, limit=50_000)


@pytest.mark.stress
@pytest.mark.timeout(600)
@pytest.mark.parametrize("setting", LARGE.values(), ids=LARGE)
def test_every_interleaving_of_more_is_right_and_can_end(setting: Setting) -> None:
    require_sound(VIEWS, setting, limit=1_000_000)


@pytest.mark.parametrize(("setting", "wrong"), FLAWED.values(), ids=FLAWED)
def test_a_planted_flaw_is_found(setting: Setting, wrong: str) -> None:
    outcome = explore(VIEWS, setting, limit=50_000)
    assert outcome.wrong == wrong, str(outcome)
    assert outcome.trace


def test_every_flaw_is_planted() -> None:
    assert {setting.flaw for setting, _ in FLAWED.values()} == set(get_args(Flaw)) - {""}


@pytest.mark.parametrize(
    ("calm", "setting"),
    [
        (Setting(), Setting(kills=1)),
        (Setting(kills=1), Setting(kills=1, cuts=1)),
        (Setting(), Setting(suspicions=1)),
        (Setting(n_nodes=2, suspicions=1), Setting(n_nodes=2, suspicions=1, stalls=1)),
        (Setting(n_joiners=1), Setting(n_joiners=1, joins=1)),
    ],
    ids=["kill", "cut", "suspicion", "stall", "join"],
)
def test_a_fault_adds_interleavings(calm: Setting, setting: Setting) -> None:
    require_more_states(VIEWS, calm, setting, limit=50_000)


def test_what_is_wrong_is_told_with_the_shortest_way_there() -> None:
    told = str(explore(VIEWS, Setting(flaw="total forgotten", cuts=1), limit=1_000)).splitlines()
    assert told[0].startswith("a stuck state; ")
    assert [line.split(maxsplit=1) for line in told[-2:]] == [
        ["3", "node 0 applies step 1"],
        ["4", "what node 0 sent to node 1 is lost"],
    ]
