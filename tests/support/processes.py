# SPDX-License-Identifier: BSD-3-Clause
"""What tests do with worker processes: find, stop and kill them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MOST_KILLS = {"fork": 1_000_000, "exec": 2}
_PROGRAM = b"hybridtrain.run.worker_process"


def state_of(pid: int) -> str:
    """Return the state of a process, "R", "S", "T", "Z", ...; "" if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[0]


def workers_of(parent: int) -> list[int]:
    """Return the worker processes of a training process, those that nobody has reaped too."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text(encoding="utf-8", errors="replace")
            name, _, rest = stat.rpartition(")")
            if int(rest.split()[1]) != parent:
                continue
            # A program names itself once it has begun.
            if name.endswith("(ht-worker") or _PROGRAM in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:  # gone meanwhile
            continue
    return sorted(found)


def killing(choose: Callable[[list[int]], list[int]], most: int) -> Callable[[list[int]], bool]:
    """Return what kills the chosen workers at each call of `beside`, at most so many times.

    A place whose processes die three times in a row before they have worked stays empty, and an
    executed worker needs longer than a forked one before it works: `MOST_KILLS`.
    """
    times: list[int] = []

    def kill(found: list[int]) -> bool:
        if len(times) == most:
            return False
        times.append(len(found))
        for pid in choose(found):
            with suppress(ProcessLookupError):  # it has left meanwhile
                os.kill(pid, signal.SIGKILL)
        return True

    return kill


@contextmanager
def beside(act: Callable[[list[int]], bool], pause: float) -> Iterator[list[int]]:
    """Act on this process's workers again and again while the block runs.

    Parameters
    ----------
    act : function
        Takes the workers' numbers, at least one; returns whether it did something.
    pause : float
        Seconds between two calls.

    Yields
    ------
    list of int
        How many workers there were each time that something was done.
    """
    done: list[int] = []
    is_over = threading.Event()

    def loop() -> None:
        while not is_over.wait(pause):
            workers = workers_of(os.getpid())
            with suppress(ProcessLookupError):  # it has left meanwhile
                if workers and act(workers):
                    done.append(len(workers))

    thread = threading.Thread(target=loop, name="faults", daemon=True)
    thread.start()
    try:
        yield done
    finally:
        is_over.set()
        thread.join()
