# SPDX-License-Identifier: BSD-3-Clause
"""Nodes that are killed and stopped at random times: the bits of one node, and nothing is left.

HYBRIDTRAIN_NODE_KILLS is the count.
"""

from __future__ import annotations

import random
import signal
from typing import Any

import pytest
from support.node_runs import ROWS, bits, data, model, node_pids
from support.striking import EPOCHS, GIVEN, KILLS, run_struck

import hybridtrain as ht

pytestmark = [pytest.mark.stress, pytest.mark.timeout(120 + 10 * KILLS)]


SWITCH = ht.Switch(*[("sync", 5), ("local_sgd(every=2, replicas=3)", 5)] * 39, ("sync", None))


def _run(rng: random.Random, strategy: Any) -> tuple[ht.Result, int]:
    """Return the result of a run on struck nodes, and how many were struck.

    One that was there from the start is spared.
    """
    spared: list[int] = []

    def others() -> list[int]:
        pids = node_pids()
        if pids and not spared:
            spared.append(rng.choice(pids))
        return [pid for pid in pids if pid not in spared]

    signals = [*[signal.SIGKILL] * 3, signal.SIGSTOP]
    return run_struck(rng, others, 3, signals, longest=1.5, strategy=strategy)


@pytest.mark.parametrize("strategy", ["sync", SWITCH])
def test_random_kills_of_nodes_leave_no_trace_in_the_parameters(strategy: Any) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print("seed", seed)
    rng, fired = random.Random(seed), 0
    alone = ht.train(model("logistic"), data("logistic"), **{**GIVEN, "strategy": strategy})
    while fired < KILLS:
        result, n = _run(rng, strategy)
        assert bits(result) == bits(alone)
        assert [record.trained for record in result.ledger] == [ROWS] * EPOCHS
        assert node_pids() == []
        fired += n
