# SPDX-License-Identifier: BSD-3-Clause
"""Clusters of Dask on this machine, for tests; they are skipped without hybridtrain[dask]."""

from __future__ import annotations

from multiprocessing import resource_tracker
from typing import Any

import pytest

distributed = pytest.importorskip("distributed", reason="needs hybridtrain[dask]")
# A process of Python's own, which no cluster ends: it is not what a test leaves behind.
resource_tracker.ensure_running()


def local_cluster(n_workers: int = 2) -> Any:
    """Return a cluster of processes with one thread each."""
    return distributed.LocalCluster(
        n_workers=n_workers, threads_per_worker=1, dashboard_address=":0", memory_limit=0
    )
