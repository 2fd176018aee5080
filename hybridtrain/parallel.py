# SPDX-License-Identifier: BSD-3-Clause
"""Work on ranges of rows in threads; threads that the system may refuse; waits for threads."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

from hybridtrain.interrupts import Interrupts
from hybridtrain.machine import usable_cores

_T = TypeVar("_T")
_ELEMENTS_OF_A_THREAD = 1 << 15  # read in some 20 us; a start takes 50 to 100
_LOOK_SECONDS = 0.2  # between two looks at threads that are waited for


def over_ranges(
    work: Callable[[int, int], _T], n: int, threads: int, ranges: int | None = None
) -> list[_T]:
    """Call work(first, last) on equal ranges of 0 .. n-1, in this thread and others.

    If the system refuses threads, fewer threads do all of the work.

    Parameters
    ----------
    work : callable
        Should release the GIL.
    n : int
        At least 1.
    threads : int
    ranges : int, optional
        The most ranges; None: as many as threads.

    Returns
    -------
    list
        The results, in the order of the ranges.

    Raises
    ------
    Exception
        The exception of `work` on the first range that raised; all threads have ended.
    """
    ranges = min(threads if ranges is None else ranges, n)
    bounds = [n * k // ranges for k in range(ranges + 1)]
    threads = min(threads, usable_cores(), ranges)
    if threads == 1:
        return [work(first, last) for first, last in pairwise(bounds)]
    left = deque(range(ranges))
    results: dict[int, _T] = {}
    failures: dict[int, BaseException] = {}

    def take_part() -> None:
        while left and not failures:
            try:
                k = left.popleft()
            except IndexError:  # another thread was faster
                return
            try:
                results[k] = work(bounds[k], bounds[k + 1])
            except BaseException as error:  # raised by the caller's thread
                failures[k] = error

    # Python loses a Ctrl-C that comes within a thread's start or deletion.
    with Interrupts() as interrupts:
        helpers = [threading.Thread(target=take_part, daemon=True) for _ in range(threads - 1)]
        try:
            _start_most(helpers)
            take_part()
        finally:
            left.clear()
            await_end(helpers)
            helpers.clear()
    interrupts.settle()
    if failures:
        raise failures[min(failures)]
    return [results[k] for k in range(ranges)]


def worthwhile(threads: int, n_elements: int) -> int:
    """Return how many of so many threads save more time than their starts take.

    Parameters
    ----------
    threads : int
    n_elements : int
        Of the rows that they will read once.
    """
    return max(1, min(threads, n_elements // _ELEMENTS_OF_A_THREAD))


def start_thread(thread: threading.Thread) -> Exception | None:
    """Start a thread; return why the system refused it, None if it did not."""
    try:
        thread.start()
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, RuntimeError) and not str(error).startswith("can't "):
            raise  # of a signal's handler
        return error
    return None


def _start_most(threads: Sequence[threading.Thread]) -> None:
    """Start threads until the system refuses one: those there are will do."""
    for thread in threads:
        if start_thread(thread) is not None:
            break


def await_end(threads: Sequence[threading.Thread]) -> None:
    """Wait until the started threads have ended, even if an exception is raised meanwhile.

    Raises
    ------
    BaseException
        The first exception that a signal's handler raised during the wait.
    """
    raised: BaseException | None = None
    for thread in threads:
        while True:
            try:
                if not thread.is_alive():
                    break
                thread.join(_LOOK_SECONDS)
            except BaseException as error:  # also a second and a third Ctrl-C
                raised = raised or error
    if raised is not None:
        raise raised
