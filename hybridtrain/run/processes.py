# SPDX-License-Identifier: BSD-3-Clause
"""Workers that are processes: started, watched, and replaced when they die."""

from __future__ import annotations

import errno
import logging
import os
import select
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from hybridtrain._core.check import NO_PROCESSES
from hybridtrain._core.process import Process
from hybridtrain._core.stream import Stream
from hybridtrain._core.sync import SyncRun
from hybridtrain.errors import InvalidSettingError, OutOfMemoryError
from hybridtrain.machine import CoresOfWorkers, kills_for_memory, pin
from hybridtrain.parallel import await_end, start_thread
from hybridtrain.run.faults import Faults
from hybridtrain.run.starters import Starter

logger = logging.getLogger(__name__)

_BACK_OFF_SECONDS = (0.0, 0.1, 1.0)  # before the first, second, ... replacement of a place
_MOST_DEATHS = 3  # of a place in a row, without work in between
_LAST_SECONDS = 1.0  # for processes to die when the supervisor gives up
_NEAR_SECONDS = 0.001  # between two looks for the first work of a new process
_LOOK_SECONDS = 0.1  # between two looks for stopped processes
_SIGNALS = {int(number): number.name for number in signal.Signals}


class _NotDeadError(Exception):
    """A process that was killed is still there: what it does to the segment is not known."""


@dataclass
class _Place:
    """What the supervisor knows of a worker's place."""

    process: Process | None = None
    causes: list[str] = field(default_factory=list)
    n_idle: int = 0  # deaths in a row of workers that had done nothing
    worked: int = 0  # what the place's workers had done when the process was started
    is_abandoned: bool = False
    due: float | None = None  # when the next process starts, by time.monotonic()
    died: float | None = None  # when a process died after which none has worked yet
    left: int = 0  # what the place's workers had done then
    lost: float = 0.0  # seconds from deaths to the work of the next process
    killed: float | None = None  # when the process was sent SIGKILL, by time.monotonic()


