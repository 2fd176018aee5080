# SPDX-License-Identifier: BSD-3-Clause
"""Where the time of a node goes, by a clock of the test."""

from __future__ import annotations

import pytest

from hybridtrain.nodes import reports
from hybridtrain.nodes.messages import Part
from hybridtrain.nodes.reports import Report, Work
from hybridtrain.transport.frame import Buffer, Frame
from hybridtrain.transport.link import Traffic


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


class Slow:
    """Sums that take two seconds each time."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def start(self, shard: int, n_shards: int) -> None:
        self.clock.now += 2

    def add(self, chunk: int, encoding: int, body: Buffer) -> None:
        self.clock.now += 2

    def total(self) -> list[Part]:
        self.clock.now += 2
        return []


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(reports, "time", clock)
    return clock


def test_the_time_of_a_step_is_computing_merging_and_waiting(clock: Clock) -> None:
    work = Work()
    sums = work.timing(Slow(clock))
    work.begin(workers=3)
    sums.start(0, 2)
    clock.now += 3
    sums.add(0, 0, b"")  # early: the node's own workers still train
    work.rest()
    clock.now += 10
    with work.merging():
        clock.now += 1
    work.rows_of_step = 7
    sums.total()
    work.go_on(is_step=True)
    report = work.report([])
    assert (report.computing, report.merging, report.waiting) == (7, 7, 10)
    assert (report.workers, report.steps, report.rows) == (3, 1, 7)


def test_a_step_that_is_done_again_counts_once_and_its_time_twice(clock: Clock) -> None:
    work = Work()
    work.begin(workers=1)
    work.rows_of_step = 5
    for is_step in (False, True):
        clock.now += 4
        work.rest()
        clock.now += 1
        work.go_on(is_step=is_step)
    report = work.report([])
    assert (report.computing, report.waiting) == (8, 2)
    assert (report.steps, report.rows) == (1, 5)


def test_the_driver_is_waited_for_between_two_steps(clock: Clock) -> None:
    work = Work()
    work.begin(workers=1)
    clock.now += 9
    work.wait(8)
    work.rest()
    report = work.report([])
    assert (report.computing, report.waiting) == (1, 8)


def test_a_report_adds_up_links_and_travels_in_a_frame() -> None:
    report = Work().report([Traffic(1, 100, 40, 2, 300), Traffic(1, 5, 0, 1, 7)])
    assert (report.bytes_sent, report.bytes_again, report.bytes_received) == (105, 40, 307)
    assert Report.of(report.frame()) == report
    assert Report.of(Frame(Report.kind, body=b"\xc1")) is None


def test_the_rate_is_that_of_the_workers_own_time(clock: Clock) -> None:
    work = Work()
    work.begin(workers=1)
    assert work.rate == 0.0
    clock.now += 4
    work.rest()
    clock.now += 100  # waits do not count
    work.rows_of_step = 20
    work.go_on(is_step=True)
    assert work.rate == 5.0
