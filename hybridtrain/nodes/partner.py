# SPDX-License-Identifier: BSD-3-Clause
"""A node: its machine of the protocol between its own run and a link to the others.

Three threads: that of the job, which trains epochs; the loop's, which alone touches the machine and
the link; and one that waits for the run's exchanges::

    job            join ......................... workers train ... rest; tell    ... finish
    loop               HELLO, FREEZE, VIEW, Redo   Collect, SUM, TOTAL, Apply       DONE, FINISH
    exchanges                                      await_exchange -> Worked
"""

from __future__ import annotations

import time
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

from hybridtrain.data.arrays import Floats
from hybridtrain.errors import NodesLostError
from hybridtrain.nodes import events, messages
from hybridtrain.nodes.exchange import (
    Exchange,
    digest_of,
    digest_of_state,
    packed,
    replace,
    sealed,
    state_messages,
    unpacked,
)
from hybridtrain.nodes.messages import Label, Message
from hybridtrain.nodes.node import Node
from hybridtrain.nodes.reports import Work
from hybridtrain.nodes.threaded import GLANCE_SECONDS, ThreadedLoop
from hybridtrain.observe.records import EpochRecord
from hybridtrain.plan.base import Plan
from hybridtrain.run.budget import ToldBudget
from hybridtrain.run.snapshot import Snapshot, take
from hybridtrain.transport.link import Link

