# SPDX-License-Identifier: BSD-3-Clause
"""A node: its machine of the protocol between its own run and a link to the others.

Two threads: that of the job, which trains epochs, and the loop's, which alone touches the machine
and the link::

    job            join ......................... workers train ... rest; tell    ... finish
    loop               HELLO, FREEZE, VIEW, Redo   Collect, SUM, TOTAL, Apply       DONE, FINISH

What stands between the run and the machine differs between rounds and streams (`Between`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import numpy as np

from hybridtrain._core.leased import LeasedStream
from hybridtrain.errors import NodesLostError
from hybridtrain.nodes import events, messages
from hybridtrain.nodes.between import STOPPED, Between
from hybridtrain.nodes.exchange import (
    digest_of,
    digest_of_state,
    packed,
    sealed,
    state_messages,
    unpacked,
)
from hybridtrain.nodes.messages import Label, Message
from hybridtrain.nodes.node import Node
from hybridtrain.nodes.reports import Work
from hybridtrain.nodes.round_between import RoundBetween
from hybridtrain.nodes.stream_between import StreamBetween
from hybridtrain.nodes.threaded import GLANCE_SECONDS, ThreadedLoop
from hybridtrain.observe.records import EpochRecord
from hybridtrain.plan.base import Plan
from hybridtrain.run.budget import ToldBudget
from hybridtrain.run.partner import LEFT_OUT, OtherPartError
from hybridtrain.run.snapshot import Parameters, Snapshot
from hybridtrain.transport.link import Link

_STOPS: dict[str, messages.Stops] = {"seconds": 1, "interrupt": 2}


class NodePartner(ThreadedLoop):
    """Take a run's part among several nodes; see `Partner` of run/partner.py.

    Parameters
    ----------
    link : Link
        Connected to the driver.
    driver : int
        Its incarnation.
    name : str
        Of this node, for users.
    version : str
        Of the package.
    timeout : float
        Seconds for which a silent driver is waited for.
    """

    def __init__(self, link: Link, driver: int, *, name: str, version: str, timeout: float) -> None:
        super().__init__(link, driver, timeout)
        self._name = name
        self._version = version
        self._between: Between | None = None  # while there is a run
        self._replacement: Snapshot | None = None  # another node's state, before the run begins
        self._parts: list[bytes] = []  # of a state that comes
        self._final: Snapshot | None = None  # of a run that is over
        self._content = b""  # what the driver gets in the end
        # A digest of what the part in hand has ended with, and whether there is another part.
        self._finished: tuple[bytes, bool] | None = None
        self._part = self._since = 0  # in hand; and the ballot in which the one before was finished
        self._next: int | None = None  # the part that the driver has named
        self._orders: dict[int, messages.Order] = {}  # of the driver, after each epoch, or at once
        self._stopped: messages.Stops = 0
        self._budget: ToldBudget | None = None
        self._is_first = False
        self.ballot = 0  # this and the next one: as `Home` says
        self.work = Work()

    # ---- the job's thread -----------------------------------------------------------------------

    @property
    def is_orphan(self) -> bool:
        """Whether the run has lost its driver, so that nobody goes on with it."""
        return self._end is not None and self._end.ending == "lost"

    def check(self) -> None:
        """Return if the run goes on.

        Raises
        ------
        NodesLostError
            When it has ended for this node.
        """
        if self._end is not None:
            raise NodesLostError(self._end.reason)

    @property
    def reason(self) -> str:
        """Why the workers rest, if others have asked for it."""
        return "seconds" if self._stopped == _STOPS["seconds"] else "interrupted"

    def meet(
        self,
        start: Parameters,
        snapshot: Callable[[], Snapshot | None],
        go_on_from: Callable[[Snapshot], None],
        interrupt: Callable[[], None],
    ) -> None:
        """Note what the run is given: its first parameters, and how to copy, set and end it."""
        self._start_of_run = start
        self._snapshot, self._go_on_from, self._interrupt = snapshot, go_on_from, interrupt

    def budget(self, seconds: float, started: float) -> ToldBudget:
        """Return the time of the run, which the driver keeps."""
        self._budget = ToldBudget(seconds, started)
        return self._budget

    def is_first(self) -> bool:
        """Return whether this node has the first place of the newest view."""
        return self._is_first

    def join(self, run: Any, plan: Plan, part: int) -> None:
        """Wait until the node is a member, and take the sums of its steps to the others.

        Raises
        ------
        NodesLostError
            When the driver refuses the node, or is gone.
        OtherPartError
            When the run is in another part, and this node has finished none.
        """
        self._part, self._finished, self._next, self.ballot = part, None, None, 0
        kind = StreamBetween if isinstance(run, LeasedStream) else RoundBetween
        self._between = between = kind(self, run, plan)
        hello = messages.Hello(
            member=messages.Member(
                incarnation=self.link.incarnation, name=self._name, address=self.link.address
            ),
            version=self._version,
            plan=digest_of(plan, plan.to_trained(*self._start_of_run)),
            label=Label(between.applied(), 0),
            part=part,
        )
        sums = self.work.timing(between.sums)
        self.machine = Node(hello=hello, driver=self._driver, sums=sums, since=self._since)
        self.note(events.Begin())
        self.serve()
        self._await(lambda: self.ballot > 0 or self._next is not None)
        if self._next is not None:
            self._between = None
            raise NodesLostError(LEFT_OUT) if self._since else OtherPartError(self._next)
        between.begin(self._replacement)
        if self._replacement is not None and (stopped := self._replacement.job.get(STOPPED)):
            self._end_job(stopped)
        self._replacement = None
        self.work.begin(plan.workers)

    def tell(self, record: EpochRecord) -> bool:
        """Report an epoch to the driver, and return whether it ends the run."""
        told = messages.Epoch(
            epoch=record.epoch,
            seconds=record.seconds,
            rows=record.rows,
            lr=record.lr,
            loss=record.loss,
            validation_loss=record.validation_loss,
        )
        self.post(lambda: self.send(self._driver, told))
        began = time.perf_counter()
        self._await(lambda: record.epoch in self._orders)
        self.work.wait(time.perf_counter() - began)
        order = self._orders[record.epoch]
        if self._budget is not None:
            self._budget.tell(order.planned)
        if order.what in _STOPS:
            self._end_job(_STOPS[order.what])
        return order.what == "stop"

    def part(self) -> None:
        """Let go of the run, whose workers have left."""
        if self._between is None:
            return
        self._final = self._snapshot()
        if self._final is not None:
            self._final.job[STOPPED] = self._stopped
        self._between.part()
        for thread in self._threads[1:]:
            thread.join()
        self._call(self._let_go)

    def finish(self, content: bytes, parameters: bytes) -> None:
        """Tell that the run is over here, and wait until it is over everywhere.

        Parameters
        ----------
        content : bytes
            What the driver gets from one of the nodes.
        parameters : bytes
            Which all nodes must have ended with.

        Raises
        ------
        NodesLostError
            When the run has ended otherwise.
        """
        self._content = sealed(content)
        self._finish_here(parameters, goes_on=False)
        with self.changed:
            while self._end is None:
                self.changed.wait(GLANCE_SECONDS)
        if self._end.ending != "done":
            raise NodesLostError(self._end.reason)

    def finish_part(self, parameters: Parameters) -> None:
        """Tell that a part is over here, and wait until it is over everywhere.

        Raises
        ------
        NodesLostError
            When the run has ended for this node.
        """
        coef, intercept = parameters
        self._finish_here(coef.tobytes() + np.asarray(intercept).tobytes(), goes_on=True)
        self._await(lambda: self._next is not None)
        if self._next != self._part + 1:
            raise NodesLostError(LEFT_OUT)
        self._since = self.ballot

    def _finish_here(self, parameters: bytes, *, goes_on: bool) -> None:
        digest = blake2b(parameters, digest_size=32).digest()

        def finish() -> None:
            self._finished = digest, goes_on
            self.note(events.Finished(self.ballot, digest, goes_on))

        self.post(finish)

    def before_end(self) -> None:
        """Let what is under way end."""
        if self._between is not None:
            self._between.before_end()

    def _let_go(self) -> None:
        self._between = None

    # ---- for what stands between ----------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether the run has ended for this node."""
        return self._end is not None

    @property
    def stops(self) -> messages.Stops:
        """Whether the driver asks for the end of the run with the step in hand."""
        order = self._orders.get(messages.AT_ONCE)
        return 0 if order is None else _STOPS[order.what]

    def start(self, work: Callable[[], None], name: str) -> None:
        """Start a thread, which ends before the partner does."""
        self._start(work, name)

    def snapshot(self) -> Snapshot | None:
        """Copy the state of the run, which stands still; None: it is not finite."""
        return self._snapshot()

    def go_on_from(self, snapshot: Snapshot) -> None:
        """Set the state of the run before its workers start."""
        self._go_on_from(snapshot)

    def stop(self, why: messages.Stops) -> None:
        """Note that the run ends with this step, everywhere."""
        self._stopped = why
        self._end_job(why)

    def _end_job(self, why: messages.Stops) -> None:
        """Let the job end once its workers rest."""
        if why == _STOPS["interrupt"]:
            self._interrupt()
        elif self._budget is not None:
            self._budget.end()

    def leave_run(self, reason: str) -> None:
        """Tell the driver that this node leaves."""
        self.send(self._driver, messages.Bye(reason=reason))
        self._finish_with(events.End("left", reason))

    def fail_run(self, reason: str) -> None:
        """End the run for this node."""
        self._finish_with(events.End("failed", reason))

    # ---- the loop's thread ----------------------------------------------------------------------

    def receive(self, sender: int, message: Message) -> None:
        """Take what the driver orders after an epoch; the rest is the machine's."""
        if isinstance(message, messages.Order):
            if sender == self._driver:
                with self.changed:
                    self._orders[message.epoch] = message
                    self.changed.notify_all()
            return
        if isinstance(message, messages.Finish):
            self._report()  # before its last word
            if self.machine is None and sender == self._driver:
                self._finish_with(events.End(message.ending, message.reason))
                return
        if isinstance(message, messages.View):
            self._is_first = message.members[0].incarnation == self.link.incarnation
        super().receive(sender, message)

    def tick(self) -> None:
        """Beat, and tell the driver what was done so far."""
        self._report()
        if self.machine is None:  # it reads rows, or opens the next part
            self.send(self._driver, messages.Beat())
        self.note(events.Tick(self.work.rate))

    def _report(self) -> None:
        if self._driver in self.peers:
            self.link.send(self._driver, self.work.report(self.link.traffic.values()).frame())

    def do(self, act: Any) -> None:
        """Do an act of the machine."""
        if isinstance(act, events.Collect):
            if self._between is not None:
                with self.work.merging():
                    self._between.collect(act)
        elif isinstance(act, events.Apply):
            assert self._between is not None
            with self.work.merging():
                self._between.apply(act)
            self.work.go_on(is_step=True)
        elif isinstance(act, events.Redo):
            self._redo(act)
        elif isinstance(act, events.SendState):
            self._send_state(act)
        elif isinstance(act, events.SendInstalled):
            self.send(act.to, messages.Installed(ballot=act.ballot, digest=self._digest()))
        elif isinstance(act, events.Load):
            self._load(act)
        elif isinstance(act, events.End) and act.ending == "next":
            with self.changed:
                self.machine, self._next = None, act.part
                self.changed.notify_all()
        elif isinstance(act, events.End):
            self._finish_with(act)
        else:
            super().do(act)

    def _redo(self, act: events.Redo) -> None:
        if self._finished is not None:
            self.note(events.Finished(act.ballot, *self._finished))
        elif self._between is not None:
            self._between.redo(act, is_first=self.ballot == 0)
        with self.changed:
            self.ballot = act.ballot
            self.changed.notify_all()

    def _send_state(self, act: events.SendState) -> None:
        content = self._content
        if act.to != self._driver:
            snapshot = self._final if self._between is None else self._between.state()
            if self.is_over:
                return
            if snapshot is None:
                self.post(lambda: self._send_state(act))
                return
            content = packed(snapshot)
        for state in state_messages(content, act.ballot):
            self.send(act.to, state)

    def _digest(self) -> bytes:
        """Return a digest of the state that this node has, or will have."""
        replacement = self._replacement  # which the job may take now
        if replacement is not None or self._between is None:
            return digest_of_state(replacement or self._final)
        return self._between.digest()

    def _load(self, act: events.Load) -> None:
        self._parts = [*(self._parts if act.chunk else ()), bytes(act.body)]
        if not act.is_last:
            return
        snapshot = unpacked(b"".join(self._parts))
        self._parts = []
        if self.ballot == 0:
            self._replacement = snapshot
            if self._between is not None:
                self._between.expect(snapshot)
        elif self._between is None or not self._between.replace(snapshot):
            # Its own job notes each epoch, and cannot pass over one.
            self.leave_run(LEFT_OUT)
