# SPDX-License-Identifier: BSD-3-Clause
"""The training process killed again and again: nothing is left, and the run goes on.

HYBRIDTRAIN_BATCHES=20 does it 200 times.
"""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest
from support.saved_process import await_gone, end_once_saved, start, told

from hybridtrain.run.checkpoint import newest

pytestmark = pytest.mark.stress
BATCHES = int(os.environ.get("HYBRIDTRAIN_BATCHES", "2"))
KILLS = 10  # of each batch


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return told(start("sync", "threads", tmp_path_factory.mktemp("whole"), 1))


@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_run_whose_process_is_killed_goes_on_to_the_same_bits(
    batch: int, whole: dict[str, Any], tmp_path: Path
) -> None:
    draw, n_killed, n_runs = random.Random(batch), 0, 0
    while n_killed < KILLS:
        folder, n_runs = tmp_path / str(n_runs), n_runs + 1
        was_killed = True
        while was_killed:
            process = start("sync", "processes", folder, draw.randint(1, 4))
            was_killed, left = end_once_saved(process, folder, signal.SIGKILL, draw.uniform(0, 0.1))
            await_gone(left)
            newest(folder)
            n_killed += was_killed
        found = told(start("sync", draw.choice(["threads", "processes"]), folder, 2))
        assert found["resumed"] is not None
        assert (found["bits"], found["ledger"]) == (whole["bits"], whole["ledger"])
