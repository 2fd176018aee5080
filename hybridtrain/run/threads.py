# SPDX-License-Identifier: BSD-3-Clause
"""Workers that are threads of this process."""

from __future__ import annotations

import threading

from hybridtrain.errors import OutOfMemoryError
from hybridtrain.machine import CoresOfWorkers, pin
from hybridtrain.parallel import await_end, start_thread
from hybridtrain.plan.base import Run


class Workers:
    """Start and end one thread for each worker of a run.

    Parameters
    ----------
    run : Run
        Keeps its segment until the last worker has left, whatever happens here.
    n_workers : int
    name : str
        What the threads' names begin with.
    cores : list of (list of int or None) or None
        Where each worker runs; None: on any core.
    """

    def __init__(
        self, run: Run, n_workers: int, name: str = "hybridtrain", *, cores: CoresOfWorkers = None
    ) -> None:
        self._run = run
        self._cores = cores
        work = run.work if cores is None else self._work
        self._threads = [
            threading.Thread(target=work, args=(w,), name=f"{name}-{w}", daemon=True)
            for w in range(n_workers)
        ]

    def _work(self, worker: int) -> None:
        assert self._cores is not None
        pin(0, self._cores[worker])  # 0: this thread
        self._run.work(worker)

    def start(self) -> None:
        """Start the threads.

        Raises
        ------
        OutOfMemoryError
            When the system refuses one.
        """
        for number, thread in enumerate(self._threads, 1):
            error = start_thread(thread)
            if error is not None:
                raise OutOfMemoryError(
                    f"the system refused a thread for worker {number} of {len(self._threads)} "
                    f"({error}); choose fewer workers, or raise the limits of threads and of "
                    "memory"
                ) from error

    @property
    def are_lost(self) -> bool:
        """Return False: a thread does not die alone."""
        return False

    def causes(self, worker: int) -> tuple[str, ...]:
        """Return nothing: a thread does not die alone."""
        del worker
        return ()

    def lost(self, worker: int) -> float:
        """Return 0: a thread does not die alone."""
        del worker
        return 0.0

    def leave(self) -> None:
        """Ask the workers to leave, and wait; an exception meanwhile is raised at the end.

        In a child that was forked, there are no workers to wait for.
        """
        self._run.leave()
        await_end(self._threads)
        # Now, while signals are held: Python drops a Ctrl-C that comes in a thread's deletion.
        self._threads.clear()
