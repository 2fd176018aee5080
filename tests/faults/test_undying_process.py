# SPDX-License-Identifier: BSD-3-Clause
"""A worker process whose death cannot be confirmed: the run ends, and says which one."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import numpy as np
import pytest
from reference.problems import planted

import hybridtrain as ht
from hybridtrain._core.process import Process
from hybridtrain.run.starters import Forked


class _Undying:
    """A process that SIGKILL does not end, as one that waits for a device."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.pid, self.fileno = process.pid, process.fileno

    def reap(self, seconds: float) -> None:
        del seconds

    def signal(self, number: int) -> None:
        assert number in {signal.SIGKILL, signal.SIGCONT}


def test_a_process_that_cannot_be_killed_ends_the_run_and_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem = planted(5, 5000, 50, longest=20)
    really = Forked.start
    undying: list[Process] = []

    def start(self: Forked, worker: int) -> Any:
        process = really(self, worker)
        if worker != 1:
            return process
        undying.append(process)
        os.kill(process.pid, signal.SIGSTOP)
        return _Undying(process)

    monkeypatch.setattr(Forked, "start", start)
    started = time.monotonic()
    try:
        with pytest.raises(ht.WorkersDiedError) as caught:
            ht.train(
                ht.Linear(),
                (problem.X, problem.labels),
                strategy="hybrid",
                optimizer=ht.SGD(lr=0.5),
                backend="processes",
                workers=2,
                timeout=0.3,
            )
    finally:
        for process in undying:
            process.signal(signal.SIGKILL)
            assert process.reap(5.0) == ("killed", signal.SIGKILL)
    assert time.monotonic() - started < 20.0
    assert f"worker 1 (process {undying[0].pid}) was sent SIGKILL and is not dead" in str(
        caught.value
    )
    assert "its state is 'T'" in str(caught.value)
    assert np.isfinite(caught.value.result.params["coef"]).all()
