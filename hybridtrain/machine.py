# SPDX-License-Identifier: BSD-3-Clause
"""What this machine offers: usable cores and the size of a core's cache."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

_T = TypeVar("_T")
_CACHE_FALLBACK_NBYTES = 1 << 20


def usable_cores() -> int:
    """Return the cores this process may use: affinity mask and cgroup quota.

    Returns
    -------
    int
        At least 1.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min(cores, _cgroup_quota()))


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


def over_ranges(
    work: Callable[[int, int], _T], n: int, threads: int, ranges: int | None = None
) -> list[_T]:
    """Call work(first, last) on equal ranges of 0 .. n-1, in threads.

    Parameters
    ----------
    work : callable
        Should release the GIL.
    n : int
        At least 1.
    threads : int
    ranges : int, optional
        At most so many ranges; None: as many as threads.

    Returns
    -------
    list
        The results, in the order of the ranges.
    """
    ranges = min(threads if ranges is None else ranges, n)
    bounds = [n * k // ranges for k in range(ranges + 1)]
    if threads == 1:
        return [work(first, last) for first, last in pairwise(bounds)]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, bounds[:-1], bounds[1:]))


def processor_name() -> str:
    """Return what the processor calls itself; the architecture's name if it does not."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    except OSError:  # not Linux
        pass
    return platform.processor() or platform.machine()
