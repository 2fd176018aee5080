# SPDX-License-Identifier: BSD-3-Clause
"""What stands between one node's run and the other nodes, as the run sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from hybridtrain.plan.base import Plan
from hybridtrain.run.budget import Budget
from hybridtrain.run.crew import Crew
from hybridtrain.run.snapshot import Parameters, Snapshot

LEFT_OUT = "it was left out for more than an epoch"


class OtherPartError(Exception):
    """The run is in another part than the one that this node has opened.

    Attributes
    ----------
    part : int
        From 0.
    """

    def __init__(self, part: int) -> None:
        super().__init__(f"the run is in part {part + 1}")
        self.part = part


class Partner(Protocol):
    """Take a run's part among several nodes."""

    @property
    def is_orphan(self) -> bool:
        """Whether the run has lost its driver, so that nobody goes on with it."""

    def check(self) -> None:
        """Return if the run goes on.

        Raises
        ------
        NodesLostError
            When it has ended for this node.
        """

    @property
    def reason(self) -> str:
        """Why the workers rest, if others have asked for it: "seconds" or "interrupted"."""

    def meet(
        self,
        start: Parameters,
        snapshot: Callable[[], Snapshot | None],
        go_on_from: Callable[[Snapshot], None],
        interrupt: Callable[[], None],
    ) -> None:
        """Note what the run is given: its first parameters, and how to copy, set and end it."""

    def budget(self, seconds: float, started: float) -> Budget:
        """Return the time of the run, which is the same at all nodes; as `Budget`."""

    def is_first(self) -> bool:
        """Return whether this node is the one that writes for all."""

    def join(self, run: Any, plan: Plan, part: int) -> None:
        """Wait until the node is a member, and take the sums of its steps to the others.

        A node that comes to a run goes on from the state of another. part: of the run, from 0.

        Raises
        ------
        NodesLostError
            When the node cannot take part.
        OtherPartError
            When the others are in another part; the node may join there.
        """

    def finish_part(self, parameters: Parameters) -> None:
        """Tell that a part of the run is over, which has ended with these parameters, and wait.

        Returns when it is over everywhere. The workers have left.

        Raises
        ------
        NodesLostError
            When the run has ended for this node.
        """

    def part(self) -> None:
        """Let go of the run, whose workers have left."""


def budget_of(seconds: float | None, started: float, partner: Partner | None) -> Budget | None:
    """Return the time of a run, which began at `started`; None: as long as it takes."""
    if seconds is None:
        return None
    return Budget(seconds, started) if partner is None else partner.budget(seconds, started)


class Partnered:
    """The workers of a run whose partner must have joined before they start.

    Parameters
    ----------
    crew : Crew
    partner : Partner
    run : Run
    plan : Plan
        Of the run.
    part : int
        Of the whole run, that this one trains; from 0.
    """

    def __init__(self, crew: Crew, partner: Partner, run: Any, plan: Plan, part: int) -> None:
        self._crew = crew
        self._partner = partner
        self._run = run
        self._plan = plan
        self._part = part

    @property
    def are_lost(self) -> bool:
        """Whether no worker is left, and none will come."""
        return self._crew.are_lost

    def start(self) -> None:
        """Join the other nodes, then start the workers."""
        self._partner.join(self._run, self._plan, self._part)
        self._crew.start()

    def causes(self, worker: int) -> tuple[str, ...]:
        """Return how the workers of a place have died, in order."""
        return self._crew.causes(worker)

    def lost(self, worker: int) -> float:
        """Return the seconds from deaths of a place's workers until the next ones worked."""
        return self._crew.lost(worker)

    def leave(self) -> None:
        """Ask the workers to leave, wait, and part from the other nodes; can be called twice."""
        try:
            self._crew.leave()
        finally:
            self._partner.part()
