# SPDX-License-Identifier: BSD-3-Clause
"""Hostile inputs of every kind end in an error of ours or in a sound model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz.faults import FAULTS

_SCRIPT = Path(__file__).with_name("run.py")
_SECONDS_OF_CI, _SECONDS_OF_STRESS = 20, 300
_FIRST_OF_STRESS = 1_000_000
_HANG_SECONDS = 10  # a busy machine takes 3 for some of the sound ones


def _run(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(_SCRIPT), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=place)
    print(done.stdout[-20_000:], done.stderr[-5_000:])
    return done


@pytest.mark.timeout(300)
def test_some_hostile_inputs(tmp_path: Path) -> None:
    assert _run(tmp_path, "--seconds", str(_SECONDS_OF_CI)).returncode == 0


@pytest.mark.stress
@pytest.mark.timeout(1200)
def test_many_hostile_inputs(tmp_path: Path) -> None:
    seed = str(_FIRST_OF_STRESS)
    assert _run(tmp_path, "--seconds", str(_SECONDS_OF_STRESS), "--seed", seed).returncode == 0


@pytest.mark.timeout(300)
def test_every_kind_of_failure_is_noticed_and_the_run_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "failures.json"
    cases = [f"faults:{k}" for k in range(len(FAULTS))]
    limits = ["--hang-seconds", str(_HANG_SECONDS)]
    done = _run(tmp_path, *limits, "--json", str(file), "--case", *cases)
    assert done.returncode == 1
    found = json.loads(file.read_text())
    assert "faults:0" not in found
    for case, (_, says) in list(zip(cases, FAULTS, strict=True))[1:]:
        assert says in found[case], (case, found.get(case))
        assert f"--case {case}" in done.stdout
