# SPDX-License-Identifier: BSD-3-Clause
"""Schedules of whole runs: the real driver, nodes and reducers over a net drawn from a seed.

`support.simulated_nodes` says what happens there and what must never be. More schedules are in
`tests/stress`.
"""

from __future__ import annotations

from collections import Counter

import pytest
from support.node_flaws import FLAWS, find
from support.simulated_nodes import SETTINGS, Setting, World

A_SETTING = 25  # schedules


@pytest.mark.parametrize("name", SETTINGS)
def test_every_step_holds_each_row_once_and_the_run_ends(name: str) -> None:
    happened: Counter[str] = Counter()
    for seed in range(A_SETTING):
        happened += World(SETTINGS[name], seed).run().happened
    assert happened["done"] + happened["lost"] == A_SETTING
    assert happened["done"] > A_SETTING // 4
    wanted = SETTINGS[name].faults()
    assert all(happened[fault] >= A_SETTING // 3 for fault in wanted), happened
    if wanted:
        assert happened["View"] > 2 * SETTINGS[name].n_nodes * A_SETTING // 3, "no view changes"


@pytest.mark.parametrize("victim", [11, 12, 13])
def test_a_node_may_die_at_any_message(victim: int) -> None:
    setting = Setting(n_batches=2)
    n_frames = World(setting, seed=victim).run().n_delivered
    endings: Counter[str] = Counter()
    for at in range(1, n_frames):
        world = World(Setting(n_batches=2, kill_at=(at, victim)), seed=victim).run()
        endings += world.happened
    assert endings["death"] > 0.9 * n_frames
    assert endings["done"] > 0.7 * n_frames
    assert endings["lost"] > 0  # before the run had begun


@pytest.mark.parametrize("name", [name for name, flaw in FLAWS.items() if flaw.n_schedules <= 200])
def test_a_planted_flaw_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    FLAWS[name].plant(monkeypatch)
    assert find(FLAWS[name])
