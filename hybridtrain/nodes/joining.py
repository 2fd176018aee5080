# SPDX-License-Identifier: BSD-3-Clause
"""A node that comes from elsewhere: it finds the driver, and lives visibly while it reads rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from hybridtrain.errors import InvalidSettingError, NodesLostError
from hybridtrain.interrupts import Interrupted
from hybridtrain.nodes import messages
from hybridtrain.nodes.addresses import UnknownHostError, is_listened_at, numeric
from hybridtrain.nodes.exchange import unsealed
from hybridtrain.nodes.meeting import Call, Invite, Join, Refused
from hybridtrain.nodes.messages import Message
from hybridtrain.nodes.partner import NodePartner
from hybridtrain.nodes.peers import counted
from hybridtrain.nodes.starts import init_from_bytes
from hybridtrain.transport.frame import ANYONE
from hybridtrain.transport.link import Link

_GLANCE_SECONDS = 0.2
_ANSWER_SECONDS = 10.0  # a driver that listens answers sooner


def await_host(address: str, wait: float) -> str:
    """Return the number of a driver's address, whose name may become known only soon.

    Raises
    ------
    InvalidSettingError
        When it is none, or not known within `wait` seconds.
    """
    deadline = time.monotonic() + wait
    while True:
        try:
            return numeric(address)
        except UnknownHostError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_GLANCE_SECONDS)


def join(link: Link, address: str, name: str, version: str, wait: float) -> tuple[int, Call]:
    """Ask the driver at an address for a place, and connect to it.

    Parameters
    ----------
    link : Link
    address : str
        As by `numeric`.
    name : str
        Of this node; the driver may give it another.
    version : str
        Of the package.
    wait : float
        Seconds for which a driver is waited for that does not listen yet.

    Returns
    -------
    driver : int
        Its incarnation.
    call : Call

    Raises
    ------
    NodesLostError
        When nobody answers, or the driver refuses this node.
    """
    link.connect(ANYONE, address)
    link.send(ANYONE, Join(name=name, address=link.address, version=version).frame())
    began = time.monotonic()
    listens: float | None = None  # since when somebody does
    while True:
        for sender, frame in link.receive(_GLANCE_SECONDS):
            if (refused := Refused.of(frame)) is not None:
                raise NodesLostError(f"the driver at {address} refuses this node: {refused.reason}")
            if (call := Call.of(frame)) is not None:
                link.connect(sender, address)
                link.disconnect(ANYONE)
                return sender, call
        now = time.monotonic()
        if listens is None:
            listens = time.monotonic() if is_listened_at(address) else None
        elif now - listens > min(wait, _ANSWER_SECONDS):
            raise NodesLostError(
                f"{address} is listened at, but does not answer node {name} at {link.address}: a "
                "hybridtrain driver with the same token must be there, and must reach this node's "
                "address; open its port in firewalls (--address chooses one)"
            )
        if listens is None and now - began > wait:
            raise NodesLostError(
                f"nobody has listened at {address} for {wait:g} s: start the driver there, or name "
                "its address, and open its port in firewalls"
            )


def await_invitation(link: Link, wait: float) -> str:
    """Wait until a driver asks this node to join, and return its address.

    Raises
    ------
    NodesLostError
        When none does within `wait` seconds.
    """
    deadline = time.monotonic() + wait
    while time.monotonic() < deadline:
        for _, frame in link.receive(_GLANCE_SECONDS):
            if (invite := Invite.of(frame)) is not None:
                try:
                    return numeric(invite.address)
                except InvalidSettingError:
                    continue
    raise NodesLostError(
        f"no driver has asked the node at {link.address} to join within {wait:g} s: the driver "
        "names this address in nodes=[...], and has the same token"
    )


class JoinedPartner(NodePartner):
    """Take a run's part among several nodes, and be seen to live before it begins.

    Parameters
    ----------
    *partner, **named
        As of `NodePartner`.
    on_line : function
        Called with a line for each view.
    """

    def __init__(self, *partner: Any, on_line: Callable[[str], None], **named: Any) -> None:
        super().__init__(*partner, **named)
        self._on_line = on_line
        self._init: list[bytes] = []  # parts of what the run starts from
        self._is_whole = False
        self._came = 0.0  # the last one of them

    def init(self) -> Any:
        """Fetch the parameters that the run starts from; in the job's thread.

        Raises
        ------
        NodesLostError
            When they do not come.
        InvalidDataError, ValueError
            When they are damaged.
        """
        self.post(lambda: self.send(self._driver, messages.Copy(label=messages.Label(0, 0))))
        with self.changed:
            self._came = time.monotonic()
            while not self._is_whole and self._end is None:
                if time.monotonic() - self._came > self._timeout:
                    raise NodesLostError(f"the driver has not sent init for {self._timeout:g} s")
                self.changed.wait(_GLANCE_SECONDS)
            if self._end is not None:
                raise NodesLostError(self._end.reason)
        return init_from_bytes(unsealed(b"".join(self._init)))

    def _take_init(self, state: messages.State) -> None:
        with self.changed:
            self._init.append(bytes(state.body))
            self._came, self._is_whole = time.monotonic(), state.is_last
            self.changed.notify_all()

    def receive(self, sender: int, message: Message) -> None:
        """Show views, and take what the run starts from; the rest is as for all nodes."""
        if sender == self._driver and isinstance(message, messages.View):
            names = ", ".join(member.name for member in message.members)
            n_nodes, step = counted(len(message.members)), message.label.steps + 1
            self._on_line(f"view {message.ballot}: {n_nodes}: {names}; step {step:,}")
        if self.machine is None and sender == self._driver and isinstance(message, messages.State):
            self._take_init(message)
            return
        super().receive(sender, message)

    def leave(self) -> None:
        """Ask the driver to go on without this node; of any thread, and of signal handlers.

        Raises
        ------
        Interrupted
            When the run has not begun for this node.
        """
        if self.machine is None and not self.ballot:
            raise Interrupted("it was asked to end before it could begin")
        self.post(lambda: self.send(self._driver, messages.Drain()))
