# SPDX-License-Identifier: BSD-3-Clause
"""Runs that want more than there is, in a process that may map 400 MiB more; for test_memory.

Prints one line for each: the error, its sizes, and how many bytes more are mapped
after the same run has failed three times than after the first (which leaves what
the C library keeps for threads to come). At the end an ordinary run trains.
"""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

import hybridtrain as ht
from hybridtrain.plan import round as round_plan
from hybridtrain.plan import stream as stream_plan

LEFT = 400 << 20
_PATIENCE = 10.0  # seconds


def _await_ends(n_threads: int) -> None:
    """Wait until so many threads are left: Python waits for its own ends of threads alone."""
    deadline = time.monotonic() + _PATIENCE
    while len(os.listdir("/proc/self/task")) > n_threads and time.monotonic() < deadline:
        time.sleep(0.001)


def _mapped() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * resource.getpagesize()


def _rows(n_features: int) -> tuple[Any, Any]:
    n = 4000
    values, columns = np.ones(n, np.float32), np.arange(n) % n_features
    X = sparse.csr_matrix((values, columns, np.arange(n + 1)), shape=(n, n_features))
    return X, np.arange(n) % 3 == 0


def _try(n_features: int, **settings: Any) -> None:
    data = _rows(n_features)
    n_threads = len(os.listdir("/proc/self/task"))
    mapped = []
    for _ in range(3):
        try:
            ht.train(ht.Linear(), data, epochs=1, progress=False, **settings)
            text = "it fitted"
        except ht.OutOfMemoryError as error:
            text = f"{error} | {error.needed} {error.available}"
        _await_ends(n_threads)
        mapped.append(_mapped())
    print(f"{text} | {mapped[2] - mapped[0]}")


def main() -> None:
    """Run all."""
    n_threads = len(os.listdir("/proc/self/task"))
    ht.train(ht.Linear(), _rows(10), workers=2, epochs=1)  # what a first run loads and keeps
    _await_ends(n_threads)
    most = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (_mapped() + LEFT, most))
    plain = ht.Sync(exact=False)
    _try(200_000, strategy=plain, workers=32)
    _try(2_000_000, strategy=ht.Hybrid(hot=1.0, every=100), workers=32)
    # The system itself refuses, where nobody knows what it has.
    for module in (round_plan, stream_plan):
        module.available_memory = lambda: None  # type: ignore[attr-defined]
    _try(200_000, strategy=plain, workers=32)
    _try(2_000_000, strategy=ht.Hybrid(hot=1.0, every=100), workers=32)
    _try(10, strategy="hogwild", workers=900)  # the stacks of the threads
    _try(10, strategy="sync", workers=2)


if __name__ == "__main__":
    main()
