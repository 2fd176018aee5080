# SPDX-License-Identifier: BSD-3-Clause
"""The synchronous round: every interleaving of small settings, and flaws that must be found.

Modelled: every transition of ht_round.c and what its caller does between them (clear, compute, add,
merge, copy); workers delayed anywhere for any time, killed anywhere and declared dead later, or
stopped for ever without being declared dead (but not while copying: then all wait); the next
worker of a dead one's place, who waits until the step is over, and the supervisor, who lets one in
when all wait or are dead; revokes at any moment that the words allow; the words of is_worked read
one by one; a pool that grows; guests of the exchange.  Wrong is a wrong sum, a late write to the
parameters, a step that moves on with wrong ones, and a state from which the end cannot be reached
unless something else goes wrong.

Not modelled: memory orders (tests/c weaken each of them), time and patience, waiting and waking,
refused steps, numbers that come round.
"""

from __future__ import annotations

import pytest
from model.explore import TooManyStatesError, explore
from model.round_model import ROUND
from model.round_state import Setting

SOUND = {
    "2 steps": Setting(n_steps=2),
    "2 steps, a revoke": Setting(n_steps=2, revokes=1),
    "2 steps, a kill": Setting(n_steps=2, kills=1),
    "2 steps, a kill and a revoke": Setting(n_steps=2, kills=1, revokes=1),
    "a stop": Setting(n_steps=2, stops=1),
    "2 revokes": Setting(revokes=2),
    "2 blocks": Setting(n_tasks=1, n_steps=2, n_blocks=2, kills=1),
    "a pool that grows": Setting(n_tasks=1, n_steps=2, grows=1, revokes=1),
    "a guest": Setting(n_steps=2, n_guests=1, revokes=1),
    "2 guests": Setting(n_guests=2, kills=1, revokes=1),
    "3 workers": Setting(n_workers=3, n_tasks=1, kills=1),
    "a respawn": Setting(n_tasks=1, n_steps=2, kills=1, respawns=1),
    "all die, one comes": Setting(n_tasks=1, kills=2, respawns=1),
    "2 respawns": Setting(n_tasks=1, kills=2, respawns=2),
    "one worker dies twice": Setting(n_workers=1, n_steps=2, n_blocks=2, kills=2, respawns=2),
    "a respawn and a revoke": Setting(n_tasks=1, kills=1, respawns=1, revokes=1),
    "word by word": Setting(revokes=2, kills=1, reading="tasks first"),
    "word by word, a pool that grows": Setting(
        n_tasks=1, grows=1, revokes=1, reading="tasks first"
    ),
    "word by word, 3 workers": Setting(
        n_workers=3, revokes=1, reading="tasks first", has_lone_reader=True
    ),
    # While one worker reads, nobody revokes the other, so the order does not matter.
    "workers first": Setting(revokes=1, reading="workers first"),
}

LARGE = {
    "3 workers, 2 tasks": Setting(n_workers=3, kills=1),
    "3 workers, a kill and a revoke": Setting(n_workers=3, n_tasks=1, kills=1, revokes=1),
    "3 workers, 2 steps": Setting(n_workers=3, n_tasks=1, n_steps=2),
    "2 respawns, 2 steps": Setting(n_steps=2, kills=2, respawns=2),
    "3 workers, 2 respawns": Setting(n_workers=3, n_tasks=1, kills=2, respawns=2),
    "2 respawns and a revoke": Setting(kills=2, respawns=2, revokes=1),
    "word by word, 3 readers": Setting(n_workers=3, revokes=1, reading="tasks first"),
}

FLAWED = {
    "commits alone": (Setting(flaw="commits alone"), "a wrong sum is merged"),
    "commits alone, a guest": (
        Setting(flaw="commits alone", n_guests=1),
        "a wrong sum is exchanged",
    ),
    # The owner's next generation makes its void commits look valid: nobody does them again.
    "no generation": (Setting(flaw="no generation", revokes=1), "a stuck state"),
    "live owner": (
        Setting(flaw="live owner", n_tasks=1, n_steps=2),
        "a late write to the parameters",
    ),
    "two heirs": (
        Setting(flaw="two heirs", n_workers=3, n_tasks=1, kills=1),
        "a late write to the parameters",
    ),
    "no overdue": (Setting(flaw="no overdue", n_tasks=1, stops=1), "a stuck state"),
    "own slot": (
        Setting(flaw="own slot", n_tasks=1, kills=1),
        "a step moves on with wrong parameters",
    ),
    "no clear": (Setting(flaw="no clear", n_steps=2), "a wrong sum is merged"),
    "no bar": (
        Setting(flaw="no bar", n_tasks=1, n_steps=2, kills=1, respawns=1),
        "a wrong sum is merged",
    ),
    "no orphan": (
        Setting(flaw="no orphan", n_workers=1, n_tasks=1, kills=1, respawns=1),
        "a stuck state",
    ),
    "kept sums": (
        Setting(flaw="kept sums", n_workers=1, n_tasks=1, n_steps=2, kills=2, respawns=2),
        "a wrong sum is merged",
    ),
    "no revive": (Setting(flaw="no revive", n_tasks=1, kills=2, respawns=1), "a stuck state"),
    # A worker adds, commits again and is revoked between the reading of its word and its tasks.
    "workers first": (
        Setting(n_workers=3, revokes=1, reading="workers first", has_lone_reader=True),
        "a wrong sum is merged",
    ),
}


@pytest.mark.parametrize("setting", SOUND.values(), ids=SOUND)
def test_every_interleaving_is_right_and_can_end(setting: Setting) -> None:
    outcome = explore(ROUND, setting, limit=600_000)
    assert not outcome.wrong, str(outcome)
    assert outcome.n_ends > 0


@pytest.mark.stress
@pytest.mark.timeout(300)
@pytest.mark.parametrize("setting", LARGE.values(), ids=LARGE)
def test_every_interleaving_of_more_is_right_and_can_end(setting: Setting) -> None:
    outcome = explore(ROUND, setting, limit=4_000_000)
    assert not outcome.wrong, str(outcome)
    assert outcome.n_ends > 0


@pytest.mark.parametrize(("setting", "wrong"), FLAWED.values(), ids=FLAWED)
def test_a_planted_flaw_is_found(setting: Setting, wrong: str) -> None:
    outcome = explore(ROUND, setting, limit=600_000)
    assert outcome.wrong == wrong, str(outcome)
    assert outcome.trace


@pytest.mark.parametrize(
    "setting",
    [
        Setting(n_tasks=1, revokes=1),
        Setting(n_tasks=1, kills=1),
        Setting(n_tasks=1, kills=1, respawns=1),
        Setting(n_tasks=1, stops=1),
        Setting(n_tasks=1, grows=1),
    ],
    ids=["revoke", "kill", "respawn", "stop", "grow"],
)
def test_a_fault_adds_interleavings(setting: Setting) -> None:
    """A fault that never happens would leave the states as they are."""
    calm = explore(ROUND, Setting(n_tasks=1), limit=100_000)
    assert explore(ROUND, setting, limit=100_000).n_states > calm.n_states


def test_a_setting_above_the_limit_is_an_error() -> None:
    with pytest.raises(TooManyStatesError, match="more than 100 states"):
        explore(ROUND, Setting(), limit=100)
