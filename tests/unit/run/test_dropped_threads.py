# SPDX-License-Identifier: BSD-3-Clause
"""A signal that comes when a run drops its threads: Python drops what is raised there."""

from __future__ import annotations

import signal
import threading
import weakref

import numpy as np
import pytest

import hybridtrain as ht


@pytest.mark.parametrize("backend", ["threads", "processes"])
def test_a_signal_in_the_deletion_of_a_runs_threads_interrupts_it(backend: str) -> None:
    raised = []

    def interrupt() -> None:
        assert threading.current_thread() is threading.main_thread()
        raised.append(None)
        signal.raise_signal(signal.SIGINT)

    def watch(record: ht.EpochRecord) -> None:
        ours = [t for t in threading.enumerate() if t.name.startswith("hybridtrain-")]
        assert ours
        for thread in ours:
            weakref.finalize(thread, interrupt)

    X = np.random.default_rng(0).standard_normal((500, 5)).astype(np.float32)
    with pytest.raises(ht.TrainingInterrupted) as caught:
        ht.train(
            ht.Linear(),
            (X, X[:, 0] > 0),
            strategy="sync",
            workers=2,
            backend=backend,
            epochs=1,
            callbacks=[watch],
        )
    assert raised
    assert caught.value.result.ledger[0].trained == 500
