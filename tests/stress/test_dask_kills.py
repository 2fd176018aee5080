# SPDX-License-Identifier: BSD-3-Clause
"""Dask workers that are killed at random times: the bits of one machine, and nothing is left.

HYBRIDTRAIN_NODE_KILLS is the count.
"""

from __future__ import annotations

import os
import random
import time
from contextlib import suppress
from pathlib import Path

import pytest
from support.dask_clusters import distributed, local_cluster
from support.node_runs import ROWS, bits, data, model
from support.striking import EPOCHS, GIVEN, KILLS, run_struck

import hybridtrain as ht

_MARK = "hybridtrain-dask-kills"  # in the environment of this test's processes

pytestmark = [
    pytest.mark.stress,
    pytest.mark.engine,
    pytest.mark.timeout(120 + 10 * KILLS),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def _node_pids() -> set[int]:
    """Return the processes of nodes that workers of this test have started."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            is_node = b"launch.node_process" in (entry / "cmdline").read_bytes()
            if is_node and _MARK.encode() in (entry / "environ").read_bytes():
                found.add(int(entry.name))
    return found


def test_runs_on_killed_workers_have_the_bits_of_one_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HYBRIDTRAIN_MARK", _MARK)
    alone = bits(ht.train(model("logistic"), data("logistic"), **GIVEN))
    rng, n_struck = random.Random(os.environ.get("HYBRIDTRAIN_SEED", "0")), 0
    while n_struck < KILLS:
        # A new cluster for each run: a nanny gives up whose worker is killed while it starts.
        with local_cluster(3) as cluster, distributed.Client(cluster) as client:
            client.wait_for_workers(3)
            # All but the first; nannies start others.
            nannies = [nanny for name, nanny in cluster.workers.items() if name != 0]
            result, n_more = run_struck(
                rng, lambda nannies=nannies: [n.pid for n in nannies if n.pid], client
            )
            n_struck += n_more
            assert n_more > 0
            assert bits(result) == alone
            assert sum(record.rows for record in result.history) == EPOCHS * ROWS
            deadline = time.monotonic() + 10.0
            while _node_pids() and time.monotonic() < deadline:
                time.sleep(0.05)
            assert not _node_pids()
