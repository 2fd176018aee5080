"""Python's own: processes over multiprocessing.shared_memory with NumPy and a Barrier.

All vectors lie in one shared memory. Each process adds its stretch of all of them into a
shared result, between two barriers: the least that can be copied. The processes are forked.
"""

from __future__ import annotations

import multiprocessing
import platform
import sys
from multiprocessing.shared_memory import SharedMemory

import numpy as np

from bench.peers.steps import Peer, Vectors, Worker, fork

PEER = Peer("processes")


def main(workers: int, work: list[str]) -> None:
    """Time the steps over a shared memory that is removed at the end."""
    most = max(int(pair.partition(":")[0]) for pair in work)
    memory = SharedMemory(create=True, size=4 * (workers + 1) * most + 4)
    barrier = multiprocessing.get_context("fork").Barrier(workers)

    def run(rank: int) -> None:
        def vectors(n: int) -> Vectors:
            rows = np.ndarray((workers + 1, n), np.float32, memory.buf)
            mine = rows[:, n * rank // workers : n * (rank + 1) // workers]

            def step() -> None:
                barrier.wait()
                np.add(mine[0], mine[1], out=mine[workers])
                for w in range(2, workers):
                    mine[workers] += mine[w]
                barrier.wait()

            return rows[rank], rows[workers], step

        worker = Worker(rank, workers, barrier.wait, vectors)
        worker.measure(work, f"Python {platform.python_version()}")

    try:
        fork(workers, run)
    finally:
        memory.unlink()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
