# SPDX-License-Identifier: BSD-3-Clause
"""How the driver ends a run with its nodes, and how it speaks to them."""

from __future__ import annotations

from typing import Literal

from hybridtrain.nodes import events, messages
from hybridtrain.nodes.events import Act
from hybridtrain.nodes.messages import Ending, Message
from hybridtrain.nodes.peers import Peer

DETECTION = 1 / 3  # of `timeout`
Doing = Literal["gather", "ask", "wait", "name", "train", "fetch", "bye", "ended"]


class Speaking:
    """The driver's peers, what it says to them, and its way from the last step to the end.

    Parameters
    ----------
    ballot : int
        The last one so far.

    Attributes
    ----------
    peers : dict of Peer
        All nodes that have said HELLO, by incarnation.
    """

    def __init__(self, ballot: int) -> None:
        self.peers: dict[int, Peer] = {}
        self._ballot = ballot
        self._does: Doing = "gather"
        self._done: dict[int, messages.Done] = {}
        self._source, self._n_loaded = 0, 0  # of the parameters that the run ends with
        self._ending: tuple[Ending, str] = ("done", "")
        self._acts: list[Act] = []

    def _fetch(self) -> None:
        """Ask a member for the state that all have ended with: the next one that is there."""
        self._does, self._n_loaded = "fetch", 0
        self._source = next((i for i in self._done if self.peers[i].is_here), 0)
        if self._source:
            done = self._done[self._source]
            self._send(self._source, messages.Copy(ballot=done.ballot, label=done.label))
        elif all(self.peers[i].is_gone for i in self._done):
            self._finish("lost", "all nodes ended before the driver had the parameters")
        else:
            self._acts.append(events.Deadline("fetch", self._ballot, 1.0))

    def _state(self, peer: Peer, state: messages.State) -> None:
        is_source = self._does == "fetch" and peer.incarnation == self._source
        if not is_source or state.chunk != self._n_loaded:
            return
        self._n_loaded += 1
        label = self._done[self._source].label
        load = events.Load(state.ballot, label, state.chunk, state.is_last, state.body)
        self._acts.append(load)
        if state.is_last:
            self._finish("done", "")

    def _finish(self, ending: Ending, reason: str) -> None:
        self._does, self._ending = "bye", (ending, reason)
        for i in self._living():
            self._send(i, self._last_to(i))
        self._acts.append(events.Deadline("bye", self._ballot, DETECTION))
        self._close_if_all()

    def _last_to(self, i: int) -> messages.Finish:
        ending, reason = self._ending
        if ending == "done" and i not in self._done:
            return messages.Finish(ending="left", reason="the run has ended without this node")
        return messages.Finish(ending=ending, reason=reason)

    def _close_if_all(self) -> None:
        if not any(peer.is_here for peer in self.peers.values()):
            self._close()

    def _close(self) -> None:
        self._does = "ended"
        words = tuple(f"{each.member.name}: {each.word}" for each in self.peers.values())
        self._acts.append(events.End(*self._ending, words))

    def _send(self, to: int, message: Message) -> None:
        self._acts.append(events.Send(to, message))

    def _send_all(self, message: Message) -> None:
        for i in self._living():
            self._send(i, message)

    def _living(self) -> list[int]:
        return [i for i, peer in self.peers.items() if not peer.is_gone]
