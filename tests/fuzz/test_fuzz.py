# SPDX-License-Identifier: BSD-3-Clause
"""Hostile inputs of every kind end in an error of ours or in a sound model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_RUN = Path(__file__).with_name("run.py")
_CASES_OF_CI = 20  # seconds
_CASES_OF_STRESS = 300


def _run(seconds: int, seed: int, tmp_path: Path) -> None:
    command = [sys.executable, str(_RUN), "--seconds", str(seconds), "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    print(done.stdout, done.stderr)
    assert done.returncode == 0, f"{done.stdout[-20_000:]}\n{done.stderr[-5_000:]}"


@pytest.mark.timeout(400)
def test_some_hostile_inputs(tmp_path: Path) -> None:
    _run(_CASES_OF_CI, 0, tmp_path)


@pytest.mark.stress
@pytest.mark.timeout(900)
def test_many_hostile_inputs(tmp_path: Path) -> None:
    _run(_CASES_OF_STRESS, 1_000_000, tmp_path)
