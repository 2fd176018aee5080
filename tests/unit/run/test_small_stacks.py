# SPDX-License-Identifier: BSD-3-Clause
"""Threads with small stacks, as some C libraries give them: training and prediction hold."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pytest
from scipy import sparse

import hybridtrain as ht

STACK_NBYTES = 64 * 1024  # the core takes at most 16 KiB of it; the rest is Python's
STRATEGIES = ("hogwild", "hybrid", "sync", "sync(exact=False)")


@pytest.fixture(autouse=True)
def _small_stacks() -> Iterator[None]:
    before = threading.stack_size(STACK_NBYTES)
    yield
    threading.stack_size(before)


def _rows(n_classes: int, *, dense: bool) -> tuple[object, npt.NDArray[np.int64]]:
    random = np.random.default_rng(0)
    n_rows = 3 * max(n_classes, 400)
    X = random.standard_normal((n_rows, 40)).astype(np.float32)
    y = np.arange(n_rows) % n_classes
    return (X if dense else sparse.random(n_rows, 40, 0.3, "csr", np.float32, random)), y


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("n_classes", [2, 10, 1024])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_training_and_prediction_need_little_stack(
    strategy: str, n_classes: int, dense: bool
) -> None:
    X, y = _rows(n_classes, dense=dense)
    model = ht.Linear(loss="logistic" if n_classes == 2 else "softmax", l2=1e-4)
    optimizer = ht.AdaGrad(lr=0.01) if strategy == "hogwild" else ht.SGD(lr=0.1, average=True)
    result = ht.train(
        model,
        (X, y),
        validation=(X, y),
        strategy=strategy,
        optimizer=optimizer,
        workers=2,
        epochs=2,
        progress=False,
    )
    assert len(result.history) == 2
    with ThreadPoolExecutor(1) as pool:  # where prediction starts no thread of its own
        assert pool.submit(result.predict, X).result().shape == y.shape
        proba = pool.submit(result.predict_proba, X).result()
        np.testing.assert_allclose(proba.sum(axis=1), 1.0, rtol=1e-5)
        assert np.isfinite(pool.submit(result.score, X, y).result())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_hundreds_of_workers_need_little_stack(strategy: str) -> None:
    X, y = _rows(2, dense=True)
    result = ht.train(ht.Linear(), (X, y), strategy=strategy, workers=300, epochs=2, progress=False)
    assert sum(worker.rows for worker in result.workers) == 2 * len(y)