_STOPPED = "stopped"  # in a snapshot's job: in the middle of an epoch, and why
_STOPS: dict[str, messages.Stops] = {"seconds": 1, "interrupt": 2}
_MERGE_SECONDS = 0.0005  # between two looks at a merge that must be over


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
        self._run: Any = None
        self._exchange: Exchange | None = None
        self._ballot = 0
        self._share = (0, 0)
        self._is_waiting = False  # the step in hand is in its exchange
        self._is_void = False  # a `Redo` has come since it was begun
        self._replacement: Snapshot | None = None  # another node's state
        self._parts: list[bytes] = []  # of a state that comes
        self._final: Snapshot | None = None  # of a run that is over
        self._content = b""  # what the driver gets in the end
        self._finished: bytes | None = None  # digest
        self._orders: dict[int, messages.Order] = {}  # of the driver, after each epoch, or at once
        self._stopped: messages.Stops = 0
        self._budget: ToldBudget | None = None
        self._is_first = False
        self._is_joined = False
        self._work = Work()

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
        start: Floats,
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

    def join(self, run: Any, plan: Plan) -> None:
        """Wait until the node is a member, and take the sums of its steps to the others.

        Raises
        ------
        NodesLostError
            When the driver refuses the node, or is gone.
        """
        self._run, self._plan, self._exchange = run, plan, Exchange(run)
        hello = messages.Hello(
            member=messages.Member(
                incarnation=self.link.incarnation, name=self._name, address=self.link.address
            ),
            version=self._version,
            plan=digest_of(plan, self._start_of_run),
            label=Label(self._exchange.guest.applied(), 0),
        )
        sums = self._work.timing(self._exchange)
        self.machine = Node(hello=hello, driver=self._driver, sums=sums)
        self.note(events.Begin())
        self.serve()
        self._await(lambda: self._ballot > 0)
        if self._replacement is not None:
            self._go_on_from(self._replacement)
            if stopped := self._replacement.job.get(_STOPPED):
                self._end_job(stopped)
            self._replacement = None
        self._is_joined = True
        self._work.begin(plan.workers)
        self._start(self._await_exchanges, "exchanges")

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
        self._work.wait(time.perf_counter() - began)
        order = self._orders[record.epoch]
        if self._budget is not None:
            self._budget.tell(order.planned)
        if order.what in _STOPS:
            self._end_job(_STOPS[order.what])
        return order.what == "stop"

    def part(self) -> None:
        """Let go of the run, whose workers have left."""
        if self._exchange is None:
            return
        self._final = self._snapshot()
        if self._final is not None:
            self._final.job[_STOPPED] = self._stopped
        self._is_parting = True
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
        digest = blake2b(parameters, digest_size=32).digest()

        def finish() -> None:
            self._content, self._finished = sealed(content), digest
            self.note(events.Finished(self._ballot, digest))

        self.post(finish)
        with self._changed:
            while self._end is None:
                self._changed.wait(GLANCE_SECONDS)
        if self._end.ending != "done":
            raise NodesLostError(self._end.reason)

    def before_end(self) -> None:
        """Let the merge in hand end: no other opens."""
        self._await_merge()

    def _let_go(self) -> None:
        self._exchange = self._run = None

    # ---- the thread that waits for exchanges ----------------------------------------------------

    def _await_exchanges(self) -> None:
        assert self._exchange is not None
        guest, step = self._exchange.guest, 0
        while not self._is_parting:
            found = guest.await_exchange(step, GLANCE_SECONDS)
            if found is None:
                break
            if found != step:
                self.post(self._note_exchange)
            step = found

    # ---- the loop's thread ----------------------------------------------------------------------

    def receive(self, sender: int, message: Message) -> None:
        """Take what the driver orders after an epoch; the rest is the machine's."""
        if isinstance(message, messages.Order):
            if sender == self._driver:
                with self._changed:
                    self._orders[message.epoch] = message
                    self._changed.notify_all()
            return
        if isinstance(message, messages.Finish):
            self._report()  # before its last word
        if isinstance(message, messages.View):
            self._is_first = message.members[0].incarnation == self.link.incarnation
        super().receive(sender, message)

    def tick(self) -> None:
        """Beat, and tell the driver what was done so far."""
        self._report()
        super().tick()

    def _report(self) -> None:
        if self._driver in self.peers:
            self.link.send(self._driver, self._work.report(self.link.traffic.values()).frame())

    def do(self, act: Any) -> None:
        """Do an act of the machine."""
        if isinstance(act, events.Collect):
            with self._work.merging():
                self._collect(act)
        elif isinstance(act, events.Apply):
            with self._work.merging():
                self._apply(act)
            self._work.go_on(is_step=True)
        elif isinstance(act, events.Redo):
            self._redo(act)
        elif isinstance(act, events.SendState):
            self._send_state(act)
        elif isinstance(act, events.SendInstalled):
            digest = digest_of_state(self._state())
            self.send(act.to, messages.Installed(ballot=act.ballot, digest=digest))
        elif isinstance(act, events.Load):
            self._load(act)
        elif isinstance(act, events.End):
            self._finish_with(act)
        else:
            super().do(act)

    def _note_exchange(self) -> None:
        """Note that the step in hand is in its exchange."""
        if self._exchange is None:
            return
        self._is_waiting = True
        self._work.rest()
        if self._is_void:
            self._repeat()
        else:
            self.note(events.Worked(self._ballot, self._exchange.guest.applied()))

    def _redo(self, act: events.Redo) -> None:
        is_first = self._ballot == 0
        self._share = act.first, act.last
        if is_first and self._exchange is not None:
            self._exchange.guest.set_share(*self._share)
        elif self._finished is not None:
            self.note(events.Finished(act.ballot, self._finished))
        else:
            self._is_void = True
        with self._changed:
            self._ballot = act.ballot
            self._changed.notify_all()
        if self._is_void and self._is_waiting:
            self._repeat()

    def _repeat(self) -> None:
        """Let the step in hand be done again, or be replaced by another node's."""
        assert self._exchange is not None
        if self._replacement is not None:
            if stopped := self._replacement.job.get(_STOPPED):
                self._stop(stopped)
            replace(self._run, self._replacement, self._share)
            self._replacement = None
        else:
            self._exchange.guest.repeat(*self._share)
        self._is_void = self._is_waiting = False
        self._work.go_on(is_step=False)

    def _collect(self, act: events.Collect) -> None:
        if self._exchange is not None and self._is_waiting:
            bodies = self._exchange.collected()
            order = self._orders.get(messages.AT_ONCE)
            total = self._exchange.tally(0 if order is None else _STOPS[order.what])
            self._work.rows_of_step = total.rows
            self.note(events.Collected(act.ballot, act.batch, bodies, total))

    def _apply(self, act: events.Apply) -> None:
        assert self._exchange is not None
        if act.tally.stops:
            self._stop(act.tally.stops)
        self._exchange.merge(act.totals, act.tally)
        self._is_waiting = False

    def _stop(self, why: messages.Stops) -> None:
        """Make this step the last one; every node does."""
        self._stopped = why
        self._end_job(why)
        self._run.stop_epoch()

    def _end_job(self, why: messages.Stops) -> None:
        """Let the job end once its workers rest."""
        if why == _STOPS["interrupt"]:
            self._interrupt()
        elif self._budget is not None:
            self._budget.end()

    def _await_merge(self) -> None:
        """Wait until no merge is under way: none begins without this thread."""
        while self._exchange is not None and self._exchange.guest.is_merging():
            time.sleep(_MERGE_SECONDS)

    def _send_state(self, act: events.SendState) -> None:
        content = self._content
        if act.to != self._driver:
            self._await_merge()
            if self._run is not None and self._run.await_rest(0.0):
                # The job is noting an epoch, and does not wait for this: later.
                self.post(lambda: self._send_state(act))
                time.sleep(_MERGE_SECONDS)
                return
            snapshot = self._final if self._run is None else self._snapshot()
            if snapshot is None:
                self._finish_with(events.End("failed", "the parameters are not finite"))
                return
            content = packed(snapshot)
        for state in state_messages(content, act.ballot):
            self.send(act.to, state)

    def _state(self) -> Snapshot | None:
        """Return the state that this node has, or will have; without what its job remembers."""
        if self._replacement is not None or self._run is None:
            return self._replacement or self._final
        self._await_merge()
        return take(self._run, self._plan, {}, {}, None)

    def _load(self, act: events.Load) -> None:
        self._parts = [*(self._parts if act.chunk else ()), bytes(act.body)]
        if act.is_last:
            self._replacement = unpacked(b"".join(self._parts))
            self._parts = []
            # Its own job notes each epoch, and cannot pass over one.
            if self._ballot > 0 and not self._is_within_epoch(self._replacement):
                reason = "it was left out for more than an epoch"
                self.send(self._driver, messages.Bye(reason=reason))
                self._finish_with(events.End("left", reason))

    def _is_within_epoch(self, snapshot: Snapshot) -> bool:
        if self._run is None or not self._is_joined:
            return False
        end: int = self._run.opened * self._run.steps_per_epoch()
        return int(snapshot.numbers["batches"]) <= end
