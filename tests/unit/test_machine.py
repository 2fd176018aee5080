# SPDX-License-Identifier: BSD-3-Clause
"""Cores, quota, cache, memory, and equal ranges of work."""

from __future__ import annotations

import os
import resource
import threading
import time
from pathlib import Path

import pytest

from hybridtrain import machine


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the module see a folder in place of the root of the file system."""
    monkeypatch.setattr(machine, "Path", lambda name: tmp_path / str(name).lstrip("/"))
    return tmp_path


def _write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _set_quota(root: Path, text: str) -> None:
    _write(root, "proc/self/cgroup", "1:name=old:/elsewhere\n0::/jobs/mine\n")
    _write(root, "sys/fs/cgroup/jobs/mine/cpu.max", text)


def test_the_usable_cores_are_those_of_the_affinity_mask() -> None:
    before = os.sched_getaffinity(0)
    assert 1 <= machine.usable_cores() <= len(before)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert machine.usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000", 64), ("100000 100000", 1), ("150000 100000", 2), ("5000 100000", 1)],
)
def test_a_cgroup_quota_bounds_the_cores_rounded_up(
    quota: str, cores: int, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))
    _set_quota(root, quota)
    assert machine.usable_cores() == cores


@pytest.mark.parametrize("text", ["", "nonsense\n", "2:cpu:/old\n"])
def test_without_a_readable_quota_the_mask_alone_counts(
    text: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))
    assert machine.usable_cores() == 64
    _write(root, "proc/self/cgroup", text)
    assert machine.usable_cores() == 64


def test_without_affinity_masks_the_cores_of_the_machine_count(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del root
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine.usable_cores() == 1


@pytest.mark.parametrize(("size", "nbytes"), [("512K", 512 << 10), ("2M", 2 << 20)])
def test_the_cache_is_the_one_of_the_second_level(size: str, nbytes: int, root: Path) -> None:
    cache = "sys/devices/system/cpu/cpu0/cache"
    for index, (level, text) in enumerate([("1", "32K"), ("1", "32K"), ("2", size), ("3", "32M")]):
        _write(root, f"{cache}/index{index}/level", f"{level}\n")
        _write(root, f"{cache}/index{index}/size", f"{text}\n")
    assert machine.second_level_cache_nbytes() == nbytes


@pytest.mark.parametrize("size", ["", "many", "2G"])
def test_an_unknown_cache_counts_as_one_mebibyte(size: str, root: Path) -> None:
    assert machine.second_level_cache_nbytes() == 1 << 20
    _write(root, "sys/devices/system/cpu/cpu0/cache/index2/level", "2\n")
    _write(root, "sys/devices/system/cpu/cpu0/cache/index2/size", f"{size}x\n")
    assert machine.second_level_cache_nbytes() == 1 << 20


MIB = 1 << 20
V2, V1 = "sys/fs/cgroup", "sys/fs/cgroup/memory"


@pytest.fixture
def memory(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A system of 900 MiB without limits, as the module sees it."""
    _write(root, "proc/meminfo", f"MemTotal: 2000000 kB\nMemAvailable: {900 * 1024} kB\n")
    _write(root, "proc/self/statm", "1000 500 100 1 0 200 0\n")
    _limit_addresses(monkeypatch, resource.RLIM_INFINITY)
    return root


def _limit_addresses(monkeypatch: pytest.MonkeyPatch, nbytes: int) -> None:
    limits = {resource.RLIMIT_AS: (nbytes, resource.RLIM_INFINITY)}
    monkeypatch.setattr(machine.resource, "getrlimit", limits.__getitem__)


def _group(root: Path, folder: str, limit: str, used: int, inactive: int) -> None:
    """Write the memory of a cgroup of version 2, in MiB."""
    _write(root, f"{folder}/memory.max", f"{limit}\n")
    _write(root, f"{folder}/memory.current", f"{used * MIB}\n")
    _write(root, f"{folder}/memory.stat", f"anon 5\ninactive_file {inactive * MIB}\n")


def test_this_machine_has_memory() -> None:
    found = machine.available_memory()
    assert found is not None
    assert MIB < found < 1 << 50


def test_without_limits_the_memory_of_the_system_is_available(memory: Path) -> None:
    assert machine.available_memory() == 900 * MIB
    _write(memory, "proc/self/cgroup", "0::/jobs/mine\n")
    _group(memory, f"{V2}/jobs/mine", "max", 100, 0)
    assert machine.available_memory() == 900 * MIB


def test_a_cgroup_leaves_its_limit_less_what_is_used_but_for_idle_files(memory: Path) -> None:
    _write(memory, "proc/self/cgroup", "1:name=old:/elsewhere\n0::/jobs/mine\n")
    _group(memory, f"{V2}/jobs/mine", str(500 * MIB), 300, 120)
    assert machine.available_memory() == 320 * MIB


def test_the_limit_of_a_group_above_counts_too(memory: Path) -> None:
    _write(memory, "proc/self/cgroup", "0::/jobs/mine\n")
    _group(memory, f"{V2}/jobs/mine", str(500 * MIB), 10, 0)
    _group(memory, f"{V2}/jobs", str(600 * MIB), 400, 0)
    assert machine.available_memory() == 200 * MIB


