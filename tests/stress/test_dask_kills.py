# SPDX-License-Identifier: BSD-3-Clause
"""Dask workers that are killed at random times: the bits of one machine, and nothing is left.

HYBRIDTRAIN_NODE_KILLS is the count.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.dask_clusters import distributed, local_cluster
from support.node_runs import ROWS, SETTINGS, bits, data, model

import hybridtrain as ht

KILLS = int(os.environ.get("HYBRIDTRAIN_NODE_KILLS", "8"))
EPOCHS, SECONDS = 400, 0.02  # of an epoch's callback, so that nodes have the time to come

GIVEN: dict[str, Any] = {**SETTINGS, "epochs": EPOCHS, "progress": False}
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


def _strike(
    rng: random.Random,
    cluster: Any,
    is_begun: threading.Event,
    is_over: threading.Event,
    struck: list[int],
) -> None:
    """Kill workers, all but the first, until the run is over; nannies start others."""
    is_begun.wait()
    while not is_over.wait(rng.uniform(0.2, 2.5)):
        pids = [nanny.pid for name, nanny in cluster.workers.items() if name != 0 and nanny.pid]
        if pids:
            with suppress(ProcessLookupError):
                os.kill(pid := rng.choice(pids), signal.SIGKILL)
                struck.append(pid)


def _run(rng: random.Random, cluster: Any, client: Any) -> tuple[ht.Result, int]:
    """Return the result of a run on struck workers, and how many were struck."""
    is_begun, is_over, struck = threading.Event(), threading.Event(), list[int]()
    words = rng, cluster, is_begun, is_over, struck
    thread = threading.Thread(target=_strike, args=words)
    thread.start()
    try:
        result = ht.train(
            model("logistic"),
            data("logistic"),
            **GIVEN,
            nodes=client,
            timeout=6.0,
            callbacks=[lambda record: time.sleep(SECONDS), lambda record: is_begun.set()],
        )
    finally:
        is_over.set()
        is_begun.set()
        thread.join()
    return result, len(struck)


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
            result, n_more = _run(rng, cluster, client)
            n_struck += n_more
            assert n_more > 0
            assert bits(result) == alone
            assert sum(record.rows for record in result.history) == EPOCHS * ROWS
            deadline = time.monotonic() + 10.0
            while _node_pids() and time.monotonic() < deadline:
                time.sleep(0.05)
            assert not _node_pids()
