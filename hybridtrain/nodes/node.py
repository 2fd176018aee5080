# SPDX-License-Identifier: BSD-3-Clause
"""A node's part of the synchronous protocol: events in, acts out.

The life of a view and of a step, at node b; ``->`` is sent, ``<-`` has come, ``!`` is an act of the
shell, ``?`` an event that answers it::

    ?  Begin                          -> HELLO                                  to the driver
    <- FREEZE 7                       -> FROZEN, with the label of its state
    <- VIEW 7       label differs     -> COPY to the source
       <- STATE ...                   !  Load, until its last part
    installed                         !  Redo(7, share)   -> INSTALLED          the workers work
    ?  Worked(7, batch)
    <- START 7                        !  Collect(7, batch)
    ?  Collected(7, batch, sums)      -> SUM k to reducer k, ACCOUNT to reducer 0
    <- SUM b of all members           -> TOTAL b to all members; b = 0: OUTCOME
    <- TOTAL of all shards, OUTCOME   !  Apply             the step is applied, the workers go on
    ?  Worked(7, batch + 1)           !  Collect ...
    ?  Finished(7, digest)            -> DONE
    <- FINISH                         -> BYE  !  End          or, if the run has another part:
    <- NEXT                           !  End               its shell goes on with another machine

1. A node that has promised a ballot sums, totals and applies nothing below it.
2. It installs a view only under exactly the ballot that it has promised, and only with the label.
3. It sums nothing before START: until then the driver may not know that the view has begun.
4. `Worked`, `Collected` and `Finished` name the ballot of the `Redo` that they belong to: those of
   an older one are void.

A lost connection costs nothing: transport sends again. What nobody has any more costs a view.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from hybridtrain.nodes import events, messages
from hybridtrain.nodes.events import Act, Event
from hybridtrain.nodes.messages import Ending, Label, Message, View, split
from hybridtrain.nodes.reducer import Reducer, Sums, Totals
from hybridtrain.transport.frame import FrameError


class Node:
    """One process's part of a run on several machines; one incarnation.

    Parameters
    ----------
    hello : Hello
        What it says first: who it is, and the label of its state.
    driver : int
        The driver's incarnation. What others send in its name is ignored.
    sums : Sums
        Where it adds up the sums of its shard.
    since : int
        The ballot of the view in which this node has finished the part before; 0: in none.

    Attributes
    ----------
    label : Label
        Of its state, once all acts so far are done.
    settled : int
        Steps that all members of its view have applied: no later view can lack them.
    ignored : Counter of str
        Messages that came late, twice or from a stranger, by type.

    Thread safety
    -------------
    One thread uses it; `handle` also adds up sums, by `sums`.
    """

    def __init__(self, *, hello: messages.Hello, driver: int, sums: Sums, since: int = 0) -> None:
        self.label = hello.label
        self.settled = 0
        self.ignored: Counter[str] = Counter()
        self._hello = hello
        self._me = hello.member.incarnation
        self._driver = driver
        self._sums = sums
        self._since = self._promised = since  # ballots
        self._named: View | None = None  # the view of the promise, once it has come
        self._askers: list[int] = []  # of the state, before that
        self._n_loaded = 0  # parts of the state
        self._view: View | None = None  # installed
        self._finished: events.Finished | None = None
        self._is_started = False
        self._peers: set[int] = set()  # other nodes that it is connected to
        self._told: set[int] = set()  # something, since the last beat
        self._is_over = False
        self._acts: list[Act] = []

    def handle(self, event: Event) -> list[Act]:
        """Return what is to be done after an event, in this order; after `End` nothing."""
        self._acts = []
        if not self._is_over:
            try:
                _EVENTS[type(event)](self, event)
            except FrameError as error:  # members that contradict each other
                self._end("failed", str(error))
        return self._acts

    # ---- events of the shell ------------------------------------------------------------------

    def _begin(self, event: events.Begin) -> None:
        self._send(self._driver, self._hello)

    def _received(self, event: events.Received) -> None:
        self._take(event.sender, event.message)

    def _missed(self, event: events.Silent | events.Gone) -> None:
        cause = event.cause if isinstance(event, events.Gone) else "silent"
        self._miss(event.peer, cause, is_reachable=False)

    def _lost(self, event: events.Lost) -> None:
        if event.peer == self._driver:
            self._send(self._driver, self._hello)  # it answers by a new view
        else:
            self._miss(event.peer, "frames of it are lost", is_reachable=True)

    def _miss(self, peer: int, reason: str, *, is_reachable: bool) -> None:
        if peer == self._driver:
            self._end("lost", f"the driver: {reason}")
        else:  # which may be a member of a view that has not come yet
            suspect = messages.Suspect(
                ballot=self._promised, about=peer, is_reachable=is_reachable, reason=reason
            )
            self._send(self._driver, suspect)

    def _tick(self, event: events.Tick) -> None:
        if self._promised == self._since:
            self._send(self._driver, self._hello)  # the first one may be lost
            return
        beat = messages.Beat(
            ballot=self._ballot if self._is_training else 0,
            steps=self.label.steps,
            rate=event.rate,
            waits_for=self._waits_for(),
        )
        for peer in (self._driver, *sorted(self._peers - self._told)):  # of it in a long step, too
            self._send(peer, beat)
        self._told = set()

    # ---- messages of the driver -----------------------------------------------------------------

    def _freeze(self, sender: int, freeze: messages.Freeze) -> bool:
        if freeze.ballot <= self._promised:
            return False
        self._promised = freeze.ballot
        self._named, self._askers = None, []
        installed = self._since if self._view is None else self._view.ballot
        frozen = messages.Frozen(ballot=freeze.ballot, label=self.label, installed=installed)
        self._send(self._driver, frozen)
        return True

    def _name(self, sender: int, view: View) -> bool:
        if view.ballot != self._promised or self._named is not None:
            return False
        self._named = view
        self._n_loaded = 0
        self._connect(view)
        if self.label == view.label:
            self._install(view)
        else:
            self._send(view.source, messages.Copy(ballot=view.ballot, label=view.label))
        for asker in self._askers:
            self._acts.append(events.SendState(asker, view.ballot, view.label))
        return True

    def _connect(self, view: View) -> None:
        members = {m.incarnation: m.address for m in view.members if m.incarnation != self._me}
        gone, new = self._peers.intersection(view.gone), members.keys() - self._peers
        self._acts.extend(events.Disconnect(peer) for peer in sorted(gone))
        self._acts.extend(events.Connect(peer, members[peer]) for peer in sorted(new))
        self._peers = self._peers.union(members).difference(gone)

    def _start(self, sender: int, start: messages.Start) -> bool:
        if not start.ballot == self._ballot == self._promised or self._is_started:
            return False
        self._is_started = True
        self.settled = self.label.steps
        self._proceed()
        return True

    def _finish(self, sender: int, last: messages.Finish | messages.Refuse) -> bool:
        self._end(last.ending if isinstance(last, messages.Finish) else "refused", last.reason)
        return True

    def _go_to_next(self, sender: int, message: messages.Next) -> bool:
        if message.part == self._hello.part and self._view is None:
            self._send(self._driver, self._hello)  # it has not come
        elif message.part <= self._hello.part:
            return False
        elif self._view is None or self._finished is not None:
            self._is_over = True
            self._acts.append(events.End("next", "", part=message.part))
        else:
            self._end("left", "the run has gone on to another part without this node")
        return True

    def _is_alive(self, sender: int, beat: messages.Beat) -> bool:
        return True  # the shell watches clocks

    # ---- states -------------------------------------------------------------------------------

    def _copy(self, sender: int, copy: messages.Copy) -> bool:
        """Send the state. It stays as it is: nobody starts before all have installed the view."""
        if copy.ballot != self._promised or copy.label != self.label:
            return False
        if self._named is None:
            self._askers.append(sender)  # it is not connected yet
        else:
            self._acts.append(events.SendState(sender, copy.ballot, copy.label))
        return True

    def _load(self, sender: int, state: messages.State) -> bool:
        view = self._named
        if view is None or view is self._view or state.ballot != view.ballot:
            return False
        if sender != view.source or state.chunk != self._n_loaded:
            return False
        self._n_loaded += 1
        load = events.Load(view.ballot, view.label, state.chunk, state.is_last, state.body)
        self._acts.append(load)
        if state.is_last:
            self.label = view.label
            self._install(view)
        return True

    def _install(self, view: View) -> None:
        self._view = view
        self._place = view.incarnations.index(self._me)
        self._is_started = False
        self._finished = None
        self._reducer = Reducer(self._place, len(view.members), self.label.steps + 1, self._sums)
        self._open_step(view)
        first, last = view.shares[self._place : self._place + 2]
        self._acts.append(events.Redo(view.ballot, first, last))
        self._acts.append(events.SendInstalled(self._driver, view.ballot))

    # ---- steps --------------------------------------------------------------------------------

    @property
    def _ballot(self) -> int:
        return 0 if self._view is None else self._view.ballot

    @property
    def _is_training(self) -> bool:
        return self._is_started and self._ballot == self._promised

    def _open_step(self, view: View) -> None:
        self._batch: int | None = None  # whose sums are to be collected
        self._is_summed = False
        self._totals = Totals(len(view.members))

    def _worked(self, event: events.Worked) -> None:
        if self._view is not None and event.ballot == self._ballot:
            self._batch = event.batch
            self._proceed()

    def _finished_all(self, event: events.Finished) -> None:
        if self._view is not None and event.ballot == self._ballot:
            self._finished = event
            self._proceed()

    def _proceed(self) -> None:
        if not self._is_training or self._view is None:
            return
        if (last := self._finished) is not None:
            words: dict[str, Any] = {"digest": last.digest, "goes_on": last.goes_on}
            done = messages.Done(ballot=self._ballot, label=self.label, **words)
            self._send(self._driver, done)
        elif self._batch is not None:
            n_shards = len(self._view.members)
            self._acts.append(events.Collect(self._ballot, self._batch, n_shards))

    def _collected(self, event: events.Collected) -> None:
        view = self._view
        is_current = self._is_training and event.ballot == self._ballot
        if view is None or not is_current or event.batch != self._batch:
            return
        self._batch, self._is_summed = None, True
        step = self.label.steps + 1
        account = messages.Account(
            ballot=view.ballot, step=step, batch=event.batch, tally=event.tally
        )
        each: list[tuple[int, Message]] = [(view.incarnations[0], account)]
        for shard, (to, parts) in enumerate(zip(view.incarnations, event.bodies, strict=True)):
            each += [(to, part) for part in split(messages.Sum, view.ballot, step, shard, parts)]
        self._deliver(each)

    def _reduce(self, sender: int, message: messages.Account | messages.Sum) -> bool:
        view = self._view
        if view is None or not self._is_of_view(sender, message.ballot):
            return False
        place = view.incarnations.index(sender)
        if isinstance(message, messages.Account):
            is_next = self._reducer.account(place, message)
        else:
            is_next = self._reducer.add(place, message)
        if is_next and not self._reducer.missing:
            self._total(view)
        return is_next

    def _total(self, view: View) -> None:
        step = self._reducer.step
        parts, outcome = self._reducer.total()
        each: list[Message] = [*split(messages.Total, view.ballot, step, self._place, parts)]
        if outcome is not None:
            each.append(outcome)
        self._deliver([(to, message) for to in view.incarnations for message in each])

    def _gather(self, sender: int, message: messages.Outcome | messages.Total) -> bool:
        view = self._view
        if view is None or not self._is_of_view(sender, message.ballot):
            return False
        shard = message.shard if isinstance(message, messages.Total) else 0
        is_step = message.step == self.label.steps + 1 and shard < len(view.members)
        is_reducers = is_step and sender == view.incarnations[shard]
        if not is_reducers or not self._totals.take(shard, message):
            return False
        if self._totals.outcome is not None and not self._totals.missing:
            self._apply(view, self._totals.outcome)
        return True

    def _apply(self, view: View, outcome: messages.Outcome) -> None:
        apply = events.Apply(view.ballot, outcome.batch, self._totals.shards, outcome.tally)
        self._acts.append(apply)
        self.settled = self.label.steps  # else a reducer would lack the sums of this step
        self.label = Label(self.label.steps + 1, view.ballot)
        self._open_step(view)

    def _waits_for(self) -> tuple[int, ...]:
        if self._view is None or not self._is_training or not self._is_summed:
            return ()
        places = self._totals.missing.union(self._reducer.missing).difference({self._place})
        return tuple(self._view.incarnations[place] for place in sorted(places))

    # ---- all ----------------------------------------------------------------------------------

    def _is_of_view(self, sender: int, ballot: int) -> bool:
        assert self._view is not None
        return ballot == self._ballot == self._promised and sender in self._view.incarnations

    def _take(self, sender: int, message: Message) -> None:
        receive, is_drivers = _MESSAGES.get(type(message), (None, False))
        is_known = receive is not None and (sender == self._driver or not is_drivers)
        if receive is None or not is_known or not receive(self, sender, message):
            self.ignored[type(message).__name__] += 1

    def _deliver(self, each: list[tuple[int, Message]]) -> None:
        """Send messages. Its own come last: with them the step may be complete here."""
        for to, message in each:
            if to != self._me:
                self._send(to, message)
        for to, message in each:
            if to == self._me:
                self._take(to, message)

    def _send(self, to: int, message: Message) -> None:
        self._told.add(to)
        self._acts.append(events.Send(to, message))

    def _end(self, ending: Ending, reason: str) -> None:
        self._is_over = True
        self._send(self._driver, messages.Bye(reason=reason))
        self._acts.append(events.End(ending, reason))


_EVENTS: dict[type, Callable[[Node, Any], None]] = {
    events.Begin: Node._begin,
    events.Received: Node._received,
    events.Silent: Node._missed,
    events.Gone: Node._missed,
    events.Lost: Node._lost,
    events.Tick: Node._tick,
    events.Worked: Node._worked,
    events.Collected: Node._collected,
    events.Finished: Node._finished_all,
}

# What takes a message, returns whether it counted, and whether only the driver may send it.
_MESSAGES: dict[type, tuple[Callable[[Node, int, Any], bool], bool]] = {
    messages.Freeze: (Node._freeze, True),
    View: (Node._name, True),
    messages.Start: (Node._start, True),
    messages.Refuse: (Node._finish, True),
    messages.Finish: (Node._finish, True),
    messages.Next: (Node._go_to_next, True),
    messages.Beat: (Node._is_alive, True),
    messages.Copy: (Node._copy, False),
    messages.State: (Node._load, False),
    messages.Account: (Node._reduce, False),
    messages.Sum: (Node._reduce, False),
    messages.Outcome: (Node._gather, False),
    messages.Total: (Node._gather, False),
}
