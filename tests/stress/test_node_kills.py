# SPDX-License-Identifier: BSD-3-Clause
"""Nodes that are killed and stopped at random times: the bits of one node, and nothing is left.

HYBRIDTRAIN_NODE_KILLS is the count.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from contextlib import suppress

import pytest
from support.node_runs import ROWS, SETTINGS, bits, data, model, node_pids

import hybridtrain as ht

KILLS = int(os.environ.get("HYBRIDTRAIN_NODE_KILLS", "8"))
EPOCHS, SECONDS = 400, 0.02  # of an epoch's callback, so that nodes have the time to come

pytestmark = [pytest.mark.stress, pytest.mark.timeout(120 + 10 * KILLS)]


def _strike(
    rng: random.Random, is_begun: threading.Event, is_over: threading.Event, struck: list[int]
) -> None:
    """Kill and stop nodes until the run is over; one that was there from the start is spared."""
    is_begun.wait()
    spared = rng.choice(node_pids() or [0])
    while not is_over.wait(rng.uniform(0.2, 1.5)):
        others = [pid for pid in node_pids() if pid != spared]
        if others:
            struck.append(rng.choice(others))
            with suppress(ProcessLookupError):
                os.kill(struck[-1], rng.choice([signal.SIGKILL] * 3 + [signal.SIGSTOP]))


def _run(rng: random.Random) -> tuple[ht.Result, int]:
    """Return the result of a run on struck nodes, and how many were struck."""
    is_begun, is_over, struck = threading.Event(), threading.Event(), list[int]()
    thread = threading.Thread(target=_strike, args=(rng, is_begun, is_over, struck))
    thread.start()
    try:
        result = ht.train(
            model("logistic"),
            data("logistic"),
            **{**SETTINGS, "epochs": EPOCHS},
            nodes=3,
            timeout=6.0,  # a third of it is long for a process that waits for a core
            progress=False,
            callbacks=[lambda record: time.sleep(SECONDS), lambda record: is_begun.set()],
        )
    finally:
        is_over.set()
        is_begun.set()
        thread.join()
    return result, len(struck)


def test_random_kills_of_nodes_leave_no_trace_in_the_parameters() -> None:
    seed = random.SystemRandom().getrandbits(32)
    print("seed", seed)
    rng, fired = random.Random(seed), 0
    settings = {**SETTINGS, "epochs": EPOCHS, "progress": False}
    alone = ht.train(model("logistic"), data("logistic"), **settings)
    while fired < KILLS:
        result, n = _run(rng)
        assert bits(result) == bits(alone)
        assert [record.trained for record in result.ledger] == [ROWS] * EPOCHS
        assert node_pids() == []
        fired += n
