# SPDX-License-Identifier: BSD-3-Clause
"""The shells of the simulator around the real `Driver` and `Node`.

Parameters are what they come from: a line for each total that was applied, with the ballot that
summed it. So two views never give equal bits, which is the harder case. Sums are sets of rows.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Sequence

from hybridtrain.nodes import events
from hybridtrain.nodes.driver import Driver
from hybridtrain.nodes.events import Act, Event
from hybridtrain.nodes.messages import (
    WHOLE_BATCH,
    Bye,
    Hello,
    Installed,
    Label,
    Member,
    Part,
    State,
    Tally,
)
from hybridtrain.nodes.node import Node
from hybridtrain.transport.frame import Buffer

DRIVER = 1  # its incarnation
N_ROWS = 6  # of a batch
N_CHUNKS = 2  # of a shard, and of a state
VERSION, PLAN = "1.0", b"plan"


class WrongError(Exception):
    """The protocol has done what it must never do."""


def require(is_right: bool, wrong: str) -> None:
    if not is_right:
        raise WrongError(wrong)


Content = tuple[tuple[int, int, bool], ...]  # ballot, batch, whether the step was refused


def label_of(content: Content) -> Label:
    return Label(len(content), content[-1][0] if content else 0)


def batch_of(content: Content) -> int:
    return sum(not refused for _, _, refused in content)


def is_refused(content: Content) -> bool:
    """Tell whether the next step finds its bound too small: every third batch does, once."""
    batch = batch_of(content)
    return batch % 3 == 1 and not (content and content[-1][1] == batch)


def text_of(content: Content) -> str:
    return json.dumps(content)


def part_of(content: Content, shard: int, rows: Sequence[int]) -> Part:
    body = json.dumps({"from": text_of(content), "shard": shard, "rows": list(rows)})
    return Part(7, body.encode())


class SetsOfRows:
    """Sums as sets of rows; wrong is what must not be added up."""

    def start(self, shard: int, n_shards: int) -> None:
        require(shard < n_shards, "a shard of another view")
        self._shard = shard
        self._rows: list[list[int]] = [[] for _ in range(N_CHUNKS)]
        self._from: set[str] = set()

    def add(self, chunk: int, encoding: int, body: Buffer) -> None:
        part = json.loads(bytes(body))
        self._from.add(part["from"])
        self._rows[chunk] += part["rows"]
        require((encoding, part["shard"]) == (7, self._shard), "a sum of another shard")
        require(len(self._from) == 1, "a sum of different parameters")

    def total(self) -> list[Part]:
        rows = sorted(row for rows in self._rows for row in rows)
        require(rows == list(range(N_ROWS)), "a row is summed twice or not at all")
        (content,) = self._from
        return [
            Part(7, json.dumps({"from": content, "shard": self._shard, "rows": rows}).encode())
            for rows in self._rows
        ]


class Shell:
    """What the shells of driver and nodes share."""

    def __init__(self, incarnation: int, machine: Driver | Node, send: Callable[..., None]) -> None:
        self.incarnation = incarnation
        self.machine = machine
        self.events: deque[Event] = deque([events.Begin()])
        self.ended: events.End | None = None
        self.connected: set[int] = set()
        self.content: Content = ()
        self._send = send  # (sender, receiver, message)
        self._aside: list[bytes] = []

    def handle(self, event: Event) -> None:
        for act in self.machine.handle(event):
            require(self.ended is None, "an act after the end")
            self.do(act)

    def do(self, act: Act) -> None:
        match act:
            case events.Send(to, message):
                is_known = to in self.connected or to == DRIVER
                require(is_known, f"{type(message).__name__} to a stranger")
                self._send(self.incarnation, to, message)
            case events.Connect(peer, address):
                self.connect(peer, address)
            case events.Disconnect(peer):
                self.connected.discard(peer)
                self._send(self.incarnation, peer, None)
            case events.Load():
                self._load(act)
            case events.End(ending="next", part=part):
                self.go_to(part)
            case events.End():
                self.ended = act
            case _:
                self.do_own(act)

    def connect(self, peer: int, address: str) -> None:
        self.connected.add(peer)

    def _load(self, load: events.Load) -> None:
        self._aside = [*(self._aside if load.chunk else []), bytes(load.body)]
        require(len(self._aside) == load.chunk + 1, "parts of a state are out of order")
        if load.is_last:
            lines = json.loads(b"".join(self._aside))
            content: Content = tuple((line[0], line[1], line[2]) for line in lines)
            require(label_of(content) == load.label, "a state of another label")
            self.content = content
            self.loaded()

    def go_to(self, part: int) -> None:
        raise WrongError("the driver goes to another part")

    def do_own(self, act: Act) -> None:
        raise TypeError(f"no act that both machines have: {act!r}")

    def loaded(self) -> None:
        pass


class DriverShell(Shell):
    """The shell of the driver."""

    def __init__(self, n_nodes: int, send: Callable[..., None], min_nodes: int = 1) -> None:
        self.driver = Driver(n_nodes=n_nodes, version=VERSION, plan=PLAN, min_nodes=min_nodes)
        super().__init__(DRIVER, self.driver, send)
        self.deadlines: list[events.Deadline] = []
        self.told: list[str] = []
        self.settled = 0
        self.is_loaded = False

    def do_own(self, act: Act) -> None:
        match act:
            case events.Deadline():
                self.deadlines.append(act)
            case events.Tell(text):
                self.told.append(text)
            case events.Progress(steps):
                require(steps >= self.settled or steps == 0, "progress goes back")
                self.settled = steps
            case _:
                super().do_own(act)

    def loaded(self) -> None:
        self.is_loaded = True


class NodeShell(Shell):
    """The shell of a node: its round takes a while for everything."""

    sums = SetsOfRows

    def __init__(
        self,
        incarnation: int,
        n_batches: int,
        send: Callable[..., None],
        address: str = "inproc://node",
        n_parts: int = 1,
    ) -> None:
        self._member = Member(incarnation, f"n{incarnation}", address)
        self._n_parts = n_parts
        self._part = self._finished_in = 0  # the latter a ballot
        self.node = self._machine(())
        super().__init__(incarnation, self.node, send)
        self.jobs: list[events.Collect | events.SendState] = []
        self.is_open = False  # a step is being worked on
        self.is_dead = False
        self.is_stalled = False
        self.is_leaving = False
        self.n_copies = 0
        self._n_batches = n_batches
        self._redo = events.Redo(0, 0, 0)

    def _machine(self, content: Content) -> Node:
        hello = Hello(
            member=self._member,
            version=VERSION,
            plan=PLAN + b"!" * self._part,
            label=label_of(content),
            part=self._part,
        )
        return Node(hello=hello, driver=DRIVER, sums=self.sums(), since=self._finished_in)

    def go_to(self, part: int) -> None:
        """Go on with the next part of the run; or with any, if this node has finished none."""
        if self._finished_in and part > self._part + 1:
            self.ended = events.End("left", "a part is passed over")
            self._send(self.incarnation, DRIVER, Bye(reason="left"))
            return
        self._part, self.jobs, self.is_open = part, [], False
        self.machine = self.node = self._machine(self.content)
        self.events, self.connected = deque([events.Begin()]), set()

    @property
    def is_alive(self) -> bool:
        return not self.is_dead and self.ended is None

    @property
    def is_running(self) -> bool:
        return self.is_alive and not self.is_stalled

    def do_own(self, act: Act) -> None:
        match act:
            case events.Redo():
                self._redo, self.is_open, self._finished_in = act, True, 0
            case events.Collect() | events.SendState():
                self.jobs.append(act)
            case events.SendInstalled(to, ballot):
                installed = Installed(ballot=ballot, digest=self._digest())
                self._send(self.incarnation, to, installed)
            case events.Apply():
                self._apply(act)
            case _:
                super().do_own(act)

    def loaded(self) -> None:
        self.is_open = False
        self.n_copies += 1

    def work(self) -> None:
        """End the open step's tasks, or find that no step is left."""
        self.is_open = False
        batch, ballot = batch_of(self.content), self._redo.ballot
        if batch < self._n_batches * (self._part + 1) // self._n_parts:
            self.events.append(events.Worked(ballot, batch))
        else:
            goes_on = self._part + 1 < self._n_parts
            self.events.append(events.Finished(ballot, self._digest(), goes_on))
            self._finished_in = ballot

    def _digest(self) -> bytes:
        return str(hash(self.content)).encode()

    def do_job(self) -> None:
        job = self.jobs.pop(0)
        if isinstance(job, events.Collect):
            is_current = job.ballot == self._redo.ballot
            require(not (is_current and self.is_open), "sums are collected too early")
            self.events.append(self._collected(job))
        elif label_of(self.content) == job.label and job.to in {*self.connected, DRIVER}:
            text = self.text().encode()
            cut = len(text) // N_CHUNKS
            for chunk, body in enumerate((text[:cut], text[cut:])):
                is_last = chunk == N_CHUNKS - 1
                state = State(ballot=job.ballot, chunk=chunk, is_last=is_last, body=body)
                self._send(self.incarnation, job.to, state)

    def text(self) -> str:
        """Return the state."""
        return text_of(self.content)

    def _collected(self, job: events.Collect) -> events.Collected:
        first, last = self._redo.first, self._redo.last
        rows = [row for row in range(N_ROWS) if first <= row * WHOLE_BATCH // N_ROWS < last]
        bodies = [
            [part_of(self.content, shard, rows[chunk::N_CHUNKS]) for chunk in range(N_CHUNKS)]
            for shard in range(job.n_shards)
        ]
        tally = Tally(loss=len(rows), largest=max(rows, default=0.0), rows=len(rows))
        return events.Collected(job.ballot, job.batch, bodies, tally)

    def _apply(self, act: events.Apply) -> None:
        for shard, parts in enumerate(act.totals):
            bodies = [json.loads(bytes(part.body)) for part in parts]
            rows = sorted(row for body in bodies for row in body["rows"])
            require(rows == list(range(N_ROWS)), "a total lacks a row")
            require({body["shard"] for body in bodies} == {shard}, "a total of another shard")
            origin = {body["from"] for body in bodies}
            require(origin == {text_of(self.content)}, "a total of other parameters")
        require(act.tally == Tally(N_ROWS, N_ROWS - 1, N_ROWS), "a tally is wrong")
        require(act.batch == batch_of(self.content), "a total of another batch")
        line = (act.ballot, act.batch, is_refused(self.content))
        self.content = (*self.content, line)
        self.is_open = True
