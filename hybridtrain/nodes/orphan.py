# SPDX-License-Identifier: BSD-3-Clause
"""A node that is a child of its driver, and lives on when that dies, to save the run."""

from __future__ import annotations

import os
import signal
from typing import Any

from hybridtrain._core.attached import outlive
from hybridtrain.nodes import events
from hybridtrain.nodes.partner import NodePartner
from hybridtrain.plan.base import Plan


class ChildPartner(NodePartner):
    """Take a run's part among several nodes, as a child of the driver's process.

    Once the run has begun, this process sees the death of the driver itself, within a beat. Then it
    has `timeout` to save the run and to end; the system ends it after that.

    Parameters
    ----------
    *partner, **named
        As of `NodePartner`.
    parent : int
        The driver's process, with which the system would end this one.
    """

    def __init__(self, *partner: Any, parent: int, **named: Any) -> None:
        super().__init__(*partner, **named)
        self._parent = parent

    def join(self, run: Any, plan: Plan, part: int) -> None:
        """Wait until the node is a member; from then on, outlive the driver."""
        super().join(run, plan, part)
        outlive()

    def tick(self) -> None:
        """Beat, and look whether the driver's process is there."""
        super().tick()
        if os.getppid() != self._parent:
            signal.setitimer(signal.ITIMER_REAL, self._timeout)
            self.note(events.Gone(self._driver, "its process has ended"))
