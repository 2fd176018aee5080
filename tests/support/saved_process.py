# SPDX-License-Identifier: BSD-3-Clause
"""Start saved_run.py, and end it within a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from support.processes import state_of, workers_of

_SCRIPT = Path(__file__).with_name("saved_run.py")
N_ROWS, EPOCHS = 40_000, 40
_GONE_SECONDS = 1.0


def start(strategy: str, backend: str, folder: Path, workers: int) -> subprocess.Popen[str]:
    words = [strategy, backend, str(folder), str(workers), str(EPOCHS)]
    return subprocess.Popen(
        [sys.executable, str(_SCRIPT), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "HYBRIDTRAIN_ISA": "baseline"},  # the slowest
    )


def told(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    line = next(line for line in out.splitlines() if line.startswith("told "))
    found: dict[str, Any] = json.loads(line.removeprefix("told "))
    return found


def end_once_saved(
    process: subprocess.Popen[str], folder: Path, number: int, seconds: float
) -> tuple[bool, list[int]]:
    """Send a signal some time after an epoch, once there is a checkpoint.

    Returns
    -------
    was_ended : bool
        Whether it came before the end of the run.
    workers : list of int
        The worker processes at that time.
    """
    assert process.stdout is not None
    line, workers = process.stdout.readline(), list[int]()
    assert line.startswith(("epoch ", "told ")), process.communicate(timeout=30)
    while process.poll() is None and not any(folder.glob("*.checkpoint")):
        time.sleep(0.001)
    if line.startswith("epoch "):  # else the run that went on was over
        time.sleep(seconds)
        workers = workers_of(process.pid)
        process.send_signal(number)
    process.communicate(timeout=30)
    return process.returncode != 0, workers


def await_gone(workers: list[int]) -> None:
    deadline = time.monotonic() + _GONE_SECONDS
    while any(state_of(pid) not in {"", "Z"} for pid in workers):
        assert time.monotonic() < deadline, "workers are left"
        time.sleep(0.01)
