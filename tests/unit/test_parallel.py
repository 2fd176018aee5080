# SPDX-License-Identifier: BSD-3-Clause
"""Equal ranges of work, and threads that are refused or waited for."""

from __future__ import annotations

import signal
import threading
import time
import weakref

import numpy as np
import pytest
from reference.problems import Problem

from hybridtrain import parallel
from hybridtrain._core.rows import isas
from hybridtrain.data.facts import count_rows, largest_values, squared_norms
from hybridtrain.data.matrix import canonical_rows
from hybridtrain.data.renumber import renumbered
from hybridtrain.run.evaluate import margins


@pytest.mark.parametrize("n", [1, 2, 7, 100])
@pytest.mark.parametrize("threads", [1, 2, 3, 200])
def test_ranges_cover_everything_once_and_in_order(n: int, threads: int) -> None:
    ranges = parallel.over_ranges(lambda first, last: (first, last), n, threads)
    assert len(ranges) == min(n, threads)
    assert [i for first, last in ranges for i in range(first, last)] == list(range(n))
    sizes = [last - first for first, last in ranges]
    assert max(sizes) - min(sizes) <= 1


def test_one_range_runs_in_the_thread_of_the_caller() -> None:
    me = threading.current_thread()
    assert parallel.over_ranges(lambda first, last: threading.current_thread(), 5, 1) == [me]


def test_an_error_in_a_range_reaches_the_caller() -> None:
    def work(first: int, last: int) -> int:
        raise LookupError(f"{first} {last}")

    with pytest.raises(LookupError, match="0 5"):
        parallel.over_ranges(work, 10, 2)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_ranges_can_be_the_same_for_any_number_of_threads(threads: int) -> None:
    ranges = parallel.over_ranges(lambda first, last: (first, last), 10, threads, 4)
    assert ranges == [(0, 2), (2, 5), (5, 7), (7, 10)]
    assert parallel.over_ranges(lambda first, last: (first, last), 2, threads, 4) == [
        (0, 1),
        (1, 2),
    ]


@pytest.mark.parametrize(("n_elements", "threads"), [(0, 1), (1000, 1), (1 << 16, 2), (1 << 30, 3)])
def test_few_elements_are_worth_no_other_thread(n_elements: int, threads: int) -> None:
    assert parallel.worthwhile(3, n_elements) == threads


@pytest.mark.parametrize("form", ["sparse", "dense"])
def test_few_rows_are_the_same_for_any_number_of_threads(
    form: str, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As all other tests have few rows, they read them in one thread."""
    monkeypatch.setattr(parallel, "_ELEMENTS_OF_A_THREAD", 1)
    monkeypatch.setattr(parallel, "usable_cores", lambda: 4)
    really, started = threading.Thread.start, []

    def start(self: threading.Thread) -> None:
        started.append(self)
        really(self)

    monkeypatch.setattr(threading.Thread, "start", start)
    X = problem.X if form == "sparse" else problem.X.toarray()
    coef, found = np.arange(60, dtype=np.float32), []
    for threads in (1, 4):
        before = len(started)
        matrix = canonical_rows(X, threads=threads)
        rows = matrix.rows()
        facts = count_rows(rows, intercept=True, columns=True, threads=threads, ranges=4)
        found.append(
            [
                margins(rows, coef, 0.5, 0, isa=isas()[-1], threads=threads),
                squared_norms(rows, threads=threads),
                largest_values(rows, threads=threads),
                facts.share,
                facts.curvature,
            ]
        )
        if form == "sparse":
            _, frequent, hot = renumbered(matrix, facts.share, 9, threads=threads)
            found[-1] += [frequent.indices, frequent.values, hot]
        assert len(started) - before == (0 if threads == 1 else 3 * (6 if form == "sparse" else 5))
    assert all(map(np.array_equal, *found))


@pytest.mark.parametrize("refused", ["first", "second"])
def test_ranges_are_done_by_the_threads_that_there_are(
    refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    really, tried = threading.Thread.start, []

    def start(self: threading.Thread) -> None:
        tried.append(self)
        if len(tried) == (1 if refused == "first" else 2):
            raise RuntimeError("can't start new thread")  # as with RLIMIT_NPROC
        really(self)

    monkeypatch.setattr(parallel, "usable_cores", lambda: 4)
    monkeypatch.setattr(threading.Thread, "start", start)
    ranges = parallel.over_ranges(lambda first, last: (first, last), 8, 4)
    assert ranges == [(0, 2), (2, 4), (4, 6), (6, 8)]
    assert len(tried) == (1 if refused == "first" else 2)


def test_threads_have_ended_when_an_error_reaches_the_caller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parallel, "usable_cores", lambda: 3)
    caller, begun, ended = threading.current_thread(), threading.Event(), []

    def work(first: int, last: int) -> None:
        if threading.current_thread() is caller:
            assert begun.wait(60)
            raise KeyboardInterrupt
        begun.set()
        time.sleep(0.05)
        ended.append(first)

    with pytest.raises(KeyboardInterrupt):
        parallel.over_ranges(work, 30, 3, 30)
    assert 1 <= len(ended) < 29  # they take no further range


def test_threads_are_waited_for_however_often_the_wait_is_interrupted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    thread = threading.Thread(target=time.sleep, args=(0.5,))
    really, raised = threading.Thread.join, []

    def join(self: threading.Thread, timeout: float | None = None) -> None:
        raised.append(KeyboardInterrupt(len(raised)))
        really(self, 0.01)
        raise raised[-1]

    thread.start()
    monkeypatch.setattr(threading.Thread, "join", join)
    with pytest.raises(KeyboardInterrupt, match="0"):
        parallel.await_end([thread, threading.Thread(target=time.sleep)])  # one was never started
    assert not thread.is_alive()
    assert len(raised) > 1


@pytest.mark.parametrize("where", ["start", "deletion"])
def test_a_signal_that_comes_in_a_threads_start_or_deletion_is_raised(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python would turn the one into a RuntimeError, and drop the other."""
    monkeypatch.setattr(parallel, "usable_cores", lambda: 2)
    caller, really, raised = threading.current_thread(), threading.Thread.start, []

    def interrupt() -> None:
        assert threading.current_thread() is caller
        raised.append(where)
        signal.raise_signal(signal.SIGINT)

    def start(self: threading.Thread) -> None:
        really(self)
        if where == "start":
            interrupt()
        else:
            weakref.finalize(self, interrupt)

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(KeyboardInterrupt):
        parallel.over_ranges(lambda first, last: first, 8, 2)
    assert raised == [where]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
