# SPDX-License-Identifier: BSD-3-Clause
"""The training process killed again and again: nothing is left, and the run goes on."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest
from support.saved_process import await_gone, end_within_an_epoch, start, told

from hybridtrain.run.checkpoint import newest

pytestmark = pytest.mark.stress
KILLS = 200


@pytest.mark.timeout(1800)
def test_a_run_whose_process_is_killed_200_times_ends_with_the_same_bits(tmp_path: Path) -> None:
    draw = random.Random(0)
    whole = told(start("sync", "threads", tmp_path / "whole", 1))
    n_killed = n_runs = 0
    while n_killed < KILLS:
        folder, n_runs = tmp_path / str(n_runs), n_runs + 1
        while True:
            process = start("sync", "processes", folder, draw.randint(1, 4))
            was_killed, left = end_within_an_epoch(process, signal.SIGKILL, draw.uniform(0, 0.1))
            await_gone(left)
            newest(folder)
            if not was_killed:
                break
            n_killed += 1
        found = told(start("sync", draw.choice(["threads", "processes"]), folder, 2))
        assert found["resumed"] is not None
        assert (found["bits"], found["ledger"]) == (whole["bits"], whole["ledger"])
