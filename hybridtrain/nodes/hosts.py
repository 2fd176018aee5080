# SPDX-License-Identifier: BSD-3-Clause
"""Where the nodes of a run come from: processes started here, or others that join."""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hybridtrain.errors import InvalidSettingError, NodesLostError
from hybridtrain.interrupts import Interrupts
from hybridtrain.machine import usable_cores
from hybridtrain.nodes.addresses import numeric, route_to
from hybridtrain.nodes.calls import to_text
from hybridtrain.nodes.driving import Driving
from hybridtrain.nodes.environment import Place, place_of
from hybridtrain.nodes.gathering import Gathering
from hybridtrain.nodes.local import Handed, LocalNode, new_incarnation
from hybridtrain.nodes.loop import LIMITS
from hybridtrain.nodes.meeting import Invite, Keys
from hybridtrain.nodes.outcome import result_of
from hybridtrain.nodes.places import ENVIRONMENT, Nodes
from hybridtrain.nodes.starts import init_to_bytes
from hybridtrain.nodes.supervision import refuse_unsupported, train_on_nodes
from hybridtrain.run.checkpoint import require_folder
from hybridtrain.run.result import Result
from hybridtrain.strategies.base import Strategy
from hybridtrain.strategies.local_sgd import with_replicas
from hybridtrain.strategies.switch import Switch
from hybridtrain.transport.frame import ANYONE, JOB_BYTES
from hybridtrain.transport.zeromq import ZeroMQLink

_NAMES = "abcdefghijklmnopqrstuvwxyz"
_GLANCE_SECONDS = 0.2
_MOST_DEATHS = 3


def train_at(nodes: Any, arguments: Mapping[str, Any], version: str) -> Result:
    """Train on nodes, wherever they are.

    Parameters
    ----------
    nodes : int, sequence of str, "env" or Nodes
    arguments : dict
        Those of `train`; the strategy is no word.
    version : str
        Of the package.

    Returns
    -------
    Result

    Raises
    ------
    InvalidSettingError, NodesLostError, Exception
        As `train_on_nodes`.
    """
    asked = Nodes.of(nodes)
    place = place_of() if asked.members == ENVIRONMENT else None
    workers = usable_cores() if arguments["workers"] is None else arguments["workers"]
    n_nodes = _count(asked) if place is None else place.size
    arguments = {**arguments, "strategy": _replicated(arguments["strategy"], n_nodes * workers)}
    if asked.n_here is not None:
        n_here = asked.n_here
        return train_on_nodes(lambda given: _Here(n_here, given), arguments, version)
    if place is None:
        is_shown = arguments["progress"] is not False
        return train_on_nodes(lambda given: _Elsewhere(asked, given, is_shown), arguments, version)
    if place.rank == 0:
        return train_on_nodes(lambda given: _Launched(asked, place, given), arguments, version)
    return _take_part(asked, place, arguments)


def _count(nodes: Nodes) -> int:
    if isinstance(nodes.members, int):
        return nodes.members
    assert isinstance(nodes.members, Sequence)  # an engine counts its own
    return len(nodes.members)


def _replicated(strategy: Strategy, replicas: int) -> Strategy:
    """Return a strategy whose parts have so many replicas, where it leaves their number open."""
    if isinstance(strategy, Switch):
        return strategy.parsed(lambda part: with_replicas(part, replicas))
    return with_replicas(strategy, replicas)


