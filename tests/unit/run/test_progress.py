# SPDX-License-Identifier: BSD-3-Clause
"""What a long run shows, where standard error is gone: the run goes on."""

from __future__ import annotations

import errno
import io
import subprocess
import sys
from typing import Any

import pytest
from reference.problems import Problem

import hybridtrain as ht
from hybridtrain.run.progress import is_terminal, tell


class _Broken(io.StringIO):
    """A stream that fails; as a terminal, or not."""

    def __init__(self, error: Exception, *, terminal: bool) -> None:
        super().__init__()
        self._error, self._terminal, self.tried = error, terminal, 0

    def isatty(self) -> bool:
        return self._terminal

    def write(self, text: str) -> int:
        self.tried += 1
        raise self._error


ERRORS = [
    BrokenPipeError(errno.EPIPE, "Broken pipe"),
    OSError(errno.ENOSPC, "No space left on device"),
    ValueError("I/O operation on closed file"),
]


@pytest.mark.parametrize("error", ERRORS, ids=["pipe", "full", "closed"])
@pytest.mark.parametrize("terminal", [False, True])
def test_a_run_goes_on_without_what_it_cannot_show(
    terminal: bool, error: Exception, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hybridtrain.run.progress._QUIET_SECONDS", 0.0)
    monkeypatch.setattr("hybridtrain.comparison.announcer._QUIET_SECONDS", 0.0)
    stream = _Broken(error, terminal=terminal)
    monkeypatch.setattr(sys, "stderr", stream)
    data = problem.X, problem.labels
    result = ht.train(ht.Linear(), data, workers=1, epochs=3)
    assert len(result.history) == 3
    assert stream.tried > 0
    compared = ht.compare(ht.Linear(), data, strategies=["sync"], workers=1, repeats=1)
    assert len(compared.runs) == 1


def test_a_process_without_standard_error_trains(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hybridtrain.run.progress._QUIET_SECONDS", 0.0)
    monkeypatch.setattr(sys, "stderr", None)
    assert not is_terminal()
    assert not tell("nobody reads this")
    data = problem.X, problem.labels
    assert len(ht.train(ht.Linear(), data, workers=1).history) == 5
    assert ht.compare(ht.Linear(), data, strategies=["sync"], workers=1, repeats=1).runs


LATE: Any = """
import threading, time
import numpy as np
import hybridtrain as ht

X = np.random.default_rng(0).standard_normal((100_000, 10)).astype(np.float32)

def train():
    threading.main_thread().join()
    result = ht.train(ht.Linear(), (X, X[:, 0] > 0), workers=2, validation=0.2)
    print(len(result.history), result.predict(X).shape)

threading.Thread(target=train).start()
"""


def test_a_thread_trains_after_the_main_thread_has_ended() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", LATE], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "5 (100000,)\n", "")
