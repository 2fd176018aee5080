# SPDX-License-Identifier: BSD-3-Clause
"""The faults of a plan, done to one run.

A fault with a point waits until the core holds a worker there, is done to it, and lets the point
go: after a kill once the death is confirmed, after a stop once the process stands still. A fault
without a point is done when any worker is held at the run's gate, a point that some worker passes
in each step: the step is exact, and the place of the one that it meets is not.
"""

from __future__ import annotations

import errno
import heapq
import math
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from hybridtrain._core.point import ANY_WORKER
from hybridtrain._core.process import Process
from hybridtrain._core.stream import Stream
from hybridtrain._core.sync import SyncRun
from hybridtrain.plan.base import Run
from hybridtrain.run.chaos import ANY, Fail, Fault, FaultRecord, Kill, Plan, Random, Slow, Stop

_LOOK_SECONDS = 0.001  # between two looks for workers that are held
_STOP_SECONDS = 1.0  # for a process to stand still
_GATE_OF_ROUND, _GATE_OF_STREAM = "before_claim", "chunk_claimed"  # of faults without a point
_MOST_STEP = (1 << 32) - 1


@dataclass(slots=True, order=True)
class _Due:
    """A fault that waits for its step."""

    step: int
    source: int  # its number in the plan; of equal steps, the first one comes first
    fault: Kill | Stop = field(compare=False)
    later: Iterator[int] | None = field(compare=False)  # the steps of a Random's next ones


@dataclass(slots=True)
class _Event:
    """A fault that fired, whose worker has not worked again."""

    number: int  # of its record
    worker: int
    at: float  # by time.monotonic()
    work: int | None  # of the place since the fault; None: its death is awaited


def _steps(share: float, chance: random.Random) -> Iterator[int]:
    """Yield the steps, from 1, that have a fault when each has one with this probability."""
    step = 0.0
    while share > 0:
        gap = 0.0 if share == 1 else math.log(1 - chance.random()) / math.log1p(-share)
        step += 1 + (gap if gap > _MOST_STEP else math.floor(gap))
        if step > _MOST_STEP:
            return
        yield int(step)


def _stop(process: Process) -> None:
    """Stop a process, and wait until it stands still."""
    process.signal(signal.SIGSTOP)
    deadline = time.monotonic() + _STOP_SECONDS
    while not process.was_stopped() and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS / 10)


