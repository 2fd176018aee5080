# SPDX-License-Identifier: BSD-3-Clause
"""Two rounds of one process, whose exchanges sum each step: the bits of one round."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from reference.problems import planted

import hybridtrain as ht
from hybridtrain._core.guest import GROUP, SHARES
from hybridtrain._core.rows import isas
from hybridtrain.data.matrix import canonical_rows
from hybridtrain.nodes.exchange import Exchange, digest_of
from hybridtrain.nodes.messages import Part
from hybridtrain.nodes.reducer import combined
from hybridtrain.optimizers.parse import parse_optimizer
from hybridtrain.plan.base import Settings
from hybridtrain.plan.problem import Problem
from hybridtrain.strategies.parse import parse_strategy
from hybridtrain.transport.frame import FrameError

N_FEATURES, SECONDS = 301, 20.0


def _plan(strategy: str, optimizer: str = "adagrad(lr=0.1)", **more: Any) -> Any:
    rows = planted(0, 700, N_FEATURES, longest=20)
    targets = np.where(rows.labels, 1, -1).astype(np.float32)
    matrix = canonical_rows(rows.X, threads=1)
    problem = Problem(ht.Linear(), matrix, targets, None, np.array([0, 1]))
    settings = Settings(
        optimizer=parse_optimizer(optimizer), workers=2, epochs=1, seed=0, isa=isas()[-1]
    )
    strategy_of_words: Any = parse_strategy(strategy)
    return strategy_of_words.plan(problem, replace(settings, **more))


class Node:
    """A round whose workers are threads; share: its tasks, of SHARES."""

    def __init__(self, plan: Any, share: tuple[int, int] | None = None) -> None:
        self.run = plan.open()
        if share is not None:
            self.exchange = Exchange(self.run)
            self.exchange.guest.set_share(*share)
        self._threads = [
            threading.Thread(target=self.run.work, args=(w,), daemon=True) for w in range(2)
        ]
        for thread in self._threads:
            thread.start()
        self.run.begin(1)

    def finish(self) -> bytes:
        """Return the parameters after the epoch."""
        assert self.run.await_rest(SECONDS)
        parameters = np.empty(self.run.n_parameters, np.float32)
        self.run.store(parameters)
        self.leave()
        return parameters.tobytes()

    def leave(self) -> None:
        self.run.leave()
        for thread in self._threads:
            thread.join()
        self.run.close()


def _merge(exchanges: list[Exchange]) -> int:
    """Let all nodes merge the step in its exchange; return the number of arrays that change."""
    for shard, exchange in enumerate(exchanges):
        exchange.start(shard, len(exchanges))
    sums = [exchange.collected() for exchange in exchanges]
    for shard, exchange in enumerate(exchanges):
        for shards in sums:
            for chunk, part in enumerate(shards[shard]):
                exchange.add(chunk, part.encoding, part.body)
    totals = [exchange.total() for exchange in exchanges]
    tally = combined([exchange.tally(stops=False) for exchange in exchanges])
    for exchange in exchanges:
        exchange.merge(totals, tally)
    return sum(change > 0 for change in tally.changes)


@pytest.mark.parametrize(
    ("strategy", "optimizer", "n_arrays"),
    [
        ("sync", "adagrad(lr=0.1)", 0),
        ("local_sgd(every=2, replicas=3)", "adagrad(lr=0.1)", 2),
        ("local_sgd(every=2, replicas=3)", "ftrl(lr=0.2)", 3),
        ("local_sgd(every=2, replicas=1)", "sgd(lr=0.1)", 1),
    ],
)
def test_nodes_that_exchange_sums_have_the_bits_of_one(
    strategy: str, optimizer: str, n_arrays: int
) -> None:
    expected = Node(_plan(strategy, optimizer, batch_size=16)).finish()
    plan = _plan(strategy, optimizer, batch_size=16, is_node=True)
    nodes = [Node(plan, (0, SHARES // 2)), Node(plan, (SHARES // 2, SHARES))]
    exchanges = [node.exchange for node in nodes]
    padded = -(-(N_FEATURES + 1) // GROUP) * GROUP
    assert exchanges[0].guest.n_sums == padded * max(n_arrays, 1)
    step, counted = 0, set()
    while not all(node.run.await_rest(0.0) for node in nodes):
        found = exchanges[0].guest.await_exchange(step, 0.1)
        if found not in (step, None):
            assert exchanges[1].guest.await_exchange(step, SECONDS) == found
            counted.add(_merge(exchanges))
            step = found
    assert step >= 5
    assert max(counted) == n_arrays
    assert [node.finish() for node in nodes] == [expected] * 2


def test_what_are_no_sums_or_totals_of_a_run_is_refused() -> None:
    node = Node(_plan("local_sgd(every=2, replicas=2)", is_node=True), (0, SHARES))
    exchange = node.exchange
    assert exchange.guest.await_exchange(0, SECONDS) == 1
    exchange.start(0, 1)
    with pytest.raises(FrameError, match="no stretch 1"):
        exchange.add(1, 1, b"")
    with pytest.raises(FrameError, match="groups should have"):
        exchange.add(0, 1, b"")
    tally = exchange.tally(stops=False)
    with pytest.raises(FrameError, match="groups should have"):
        exchange.merge([[Part(1, b"")]], tally)
    with pytest.raises(FrameError, match="shard 0 has 1 stretches, got 0"):
        exchange.merge([[]], tally)
    with pytest.raises(ValueError, match="a total has 3 changes, got 0"):
        exchange.guest.merge(0, 0.0, 0, ())
    sums, marks = np.zeros(8, np.int64), np.zeros(1, np.uint8)
    for first, last in ((-8, 0), (8, 0), (0, exchange.guest.n_sums + 8)):
        with pytest.raises(ValueError, match="no such sums"):
            exchange.guest.collect(first, last, sums, marks)
    with pytest.raises(ValueError, match="whole groups of 8"):
        exchange.guest.collect(0, 4, sums, marks)
    node.leave()


def test_nodes_of_other_replicas_are_told_apart_by_their_digests() -> None:
    start = np.zeros(N_FEATURES + 1, np.float32)
    words = ("every=2, replicas=2", "every=3, replicas=2", "every=2, replicas=3")
    outer = "every=2, replicas=2, outer='nesterov(lr=0.5)'"
    plans = [_plan(f"local_sgd({each})") for each in (*words, outer)]
    assert len({digest_of(plan, start) for plan in [*plans, _plan("sync")]}) == 5
    again = _plan(f"local_sgd({words[0]})", workers=1)
    assert digest_of(again, start) == digest_of(plans[0], start)
