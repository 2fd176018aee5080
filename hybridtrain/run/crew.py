# SPDX-License-Identifier: BSD-3-Clause
"""The workers of a run, as a job sees them: threads or processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from hybridtrain._core.stream import Stream
from hybridtrain._core.sync import SyncRun
from hybridtrain.plan.base import Plan, Run
from hybridtrain.run.faults import Faults
from hybridtrain.run.processes import WorkerProcesses
from hybridtrain.run.starters import Executed, Forked, Starter
from hybridtrain.run.threads import Workers


class Crew(Protocol):
    """Start workers, and wait until they have left."""

    @property
    def are_lost(self) -> bool:
        """Whether no worker is left, and none will come."""

    def start(self) -> None:
        """Start the workers.

        Raises
        ------
        OutOfMemoryError
            When the system refuses one.
        """

    def causes(self, worker: int) -> tuple[str, ...]:
        """Return how the workers of a place have died, in order."""

    def lost(self, worker: int) -> float:
        """Return the seconds from deaths of a place's workers until the next ones worked."""

    def leave(self) -> None:
        """Ask the workers to leave, and wait; an exception meanwhile is raised at the end."""


def crew_of(run: Run, plan: Plan, faults: Faults) -> Crew:
    """Return the workers of a plan's run, not started yet; these faults will happen to them."""
    n_workers = int(plan.choices["workers"])
    faults.begin(run, n_workers, plan.points)
    cores = _cores_of_workers(plan.choices)
    if plan.choices["backend"] == "threads":
        return Workers(run, n_workers, cores=cores)
    assert isinstance(run, SyncRun | Stream)
    starter: Starter = Forked(run)
    if plan.choices["start"] == "exec":
        starter = Executed(run, plan.rows, plan.problem.constants)
    timeout = float(plan.choices["timeout"])
    return WorkerProcesses(run, starter, n_workers, timeout=timeout, faults=faults, cores=cores)


def _cores_of_workers(choices: Mapping[str, Any]) -> list[list[int] | None] | None:
    """Return the cores on which each worker runs, where workers have groups; None: all."""
    if "groups" not in choices:
        return None
    return [group["cores"] for group in choices["groups"] for _ in range(group["workers"])]