class WorkerProcesses:
    """Start a process for each worker of a run, and replace those that die.

    One thread starts all processes and watches over them: they are killed when it ends, so
    that a training process that is killed leaves none behind.

    Parameters
    ----------
    run : SyncRun or Stream
        Shared with processes.
    starter : Starter
        Starts the processes.
    n_workers : int
    timeout : float
        Seconds after which a stopped process is killed that keeps the others from going on,
        and a process that does not end.
    faults : Faults
        What will happen to the processes on purpose.
    cores : list of (list of int or None) or None
        Where each worker runs; None: on any core.
    """

    def __init__(
        self,
        run: SyncRun | Stream,
        starter: Starter,
        n_workers: int,
        *,
        timeout: float,
        faults: Faults,
        cores: CoresOfWorkers = None,
    ) -> None:
        self._cores = cores
        self._run = run
        self._starter = starter
        self._timeout = timeout
        self._faults = faults
        self._places = [_Place() for _ in range(n_workers)]
        self._owner = os.getpid()
        self._wake, self._waker = os.pipe()
        self._is_started = threading.Event()
        self._refusal: OSError | None = None
        self._is_leaving = False
        self._progress, self._since = -1, 0.0  # and since when it has not changed
        self._n_kills = kills_for_memory()
        self._threads = [
            threading.Thread(target=self._supervise, name="hybridtrain-supervisor", daemon=True)
        ]
        self._are_lost = False

    @property
    def are_lost(self) -> bool:
        """Whether no process is left, and none will be started."""
        return self._are_lost

    def start(self) -> None:
        """Start the processes.

        Raises
        ------
        InvalidSettingError
            When this system has no such processes.
        OutOfMemoryError
            When the system refuses one, or the memory that all of them need.
        """
        self._starter.open()
        error: Exception | None = start_thread(self._threads[0])
        if error is None:
            self._is_started.wait()
            error = self._refusal
        if isinstance(error, OSError) and error.errno == errno.ENOSYS:
            raise InvalidSettingError(NO_PROCESSES) from error
        if error is not None:
            raise OutOfMemoryError(
                f"the system refused a worker process ({error}); choose fewer workers, or "
                'backend="threads"'
            ) from error

    def leave(self) -> None:
        """Ask the workers to leave, and wait; an exception meanwhile is raised at the end.

        In a child that was forked, there are no workers to wait for.
        """
        if os.getpid() != self._owner:
            return
        self._is_leaving = True
        self._run.leave()
        if self._waker >= 0:
            os.write(self._waker, b"x")
        await_end(self._threads)
        self._threads.clear()  # now: as in run/threads.py
        for end in (self._wake, self._waker):
            if end >= 0:
                os.close(end)
        self._wake = self._waker = -1
        self._starter.close()

    def causes(self, worker: int) -> tuple[str, ...]:
        """Return how the processes of a place died, in order."""
        return tuple(self._places[worker].causes)

    def lost(self, worker: int) -> float:
        """Return the seconds from the deaths of a place's processes until the next ones worked."""
        return self._places[worker].lost

    # ---- the supervisor's thread

    def _supervise(self) -> None:
        try:
            self._start_all()
            self._is_started.set()
            self._watch()
        except _NotDeadError as error:
            logger.error("%s", error)
            self._lose(str(error))
        except Exception as error:  # a fault of ours: whoever waits for the workers must hear of it
            logger.exception("the supervisor of the worker processes failed")
            self._lose(f"lost with the supervisor: {error!r}")

    def _start_all(self) -> None:
        try:
            for worker in range(len(self._places)):
                self._start(worker)
        except OSError as error:
            self._refusal = error
            self._is_leaving = True
            self._run.leave()

    def _watch(self) -> None:
        deadline = 0.0
        while not (self._is_leaving and self._n_living() == 0):
            self._await_event()
            for worker, place in enumerate(self._places):
                ended = None if place.process is None else place.process.reap(0.0)
                if ended is not None:
                    self._note_end(worker, *ended)
            self._require_deaths()
            self._note_work()
            if self._is_leaving:
                self._faults.end()
                deadline = deadline or time.monotonic() + self._timeout
                self._kill(stopped_alone=time.monotonic() < deadline)
                continue
            self._replace()
            self._faults.act([place.process for place in self._places])
            self._look_for_stopped()

    def _lose(self, cause: str) -> None:
        try:
            self._give_up(cause)
        finally:
            self._are_lost = True
            self._is_started.set()

    def _give_up(self, cause: str) -> None:
        self._kill(stopped_alone=False)
        for worker, place in enumerate(self._places):
            wait = min(self._timeout, _LAST_SECONDS)
            if place.process is not None and place.process.reap(wait) is not None:
                self._run.declare_dead(worker)
            place.process = None
            place.causes.append(cause)

    def _require_deaths(self) -> None:
        """Raise when a process that was killed has not died for too long."""
        now = time.monotonic()
        for worker, place in enumerate(self._places):
            if place.process is None or place.killed is None:
                continue
            if now - place.killed >= self._timeout:
                pid = place.process.pid
                raise _NotDeadError(
                    f"worker {worker} (process {pid}) was sent SIGKILL and is not dead after "
                    f"{self._timeout:g} s; its state is {_state_of(pid)!r} (D: it waits for a "
                    "device; look at disks, network file systems and frozen cgroups)"
                )

    def _await_event(self) -> None:
        """Wait until a process ends, somebody calls, or there is something to look for."""
        poller = select.poll()
        poller.register(self._wake, select.POLLIN)
        for place in self._places:
            if place.process is not None:
                poller.register(place.process, select.POLLIN)
        is_awaited = any(place.died is not None and place.process for place in self._places)
        patience = _NEAR_SECONDS if is_awaited else _LOOK_SECONDS
        for fd, _ in poller.poll(1000.0 * min(patience, self._faults.patience)):
            if fd == self._wake:
                os.read(self._wake, 1)

    def _n_living(self) -> int:
        return sum(place.process is not None for place in self._places)

    def _is_any_due(self) -> bool:
        return any(place.due is not None for place in self._places)

    def _start(self, worker: int) -> None:
        place = self._places[worker]
        place.worked, place.due, place.killed = self._run.work_of(worker), None, None
        place.process = self._starter.start(worker)
        if self._cores is not None:
            pin(place.process.pid, self._cores[worker])

    def _note_end(self, worker: int, fate: str, detail: int) -> None:
        """Note that a process is gone; unless all were asked to leave, let the others go on.

        One that was killed is noted also when all leave.
        """
        place = self._places[worker]
        place.process = None
        if not self._is_leaving or (fate == "killed" and place.killed is None):
            place.causes.append(self._cause(fate, detail))
        if self._is_leaving:
            return
        self._run.declare_dead(worker)
        self._faults.note_end(worker)
        if place.died is None:
            place.died, place.left = time.monotonic(), self._run.work_of(worker)
        is_idle = self._run.work_of(worker) == place.worked
        place.n_idle = place.n_idle + 1 if is_idle else 0
        if place.n_idle < _MOST_DEATHS:
            wait = _BACK_OFF_SECONDS[min(place.n_idle, len(_BACK_OFF_SECONDS) - 1)]
            place.due = time.monotonic() + wait

    def _note_work(self) -> None:
        """Note what deaths have cost, once the next process of a place has done work, or leaves."""
        for worker, place in enumerate(self._places):
            if place.died is None:
                continue
            if self._is_leaving or self._run.work_of(worker) != place.left:
                place.lost += time.monotonic() - place.died
                place.died = None

    def _cause(self, fate: str, detail: int) -> str:
        if fate == "exited":
            return f"ended with status {detail}"
        if fate == "unknown":
            return "ended, and somebody else was told how"
        n_kills = kills_for_memory()
        is_for_memory = detail == signal.SIGKILL and n_kills > self._n_kills
        self._n_kills = n_kills
        named = _SIGNALS.get(detail, f"signal {detail}")
        return f"{named} (the system was out of memory)" if is_for_memory else named

    def _replace(self) -> None:
        """Start the processes that are due, and see that some worker can go on."""
        now = time.monotonic()
        for worker, place in enumerate(self._places):
            if place.due is not None and place.due <= now:
                try:
                    self._start(worker)
                except OSError as error:  # the system has none for now
                    place.causes.append(f"not replaced: {error}")
                    place.n_idle += 1
                    place.due = None if place.n_idle >= _MOST_DEATHS else now + 1.0
        self._run.let_go_on([w for w, p in enumerate(self._places) if p.process is not None])
        self._are_lost = self._n_living() == 0 and not self._is_any_due()
        for worker, place in enumerate(self._places):  # last: then a run may rest
            if place.process is None and place.due is None and not place.is_abandoned:
                place.is_abandoned = self._run.abandon(worker)

    def _look_for_stopped(self) -> None:
        """Kill a stopped process when the others have not come to a new step for too long."""
        now, progress = time.monotonic(), self._run.progress()
        if progress != self._progress:
            self._progress, self._since = progress, now
        if now - self._since >= self._timeout:
            self._kill(stopped_alone=True)

    def _kill(self, *, stopped_alone: bool) -> None:
        for place in self._places:
            process = place.process
            if process is None or (stopped_alone and _state_of(process.pid) not in {"T", "t"}):
                continue
            place.killed = place.killed or time.monotonic()
            process.signal(signal.SIGKILL)


def _state_of(pid: int) -> str:
    """Return the state of a process as the system says it: "R", "S", "T", "D", ...; "": gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[0]
