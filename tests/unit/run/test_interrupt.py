# SPDX-License-Identifier: BSD-3-Clause
"""Ctrl-C and a kill of the whole process: real signals to a real process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.processes import shared_files

ROWS = 100_000
STRATEGIES = ["hybrid", "hogwild(exact=True)", "sync"]
_END_SECONDS = 2.0
_INTO_EPOCH_SECONDS = 0.004  # of an epoch that takes longer


@contextmanager
def _training(strategy: str, workers: int) -> Iterator[subprocess.Popen[str]]:
    """Run long_run.py until it is within its third epoch; kill it at the end.

    Or at the end of its second, if it waits for a core: one epoch at least is whole.
    """
    script = Path(__file__).parents[2] / "support" / "long_run.py"
    process = subprocess.Popen(
        [sys.executable, str(script), strategy, str(workers)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "HYBRIDTRAIN_ISA": "baseline"},  # the slowest
    )
    try:
        assert process.stdout is not None
        for epoch in (1, 2):
            line = process.stdout.readline()
            assert line.startswith(f"epoch {epoch}/1000:"), (line, process.communicate(timeout=5))
        time.sleep(_INTO_EPOCH_SECONDS)
        yield process
    finally:
        process.kill()
        process.communicate(timeout=10)


def _report(process: subprocess.Popen[str]) -> tuple[dict[str, Any], float]:
    """Return what the process says of its end, and the seconds that it took."""
    started = time.monotonic()
    out, err = process.communicate(timeout=20)
    seconds = time.monotonic() - started
    assert process.returncode == 0, err
    assert err == ""
    reports = [line for line in out.splitlines() if line.startswith("report ")]
    assert len(reports) == 1, out
    return json.loads(reports[0].removeprefix("report ")), seconds


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_gives_the_partial_result_at_once(strategy: str, workers: int) -> None:
    with _training(strategy, workers) as process:
        process.send_signal(signal.SIGINT)
        found, seconds = _report(process)
    assert found["stopped_by"] == "TrainingInterrupted"
    assert seconds < _END_SECONDS
    assert found["threads"] == []
    assert found["finite"]
    assert found["predicted"] == 10
    assert ".result holds what was trained" in found["message"]
    assert found["ended"] == ["interrupted"] * workers


def test_the_ledger_of_an_interrupted_run_adds_up() -> None:
    with _training("hybrid", 2) as process:
        process.send_signal(signal.SIGINT)
        found, _ = _report(process)
    *whole, (trained, repeated, dropped, reason) = found["ledger"]
    assert whole
    assert all(tuple(record) == (ROWS, 0, 0, "") for record in whole)
    assert (trained + dropped, repeated) == (ROWS, 0)
    assert reason == ("interrupted" if dropped else "")
    assert found["worker_rows"] == len(whole) * ROWS + trained
    assert f"interrupted in epoch {len(found['ledger'])} of 1000" in found["message"]


def test_a_killed_process_leaves_no_shared_memory() -> None:
    with _training("hybrid", 2) as process:
        process.kill()
        assert process.wait(timeout=10) == -signal.SIGKILL
    assert not shared_files()
