# SPDX-License-Identifier: BSD-3-Clause
"""How many chunks a node asks for, so that an epoch has some merges."""

from __future__ import annotations

from typing import Any

import pytest

from hybridtrain.nodes import tempo
from hybridtrain.nodes.tempo import Tempo


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time that a tempo sees, in seconds."""
    now = [1.0]
    time: Any = type("time", (), {"monotonic": staticmethod(lambda: now[0])})
    monkeypatch.setattr(tempo, "time", time)
    return now


def _merging_every(seconds: float, clock: list[float]) -> Tempo:
    merges = Tempo()
    for _ in range(3):
        clock[0] += seconds
        merges.begin()
    return merges


def test_nodes_do_not_train_half_of_a_short_epoch_before_they_merge(clock: list[float]) -> None:
    merges = _merging_every(0.05, clock)
    assert merges.need(64, 10_000.0, 2) == 4  # of 32 that are a node's
    assert merges.need(64, 10_000.0, 3) == 3
    assert merges.need(3, 10_000.0, 2) == 1


def test_a_node_holds_what_it_trains_while_merges_are_slow(clock: list[float]) -> None:
    assert _merging_every(2.0, clock).need(1000, 100.0, 2) == 400
    assert _merging_every(0.05, clock).need(1000, 100.0, 2) == 10
