# SPDX-License-Identifier: BSD-3-Clause
"""The driver's loop: its machine of the protocol, and what users see of the nodes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Literal

from msgspec.structs import asdict

from hybridtrain.nodes import events, messages
from hybridtrain.nodes.driver import Driver
from hybridtrain.nodes.ending import DETECTION
from hybridtrain.nodes.exchange import unsealed
from hybridtrain.nodes.loop import Loop
from hybridtrain.nodes.messages import Message
from hybridtrain.nodes.peers import delay_of
from hybridtrain.nodes.reports import NO_REPORT, Report
from hybridtrain.observe.records import EpochRecord, NodeReport
from hybridtrain.run.budget import Budget
from hybridtrain.transport.link import Link

logger = logging.getLogger(__name__)
_LONG_STEP = 3.0  # seconds


class Driving(Loop):
    """Watch the nodes of a run until it is over.

    Parameters
    ----------
    link : Link
    n_nodes : int
    version : str
        Of the package.
    timeout : float
    on_line : function
        Called with the lines that tell users of views.
    on_delay : function
        Called with lines that tell who is waited for when a step takes long.
    budget : Budget or None
        The time of the run, opened; None: as long as it takes.

    Attributes
    ----------
    records : queue
        Each epoch's record, once; the nodes wait for its `order`. None at the end.

    Notes
    -----
    **Thread safety.** The loop's thread makes all calls, but for `records`.
    """

    def __init__(
        self,
        link: Link,
        n_nodes: int,
        version: str,
        timeout: float,
        *,
        on_line: Callable[[str], None],
        on_delay: Callable[[str], None],
        budget: Budget | None = None,
    ) -> None:
        super().__init__(link, timeout, timeout * DETECTION)
        self._n_nodes, self._min_nodes = n_nodes, 1
        self._version = version
        self._on_line = on_line
        self._on_delay = on_delay
        self._stepped = time.monotonic()  # when the last step was done everywhere
        self._steps = 0
        self._delay = _LONG_STEP  # seconds of a step after which users hear of it
        self._budget = budget
        self._is_timed = False
        self._planned = 0.0  # epochs that fit; 0: not known yet
        self._orders: dict[int, messages.Order] = {}  # after each epoch, or `AT_ONCE`
        self._waiting: dict[int, list[int]] = {}  # the nodes that wait for one
        self.records: SimpleQueue[EpochRecord | None] = SimpleQueue()
        self._parts: list[bytes] = []
        self._reports: dict[int, Report] = {}  # the last one of each node
        self.is_closing = False
        self.failure: messages.Failed | None = None
        self.end: events.End | None = None

    @property
    def is_training(self) -> bool:
        """Whether a view has begun."""
        return isinstance(self.machine, Driver) and self.machine.begun is not None

    @property
    def is_ending(self) -> bool:
        """Whether the nodes are to go on no further: none need come now."""
        return any(order.what != "go on" for order in self._orders.values())

    @property
    def epoch(self) -> int:
        """The epoch that the nodes are in."""
        return 1 + max(self._orders, default=0)

    @property
    def content(self) -> bytes:
        """What the nodes have ended with."""
        return unsealed(b"".join(self._parts))

    @property
    def nodes(self) -> tuple[NodeReport, ...]:
        """What each node has done, as it last said, and how it has ended."""
        peers = list(self.machine.peers.values()) if isinstance(self.machine, Driver) else []
        peers.sort(key=lambda peer: peer.member.name)  # not as they have come
        reports = ((peer, self._reports.get(peer.incarnation, NO_REPORT)) for peer in peers)
        return tuple(
            NodeReport(
                name=peer.member.name,
                address=peer.member.address,
                incarnation=f"{peer.incarnation:016x}",
                ended="finished" if peer.word == "running" else peer.word,
                **asdict(report),
            )
            for peer, report in reports
        )

    def _take(self, sender: int, frame: Any) -> None:
        """Keep a node's report; the rest is as for all loops."""
        report = Report.of(frame) if sender in self._heard else None
        if report is None:
            super()._take(sender, frame)
        else:
            self._reports[sender] = report

    def node_ended(self, incarnation: int, cause: str) -> None:
        """Note the death of a node's process."""
        if self.machine is None:
            self.end = self.end or events.End("lost", f"a node {cause} before the run began")
        else:
            self.note(events.Gone(incarnation, cause))

    def set_deadline(self, act: events.Deadline) -> None:
        """Set a deadline; nodes that read much data come late, and their processes are watched."""
        if act.what != "gather":
            super().set_deadline(act)

    def receive(self, sender: int, message: Message) -> None:
        """Take what the jobs of the nodes say; the rest is the machine's."""
        if isinstance(message, messages.Failed):
            self._take_failure(sender, message)
        elif isinstance(message, messages.Epoch):
            self._take_epoch(sender, message)
        else:
            if isinstance(message, messages.Hello) and self.machine is None:
                self.machine = Driver(
                    n_nodes=self._n_nodes,
                    min_nodes=self._min_nodes,
                    version=self._version,
                    plan=message.plan,
                    part=message.part,
                )
                self.note(events.Begin())
            super().receive(sender, message)

    def _take_failure(self, sender: int, failed: messages.Failed) -> None:
        """End the run; or go on without the node, once others train."""
        if self.is_training:
            self.note(events.Gone(sender, f"{failed.error}: {failed.text}"))
        else:
            self.failure = self.failure or failed

    def _take_epoch(self, sender: int, told: messages.Epoch) -> None:
        self._waiting.setdefault(told.epoch, []).append(sender)
        if told.epoch in self._orders:
            self._order(self._orders[told.epoch])
        elif len(self._waiting[told.epoch]) == 1:
            record = EpochRecord(
                epoch=told.epoch,
                seconds=told.seconds,
                rows=told.rows,
                lr=told.lr,
                loss=told.loss,
                validation_loss=told.validation_loss,
                staleness=None,
            )
            if self._budget is not None:
                self._note_speed(told.epoch, self._budget)
            self.records.put(record)

    def _note_speed(self, epoch: int, budget: Budget) -> None:
        """Plan the epochs that fit; the first one of a saved run may have been done before."""
        if self._orders or epoch == 1:
            budget.rests(epoch)
            self._planned = budget.planned

    def tick(self) -> None:
        """Beat, and tell who is waited for when a step takes long: at ever longer intervals."""
        super().tick()
        now = time.monotonic()
        seconds = now - self._stepped
        if seconds < self._delay or not isinstance(self.machine, Driver) or not self.is_training:
            return
        assert self.machine.begun is not None
        members = [
            (self.machine.peers[i], now - self._heard.get(i, now))
            for i in self.machine.begun.incarnations
        ]
        if line := delay_of(self._steps + 1, seconds, members):
            self._delay = 2 * seconds
            logger.info(line)
            self._on_delay(line)

    def order(self, epoch: int, what: messages.Command) -> None:
        """Tell the nodes what comes after an epoch."""
        if self._budget is not None:
            self._budget.begins(epoch)
            if what == "go on" and self._budget.is_over():
                what = "seconds"
        self._order(messages.Order(epoch=epoch, what=what, planned=self._planned))

    def end_step(self, what: Literal["seconds", "interrupt"]) -> None:
        """Ask the nodes to end the run with the step in hand."""
        order = messages.Order(epoch=messages.AT_ONCE, what=what)
        self._waiting[messages.AT_ONCE] = self.peers
        self._order(order)

    def _order(self, order: messages.Order) -> None:
        self._orders[order.epoch] = order
        self._stepped = time.monotonic()  # no node was at a step while the driver was asked
        for peer in self._waiting.pop(order.epoch, ()):
            self.send(peer, order)

    def turn(self, longest: float) -> None:
        """Wait and act as all loops do; end the run when its time is over."""
        super().turn(longest)
        if self._budget is None or not self.is_training:
            return
        if not self._is_timed:
            self._is_timed = True
            self._budget.begins(0.0)
        if self._budget.is_over() and not self.is_ending:
            self.end_step("seconds")

    def do(self, act: Any) -> None:
        """Do an act of the machine."""
        if isinstance(act, events.Deadline):
            self.set_deadline(act)
        elif isinstance(act, events.Tell):
            logger.info(act.text)
            self._on_line(act.text)
        elif isinstance(act, events.Load):
            if act.chunk == 0:
                self._parts = []
            self._parts.append(bytes(act.body))
        elif isinstance(act, events.End):
            self.end = act
        elif isinstance(act, events.Progress):
            self._stepped, self._steps, self._delay = time.monotonic(), act.steps, _LONG_STEP
        else:
            super().do(act)
