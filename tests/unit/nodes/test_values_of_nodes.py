# SPDX-License-Identifier: BSD-3-Clause
"""Values of nodes as the sums of their machine: all take the same bits, or one its own."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest

import hybridtrain as ht
from hybridtrain._core.leased import UNIT
from hybridtrain._core.rows import isas
from hybridtrain.data.matrix import canonical_rows
from hybridtrain.nodes import values as values_module
from hybridtrain.nodes.compression import coder
from hybridtrain.nodes.messages import Part
from hybridtrain.nodes.values import Trained, Values
from hybridtrain.optimizers.parse import parse_optimizer
from hybridtrain.plan.base import Settings
from hybridtrain.plan.problem import Problem
from hybridtrain.strategies.parse import parse_strategy
from hybridtrain.transport.frame import FrameError

N_ROWS, N_FEATURES = 64, 70
N = N_FEATURES + 1  # coordinates


def _run(optimizer: str = "adagrad(lr=0.1)") -> Any:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N_ROWS, N_FEATURES)).astype(np.float32)
    y = np.where(rng.random(N_ROWS) < 0.5, -1, 1).astype(np.float32)
    problem = Problem(ht.Linear(), canonical_rows(X, threads=1), y, None, np.array([0, 1]))
    settings = Settings(
        optimizer=parse_optimizer(optimizer),
        workers=1,
        epochs=1,
        seed=0,
        isa=isas()[-1],
        is_node=True,
    )
    strategy: Any = parse_strategy("hybrid")
    return strategy.plan(problem, settings).open()


class _Node:
    """Values of a run whose workers never train: the test writes what they have reached."""

    def __init__(self, run: Any, shard: int, n_nodes: int) -> None:
        coders, curvature = lambda: coder(None, ()), np.ones(N, np.float32)
        self.values = Values(run, curvature, coders, lambda: 0, lambda: False)
        self.values.start(shard, n_nodes)

    def train(self, rng: np.random.Generator, rows: int) -> None:
        """Change every third value by a little."""
        own, shared = self.values.own, self.values.shared
        own[:] = shared
        changes = rng.standard_normal((len(own), N)).astype(np.float32) * (rng.random(N) < 0.3)
        own[:, :N] += np.abs(changes) if rows else 0.0
        self.values.trained = Trained(rows, 1e-4)


def _merge(nodes: list[_Node]) -> list[int]:
    """Let each node's reducer add the values of all, and all take the totals."""
    collected = [node.values.collected() for node in nodes]
    for shard, reducer in enumerate(nodes):
        for parts in (each[shard] for each in collected):
            for chunk, part in enumerate(parts):
                reducer.values.add(chunk, part.encoding, part.body)
    totals = []
    for shard, reducer in enumerate(nodes):
        totals.append(reducer.values.total())
        reducer.values.start(shard, len(nodes))  # the next step
    return [node.values.take(totals) for node in nodes]


@pytest.mark.parametrize("optimizer", ["sgd(lr=0.1)", "adagrad(lr=0.1)", "ftrl(lr=0.1)"])
@pytest.mark.parametrize("n_nodes", [1, 2, 3, 8])
@pytest.mark.parametrize("stretch", [UNIT, 2 * UNIT, 1 << 18])
def test_all_nodes_take_the_same_bits_merge_after_merge(
    n_nodes: int, stretch: int, optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(values_module, "STRETCH", stretch)
    rng = np.random.default_rng(n_nodes)
    run = _run(optimizer)
    nodes = [_Node(run, shard, n_nodes) for shard in range(n_nodes)]
    for merge in range(4):
        before = nodes[0].values.shared.copy()
        rows = [10 * (k + 1) if (merge + k) % 3 or n_nodes == 1 else 0 for k in range(n_nodes)]
        for node, n in zip(nodes, rows, strict=True):
            node.train(rng, n)
        assert _merge(nodes) == [sum(rows)] * n_nodes
        after = nodes[0].values.shared
        for node in nodes:
            assert node.values.shared.tobytes() == after.tobytes()
        assert (after != before).any()
        if n_nodes == 1:
            assert after[:, :N].tobytes() == nodes[0].values.own[:, :N].tobytes()
        # Where no node has changed a value, it stays.
        changed = np.any([node.values.own != before for node in nodes], axis=(0, 1))
        assert (after[:, ~changed] == before[:, ~changed]).all()


def test_changes_of_coordinates_that_nobody_else_has_changed_arrive_in_full() -> None:
    run = _run("sgd(lr=0.1)")
    nodes = [_Node(run, shard, 2) for shard in range(2)]
    for k, node in enumerate(nodes):
        node.values.own[0, 5 + k] = 1.0
        node.values.trained = Trained(1, 0.0)
    _merge(nodes)
    assert nodes[0].values.shared[0, 4:8].tolist() == [0.0, 1.0, 1.0, 0.0]


def test_values_of_a_broken_view_are_forgotten() -> None:
    """A reducer begins anew with the shared values, whatever it has merged before."""
    run, rng = _run(), np.random.default_rng(0)
    nodes = [_Node(run, shard, 2) for shard in range(2)]
    for node in nodes:
        node.train(rng, 5)
    (_, body), *_ = nodes[0].values.collected()[1]
    nodes[1].values.add(0, 0, body)
    for shard, node in enumerate(nodes):
        node.values.start(shard, 2)  # another view
    _merge(nodes)
    again = [_Node(run, shard, 2) for shard in range(2)]
    for node, other in zip(again, nodes, strict=True):
        node.values.own[:], node.values.trained = other.values.own, other.values.trained
    _merge(again)
    assert again[0].values.shared.tobytes() == nodes[0].values.shared.tobytes()


_HEAD = struct.Struct("<Qf4x")
_EMPTY = _HEAD.pack(3, 0.5)


@pytest.mark.parametrize(
    ("chunk", "body"),
    [
        (0, b""),
        (0, _EMPTY[:-1]),
        (0, _EMPTY),  # no mark of a group
        (0, _EMPTY + b"\x01\0\0\0"),  # a group, and none follows
        (0, _EMPTY + bytes(8)),  # more than there is
        (0, _EMPTY + b"\0\0\0\x80"),  # beyond the last group
        (1, _EMPTY + bytes(4)),  # no such stretch
        (0, _HEAD.pack(1 << 63, 0.5) + bytes(4)),  # rows that no run has
        (0, _HEAD.pack(3, float("nan")) + bytes(4)),
        (0, _HEAD.pack(3, -1.0) + bytes(4)),
    ],
)
def test_other_bodies_are_refused(chunk: int, body: bytes) -> None:
    node = _Node(_run(), 0, 2)
    before = node.values.shared.copy()
    with pytest.raises(FrameError):
        node.values.add(chunk, 0, body)
    node.values.add(0, 0, _EMPTY + bytes(4))
    (part,) = node.values.total()
    node.values.take([[part], [Part(0, _EMPTY + bytes(4))]])
    assert node.values.shared.tobytes() == before.tobytes()


def test_totals_that_are_none_are_refused() -> None:
    node = _Node(_run(), 0, 2)
    (part,) = node.values.total()
    for totals in ([[part], []], [[part], [part, part]], [[part], [Part(0, b"")]]):
        with pytest.raises(FrameError):
            node.values.take(totals)
