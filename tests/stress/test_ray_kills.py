# SPDX-License-Identifier: BSD-3-Clause
"""Actors of Ray that are killed at random times: the bits of one machine, and nothing is left.

HYBRIDTRAIN_NODE_KILLS is the count.
"""

from __future__ import annotations

import os
import random

import pytest
from support.node_runs import ROWS, bits, data, model
from support.ray_clusters import add_machine, cluster, node_processes, require_no_node
from support.striking import EPOCHS, GIVEN, KILLS, run_struck

import hybridtrain as ht

pytestmark = [
    pytest.mark.stress,
    pytest.mark.engine,
    pytest.mark.timeout(120 + 10 * KILLS),
    pytest.mark.filterwarnings("ignore"),
]


def test_runs_with_killed_actors_have_the_bits_of_one_machine() -> None:
    alone = bits(ht.train(model("logistic"), data("logistic"), **GIVEN))
    rng, n_struck = random.Random(os.environ.get("HYBRIDTRAIN_SEED", "0")), 0
    with cluster() as machines:
        add_machine(machines)
        machines.wait_for_nodes()
        while n_struck < KILLS:
            # All but one actor, so that one node has every step.
            result, n_more = run_struck(rng, lambda: sorted(node_processes().values())[1:], "ray")
            n_struck += n_more
            assert n_more > 0
            assert bits(result) == alone
            assert sum(record.rows for record in result.history) == EPOCHS * ROWS
            require_no_node()
