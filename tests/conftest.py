# SPDX-License-Identifier: BSD-3-Clause
"""What all tests share: nothing hangs, nothing is left behind, small planted problems."""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest
from reference.problems import Problem, planted
from support.processes import shared_files, workers_of

from hybridtrain._core.rows import isas

_HANG_SECONDS = 50.0  # past pytest-timeout's limit: a thread that never gives the GIL back
_GRACE_SECONDS = 2.0
_WALL = 0x40000000  # of Linux: worker processes, whose end no signal announces, among the others
_HANDLERS = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}


def pytest_configure() -> None:
    """Keep the real standard error for the dump of a hang: output is captured later.

    Take signals back that a shell ignores in what it starts with ``&`` or ``nohup``: the tests
    and their processes, which inherit it, send them.
    """
    _stderr.append(os.dup(2))
    for number, handler in _HANDLERS.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


_stderr: list[int] = []


def pytest_collection_finish() -> None:
    """Let garbage collection pass over the thousands of tests: a quarter of a second each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _no_hang(request: pytest.FixtureRequest) -> Iterator[None]:
    marker = request.node.get_closest_marker("timeout")
    limit = float(marker.args[0] if marker else request.config.getini("timeout"))
    faulthandler.dump_traceback_later(limit + _HANG_SECONDS, exit=True, file=_stderr[0])
    yield
    faulthandler.cancel_dump_traceback_later()


def _workers() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("hybridtrain-")]


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT | _WALL)
    except ChildProcessError:
        return False
    return True


@pytest.fixture(autouse=True)
def leaves_nothing() -> Iterator[None]:
    """Fail a test that leaves a worker thread, a child process or a shared file behind."""
    files, had_children = shared_files(), _has_children()
    yield
    deadline = time.monotonic() + _GRACE_SECONDS
    while _workers() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _workers(), "threads are left"
    if _has_children():  # looking through all processes of the machine takes milliseconds
        assert not workers_of(os.getpid()), "a worker process is left"
        assert had_children, "a child process is left"
    assert shared_files() <= files, "files are left in /dev/shm"


@pytest.fixture(params=isas())
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Train on each instruction set of this machine in turn."""
    monkeypatch.setenv("HYBRIDTRAIN_ISA", request.param)
    return str(request.param)


@pytest.fixture
def problem() -> Problem:
    """400 rows of 0 .. 30 elements, 60 features of which the last is in no row."""
    return planted(1, 400, 60, longest=30)


@pytest.fixture
def ones_problem() -> Problem:
    """Rows as `problem`, every value 1."""
    return planted(2, 400, 60, longest=30, ones=True)