def test_in_a_container_the_root_is_its_own_group(memory: Path) -> None:
    _write(memory, "proc/self/cgroup", "0::/system/docker-abc\n")
    _group(memory, V2, str(400 * MIB), 100, 0)
    assert machine.available_memory() == 300 * MIB


def test_a_cgroup_of_version_one_is_understood(memory: Path) -> None:
    _write(memory, "proc/self/cgroup", "9:cpu:/x\n4:hugetlb,memory:/jobs\n0::/\n")
    _write(memory, f"{V1}/jobs/memory.limit_in_bytes", f"{500 * MIB}\n")
    _write(memory, f"{V1}/jobs/memory.usage_in_bytes", f"{200 * MIB}\n")
    _write(memory, f"{V1}/jobs/memory.stat", f"inactive_file 0\ntotal_inactive_file {50 * MIB}\n")
    _write(memory, f"{V1}/memory.limit_in_bytes", "9223372036854771712\n")
    _write(memory, f"{V1}/memory.usage_in_bytes", f"{800 * MIB}\n")
    assert machine.available_memory() == 350 * MIB


def test_the_limit_of_addresses_leaves_what_is_not_mapped(
    memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del memory
    _limit_addresses(monkeypatch, 100 * MIB)
    assert machine.available_memory() == 100 * MIB - 1000 * resource.getpagesize()


def test_more_in_use_than_a_new_limit_leaves_nothing(memory: Path) -> None:
    _write(memory, "proc/self/cgroup", "0::/jobs\n")
    _group(memory, f"{V2}/jobs", str(100 * MIB), 150, 0)
    assert machine.available_memory() == 0


def test_unknown_memory_is_none(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _limit_addresses(monkeypatch, 100 * MIB)
    assert machine.available_memory() is None
    _write(root, "proc/self/cgroup", "nonsense\n4:memory\n0::/\n\n")
    _write(root, "sys/fs/cgroup/memory.max", "many\n")
    assert machine.available_memory() is None


@pytest.mark.parametrize("n", [1, 2, 7, 100])
@pytest.mark.parametrize("threads", [1, 2, 3, 200])
def test_ranges_cover_everything_once_and_in_order(n: int, threads: int) -> None:
    ranges = machine.over_ranges(lambda first, last: (first, last), n, threads)
    assert len(ranges) == min(n, threads)
    assert [i for first, last in ranges for i in range(first, last)] == list(range(n))
    sizes = [last - first for first, last in ranges]
    assert max(sizes) - min(sizes) <= 1


def test_one_range_runs_in_the_thread_of_the_caller() -> None:
    me = threading.current_thread()
    assert machine.over_ranges(lambda first, last: threading.current_thread(), 5, 1) == [me]


def test_an_error_in_a_range_reaches_the_caller() -> None:
    def work(first: int, last: int) -> int:
        raise LookupError(f"{first} {last}")

    with pytest.raises(LookupError, match="0 5"):
        machine.over_ranges(work, 10, 2)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_ranges_can_be_the_same_for_any_number_of_threads(threads: int) -> None:
    ranges = machine.over_ranges(lambda first, last: (first, last), 10, threads, 4)
    assert ranges == [(0, 2), (2, 5), (5, 7), (7, 10)]
    assert machine.over_ranges(lambda first, last: (first, last), 2, threads, 4) == [(0, 1), (1, 2)]


@pytest.mark.parametrize("refused", ["first", "second"])
def test_ranges_are_done_by_the_threads_that_there_are(
    refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    really, tried = threading.Thread.start, []

    def start(self: threading.Thread) -> None:
        tried.append(self)
        if len(tried) == (1 if refused == "first" else 2):
            raise RuntimeError("can't start new thread")  # as with RLIMIT_NPROC
        really(self)

    monkeypatch.setattr(machine, "usable_cores", lambda: 4)
    monkeypatch.setattr(threading.Thread, "start", start)
    ranges = machine.over_ranges(lambda first, last: (first, last), 8, 4)
    assert ranges == [(0, 2), (2, 4), (4, 6), (6, 8)]
    assert len(tried) == (1 if refused == "first" else 2)


def test_threads_have_ended_when_an_error_reaches_the_caller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "usable_cores", lambda: 3)
    caller, ended = threading.current_thread(), []

    def work(first: int, last: int) -> None:
        if threading.current_thread() is caller:
            raise KeyboardInterrupt
        time.sleep(0.05)
        ended.append(first)

    with pytest.raises(KeyboardInterrupt):
        machine.over_ranges(work, 30, 3, 30)
    assert 1 <= len(ended) <= 2  # they take no further range


def test_threads_are_waited_for_however_often_the_wait_is_interrupted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    thread = threading.Thread(target=time.sleep, args=(0.05,))
    really, raised = threading.Thread.join, []

    def join(self: threading.Thread, timeout: float | None = None) -> None:
        raised.append(KeyboardInterrupt(len(raised)))
        really(self, 0.01)
        raise raised[-1]

    thread.start()
    monkeypatch.setattr(threading.Thread, "join", join)
    with pytest.raises(KeyboardInterrupt, match="0"):
        machine.await_end([thread, threading.Thread(target=time.sleep)])  # one was never started
    assert not thread.is_alive()
    assert len(raised) > 1