class _Here:
    """Nodes of this machine, which this process starts and watches."""

    def __init__(self, n_nodes: int, given: Mapping[str, Any]) -> None:
        self._n_nodes = n_nodes
        self._job = secrets.token_bytes(JOB_BYTES)
        require_folder(given["checkpoint"], given["resume"])
        self._handed = Handed(given)
        self._link = ZeroMQLink(job=self._job, limits=LIMITS)

    def driving(self, version: str, timeout: float, **called: Any) -> Driving:
        return Driving(self._link, self._n_nodes, version, timeout, **called)

    def start(self) -> Sequence[LocalNode]:
        words = {
            "job": self._job.hex(),
            "driver": self._link.incarnation,
            "address": self._link.address,
        }
        names = [_NAMES[k % len(_NAMES)] * (1 + k // len(_NAMES)) for k in range(self._n_nodes)]
        return [LocalNode(name, new_incarnation(), words, self._handed) for name in names]

    def close(self) -> None:
        self._link.close()
        self._handed.close()


class _Elsewhere:
    """Nodes that join from other machines; those with an address are asked to."""

    def __init__(self, nodes: Nodes, given: Mapping[str, Any], is_shown: bool) -> None:
        self._arguments = to_text(given)
        init = given["init"]
        self._init = None if init is None else init_to_bytes(init, given["model"])
        self._wait = nodes.wait
        self._is_shown = is_shown
        members = nodes.members
        assert isinstance(members, int | Sequence)
        self._asked = [] if isinstance(members, int) else [numeric(each) for each in members]
        self._n_nodes = _count(nodes)
        listen = nodes.listen
        own = numeric(listen, any_port=True) if listen else route_to(self._asked[0])
        self._keys = Keys.of(nodes.token_file, insecure=nodes.insecure)
        self._link = self._keys.link(own)
        self._driving: Gathering | None = None

    def driving(self, version: str, timeout: float, **called: Any) -> Driving:
        self._driving = Gathering(
            self._link,
            self._n_nodes,
            version,
            timeout,
            arguments=self._arguments,
            init=self._init,
            wait=self._wait,
            is_shown=self._is_shown,
            **called,
        )
        return self._driving

    def start(self) -> Sequence[LocalNode]:
        assert self._driving is not None
        deadline = time.monotonic() + self._wait
        links: dict[str, ZeroMQLink] = {}  # to nodes that have not had their invitation
        try:
            for address in self._asked:
                links[address] = link = self._keys.link(route_to(address))
                link.connect(ANYONE, address)
                link.send(ANYONE, Invite(address=self._link.address).frame())
            while links:
                for address, link in list(links.items()):
                    if link.flush(_GLANCE_SECONDS / len(links)):
                        links.pop(address).close()
                self._driving.turn(0.0)  # answers those that join
                if links and time.monotonic() > deadline:
                    names = ", ".join(address.removeprefix("tcp://") for address in links)
                    raise NodesLostError(
                        f"nobody has answered at {names} for {self._wait:g} s: start nodes there "
                        "with hybridtrain node --listen HOST:PORT and the token of the driver, and "
                        "open their ports in firewalls"
                    )
        finally:
            for link in links.values():
                link.close()
        return ()

    def close(self) -> None:
        if self._driving is not None:
            self._driving.close("the driver has ended the run")
        self._link.close()


class _Launched:
    """Nodes that a launcher has started; that of this process, rank 0, is a child."""

    def __init__(self, nodes: Nodes, place: Place, given: Mapping[str, Any]) -> None:
        self._nodes = nodes
        self._place = place
        keys = Keys.of(nodes.token_file, insecure=nodes.insecure)
        self._link = keys.link(_own(place.address))
        self._handed = Handed(given)
        self._driving: Gathering | None = None

    def driving(self, version: str, timeout: float, **called: Any) -> Driving:
        self._driving = Gathering(
            self._link,
            self._place.size,
            version,
            timeout,
            arguments=None,
            wait=self._nodes.wait,
            is_shown=False,
            **called,
        )
        return self._driving

    def start(self) -> Sequence[LocalNode]:
        words = joining_words(self._link.address, self._nodes)
        return [LocalNode(socket.gethostname(), new_incarnation(), words, self._handed)]

    def close(self) -> None:
        if self._driving is not None:
            self._driving.close("rank 0 has ended the run")
        self._link.close()
        self._handed.close()


def _take_part(nodes: Nodes, place: Place, arguments: Mapping[str, Any]) -> Result:
    """Be one of the ranks above 0: its node is a child of this process."""
    given = {k: v for k, v in arguments.items() if k not in ("callbacks", "progress")}
    refuse_unsupported(given)
    handed = Handed(given)
    try:
        with TemporaryDirectory(prefix="hybridtrain-") as folder:
            path = Path(folder) / "outcome"
            words = {**joining_words(numeric(place.address), nodes), "outcome": path}
            node = LocalNode(socket.gethostname(), new_incarnation(), words, handed)
            code = await_node(node)
            if path.exists():
                return result_of(path.read_bytes())  # rank 0 has what is known of the nodes
    finally:
        handed.close()
    raise NodesLostError(f"the node of rank {place.rank} ended with code {code}; it has said why")


def await_node(node: LocalNode) -> int:
    """Wait for the end of a node's process; at a signal, let it leave the run to the others.

    One that was killed is started again, and comes to the run.

    Raises
    ------
    KeyboardInterrupt
        At a signal, once the process has ended; at a second one, at once.
    """
    is_asked, n_deaths = False, 0
    try:
        with Interrupts() as interrupts:
            while (code := node.wait(_GLANCE_SECONDS)) is None or code < 0:
                if code is not None:
                    n_deaths += 1
                    if is_asked or n_deaths == _MOST_DEATHS:
                        break
                    node = node.again()
                if interrupts.take():
                    if is_asked:
                        break
                    node.ask_to_leave()
                    is_asked = True
        if is_asked:
            raise KeyboardInterrupt
        assert code is not None
        return code
    finally:
        node.end(0.0)


def joining_words(address: str, nodes: Nodes) -> dict[str, Any]:
    """Return the words of a node's process that joins the driver at an address."""
    return {
        "join": address,
        "token_file": nodes.token_file,
        "insecure": "yes" if nodes.insecure else None,
        "wait": nodes.wait,
    }


def _own(address: str) -> str:
    """Return where rank 0 listens.

    Raises
    ------
    InvalidSettingError
        When the other machines would look for it elsewhere.
    """
    number = numeric(address)
    name = address.removeprefix("tcp://").rpartition(":")[0]
    is_loopback = number.startswith(("tcp://127.", "tcp://[::1]"))
    if is_loopback and name != "localhost" and not name.startswith(("127.", "[::1]", "::1")):
        raise InvalidSettingError(
            f"the name {name!r} of rank 0 means this machine alone, {number}: set "
            "HYBRIDTRAIN_ADDRESS=HOST:PORT to an address that the others reach, on every machine"
        )
    return number
