# SPDX-License-Identifier: BSD-3-Clause
"""What stands between a node's own run and its machine of the protocol."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

from hybridtrain.nodes import events
from hybridtrain.nodes.messages import Stops
from hybridtrain.nodes.reducer import Sums
from hybridtrain.nodes.reports import Work
from hybridtrain.run.snapshot import Snapshot
from hybridtrain.transport.link import Link

STOPPED = "stopped"  # in a snapshot's job: in the middle of an epoch, and why


class Home(Protocol):
    """What a `Between` needs of its partner.

    Attributes
    ----------
    changed : Condition
        Notified whenever what a thread may wait for has changed.
    ballot : int
        Of the last `Redo`; 0: none has come.
    """

    link: Link
    work: Work
    changed: threading.Condition
    ballot: int

    @property
    def is_over(self) -> bool:
        """Whether the run has ended for this node."""

    @property
    def stops(self) -> Stops:
        """Whether the driver asks for the end of the run with the step in hand."""

    def post(self, function: Callable[[], None]) -> None:
        """Let the loop's thread call a function soon."""

    def note(self, event: Any) -> None:
        """Hand an event to the machine; in the loop's thread."""

    def start(self, work: Callable[[], None], name: str) -> None:
        """Start a thread, which ends before the partner does."""

    def snapshot(self) -> Snapshot | None:
        """Copy the state of the run, which stands still; None: it is not finite."""

    def go_on_from(self, snapshot: Snapshot) -> None:
        """Set the state of the run before its workers start."""

    def stop(self, why: Stops) -> None:
        """Note that the run ends with this step, everywhere."""

    def leave_run(self, reason: str) -> None:
        """Tell the driver that this node leaves."""

    def fail_run(self, reason: str) -> None:
        """End the run for this node."""


class Between(Protocol):
    """Take the steps of one run to other nodes, and theirs into it.

    The loop's thread makes all calls but `begin` and `part`, which are the job's.
    """

    @property
    def sums(self) -> Sums:
        """Where the node adds up its shard."""

    def applied(self) -> int:
        """Return how many steps the state that the run begins with has."""

    def expect(self, snapshot: Snapshot) -> None:
        """Note another's state, with which `begin` will be called."""

    def begin(self, replacement: Snapshot | None) -> None:
        """Note that the node is a member: the workers start soon. From another's state, or None."""

    def part(self) -> None:
        """Let the threads of `start` end: the workers have left."""

    def redo(self, act: events.Redo, *, is_first: bool) -> None:
        """See `events.Redo`."""

    def collect(self, act: events.Collect) -> None:
        """See `events.Collect`."""

    def apply(self, act: events.Apply) -> None:
        """See `events.Apply`."""

    def replace(self, snapshot: Snapshot) -> bool:
        """Put another's state in the place of the run's; return False: the job is too far on."""

    def state(self) -> Snapshot | None:
        """Return the state with the machine's label, once it stands still; None: call again."""

    def digest(self) -> bytes:
        """Return a digest of the state's arrays that the node has, or will have."""

    def before_end(self) -> None:
        """Finish what is under way, so that the job can save the run."""
