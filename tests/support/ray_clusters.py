# SPDX-License-Identifier: BSD-3-Clause
"""Clusters of Ray on this machine, for tests; they are skipped without hybridtrain[ray]."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ray = pytest.importorskip("ray", reason="needs hybridtrain[ray]")

_MACHINE = {"num_cpus": 1, "object_store_memory": 100 << 20}
_SECONDS = 120.0


@contextmanager
def cluster() -> Iterator[Any]:
    """Connect this process to two machines of one CPU, which are processes here."""
    from ray.cluster_utils import Cluster  # noqa: PLC0415 - where Ray is installed

    made = Cluster(initialize_head=True, head_node_args={**_MACHINE, "include_dashboard": False})
    try:
        made.second = made.add_node(**_MACHINE)
        ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


def add_machine(made: Any) -> Any:
    """Return one machine more."""
    return made.add_node(**_MACHINE)


def node_processes() -> dict[int, int]:
    """Return the actor of each process of a node, by pid; those of Ray's workers alone."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            is_node = b"launch.node_process" in (entry / "cmdline").read_bytes()
            if is_node and b"RAY_RAYLET_PID=" in (entry / "environ").read_bytes():
                stat = (entry / "stat").read_text(encoding="utf-8", errors="replace")
                found[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
        except (OSError, ValueError):  # gone meanwhile, or no process
            continue
    return found


def require_no_node() -> None:
    """Wait until no node's process is left, and Ray has all CPUs back: both follow the actor."""
    deadline = time.monotonic() + _SECONDS
    while (node_processes() or _n_taken()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert node_processes() == {}
    assert _n_taken() == 0


def _n_taken() -> float:
    """Return the CPUs that Ray has given away."""
    if not ray.is_initialized():
        return 0.0
    there, free = ray.cluster_resources(), ray.available_resources()
    return float(there.get("CPU", 0.0) - free.get("CPU", 0.0))
