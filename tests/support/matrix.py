# SPDX-License-Identifier: BSD-3-Clause
"""Runs under faults, and what must hold after each; for the matrix and for schedules."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reference.problems import planted
from support.processes import workers_of

import hybridtrain as ht
from hybridtrain import chaos

N_ROWS, EPOCHS = 20_000, 40
STRATEGIES = {
    "sync": "sync",
    "local_sgd": "local_sgd(replicas=4, every=4)",
    "hybrid": "hybrid(hot=40, every=64)",
    "hogwild": "hogwild",
    "async": "async(every=16, staleness=2)",
    "hierarchical": "hierarchical(groups=2, between='async(every=16, staleness=2)')",
}
MOST_AHEAD = 2  # merges, of async
SAME_BITS = ("sync", "local_sgd")  # whatever happens
MOST_REPEATED = 64  # rows a death
GRACE_SECONDS = 1.0

problem = planted(5, N_ROWS, 300, longest=30)


def train(strategy: str, faults: Sequence[Any], *, seed: int = 0, **settings: Any) -> ht.Result:
    """Train a run of some thousand steps with worker processes and these faults."""
    usual: dict[str, Any] = {
        "optimizer": ht.SGD(lr=0.5),
        "backend": "processes",
        "workers": 2,
        "epochs": EPOCHS,
        "timeout": 0.3,
        "chaos": chaos.Plan(faults, seed),
        "progress": False,
    }
    return ht.train(
        ht.Linear(l2=1e-5),
        (problem.X, problem.labels),
        strategy=STRATEGIES[strategy],
        **{**usual, **settings},
    )


def bits(result: ht.Result) -> str:
    """Return the sha256 of the parameters."""
    digest = hashlib.sha256(result.params["coef"].tobytes())
    digest.update(repr(result.params["intercept"]).encode())
    return digest.hexdigest()


def n_deaths(result: ht.Result) -> int:
    """Return how many processes died."""
    return sum(len(worker.deaths) for worker in result.workers)


def check_ledger(result: ht.Result) -> None:
    """Check that each row of each epoch is accounted for."""
    assert len(result.ledger) == EPOCHS
    assert all(ledger.trained + ledger.dropped == N_ROWS for ledger in result.ledger)
    assert all(worker.ahead <= MOST_AHEAD for worker in result.workers)  # 0 without a clock
    repeated = sum(ledger.repeated for ledger in result.ledger)
    assert repeated <= MOST_REPEATED * n_deaths(result)


def _held() -> tuple[int, int]:
    """Return this process's descriptors, and its mappings of memory files."""
    maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    shared = sum("/memfd:" in line for line in maps.splitlines())
    return len(os.listdir("/proc/self/fd")), shared


@contextmanager
def leaving_nothing() -> Iterator[None]:
    """Check that a second after a block no process, descriptor and mapping of it is left."""
    before = _held()
    yield
    deadline = time.monotonic() + GRACE_SECONDS
    while (workers_of(os.getpid()) or _held() != before) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert workers_of(os.getpid()) == []
    assert _held() == before
