# SPDX-License-Identifier: BSD-3-Clause
"""Workers that have nothing to do sleep, however many there are."""

from __future__ import annotations

import time

import numpy as np
import pytest

import hybridtrain as ht

X = np.random.default_rng(0).standard_normal((4000, 10)).astype(np.float32)
Y = X[:, 0] > 0
REST_SECONDS = 0.1
MOST_SECONDS = 3.0  # until all of them have come to rest, on a busy machine
STRATEGIES = ("sync", "sync(exact=False)", "hybrid", "hogwild")


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("workers", [2, 300])
def test_workers_at_rest_leave_the_cores_alone(strategy: str, workers: int) -> None:
    rests: list[float] = []

    def rest(record: object) -> None:
        deadline = time.monotonic() + MOST_SECONDS
        while True:
            before = time.process_time()
            time.sleep(REST_SECONDS)
            used = time.process_time() - before
            if used < 0.05 * REST_SECONDS:
                break
            assert time.monotonic() < deadline, f"they use {used} s of {REST_SECONDS} s"
        rests.append(used)

    ht.train(
        ht.Linear(),
        (X, Y),
        epochs=2,
        strategy=strategy,
        workers=workers,
        callbacks=[rest],
        progress=False,
    )
    assert len(rests) == 2


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_thousand_workers_finish_a_small_run_soon(strategy: str) -> None:
    started = time.monotonic()
    result = ht.train(
        ht.Linear(), (X, Y), epochs=3, strategy=strategy, workers=1024, progress=False
    )
    assert time.monotonic() - started < 15.0  # alone, it takes half a second
    assert sum(worker.rows for worker in result.workers) == 3 * len(Y)


def test_bits_do_not_depend_on_workers_that_sleep() -> None:
    runs = [
        ht.train(ht.Linear(), (X, Y), epochs=3, strategy="sync", workers=n, progress=False)
        for n in (1, 256, 1024)
    ]
    for run in runs[1:]:
        assert np.array_equal(run.params["coef"], runs[0].params["coef"])
        assert run.params["intercept"] == runs[0].params["intercept"]
