# SPDX-License-Identifier: BSD-3-Clause
"""Many schedules of whole runs on several machines, as in `test_simulated_runs.py`.

HYBRIDTRAIN_NODE_SCHEDULES=0:10000 runs ten thousand, among all settings.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest
from support.node_flaws import FLAWS, find
from support.simulated_nodes import SETTINGS, World

pytestmark = pytest.mark.stress
FIRST, LAST = (int(x) for x in os.environ.get("HYBRIDTRAIN_NODE_SCHEDULES", "1000:3000").split(":"))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", SETTINGS)
def test_every_step_holds_each_row_once_and_the_run_ends(name: str) -> None:
    seeds = range(FIRST, LAST, len(SETTINGS))
    happened: Counter[str] = Counter()
    for seed in seeds:
        happened += World(SETTINGS[name], seed).run().happened
    print(f"{len(seeds)} schedules of {name}: {dict(happened)}")
    assert happened["done"] + happened["lost"] == len(seeds)
    assert all(happened[fault] > len(seeds) // 3 for fault in SETTINGS[name].faults())


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", [name for name, flaw in FLAWS.items() if flaw.n_schedules > 200])
def test_a_planted_flaw_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    FLAWS[name].plant(monkeypatch)
    assert find(FLAWS[name])
