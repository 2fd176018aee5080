# SPDX-License-Identifier: BSD-3-Clause
"""The driver of nodes that come from elsewhere: it waits for them, and tells each what to train."""

from __future__ import annotations

import logging
import time
from typing import Any

from hybridtrain.errors import InvalidSettingError
from hybridtrain.nodes import events, messages
from hybridtrain.nodes.driving import Driving
from hybridtrain.nodes.exchange import sealed, state_messages
from hybridtrain.nodes.meeting import Call, Join, Refused
from hybridtrain.nodes.messages import Message
from hybridtrain.nodes.peers import counted
from hybridtrain.run.progress import tell

logger = logging.getLogger(__name__)


class Gathering(Driving):
    """Watch the nodes of a run until it is over, from the first one that asks for a place.

    Parameters
    ----------
    *driving
        As of `Driving`.
    arguments : str or None
        What nodes that join are to train, as JSON; None: they know.
    wait : float
        Seconds for which nodes are waited for.
    is_shown : bool
        Whether standard error tells who is waited for.
    init : bytes or None
        Parameters to start from, for nodes that ask for them.
    **called
        As of `Driving`.
    """

    def __init__(
        self,
        *driving: Any,
        arguments: str | None,
        wait: float,
        is_shown: bool,
        init: bytes | None = None,
        **called: Any,
    ) -> None:
        super().__init__(*driving, **called)
        self._arguments = arguments
        self._init = None if init is None else sealed(init)
        self._wait = wait
        self._is_shown = is_shown
        self._began = time.monotonic()
        self._joined: dict[int, str] = {}  # names
        self._loading: dict[int, float] = {}  # nodes without a HELLO, and when they were heard of
        self._say(f"waiting for {counted(self._n_nodes)} at {self.link.address}")

    def close(self, reason: str) -> None:
        """Tell the nodes of a run that is not over that it is."""
        if self.end is not None and self.end.ending == "done":
            return
        for peer in self.peers:
            self.send(peer, messages.Finish(ending="lost", reason=reason))
        self.link.flush(self._beat)

    def _take(self, sender: int, frame: Any) -> None:
        if sender in self._loading:
            self._loading[sender] = time.monotonic()
        if frame.kind != Join.kind:
            super()._take(sender, frame)
        elif sender not in self._joined and (join := Join.of(frame)) is not None:
            self._meet(sender, join)

    def receive(self, sender: int, message: Message) -> None:
        """Note who is ready; the rest is as for all drivers."""
        is_loading = sender in self._loading
        if isinstance(message, messages.Hello | messages.Failed):
            self._loading.pop(sender, None)
        if isinstance(message, messages.Failed) and sender in self._joined:
            text = f"node {self._joined[sender]}: {message.text}"
            if is_loading and self.is_training:  # the others need no node that comes late
                self._say(text)
                return
            message = messages.Failed(error=message.error, text=text)
        if is_loading and isinstance(message, messages.Copy) and self._init is not None:
            self.send(sender, *state_messages(self._init))
            return
        super().receive(sender, message)

    def tick(self) -> None:
        """End the run of nodes that do not come, or are silent while they read their rows."""
        super().tick()
        now = time.monotonic()
        for node, heard in list(self._loading.items()):
            if now - heard > self._timeout:
                del self._loading[node]
                name = self._joined[node]
                reason = f"node {name} was silent for {self._timeout:g} s before it began"
                (self._say if self.is_training else self._lose)(reason)
        if len(self._joined) < self._n_nodes and now - self._began > self._wait:
            names = ", ".join(self._joined.values()) or "none"
            self._lose(
                f"{counted(self._n_nodes)} must join at {self.link.address}, within "
                f"{self._wait:g} s there came: {names}; start the others with hybridtrain node "
                f"--join {self.link.address.removeprefix('tcp://')}, with this driver's token, and "
                "open the port in firewalls"
            )

    def _lose(self, reason: str) -> None:
        self.end = self.end or events.End("lost", reason)

    def _meet(self, sender: int, join: Join) -> None:
        """Give a node a place, or say why it has none."""
        try:
            self.link.connect(sender, join.address)
        except InvalidSettingError as error:
            self._say(f"node {join.name} cannot be answered: {error}")
            return
        reason = ""
        if join.version != self._version:
            reason = f"the node has hybridtrain {join.version}, the driver has {self._version}"
        elif len(self._joined) >= self._n_nodes and not self.is_training:
            reason = f"the run has its {counted(self._n_nodes)}; when it has begun, others may join"
        if reason:
            self._say(f"node {join.name} at {join.address} is refused: {reason}")
            self.link.send(sender, Refused(reason=reason).frame())
            return
        name = self._name(join.name)
        self.watch(sender)
        self._joined[sender] = name
        self._loading[sender] = time.monotonic()
        whole = "to the run" if self.is_training else f"{len(self._joined)} of {self._n_nodes}"
        self._say(f"node {name} joins from {join.address}: {whole}")
        call = Call(name=name, timeout=self._timeout, arguments=self._arguments)
        self.link.send(sender, call.frame())

    def _name(self, asked: str) -> str:
        names, number = set(self._joined.values()), 2
        name = asked
        while name in names:
            name, number = f"{asked}-{number}", number + 1
        return name

    def _say(self, text: str) -> None:
        logger.info(text)
        if self._is_shown:
            tell(f"hybridtrain: {text}")
