# SPDX-License-Identifier: BSD-3-Clause
"""The driver is killed: its nodes save the run, end, and leave nothing; another run goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.node_runs import EPOCHS_OF_DRIVER, KILLED_IN, ROWS, SETTINGS, bits, data, model

import hybridtrain as ht
from hybridtrain.run.checkpoint import newest

TIMEOUT = 6.0  # that of node_runs.py
SCRIPT = Path(__file__).parents[1] / "support" / "node_runs.py"


def _started_by(pid: int) -> list[str]:
    """Return the living processes that belong to nodes of a driver."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            state = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
        except OSError:  # no process, or gone meanwhile
            continue
        if f"parent={pid}".encode() in words and state != "Z":
            found.append(entry.name)
    return found


def _kill_a_driver(folder: Path, *words: str) -> float:
    """Return the seconds until nothing was left of its nodes."""
    driver = subprocess.Popen([sys.executable, str(SCRIPT), str(folder), *words])
    n_seen = 0
    while driver.poll() is None:
        n_seen = max(n_seen, len(_started_by(driver.pid)))
        time.sleep(0.02)
    assert driver.returncode == -signal.SIGKILL
    assert n_seen >= int(words[-1])
    killed = time.monotonic()
    while _started_by(driver.pid):
        assert time.monotonic() < killed + 2 * TIMEOUT
        time.sleep(0.02)
    return time.monotonic() - killed


@pytest.mark.parametrize(("backend", "nodes"), [("threads", "2"), ("processes", "1")])
def test_the_nodes_of_a_killed_driver_save_the_run_and_another_goes_on_with_the_same_bits(
    backend: str, nodes: str, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    assert _kill_a_driver(folder, backend, nodes) < TIMEOUT
    [saved] = os.listdir(folder)  # one node has saved it, nobody had before
    assert newest(folder)[1].numbers["batches"] >= KILLED_IN * (ROWS // SETTINGS["batch_size"])
    given = {**SETTINGS, "epochs": EPOCHS_OF_DRIVER, "progress": False}
    result = ht.train(
        model("logistic"), data("logistic"), **given, nodes=2, checkpoint=folder, resume=True
    )
    assert result.settings["resumed"] == str(folder / saved)
    alone = ht.train(model("logistic"), data("logistic"), **given)
    assert bits(result) == bits(alone)
    assert [(r.loss, r.rows) for r in result.history] == [(r.loss, r.rows) for r in alone.history]