class Faults:
    """Do the faults of a plan to a run, and note what happened.

    Parameters
    ----------
    plan : Plan, optional
        None: nothing is done.

    Notes
    -----
    **Thread safety.** The supervisor's thread calls `act`, `note_end` and `end`, once `begin` has
    returned. Another thread may call `pass_by` meanwhile, and `records` after the supervisor's
    thread has ended.
    """

    def __init__(self, plan: Plan | None = None) -> None:
        self._plan = Plan(()) if plan is None else plan
        self._chance = random.Random(self._plan.seed)
        self._began = time.monotonic()
        self._has_run = False
        self._queues: dict[str, list[_Due]] = {}  # of each point that has a fault to come
        self._dying: dict[str, int] = {}  # points, and who was killed while held there
        self._late: list[tuple[_Due, int]] = []  # whose worker had no process, and their step
        self._stopped: list[tuple[float, int, Process]] = []  # until when, and who
        self._events: list[_Event] = []
        self._fresh: dict[int, int] = {}  # the work of a place when a process of it ended
        self._fired: set[int] = set()  # numbers in the plan
        self._records: list[FaultRecord] = []
        self._n_writes: Counter[str] = Counter()
        self._noting = threading.Lock()

    def pass_by(self, place: str) -> None:
        """Pass a place at which the plan may let a write fail.

        Raises
        ------
        OSError
            When it does.
        """
        self._n_writes[place] += 1
        for source, fault in enumerate(self._plan.faults):
            if not (isinstance(fault, Fail) and fault.at == place):
                continue
            if fault.time == self._n_writes[place]:
                self._note(source, fault)
                number = getattr(errno, fault.error)
                raise OSError(number, f"{os.strerror(number)} (a fault of the chaos plan)")

    def records(self) -> tuple[FaultRecord, ...]:
        """Return what has fired, in order, then what has not."""
        left = [
            FaultRecord(fault=fault, fired=False)
            for source, fault in enumerate(self._plan.faults)
            if source not in self._fired
        ]
        return (*self._records, *left)

    def begin(self, run: Run, n_workers: int, points: Sequence[str]) -> None:
        """Slow workers down, and arm the first faults, before the workers start.

        Called again with the run of a later part, which passes these points: what has fired does
        not come again.
        """
        if not self._plan.faults:
            return
        assert isinstance(run, SyncRun | Stream)
        self._run, self._points = run, run.points()
        self._fresh = {}
        if not self._has_run:
            self._began, self._has_run = time.monotonic(), True
        for source, fault in enumerate(self._plan.faults):
            if isinstance(fault, Slow) and fault.worker < n_workers:
                run.slow(fault.worker, fault.factor)
                if source not in self._fired:
                    self._note(source, fault, worker=fault.worker)
            elif isinstance(fault, Kill | Stop):
                if source in self._fired or fault.at not in (None, *points):
                    continue
                self._push(_Due(fault.step or 0, source, fault, None))
            elif isinstance(fault, Random):
                for share, kind in (
                    (fault.kill, Kill()),
                    (fault.stop, Stop(seconds=fault.seconds)),
                ):
                    steps = _steps(share, random.Random(self._chance.random()))
                    self._push_next(source, kind, steps, after=0)
        for point in self._queues:
            self._arm(point)

    # ---- the supervisor's thread

    @property
    def patience(self) -> float:
        """The most seconds until `act` should be called."""
        is_busy = self._queues or self._dying or self._late or self._stopped or self._events
        return _LOOK_SECONDS if is_busy else math.inf

    def act(self, processes: Sequence[Process | None]) -> None:
        """Do what is due; processes are those of all places."""
        for point in list(self._queues):
            held = None if point in self._dying else self._points.held(point)
            if held is not None:
                self._strike(point, *held, processes)
        self._late = [each for each in self._late if not self._meets(*each, processes)]
        now = time.monotonic()
        for stop in list(self._stopped):
            if now >= stop[0]:
                stop[2].signal(signal.SIGCONT)
                self._stopped.remove(stop)
        for event in list(self._events):
            if event.work is not None and self._run.work_of(event.worker) != event.work:
                record = self._records[event.number]
                self._records[event.number] = replace(record, cost=now - event.at)
                self._events.remove(event)

    def note_end(self, worker: int) -> None:
        """Note that a worker's process is gone, and was declared dead."""
        if not self._plan.faults:
            return
        for point in {*self._queues, *self._dying}:
            held = self._points.held(point)
            if held is not None and held[0] == worker:
                self._dying.pop(point, None)
                self._let_go(point)
        self._fresh[worker] = self._run.work_of(worker)
        self._stopped = [stop for stop in self._stopped if stop[1] != worker]
        for event in self._events:
            if event.worker == worker:
                event.work = self._fresh[worker]

    def end(self) -> None:
        """Let all workers go on, and do no further fault; may be called again."""
        for point in {*self._queues, *self._dying}:
            self._points.release(point)
        for _, _, process in self._stopped:
            process.signal(signal.SIGCONT)
        self._queues, self._dying = {}, {}
        self._late, self._stopped, self._events = [], [], []

    def _push(self, due: _Due) -> None:
        is_round = isinstance(self._run, SyncRun)
        point = due.fault.at or (_GATE_OF_ROUND if is_round else _GATE_OF_STREAM)
        heapq.heappush(self._queues.setdefault(point, []), due)

    def _push_next(
        self, source: int, kind: Kill | Stop, later: Iterator[int], *, after: int
    ) -> None:
        """Plan the next fault of a Random; those of steps that have passed would come at once."""
        for step in later:
            if step > after:
                self._push(_Due(step, source, replace(kind, step=step), later))
                return

    def _arm(self, point: str) -> None:
        due = self._queues[point][0]
        worker = due.fault.worker if due.fault.at is not None else ANY
        self._points.arm(point, worker if isinstance(worker, int) else ANY_WORKER, due.step)

    def _let_go(self, point: str) -> None:
        """Let the worker at a point go on, and wait there for the next fault."""
        self._points.release(point)
        if self._queues.get(point):
            self._arm(point)
        else:
            self._queues.pop(point, None)

    def _strike(
        self, point: str, held: int, step: int, processes: Sequence[Process | None]
    ) -> None:
        """Do the next fault of a point at which a worker is held."""
        due = self._queues[point][0]
        if due.fault.at is None:
            heapq.heappop(self._queues[point])
            if due.later is not None:
                self._push_next(due.source, due.fault, due.later, after=step)
            if not self._meets(due, step, processes) and due.later is None:
                self._late.append((due, step))
        else:
            process = processes[held]
            if process is None or held in self._doomed():
                return  # note_end lets the point go
            heapq.heappop(self._queues[point])
            self._hit(due, held, step, process)
            if isinstance(due.fault, Kill):
                self._dying[point] = held
                return
        self._let_go(point)

    def _meets(self, due: _Due, step: int, processes: Sequence[Process | None]) -> bool:
        """Do a fault without a point, if its worker, or any, has a process that works."""
        spared = (
            self._doomed() if isinstance(due.fault, Kill) else self._doomed() | self._standing()
        )
        found = {w: p for w, p in enumerate(processes) if p is not None and w not in spared}
        worker = due.fault.worker
        if worker == ANY:
            working = [w for w in found if self._fresh.get(w) != self._run.work_of(w)]
            worker = self._chance.choice(working) if working else None
        if not isinstance(worker, int) or worker not in found:
            return False
        self._hit(due, worker, step, found[worker])
        return True

    def _hit(self, due: _Due, worker: int, step: int, process: Process) -> None:
        epoch = self._run.opened
        number = self._note(due.source, due.fault, worker=worker, step=step, epoch=epoch)
        event = _Event(number, worker, time.monotonic(), None)
        self._events.append(event)
        if isinstance(due.fault, Kill):
            process.signal(signal.Signals[due.fault.signal])
            return
        _stop(process)
        event.work = self._run.work_of(worker)
        seconds = math.inf if due.fault.seconds is None else due.fault.seconds
        self._stopped.append((event.at + seconds, worker, process))

    def _doomed(self) -> set[int]:
        """Return the workers that were killed, and are not known to be dead."""
        return {event.worker for event in self._events if event.work is None}

    def _standing(self) -> set[int]:
        """Return the workers that are stopped."""
        return {worker for _, worker, _ in self._stopped}

    def _note(
        self,
        source: int,
        fault: Fault,
        *,
        worker: int | None = None,
        step: int | None = None,
        epoch: int | None = None,
    ) -> int:
        """Note a fault that fires; return the number of its record."""
        record = FaultRecord(
            fault=fault,
            fired=True,
            worker=worker,
            step=step,
            epoch=epoch,
            seconds=time.monotonic() - self._began,
        )
        with self._noting:  # a writer may pass by meanwhile
            self._fired.add(source)
            self._records.append(record)
            return len(self._records) - 1
