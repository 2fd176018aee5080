# SPDX-License-Identifier: BSD-3-Clause
"""Facts of this machine: usable cores, a core's cache, and memory."""

from __future__ import annotations

import contextlib
import math
import os
import platform
import resource
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

CoresOfWorkers = Sequence[Sequence[int] | None] | None

_CACHE_FALLBACK_NBYTES = 1 << 20
_NO_LIMIT = 1 << 62  # what cgroups of version 1 say that have none


def usable_cores() -> int:
    """Return the cores this process may use: affinity mask, cgroup quota, and joblib's share.

    Returns
    -------
    int
        At least 1.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min(cores, _cgroup_quota(), _joblib_share()))


def usable_core_numbers() -> tuple[int, ...]:
    """Return the numbers of the cores in this process's affinity mask, in order."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def pin(thread: int, cores: Sequence[int] | None) -> None:
    """Let a thread run on these cores alone, if the system allows it; None changes nothing.

    Parameters
    ----------
    thread : int
        As the kernel numbers it: a process's first thread has the process's number; 0: this one.
    cores : sequence of int or None
    """
    if cores is not None and hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):  # it is gone, or a core went: then it runs anywhere
            os.sched_setaffinity(thread, cores)


def numa_nodes(folder: str = "/sys/devices/system/node") -> tuple[tuple[int, ...], ...]:
    """Return for each NUMA node the numbers of its usable cores.

    Parameters
    ----------
    folder : str
        Where the system tells its nodes.

    Returns
    -------
    tuple of tuple of int
        Nodes without a usable core are left out. All usable cores are one node where the system
        does not tell.
    """
    usable = usable_core_numbers()
    nodes = []
    for path in Path(folder).glob("node[0-9]*/cpulist"):
        try:
            cores = _listed(path.read_text(encoding="ascii")) & set(usable)
        except (OSError, ValueError):
            continue
        nodes += [tuple(sorted(cores))] if cores else []
    known = {core for node in nodes for core in node}
    return tuple(sorted(nodes)) if known == set(usable) else (usable,)


def _listed(text: str) -> set[int]:
    """Return the numbers of a list such as "0-3,8"."""
    numbers: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        numbers.update(range(int(first), int(last or first) + 1))
    return numbers


def _joblib_share() -> int:
    """Return the threads that joblib leaves to each of its worker processes.

    It tells libraries so by their variables, OMP_NUM_THREADS among them, which a user may
    also set for others: it counts in joblib's processes alone.
    """
    process = sys.modules.get("multiprocessing.process")  # imported in each of its processes
    if process is None or not process.current_process().name.startswith("LokyProcess"):
        return 1 << 30
    try:
        return int(os.environ["OMP_NUM_THREADS"])
    except (KeyError, ValueError):
        return 1 << 30


def _cgroup_quota() -> int:
    """Return the CPU quota of this process's cgroup (version 2), rounded up."""
    try:
        group = next(
            line.rpartition(":")[2]
            for line in Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
            if line.startswith("0::")
        )
        quota, period = Path(f"/sys/fs/cgroup{group}/cpu.max").read_text(encoding="ascii").split()
        return math.ceil(int(quota) / int(period))
    except (OSError, StopIteration, ValueError):  # no quota, or not Linux
        return 1 << 30


def second_level_cache_nbytes() -> int:
    """Return the size of one core's second-level cache in bytes; 1 MiB if unknown."""
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            if (index / "level").read_text().strip() == "2":
                size = (index / "size").read_text().strip()
                return int(size[:-1]) << {"K": 10, "M": 20}[size[-1]]
        except (OSError, KeyError, ValueError):
            continue
    return _CACHE_FALLBACK_NBYTES


def available_memory() -> int | None:
    """Return the bytes that this process can still take without taking them from others.

    This is the least of three sizes: the system's free memory, the rest within the memory
    limits of the process's cgroup and of those above it, and the rest within its limit of
    addresses. Files in the page cache that no process has used lately count as free.

    Returns
    -------
    int or None
        None when none of these sizes is known.
    """
    known = [*_cgroup_memory(), *_system_memory(), *_address_space()]
    return max(0, min(known)) if known else None


def _cgroup_memory() -> list[int]:
    """Return the bytes left within the memory limits of the cgroups (versions 2 and 1)."""
    found = []
    for line in _lines("/proc/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if number == "0" and not controllers:
            root, names = "/sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            root = "/sys/fs/cgroup/memory"
            names = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
        else:
            continue
        # In a container the group's own folder may be out of sight: then the root is its own.
        path = PurePosixPath(group)
        found += [left for p in (path, *path.parents) for left in _left_in(f"{root}{p}", *names)]
    return found


def _left_in(folder: str, limit: str, usage: str, inactive: str) -> list[int]:
    try:
        most = int(Path(f"{folder}/{limit}").read_text(encoding="ascii"))
        if most >= _NO_LIMIT:
            return []  # as "max": what is used need not be read
        used = int(Path(f"{folder}/{usage}").read_text(encoding="ascii"))
    except (OSError, ValueError):  # no such group, or "max"
        return []
    return [most - used + _number(_lines(f"{folder}/memory.stat"), inactive)]


def kills_for_memory() -> int:
    """Return how many processes of this process's cgroups were killed for want of memory."""
    kills = 0
    for line in _lines("/proc/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if number == "0" and not controllers:
            kills += _number(_lines(f"/sys/fs/cgroup{group}/memory.events"), "oom_kill")
        elif "memory" in controllers.split(","):
            kills += _number(_lines(f"/sys/fs/cgroup/memory{group}/memory.oom_control"), "oom_kill")
    return kills


def _system_memory() -> list[int]:
    kibibytes = _number(_lines("/proc/meminfo"), "MemAvailable:")
    return [kibibytes << 10] if kibibytes else []


def _address_space() -> list[int]:
    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    pages = _lines("/proc/self/statm")
    if most == resource.RLIM_INFINITY or not pages:
        return []
    return [most - int(pages[0].split()[0]) * resource.getpagesize()]


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _number(lines: list[str], name: str) -> int:
    """Return the number after a name; 0 if there is none."""
    words = (line.split() for line in lines)
    return next((int(w[1]) for w in words if len(w) > 1 and w[0] == name), 0)


def processor_name() -> str:
    """Return the processor's name, or the architecture's if the processor has none."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    except OSError:  # not Linux
        pass
    return platform.processor() or platform.machine()
