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
from support.node_runs import SETTINGS, bits, data, model

import hybridtrain as ht
from hybridtrain.errors import NodesLostError

KILLS = int(os.environ.get("HYBRIDTRAIN_NODE_KILLS", "8"))
EPOCHS, SECONDS = 400, 0.02  # of an epoch's callback, so that nodes have the time to come

pytestmark = [
    pytest.mark.stress,
    pytest.mark.engine,
    pytest.mark.timeout(120 + 10 * KILLS),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def _node_pids() -> set[int]:
    """Return the processes of nodes, whoever has started them, that name this run's workers."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            is_node = b"launch.node_process" in (entry / "cmdline").read_bytes()
            if is_node and b"hybridtrain-dask-kills" in (entry / "environ").read_bytes():
                found.add(int(entry.name))
    return found


def _strike(rng: random.Random, cluster: Any, is_over: threading.Event, struck: list[int]) -> None:
    while not is_over.wait(rng.uniform(0.2, 2.5)):
        pids = [nanny.pid for nanny in cluster.workers.values() if nanny.pid]
        if pids:
            with suppress(ProcessLookupError):
                os.kill(pid := rng.choice(pids), signal.SIGKILL)
                struck.append(pid)


def test_runs_on_killed_workers_have_the_bits_of_one_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run may also end, in words, when the last node that had every step was killed."""
    monkeypatch.setenv("HYBRIDTRAIN_MARK", "hybridtrain-dask-kills")
    given: dict[str, Any] = {**SETTINGS, "epochs": EPOCHS, "progress": False}
    alone = bits(ht.train(model("logistic"), data("logistic"), **given))
    rng = random.Random(os.environ.get("HYBRIDTRAIN_SEED", "0"))
    n_struck = n_whole = 0
    with local_cluster(3) as cluster, distributed.Client(cluster) as client:
        while n_struck < KILLS:
            is_over, struck = threading.Event(), list[int]()
            thread = threading.Thread(target=_strike, args=(rng, cluster, is_over, struck))
            thread.start()
            try:
                result = ht.train(
                    model("logistic"),
                    data("logistic"),
                    **given,
                    nodes=client,
                    timeout=6.0,
                    callbacks=[lambda record: time.sleep(SECONDS)],
                )
                assert bits(result) == alone
                assert sum(record.rows for record in result.history) == EPOCHS * len(
                    data("logistic")[1]
                )
                n_whole += 1
            except NodesLostError as error:
                print(f"lost: {error}")
            finally:
                is_over.set()
                thread.join()
            n_struck += len(struck)
            deadline = time.monotonic() + 10.0
            while _node_pids() and time.monotonic() < deadline:
                time.sleep(0.05)
            assert not _node_pids()
    print(f"{n_struck} kills, {n_whole} whole runs")
    assert n_whole > 0
