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
_SECONDS, _SECONDS_OF_STRESS = 5, 300
_FIRST_OF_STRESS = 1_000_000
_HANG = [says for _, says in FAULTS].index("hangs for")


def _run(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(_SCRIPT), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=place)
    print(done.stdout[-20_000:], done.stderr[-5_000:])
    return done


@pytest.mark.timeout(300)
def test_some_hostile_inputs(tmp_path: Path) -> None:
    assert _run(tmp_path, "--seconds", str(_SECONDS)).returncode == 0


@pytest.mark.stress
@pytest.mark.timeout(1200)
def test_many_hostile_inputs(tmp_path: Path) -> None:
    seed = str(_FIRST_OF_STRESS)
    assert _run(tmp_path, "--seconds", str(_SECONDS_OF_STRESS), "--seed", seed).returncode == 0


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("numbers", "limits"),
    [
        ([k for k in range(len(FAULTS)) if k != _HANG], []),
        ([_HANG, _HANG + 1], ["--hang-seconds", "4"]),  # the second one is done in no time
    ],
    ids=["any", "a hang"],
)
def test_every_kind_of_failure_is_noticed_and_the_run_goes_on(
    numbers: list[int], limits: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "failures.json"
    cases = {f"faults:{k}": FAULTS[k][1] for k in numbers}
    done = _run(tmp_path, *limits, "--json", str(file), "--case", *cases)
    assert done.returncode == 1
    found = json.loads(file.read_text())
    for case, says in cases.items():
        assert bool(says) == (case in found)
        assert says in found.get(case, ""), (case, found)
        assert not says or f"--case {case}" in done.stdout
