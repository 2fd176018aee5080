# SPDX-License-Identifier: BSD-3-Clause
"""A run on several machines in one thread: real machines, a net and faults drawn from a seed.

Links are what transport promises: in order, once. Above that they may lose all that is under way,
and say so; and frames may come once more, late. Time is the order of events: a deadline passes when
nothing else can happen, and now and then before.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from support.simulated_shells import (
    DRIVER,
    Content,
    DriverShell,
    NodeShell,
    Shell,
    WrongError,
    batch_of,
    label_of,
    require,
)

from hybridtrain.nodes import events
from hybridtrain.nodes.messages import (
    Account,
    Beat,
    Drain,
    Label,
    Message,
    Outcome,
    Sum,
    Total,
)
from hybridtrain.nodes.wire import decode, encode
from hybridtrain.transport.frame import Frame

_MOST_MOVES = 30_000
_RARE = 0.03


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The size of a run, and how often what may go wrong."""

    n_nodes: int = 3
    n_joiners: int = 0
    n_batches: int = 4
    n_parts: int = 1
    kills: int = 0
    stalls: int = 0  # nodes that do nothing for a while, and are silent to the driver
    hasty: int = 0  # living nodes that the driver takes for silent; deadlines that pass early
    losses: int = 0  # links that lose what is under way
    doubles: int = 0  # frames that come again, late
    suspicions: int = 0  # members that do not hear of another one
    drains: int = 0
    kill_at: tuple[int, int] | None = None  # frames delivered by then, and the node

    def faults(self) -> dict[str, int]:
        """Return what may go wrong, and how often."""
        most = {
            "join": self.n_joiners,
            "kill": self.kills,
            "stall": self.stalls,
            "hasty": self.hasty,
            "lose": self.losses,
            "double": self.doubles,
            "suspect": self.suspicions,
            "drain": self.drains,
        }
        return {fault: n for fault, n in most.items() if n > 0}


SETTINGS = {
    "calm": Setting(),
    "alone": Setting(n_nodes=1, n_joiners=1),
    "deaths": Setting(kills=2),
    "stalls": Setting(stalls=2),
    "hasty": Setting(hasty=3),
    "losses": Setting(losses=3),
    "doubles": Setting(doubles=20, hasty=2),
    "suspicions": Setting(suspicions=2),
    "drains": Setting(drains=1),
    "joiners": Setting(n_nodes=2, n_joiners=2, kills=1),
    "two": Setting(n_nodes=2, n_batches=6, stalls=4, hasty=1, doubles=10),
    "copies": Setting(n_nodes=2, n_joiners=1, n_batches=6, stalls=6, hasty=4, doubles=60),
    "parts": Setting(n_parts=3, n_batches=6),
    "deaths between parts": Setting(n_parts=3, n_batches=3, kills=2),
    "stalls between parts": Setting(n_parts=3, n_batches=4, stalls=3, hasty=3),
    "rough parts": Setting(
        n_parts=2, n_joiners=2, kills=1, stalls=2, hasty=3, losses=8, doubles=20, drains=1
    ),
    "rough": Setting(
        n_nodes=2, n_joiners=2, n_batches=12, kills=1, stalls=2, hasty=3, losses=12, doubles=10
    ),
    "all": Setting(n_joiners=2, kills=2, stalls=2, hasty=2, losses=2, doubles=4, drains=1),
}


