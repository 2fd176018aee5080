# SPDX-License-Identifier: BSD-3-Clause
"""The driver's part of the synchronous protocol: it alone names views. Events in, acts out.

Nobody takes over from it: when it dies, the nodes save what they have, and end.

The life of a run, at the driver; ``->`` is sent, ``<-`` has come, ``!`` is an act of the shell::

    gather  <- HELLO of all nodes that the run was asked for; in a further part of all that live
    ask     -> FREEZE to all            <- FROZEN of all that live
    name    -> VIEW to the members      <- INSTALLED of all of them
    train   -> START                    <- BEAT ... <- DONE of all members
            -> NEXT to all              if the run has another part: back to ``gather``
    fetch   -> COPY to a member         <- STATE  ! Load: the parameters that the run ends with
    bye     -> FINISH                   <- BYE of all that live  ! End

A member that dies, is silent or leaves, a node that comes, and frames that nobody has any more lead
back to ``ask``, with a higher ballot.

1. Answers of older ballots do not count.
2. A view has begun when all its members have installed it. Only nodes that have installed the
   newest begun view, or one named after it, hold every step that users were told of. Without an
   answer of one nothing is named (``wait``), and after `timeout` the run is lost.
3. Silent nodes are asked, but not waited for. A further view admits one that is heard again.
4. Who was told of another part is asked nothing before its HELLO of that. The members' answers then
   name the last view of the part before as installed: 2. holds from part to part.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hybridtrain.nodes import events, messages
from hybridtrain.nodes.ending import DETECTION, Speaking
from hybridtrain.nodes.events import Act, Event
from hybridtrain.nodes.messages import View
from hybridtrain.nodes.peers import Peer, change_of, difference_of, lack_of, refusal_of
from hybridtrain.nodes.views import Answer, next_view

_MOST_LOST = 100


class Driver(Speaking):
    """Decides who takes part in a run, from the first HELLO to the last BYE; one thread uses it.

    Parameters
    ----------
    n_nodes, min_nodes : int
        Nodes that the run starts with, and without which it waits, for `timeout` at most.
    version, plan : str, bytes
        Of the package, and a digest of all that must be equal: other nodes are refused.
    ballot, part : int
        The last one of the run that is resumed, and the part that it is in; 0 for a new run.

    Attributes
    ----------
    begun : View or None
        The newest view that all its members have installed.
    """

    def __init__(
        self,
        *,
        n_nodes: int,
        version: str,
        plan: bytes,
        min_nodes: int = 1,
        ballot: int = 0,
        part: int = 0,
    ) -> None:
        super().__init__(ballot)
        self.begun: View | None = None
        self._n_nodes, self._min_nodes = n_nodes, min_nodes
        self._version, self._plan = version, plan  # b"": that of the next HELLO
        self._part = part
        self._is_next = False  # no view of the part has begun, but one of the part before
        self._answers: dict[int, Answer] = {}
        self._named: View | None = None
        self._installed: dict[int, bytes] = {}  # digests
        self._n_settled = -1  # steps that users were told of
        self._n_lost = 0  # times that frames were lost, since the last of them
        self._suspected: dict[frozenset[int], int] = {}  # pairs of members, and steps at that time

    def handle(self, event: Event) -> list[Act]:
        """Return what is to be done after an event, in this order; after `End` nothing."""
        self._acts = []
        if self._does != "ended":
            _EVENTS[type(event)](self, event)
        return self._acts

    # ---- events of the shell ------------------------------------------------------------------

    def _begin(self, event: events.Begin) -> None:
        self._acts.append(events.Deadline("gather", self._ballot, 1.0))

    def _received(self, event: events.Received) -> None:
        sender, message = event.sender, event.message
        receive = _MESSAGES.get(type(message))
        peer = self.peers.get(sender)
        if isinstance(message, messages.Hello):
            self._hello(sender, message)
        elif receive is not None and peer is not None and not peer.is_gone:
            peer.heard()
            if peer.is_between and not isinstance(message, messages.Bye | messages.Drain):
                self._send(sender, messages.Next(part=self._part))
            else:
                receive(self, peer, message)
                self._admit()

    def _tick(self, event: events.Tick) -> None:
        self._send_all(messages.Beat(ballot=self._ballot))

    def _silent(self, event: events.Silent) -> None:
        peer = self.peers.get(event.peer)
        if peer is not None and peer.is_here:
            peer.missed()
            self._without(peer)

    def _gone(self, event: events.Gone) -> None:
        peer = self.peers.get(event.peer)
        if peer is not None:
            self._acts.append(events.Disconnect(event.peer))
            self._remove(peer, event.cause)
        elif self._does == "gather" and self.begun is None:
            self._finish("lost", f"a node ended before the run began: {event.cause}")

    def _lost(self, event: events.Lost) -> None:
        if event.peer in self.peers:
            self._repeat(self.peers[event.peer])

    def _timed_out(self, event: events.TimedOut) -> None:
        if event.ballot != self._ballot or event.what != self._does:
            return
        if event.what == "ask":
            for peer in self._unanswered():
                peer.missed()
            self._name()
        elif event.what == "bye":
            self._close()
        else:
            n_needed = self._n_nodes if event.what == "gather" else self._min_nodes
            self._finish("lost", lack_of(self.peers, n_needed))

    # ---- who is there -------------------------------------------------------------------------

    def _hello(self, sender: int, hello: messages.Hello) -> None:
        peer = self.peers.get(sender)
        if peer is None:
            self._acts.append(events.Connect(sender, hello.member.address))
        elif peer.is_gone:
            return
        if hello.part != self._part:
            self._send(sender, messages.Next(part=self._part))
            return
        if peer is not None and not peer.is_between:
            self._repeat(peer)
            return
        if not self._plan and self.begun and sender not in self.begun.incarnations:
            return  # the part's plan is that of a member; this node says HELLO again
        self._plan = self._plan or hello.plan
        is_ending = self._does in ("fetch", "bye")
        if refusal := refusal_of(hello, self._version, self._plan, is_ending=is_ending):
            self._send(sender, messages.Refuse(reason=refusal))
            if self._does == "gather" and self.begun is None:
                self._finish("lost", f"node {hello.member.name} cannot take part: {refusal}")
            return
        peer = self.peers.setdefault(sender, Peer(hello.member))
        peer.is_between = False
        peer.heard()
        if self._does in ("ask", "wait"):
            self._send(sender, messages.Freeze(ballot=self._ballot))
        self._ask_if_all()
        self._admit()

    def _ask_if_all(self) -> None:
        """Name the first view of a part, once all are there."""
        if self.begun is None:
            is_all = len(self.peers) == self._n_nodes
        else:
            members = [self.peers[i] for i in self.begun.incarnations]
            is_all = not any(peer.is_here and peer.is_between for peer in members)
        if self._does == "gather" and is_all:
            self._ask()

    def _repeat(self, peer: Peer) -> None:
        """Begin anew with a peer: frames from it or to it are lost."""
        if peer.is_gone:
            return
        peer.heard()
        if peer.is_between:
            self._send(peer.incarnation, messages.Next(part=self._part))
        elif self._does in ("ask", "wait", "name", "train"):
            self._ask_again()
        elif self._does == "fetch" and peer.incarnation == self._source:
            self._fetch()
        elif self._does == "bye":
            self._send(peer.incarnation, self._last_to(peer.incarnation))

    def _admit(self) -> None:
        """Turn to the nodes that have come, or have come back, and from those that leave."""
        if self._does in ("ask", "wait"):
            self._name_if_all()
        elif self._does == "fetch" and not self._source:
            self._fetch()
        elif self._does == "train" and self.begun is not None:
            members = self.begun.incarnations
            staying = {i for i, peer in self.peers.items() if peer.is_asked and not peer.is_leaving}
            is_left = any(self.peers[i].is_leaving for i in members)
            if not staying.issubset(members) or (is_left and staying):
                self._ask()

    def _drain(self, peer: Peer, drain: messages.Drain) -> None:
        peer.is_leaving, peer.word = True, "its machine is taken away"

    def _suspect(self, peer: Peer, suspect: messages.Suspect) -> None:
        """Ask for a new view; without the suspected one, if that has not helped before."""
        is_open = self._does in ("name", "train") and suspect.ballot == self._ballot
        if not is_open or self._named is None or suspect.about not in self._named.incarnations:
            return
        pair = frozenset({peer.incarnation, suspect.about})
        if suspect.is_reachable:
            self._ask_again()
        elif self._suspected.get(pair) == self._n_settled:
            self._send(suspect.about, messages.Finish(ending="lost", reason=suspect.reason))
            self._remove(
                self.peers[suspect.about], f"cut off from {peer.member.name}: {suspect.reason}"
            )
        else:
            self._suspected[pair] = self._n_settled
            self._ask()

    def _bye(self, peer: Peer, bye: messages.Bye) -> None:
        self._remove(peer, bye.reason or peer.word)

    def _remove(self, peer: Peer, word: str) -> None:
        if not peer.is_gone:
            peer.is_gone, peer.word = True, word
            self._without(peer)

    def _without(self, peer: Peer) -> None:
        """Go on after a peer was found dead or silent."""
        i = peer.incarnation
        if self._does != "bye" and self.begun is None and peer.is_gone:
            self._finish("lost", f"node {peer.member.name} ended before the run began: {peer.word}")
        elif self._does in ("ask", "wait"):
            self._name_if_all()
        elif self._does == "gather":
            self._ask_if_all()
        elif self._does in ("name", "train") and self._named and i in self._named.incarnations:
            self._ask()
        elif self._does == "fetch" and i == self._source:
            self._fetch()
        elif self._does == "bye":
            self._close_if_all()

    # ---- views --------------------------------------------------------------------------------

    def _ask(self) -> None:
        self._ballot += 1
        self._does = "ask"
        self._answers = {}
        for i in self._living():
            if not self.peers[i].is_between:
                self._send(i, messages.Freeze(ballot=self._ballot))
        self._acts.append(events.Deadline("ask", self._ballot, DETECTION))
        self._name_if_all()

    def _ask_again(self) -> None:
        """Ask because frames were lost; but not for ever."""
        self._n_lost += 1
        if self._n_lost < _MOST_LOST:
            self._ask()
        else:
            self._finish("failed", f"frames were lost {_MOST_LOST} times without a step between")

    def _unanswered(self) -> list[Peer]:
        return [p for i, p in self.peers.items() if p.is_asked and i not in self._answers]

    def _frozen(self, peer: Peer, frozen: messages.Frozen) -> None:
        if frozen.ballot == self._ballot and self._does in ("ask", "wait"):
            self._answers[peer.incarnation] = Answer(peer.member, frozen.installed, frozen.label)

    def _name_if_all(self) -> None:
        if not self._unanswered():
            self._name()

    def _name(self) -> None:
        answered = [peer for i, peer in self.peers.items() if i in self._answers and peer.is_here]
        staying = [peer for peer in answered if not peer.is_leaving]
        view = self._view_of(staying) or self._view_of(answered)
        if view is None or len(view.members) < self._min_nodes:
            self._wait(view)
            return
        self._does, self._named = "name", view
        self._installed, self._done = {}, {}
        for i in view.incarnations:
            self._send(i, view)

    def _view_of(self, peers: list[Peer]) -> View | None:
        answers = [self._answers[peer.incarnation] for peer in peers]
        begun = 0 if self.begun is None else self.begun.ballot
        gone = [i for i, peer in self.peers.items() if peer.is_gone]
        return next_view(self._ballot, begun, answers, [peer.rate for peer in peers], gone)

    def _wait(self, view: View | None) -> None:
        begun = () if self.begun is None else self.begun.incarnations
        if view is None and begun and all(self.peers[i].is_gone for i in begun):
            self._finish("lost", lack_of(self.peers, self._min_nodes))
        elif self._does != "wait":
            self._does = "wait"
            self._acts.append(events.Deadline("wait", self._ballot, 1.0))
            self._acts.append(events.Tell(f"waiting: {lack_of(self.peers, self._min_nodes)}"))

    def _on_installed(self, peer: Peer, installed: messages.Installed) -> None:
        view = self._named
        if view is None or installed.ballot != self._ballot or self._does != "name":
            return
        self._installed[peer.incarnation] = installed.digest
        if difference := difference_of(self._installed, self.peers):
            self._finish("failed", f"{difference} before step {view.label.steps + 1:,}")
        elif self._installed.keys() >= set(view.incarnations):
            line = change_of(self.begun, view, self.peers, is_next=self._is_next)
            self._acts.append(events.Tell(line))
            self.begun, self._does, self._is_next = view, "train", False
            for i in view.incarnations:
                self.peers[i].steps = view.label.steps
                self._send(i, messages.Start(ballot=view.ballot))
            self._applied(peer, view.label.steps)
            for i in sorted(set(self._living()).difference(view.incarnations)):
                if self.peers[i].is_leaving:
                    self._send(i, messages.Finish(ending="drained", reason=self.peers[i].word))
                    self.peers[i].is_gone = True

    # ---- progress and the end -----------------------------------------------------------------

    def _beat(self, peer: Peer, beat: messages.Beat) -> None:
        peer.rate, peer.waits_for = beat.rate, beat.waits_for
        if self._does == "train" and beat.ballot == self._ballot:
            self._applied(peer, beat.steps)

    def _applied(self, peer: Peer, steps: int) -> None:
        assert self.begun is not None
        peer.steps = max(peer.steps, steps)
        n_settled = min(self.peers[i].steps for i in self.begun.incarnations)
        if n_settled > self._n_settled:
            self._n_settled, self._n_lost = n_settled, 0
            self._acts.append(events.Progress(n_settled))

    def _on_done(self, peer: Peer, done: messages.Done) -> None:
        if self.begun is None or self._does != "train" or done.ballot != self._ballot:
            return
        self._done[peer.incarnation] = done
        self._applied(peer, done.label.steps)
        if len({(each.label, each.digest, each.goes_on) for each in self._done.values()}) > 1:
            self._finish("failed", "the nodes have ended with different parameters")
        elif self._done.keys() == set(self.begun.incarnations) and done.goes_on:
            self._go_to_next()
        elif self._done.keys() == set(self.begun.incarnations):
            self._fetch()

    def _go_to_next(self) -> None:
        """Send all to the run's next part, whose steps have numbers of their own."""
        self._does, self._is_next, self._named = "gather", True, None
        self._part, self._plan, self._n_settled = self._part + 1, b"", -1
        self._suspected = {}
        for i in self._living():
            self.peers[i].is_between, self.peers[i].steps, self.peers[i].waits_for = True, 0, ()
            self._send(i, messages.Next(part=self._part))


_EVENTS: dict[type, Callable[[Driver, Any], None]] = {
    events.Begin: Driver._begin,
    events.Received: Driver._received,
    events.Silent: Driver._silent,
    events.Gone: Driver._gone,
    events.Lost: Driver._lost,
    events.Tick: Driver._tick,
    events.TimedOut: Driver._timed_out,
}

_MESSAGES: dict[type, Callable[[Driver, Peer, Any], None]] = {
    messages.Frozen: Driver._frozen,
    messages.Installed: Driver._on_installed,
    messages.Beat: Driver._beat,
    messages.Drain: Driver._drain,
    messages.Suspect: Driver._suspect,
    messages.Done: Driver._on_done,
    messages.State: Driver._state,
    messages.Bye: Driver._bye,
}
