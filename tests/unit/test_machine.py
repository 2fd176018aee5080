# SPDX-License-Identifier: BSD-3-Clause
"""Cores, quota, cache and memory."""

from __future__ import annotations

import multiprocessing
import os
import resource
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


@pytest.mark.parametrize(
    ("process", "threads", "cores"),
    [("LokyProcess-3", "2", 2), ("LokyProcess-3", "many", 64), ("MainProcess", "2", 64)],
)
def test_joblib_leaves_each_of_its_processes_a_share(
    process: str, threads: str, cores: int, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))
    monkeypatch.setattr(multiprocessing.current_process(), "name", process)
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
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
