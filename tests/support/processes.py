# SPDX-License-Identifier: BSD-3-Clause
"""What tests do with worker processes: find, stop and kill them."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hybridtrain.observe.records import EpochRecord
from hybridtrain.run.job import Job

_SHARED_MEMORY = Path("/dev/shm")
_WORKED_NS = 5_000_000
_MOST_SECONDS = 1.0
Act = Callable[[list[int]], bool]
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


def _has_worked(pid: int) -> bool:
    """Whether a process has had a core for a while: after three idle deaths none comes."""
    try:
        nanoseconds = int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0])
    except OSError:  # it is gone
        return False
    return nanoseconds > _WORKED_NS


def killing(choose: Callable[[list[int]], list[int]], most: int) -> Act:
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
def beside(act: Act, pause: float) -> Iterator[list[int]]:
    """Act on this process's workers again and again while the block runs.

    A run does not outrun the first act: an epoch whose workers have worked ends after it.

    Parameters
    ----------
    act : function
        Takes the numbers of workers that have worked, at least one; returns whether it did
        something.
    pause : float
        Seconds between two calls.

    Yields
    ------
    list of int
        How many workers there were each time that something was done.
    """
    done: list[int] = []
    has_acted, is_over = threading.Event(), threading.Event()

    def at_work() -> list[int]:
        return [pid for pid in workers_of(os.getpid()) if _has_worked(pid)]

    def loop() -> None:
        while not is_over.wait(pause):
            workers = at_work()
            with suppress(ProcessLookupError):  # it has left meanwhile
                if workers and act(workers):
                    done.append(len(workers))
                    has_acted.set()

    measure = Job._measure

    def measure_after(job: Job, record: EpochRecord) -> EpochRecord:
        if not has_acted.is_set() and at_work():
            has_acted.wait(_MOST_SECONDS)  # some acts need more workers than have worked
        return measure(job, record)

    thread = threading.Thread(target=loop, name="faults", daemon=True)
    thread.start()
    Job._measure = measure_after  # type: ignore[method-assign]
    try:
        yield done
    finally:
        Job._measure = measure  # type: ignore[method-assign]
        is_over.set()
        thread.join()


def shared_files() -> set[str]:
    """Return the package's names in /dev/shm: other programs have files there, too."""
    names = os.listdir(_SHARED_MEMORY) if _SHARED_MEMORY.is_dir() else []
    return {name for name in names if "hybridtrain" in name}


def kill_one(*, seed: int, most: int = MOST_KILLS["fork"]) -> Act:
    """Return an act for `beside`: kill one of the workers, by chance, at most so many times."""
    chance = random.Random(seed)
    return killing(lambda found: [chance.choice(found)], most)


def stop_one(least: int = 1) -> Act:
    """Return an act for `beside`: stop the first worker, once, when there are so many."""
    stopped: list[int] = []

    def act(found: list[int]) -> bool:
        if stopped or len(found) < least:
            return False
        os.kill(found[0], signal.SIGSTOP)
        stopped.append(found[0])
        return True

    return act
