# SPDX-License-Identifier: BSD-3-Clause
"""Many schedules of runs of streams, as in `test_simulated_streams.py`.

HYBRIDTRAIN_STREAM_SCHEDULES=0:10000 runs ten thousand, among all settings.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest
from support.simulated_nodes import SETTINGS
from support.simulated_streams import StreamWorld

pytestmark = pytest.mark.stress
FIRST, LAST = (
    int(x) for x in os.environ.get("HYBRIDTRAIN_STREAM_SCHEDULES", "1000:3000").split(":")
)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", SETTINGS)
def test_every_chunk_is_in_the_values_once_in_each_epoch(name: str) -> None:
    seeds = range(FIRST, LAST, len(SETTINGS))
    happened: Counter[str] = Counter()
    for seed in seeds:
        happened += StreamWorld(SETTINGS[name], seed).run().happened
    print(f"{len(seeds)} schedules of {name}: {dict(happened)}")
    assert happened["done"] + happened["lost"] == len(seeds)
    assert all(happened[fault] > len(seeds) // 3 for fault in SETTINGS[name].faults())
