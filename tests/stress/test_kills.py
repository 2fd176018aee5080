# SPDX-License-Identifier: BSD-3-Clause
"""Kills at random times for a while: what happens once in thousands of deaths."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
from reference.problems import planted
from support.processes import MOST_KILLS, beside, killing

import hybridtrain as ht

pytestmark = pytest.mark.stress
SECONDS = 60.0  # at most, for so many deaths
N_ROWS, EPOCHS = 20_000, 12
PAUSES = (0.002, 0.005, 0.01, 0.03)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("strategy", ["sync", "hybrid", "hogwild", "async(staleness=1)"])
@pytest.mark.parametrize(
    ("start", "everybody", "least"),
    [("fork", False, 100), ("fork", True, 100), ("exec", False, 20)],
)
def test_kills_change_no_bit_of_sync_and_lose_no_row(
    strategy: str, start: str, everybody: bool, least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYBRIDTRAIN_START", start)
    problem = planted(5, N_ROWS, 300, longest=30)
    chance = random.Random(0)

    def train(**settings: Any) -> ht.Result:
        return ht.train(
            ht.Linear(l2=1e-5),
            (problem.X, problem.labels),
            strategy=strategy,
            optimizer=ht.SGD(lr=0.5),
            epochs=EPOCHS,
            **settings,
        )

    def chosen(found: list[int]) -> list[int]:
        return found if everybody else [chance.choice(found)]

    undisturbed = train(workers=2)
    n_deaths, deadline = 0, time.monotonic() + SECONDS
    while n_deaths <= least and time.monotonic() < deadline:
        with beside(killing(chosen, MOST_KILLS[start]), pause=chance.choice(PAUSES)):
            result = train(workers=chance.randint(1, 4), backend="processes")
        assert all(ledger.trained == N_ROWS for ledger in result.ledger)
        n_deaths += sum(len(worker.deaths) for worker in result.workers)
        if strategy == "sync":
            same = result.params["coef"].tobytes() == undisturbed.params["coef"].tobytes()
            assert same, f"other bits after {n_deaths} deaths"
    assert n_deaths > least
