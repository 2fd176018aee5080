# SPDX-License-Identifier: BSD-3-Clause
"""A training process that is killed or terminated, and the run that goes on from its checkpoint."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from support.saved_process import EPOCHS, N_ROWS, await_gone, end_once_saved, start, told

import hybridtrain as ht
from hybridtrain.run.checkpoint import newest


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return told(start("sync", "threads", tmp_path_factory.mktemp("whole"), 1))


@pytest.mark.parametrize("backend", ["threads", "processes"])
def test_a_killed_run_goes_on_to_the_same_bits(
    backend: str, whole: dict[str, Any], tmp_path: Path
) -> None:
    draw, n_killed = random.Random(0), 0
    for workers in (2, 1, 3):
        process = start("sync", backend, tmp_path, workers)
        was_killed, left = end_once_saved(
            process, tmp_path, signal.SIGKILL, draw.uniform(0.02, 0.1)
        )
        n_killed += was_killed
        assert (len(left) == workers) == (backend == "processes") or not was_killed
        await_gone(left)
        newest(tmp_path)  # it is whole
        if not was_killed:
            break
    assert n_killed > 0
    found = told(start("sync", backend, tmp_path, 2))
    assert found["resumed"] is not None
    assert (found["bits"], found["ledger"]) == (whole["bits"], whole["ledger"])


@pytest.mark.parametrize("strategy", ["sync", "hybrid"])
def test_a_terminated_run_is_saved_where_it_is_and_ends_with_its_exit_code(
    strategy: str, whole: dict[str, Any], tmp_path: Path
) -> None:
    process = start(strategy, "processes", tmp_path, 2)
    was_ended, left = end_once_saved(process, tmp_path, signal.SIGTERM, 0.05)
    assert was_ended
    assert process.returncode == 128 + signal.SIGTERM
    await_gone(left)
    job = newest(tmp_path)[1].job
    assert job["ended"] == ""
    found = told(start(strategy, "threads", tmp_path, 1))
    assert found["resumed"] is not None
    assert [row[0] + row[2] for row in found["ledger"]] == [N_ROWS] * EPOCHS
    if strategy == "sync":
        assert (found["bits"], found["ledger"]) == (whole["bits"], whole["ledger"])


def test_the_command_line_goes_on_after_sigterm(tmp_path: Path) -> None:
    X = np.random.default_rng(0).random((4000, 2), np.float32)
    ht.save_directory(tmp_path / "rows", sparse.csr_matrix(X), X[:, 0] > X[:, 1])

    def command(*words: str) -> subprocess.Popen[str]:
        usual = ["train", "rows", "--strategy", "sync", "--epochs", "1000", "--lr", "0.1"]
        return subprocess.Popen(
            [sys.executable, "-m", "hybridtrain", *usual, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )

    saving = ["--checkpoint", "run", "--checkpoint-every", "0.05", "--resume"]
    process = command("--workers", "2", *saving, "--save", "part.npz")
    while not list((tmp_path / "run").glob("*.checkpoint")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.terminate()
    out, err = process.communicate(timeout=30)
    assert process.returncode == 143, (out, err)
    assert "--checkpoint run --resume goes on from 0" in err
    out, err = command("--workers", "1", *saving, "--save", "whole.npz").communicate(timeout=60)
    assert "went on from run/0" in out, (out, err)
    command("--workers", "1", "--save", "never_ended.npz").communicate(timeout=60)

    models = [ht.load(tmp_path / name) for name in ("whole.npz", "never_ended.npz")]
    assert models[0].params["coef"].tobytes() == models[1].params["coef"].tobytes()
    words = ["--epochs", "4", *saving]
    process = command(*words)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "epochs: 1000 there, 4 here" in err