@dataclass
class World:
    """One schedule of a setting; `run` raises WrongError."""

    setting: Setting
    seed: int
    happened: Counter[str] = field(default_factory=Counter)
    n_delivered: int = 0

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._rate = self._chance.choice([0.006, 0.015, 0.03, 0.08])  # of faults
        self._return_rate = self._chance.choice([0.01, 0.05, 0.2])
        self._links: dict[tuple[int, int], deque[Frame | None]] = {}  # None: frames are lost
        self._late: list[tuple[int, int, Frame]] = []
        self.driver = DriverShell(self.setting.n_nodes, self._send)
        self.nodes: dict[int, NodeShell] = {}
        self._left = self.setting.faults()
        self._speeds: dict[tuple[int, int], float] = {}
        self._notices: deque[events.Event] = deque()  # to the driver
        self._contents: dict[Label, Content] = {}
        self._reported: Content = ()
        self._n_idle = 0
        for _ in range(self.setting.n_nodes):
            self._add()

    def _add(self) -> None:
        incarnation = 11 + len(self.nodes)
        self.nodes[incarnation] = self._shell_of(incarnation, self._send)

    def _shell_of(
        self, incarnation: int, send: Callable[[int, int, Message | None], None]
    ) -> NodeShell:
        n_parts = self.setting.n_parts
        return NodeShell(incarnation, self.setting.n_batches, send, n_parts=n_parts)

    # ---- the net ----------------------------------------------------------------------------

    def _send(self, sender: int, receiver: int, message: Message | None) -> None:
        link = self._links.setdefault((sender, receiver), deque())
        if message is None:
            link.clear()  # disconnected
        else:
            link.append(encode(message))

    def _shell(self, i: int) -> Shell:
        return self.driver if i == DRIVER else self.nodes[i]

    def _hears(self, i: int) -> bool:
        return self.driver.ended is None if i == DRIVER else self.nodes[i].is_running

    def _deliver(self, sender: int, receiver: int, link: deque[Frame | None]) -> None:
        frame = link.popleft()
        if frame is None:
            self._handle(receiver, events.Lost(sender))
            return
        message = decode(frame)
        self._n_idle *= isinstance(message, Beat)
        self.happened[type(message).__name__] += 1
        self.n_delivered += 1
        is_of_views = not isinstance(message, Account | Sum | Outcome | Total | Beat)
        if self._chance.random() < (0.5 if is_of_views else _RARE):
            self._late.append((sender, receiver, frame))
        if self.setting.kill_at is not None and self.n_delivered == self.setting.kill_at[0]:
            self._kill(self.nodes[self.setting.kill_at[1]])
        if self._hears(receiver):
            self._handle(receiver, events.Received(sender, message))

    def _handle(self, i: int, event: events.Event) -> None:
        begun = self.driver.driver.begun
        self._shell(i).handle(event)
        if i == DRIVER:
            if self.driver.driver.begun is not begun:
                self._check_begun()
            self._check_reported(self.driver.settled)
        else:
            self._check_node(self.nodes[i])

    # ---- what must never be -----------------------------------------------------------------

    def _check_node(self, shell: NodeShell) -> None:
        label = label_of(shell.content)
        require(shell.node.label == label, "a node has another label than its parameters")
        known = self._contents.setdefault(label, shell.content)
        require(known == shell.content, "equal labels of different parameters")
        if shell.node.settled > len(self._reported):
            self._reported = shell.content[: shell.node.settled]

    def _check_begun(self) -> None:
        begun = self.driver.driver.begun
        assert begun is not None
        for i in begun.incarnations:
            content = self.nodes[i].content
            require(label_of(content) == begun.label, "a member begins with another label")
            is_kept = content[: len(self._reported)] == self._reported
            require(is_kept, "a step that all members had applied is lost")

    def _check_reported(self, steps: int) -> None:
        begun = self.driver.driver.begun
        if begun is not None and steps > 0:
            contents = {self.nodes[i].content[:steps] for i in begun.incarnations}
            require(len(contents) == 1, "progress that not all members have made")
            (content,) = contents
            n = min(steps, len(self._reported))
            require(content[:n] == self._reported[:n], "what was reported has changed")
            self._reported = max(self._reported, content, key=len)

    def _check_end(self) -> None:
        end, begun = self.driver.ended, self.driver.driver.begun
        assert end is not None
        self.happened[end.ending] += 1
        for shell in self.nodes.values():
            if shell.ended is not None and shell.ended.ending == "done":
                require(end.ending == "done", "a node is done and the run is not")
                require(shell.content == self.driver.content, "different parameters at the end")
        if end.ending == "done":
            n = batch_of(self.driver.content)
            require(n == self.setting.n_batches, "the run ends too early")
            is_kept = self.driver.content[: len(self._reported)] == self._reported
            require(is_kept, "a step that all members had applied is lost")
        elif begun is not None and not self.setting.suspicions:
            members = [self.nodes[i] for i in begun.incarnations]
            is_left = any(not each.is_dead and not each.is_leaving for each in members)
            require(end.ending == "lost", end.reason)
            require(not is_left, "given up although a member of the newest begun view lives")

    # ---- what happens -----------------------------------------------------------------------

    def run(self) -> World:
        """Run until everybody has ended.

        Raises
        ------
        WrongError
            When something is as it must never be.
        """
        try:
            self._run()
        except WrongError as error:
            raise WrongError(f"schedule {self.seed} of {self.setting}: {error}") from error
        return self

    def _run(self) -> None:
        for _ in range(_MOST_MOVES):
            if self._is_over():
                self._check_end()
                return
            self._fault()
            moves = self._moves()
            if moves:
                (move,) = self._chance.choices([each for _, each in moves], [s for s, _ in moves])
                move()
            else:
                self._idle()
        raise WrongError("the run does not end")

    def _is_over(self) -> bool:
        return self.driver.ended is not None and not any(n.is_alive for n in self.nodes.values())

    def _moves(self) -> list[tuple[float, Callable[[], None]]]:
        """Return what can happen next, and how fast it is."""
        moves: list[tuple[float, Callable[[], None]]] = []
        for (sender, receiver), link in self._links.items():
            if link and self._hears(receiver):
                speed = self._speed(sender, receiver)
                deliver = partial(self._deliver, sender, receiver, link)
                moves.append((speed, deliver))
        for i in (DRIVER, *self.nodes):
            shell = self._shell(i)
            if shell.events and self._hears(i):
                moves.append((1.0, partial(self._handle_next, i, shell.events)))
        for i, node in self.nodes.items():
            if node.is_running and node.is_open:
                moves.append((self._speed(i, i), node.work))
            if node.is_running and node.jobs:
                moves.append((1.0, node.do_job))
        if self._notices and self.driver.ended is None:
            moves.append((1.0, partial(self._handle_next, DRIVER, self._notices)))
        return moves

    def _speed(self, sender: int, receiver: int) -> float:
        """Return how fast a link is, or a node's workers: some are far slower than others."""
        speed = self._speeds.get((sender, receiver), 0.0)
        if not speed or self._chance.random() < 0.002:
            speed = self._speeds[sender, receiver] = self._chance.choice([1.0, 1.0, 0.1, 0.01])
        return speed

    def _handle_next(self, i: int, waiting: deque[events.Event]) -> None:
        self._handle(i, waiting.popleft())

    def _idle(self) -> None:
        """Nothing is under way: those who stall come back, all beat, and then time passes."""
        self._n_idle += 1
        for node in self.nodes.values():
            node.is_stalled = False
        if self._n_idle <= 2:
            self._beat()
        elif self.driver.deadlines:
            self._pass_deadline()
        elif self.driver.ended is not None:
            for i, node in self.nodes.items():
                if node.is_alive:  # it was told of the end, and the frame is lost
                    self._handle(i, events.Silent(DRIVER))
        else:
            raise WrongError("a stuck state")

    def _beat(self) -> None:
        for i in (DRIVER, *self.nodes):
            if self._hears(i):
                self._handle(i, events.Tick(rate=100.0))

    def _pass_deadline(self) -> None:
        deadline = self.driver.deadlines.pop(0)
        self._handle(DRIVER, events.TimedOut(deadline.what, deadline.ballot))

    # ---- faults -----------------------------------------------------------------------------

    def _fault(self) -> None:
        stalled = [node for node in self.nodes.values() if node.is_alive and node.is_stalled]
        if stalled and self._chance.random() < self._return_rate:
            self._chance.choice(stalled).is_stalled = False
            self.happened["return"] += 1
            self._beat()
        if self._chance.random() > self._rate:
            return
        kinds = [kind for kind, n in self._left.items() if n > 0]
        if not kinds:
            return
        kind = self._chance.choice(kinds)
        self._left[kind] -= 1
        self.happened[kind] += 1
        running = [node for node in self.nodes.values() if node.is_running]
        if kind == "join":
            self._add()
        elif kind == "double" and self._late:
            sender, receiver, frame = self._late.pop(self._chance.randrange(len(self._late)))
            if self._hears(receiver):
                self._deliver(sender, receiver, deque([frame]))
        elif kind == "lose":
            self._lose()
        elif running:
            self._fault_of(kind, self._chance.choice(running))

    def _fault_of(self, kind: str, node: NodeShell) -> None:
        if kind == "kill":
            self._kill(node)
        elif kind == "stall":
            node.is_stalled = True
            self._notices.append(events.Silent(node.incarnation))
        elif kind == "hasty" and self.driver.deadlines and self._chance.random() < 0.5:
            if self.driver.deadlines[-1].what == "ask":
                self._pass_deadline()
        elif kind == "hasty":
            self._notices.append(events.Silent(node.incarnation))
        elif kind == "drain":
            node.is_leaving = True
            self._send(node.incarnation, DRIVER, Drain())
        elif kind == "suspect":
            node.events.append(events.Silent(self._chance.choice(list(self.nodes))))

    def _kill(self, node: NodeShell) -> None:
        if not node.is_alive:
            return
        node.is_dead = True
        self.happened["death"] += 1
        for (sender, receiver), link in self._links.items():
            if receiver == node.incarnation:
                link.clear()
            elif sender == node.incarnation:  # what was not on its way yet is lost
                for _ in range(self._chance.randint(0, len(link))):
                    link.pop()
        if self._chance.random() < 0.3:
            self._notices.append(events.Silent(node.incarnation))
        self._notices.append(events.Gone(node.incarnation, "killed (signal 9)"))

    def _lose(self) -> None:
        links = [link for link in self._links.values() if link]
        if links:
            link = self._chance.choice(links)
            link.clear()
            link.append(None)
