# SPDX-License-Identifier: BSD-3-Clause
"""`hybridtrain train --backend processes`, whose workers are killed, or which is itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from support.processes import state_of, workers_of

import hybridtrain as ht

N_ROWS = 4000


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "rows"  # read without scikit-learn, which starts late
    X = sparse.csr_matrix(np.random.default_rng(0).standard_normal((N_ROWS, 12), np.float32))
    ht.save_directory(path, X, X[:, :1].toarray().ravel() > 0)
    return path


def _start(rows: Path, target: Path, *words: str) -> subprocess.Popen[str]:
    usual = ["--strategy", "sync", "--workers", "2", "--lr", "0.5", "--save", str(target)]
    return subprocess.Popen(
        [sys.executable, "-m", "hybridtrain", "train", str(rows), *usual, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=target.parent,  # the installed package, not the sources beside it
    )


def _await_workers(process: subprocess.Popen[str], n_workers: int) -> list[int]:
    deadline = time.monotonic() + 60
    while len(found := workers_of(process.pid)) < n_workers:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def test_killed_workers_are_named_and_the_model_is_that_of_threads(
    rows: Path, tmp_path: Path
) -> None:
    epochs = ["--epochs", "1000"]
    whole = _start(rows, tmp_path / "whole.npz", *epochs)
    killed = _start(rows, tmp_path / "killed.npz", *epochs, "--backend", "processes")
    for _ in range(3):
        pid = _await_workers(killed, 2)[0]
        os.kill(pid, signal.SIGKILL)
        while pid in workers_of(killed.pid):
            time.sleep(0.005)
    said, _ = killed.communicate(timeout=100)
    assert killed.returncode == 0
    assert "worker processes died and were replaced: SIGKILL 3 times; nothing was lost" in said
    whole.communicate(timeout=100)
    models = [ht.load(tmp_path / name).params["coef"] for name in ("whole.npz", "killed.npz")]
    assert models[0].tobytes() == models[1].tobytes()


def test_sigterm_saves_and_leaves_no_process(rows: Path, tmp_path: Path) -> None:
    run = _start(rows, tmp_path / "model.npz", "--epochs", "100000", "--backend", "processes")
    workers = _await_workers(run, 2)
    time.sleep(0.3)
    run.send_signal(signal.SIGTERM)
    run.communicate(timeout=60)
    assert run.returncode == 143
    assert ht.load(tmp_path / "model.npz").history
    deadline = time.monotonic() + 1
    while any(state_of(pid) not in {"", "Z", "X"} for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.01)
