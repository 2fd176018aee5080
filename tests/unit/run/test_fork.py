# SPDX-License-Identifier: BSD-3-Clause
"""A child that is forked within a callback: it cannot go on with the run, and does not hang."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "support" / "forked_run.py"


@pytest.mark.parametrize(
    ("ending", "strategy", "epoch"),
    [
        ("return", "hybrid", 1),
        ("return", "sync", 3),
        ("exit", "sync", 1),
        ("exit", "hogwild", 2),
        ("_exit", "hybrid", 2),
    ],
)
def test_the_child_is_refused_and_the_parent_goes_on(
    ending: str, strategy: str, epoch: int
) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), ending, strategy, str(epoch)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    *child, parent = done.stdout.splitlines()
    assert parent == "the child ended with 7 the parent has 3 epochs"
    assert len(child) == (ending == "return")
    if child:
        assert "forked within a callback" in child[0]
        assert "end it with os._exit" in child[0]
