# SPDX-License-Identifier: BSD-3-Clause
"""What a run asks of an engine; nothing else knows one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

Layer = Literal["engine", "node", "data"]


@dataclass(frozen=True, kw_only=True)
class NodeConfig:
    """Say what a node's process needs to join its driver; it travels through the engine.

    Attributes
    ----------
    name : str
        For users.
    incarnation : int
        Of the node's link.
    address : str
        Of the driver.
    token : str
        Of this run; never shown. "": there is none, since all nodes are on the driver's machine.
    wait : float
        Seconds for which the node looks for the driver.
    workers : int or None
        None: as many as the engine has given the host.
    comes : bool
        Whether the run has begun.
    """

    name: str
    incarnation: int
    address: str
    token: str = field(repr=False)
    wait: float
    workers: int | None
    comes: bool


class Ended(NamedTuple):
    """Say how a node has ended.

    Attributes
    ----------
    layer : "engine", "node" or "data"
        Who is to blame: the engine has lost the host, our process has ended, or the user's rows
        cannot be used.
    text : str
    """

    layer: Layer
    text: str


class EngineNode(NamedTuple):
    """A node that an engine has started.

    Attributes
    ----------
    host : str
    task : object
        What the engine calls it.
    """

    host: str
    task: Any


class Engine(Protocol):
    """Hosts for nodes.

    An engine's thread makes all calls but `close`, which comes when that thread has ended.
    Calls may block; they raise OSError or RuntimeError when the engine does not answer.
    """

    @property
    def name(self) -> str:
        """For users: the engine, and where it is."""

    @property
    def route(self) -> str:
        """The address of a peer on the network that the hosts are in: "tcp://10.0.0.4:8786"."""

    def members(self) -> Sequence[str]:
        """Return the hosts on which nodes may run now, in the engine's order."""

    def draining(self) -> Collection[str]:
        """Return the hosts that will be taken away soon, as of the last call of `members`."""

    def start(self, host: str, config: NodeConfig) -> EngineNode:
        """Start a node on a host; it ends with the host, and with this program."""

    def dead(self, node: EngineNode) -> Ended | None:
        """Return how a node has ended; None: it lives, as of the last call of `members`."""

    def close(self) -> None:
        """End all nodes that have not ended, and let go of the rows."""
