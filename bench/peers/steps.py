"""What the round's peers share: a program of several processes that times its steps.

``python -m bench.peers.NAME WORKERS FLOATS:STEPS ...`` prints a JSON object: its version, and
for each FLOATS the seconds of a step, the mean of STEPS of them. A step sums a float32
vector of so many values over all workers; 0: a barrier. The vectors stay in memory from
step to step, as ours do; they are 0, so that sums do not grow. Before that one sum of other
values is checked. A program imports neither pytest nor hybridtrain.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a program's Python may lack what the harness needs
    from bench.harness import Sample, Side

# Of one worker: its own vector, where the sum will be (for all, or the same), and the step.
Vectors = tuple[Any, Any, Callable[[], object]]
_ROOT = Path(__file__).parents[2]
_TIMEOUT_S = 120
_WARM_UP = 20  # steps, at most


@dataclass(frozen=True, slots=True)
class Peer:
    """A program to start; `missing` says what it needs and has not got."""

    module: str
    missing: str = ""
    python: str = sys.executable
    launcher: tuple[str, ...] = ()  # {workers} is replaced
    times: int = 1  # as many steps as asked for: short ones need more
    environment: Mapping[str, str] | None = None

    def side(self, workers: int, work: Mapping[int, int]) -> Side:
        """Return a side that starts the program; work is steps by floats."""
        launcher = [word.format(workers=workers) for word in self.launcher]
        program = [self.python, "-m", f"bench.peers.{self.module}", str(workers)]
        command = [*launcher, *program, *(f"{n}:{self.times * steps}" for n, steps in work.items())]
        return lambda: self._run(command)

    def _run(self, command: list[str]) -> Sample:
        environment = {**os.environ, **(self.environment or {})}
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
            env=environment,
            start_new_session=True,
        ) as started:
            try:
                output, _ = started.communicate(timeout=_TIMEOUT_S)
            finally:
                with suppress(ProcessLookupError):  # if it failed, whom it has left
                    os.killpg(started.pid, signal.SIGTERM)
        assert started.returncode == 0, f"{command} ended with {started.returncode}"
        sample: Sample = json.loads(output.splitlines()[-1])
        return sample


@dataclass(frozen=True, slots=True)
class Worker:
    """One process of a program."""

    rank: int
    workers: int
    barrier: Callable[[], object]
    vectors: Callable[[int], Vectors]

    def measure(self, work: list[str], version: str) -> None:
        """Time the steps; rank 0 prints."""
        found: dict[str, Any] = {"version": version}
        for pair in work:
            n, n_steps = map(int, pair.split(":"))
            step = self._checked(n) if n else self.barrier
            for _ in range(min(n_steps, _WARM_UP)):
                step()
            self.barrier()
            started = time.perf_counter()
            for _ in range(n_steps):
                step()
            found[str(n)] = (time.perf_counter() - started) / n_steps
            self.barrier()
        if self.rank == 0:
            print(json.dumps(found), flush=True)

    def _checked(self, n: int) -> Callable[[], object]:
        own, total, step = self.vectors(n)
        own[:] = self.rank + 1
        step()
        if not (total == self.workers * (self.workers + 1) / 2).all():
            sys.exit("the sum is wrong")
        self.barrier()
        own[:] = 0
        return step


def fork(workers: int, body: Callable[[int], None]) -> None:
    """Call body(rank) in processes of their own, rank 0 in this one."""
    context = multiprocessing.get_context("fork")
    others = [context.Process(target=body, args=(rank,)) for rank in range(1, workers)]
    for other in others:
        other.start()
    body(0)
    for other in others:
        other.join()
        if other.exitcode:
            sys.exit(f"a worker ended with {other.exitcode}")
