# SPDX-License-Identifier: BSD-3-Clause
"""The driver of nodes that an engine starts: one on each host, again where one comes back.

Two threads: the loop's, which speaks with the nodes, and the engine's, whose calls may block::

    engine   members, dead, draining, start ... again and again
                 |  what has changed, as functions that are posted
    loop     expected -> Join, Call ... HELLO of all that live -> the protocol of nodes
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from hybridtrain.engines.base import Ended, Engine, EngineNode, NodeConfig
from hybridtrain.errors import InvalidSettingError
from hybridtrain.nodes import events, messages
from hybridtrain.nodes.addresses import numeric, route_to
from hybridtrain.nodes.calls import to_text
from hybridtrain.nodes.driving import Driving
from hybridtrain.nodes.local import LocalNode, new_incarnation
from hybridtrain.nodes.meeting import Call, Join, Keys, Refused
from hybridtrain.nodes.messages import Message
from hybridtrain.nodes.peers import counted
from hybridtrain.nodes.places import Nodes
from hybridtrain.run.progress import tell
from hybridtrain.transport.security import is_local, new_token

logger = logging.getLogger(__name__)
_LOOK_SECONDS = 0.2  # between two looks at the engine
_MOST_DEATHS = 3  # of a host in an epoch
_COMES_SECONDS = 30.0  # for which a node looks for the driver, which listens


class Placing(Driving):
    """Watch the nodes of a run until it is over, and hear of the engine what becomes of them.

    The run begins with all nodes that have been started and live. Others come to it.

    Parameters
    ----------
    *driving
        As of `Driving`.
    min_nodes : int
        Without which the run neither begins nor goes on.
    arguments : str
        What nodes are to train, as JSON.
    **called
        As of `Driving`.
    """

    def __init__(self, *driving: Any, min_nodes: int, arguments: str, **called: Any) -> None:
        super().__init__(*driving, **called)
        self._min_nodes = min_nodes
        self._arguments = arguments
        self._expected: dict[int, str] = {}  # names of nodes that live, as the engine says
        self._loading: dict[int, float] = {}  # those that have joined, and were heard of when
        self._ready: dict[int, Message] = {}  # their HELLO, before the protocol begins

    def expect(self, names: Mapping[int, str]) -> None:
        """Let nodes join that will be started."""
        self._expected.update(names)

    def ended(self, incarnation: int, how: Ended) -> None:
        """Note that a node has ended; before the run only the engine may have lost it."""
        name = self._expected.pop(incarnation, "")
        self._loading.pop(incarnation, None)
        self._ready.pop(incarnation, None)
        if self.machine is not None:
            self.note(events.Gone(incarnation, how.text))
        elif how.layer == "data":
            failed = messages.Failed(error="InvalidDataError", text=how.text)
            self.failure = self.failure or failed
        elif how.layer == "node":
            self.lose(f"node {name} has ended before the run began: {how.text}")
        self._begin_if_all()

    def drain(self, incarnation: int) -> None:
        """Let the others go on without a node whose host will be taken away."""
        self.note(events.Received(incarnation, messages.Drain()))

    def lose(self, reason: str) -> None:
        """End the run."""
        self.end = self.end or events.End("lost", reason)

    def close(self) -> None:
        """Tell the nodes of a run that is not over that it is."""
        if self.end is not None and self.end.ending == "done":
            return
        for peer in self.peers:
            self.send(peer, messages.Finish(ending="lost", reason="the driver has ended the run"))
        self.link.flush(self._beat)

    def receive(self, sender: int, message: Message) -> None:
        """Keep back who is ready until all are; the rest is as for all drivers."""
        if isinstance(message, messages.Hello | messages.Failed):
            self._loading.pop(sender, None)
        if isinstance(message, messages.Failed):
            name = self._expected.get(sender, "")
            message = messages.Failed(error=message.error, text=f"node {name}: {message.text}")
        if self.machine is None and isinstance(message, messages.Hello):
            if sender in self._expected:
                self._ready[sender] = message
                self._begin_if_all()
            return
        super().receive(sender, message)

    def tick(self) -> None:
        """Beat also to those that are kept back; end the run of nodes that are silent."""
        super().tick()
        for peer in self._ready:
            self.send(peer, messages.Beat())
        now = time.monotonic()
        for node, heard in list(self._loading.items()):
            if now - heard > self._timeout and not self.is_training:
                name = self._expected.get(node, "")
                self.lose(f"network: node {name} was silent for {self._timeout:g} s")

    def _begin_if_all(self) -> None:
        is_whole = self._ready.keys() == self._expected.keys()
        if self.machine is None and is_whole and len(self._ready) >= self._min_nodes:
            self._n_nodes = len(self._ready)
            ready, self._ready = self._ready, {}
            for sender, hello in ready.items():
                super().receive(sender, hello)

    def _take(self, sender: int, frame: Any) -> None:
        if sender in self._loading:
            self._loading[sender] = time.monotonic()
        if frame.kind != Join.kind:
            super()._take(sender, frame)
        elif sender not in self.peers and (join := Join.of(frame)) is not None:
            self._meet(sender, join)

    def _meet(self, sender: int, join: Join) -> None:
        """Give a node that was started its place, and no other."""
        try:
            self.link.connect(sender, join.address)
        except InvalidSettingError as error:
            logger.info("node %s cannot be answered: %s", join.name, error)
            return
        reason = "" if sender in self._expected else "only the engine starts nodes of this run"
        if join.version != self._version:
            reason = f"the node has hybridtrain {join.version}, the driver has {self._version}"
        if reason:
            self.link.send(sender, Refused(reason=reason).frame())
            return
        self.watch(sender)
        self._loading[sender] = time.monotonic()
        call = Call(name=join.name, timeout=self._timeout, arguments=self._arguments)
        self.link.send(sender, call.frame())


class Placed:
    """Nodes that an engine starts, as `Hosts`.

    Parameters
    ----------
    engine : Engine
        Closed with this object.
    nodes : Nodes
    given : mapping
        Arguments of the nodes' own `train`; data in memory are BROUGHT.
    is_shown : bool
        Whether standard error tells who is waited for.
    """

    def __init__(
        self, engine: Engine, nodes: Nodes, given: Mapping[str, Any], *, is_shown: bool
    ) -> None:
        self._engine = engine
        self._nodes = nodes
        self._is_shown = is_shown
        self._thread: threading.Thread | None = None
        self._is_over = threading.Event()
        self._living: dict[int, EngineNode] = {}
        self._deaths: Counter[tuple[str, int]] = Counter()  # of hosts in epochs
        self._last_word = ""
        try:
            self._arguments = to_text({**given, "workers": None})
            own = numeric(nodes.listen, any_port=True) if nodes.listen else route_to(engine.route)
            token = "" if is_local(own) else new_token()
            self._link = Keys.of_token(token).link(own)
        except BaseException:
            engine.close()
            raise
        self._config = NodeConfig(
            name="",
            incarnation=0,
            address=self._link.address,
            token=token,
            wait=_COMES_SECONDS,
            workers=given["workers"],
            comes=False,
        )

    def driving(self, version: str, timeout: float, **called: Any) -> Driving:
        """Return what watches the nodes."""
        self._patience = timeout
        self._driving = Placing(
            self._link,
            0,
            version,
            timeout,
            min_nodes=self._nodes.min_nodes,
            arguments=self._arguments,
            **called,
        )
        return self._driving

    def start(self) -> Sequence[LocalNode]:
        """Start the engine's thread; no node is a process of this program."""
        self._thread = threading.Thread(target=self._run, name="hybridtrain-engine", daemon=True)
        self._thread.start()
        return ()

    def close(self) -> None:
        """Let the nodes of a run that is not over end, and the engine's thread."""
        self._is_over.set()
        if self._thread is not None:
            self._driving.close()
            self._thread.join()
        self._link.close()
        self._engine.close()

    # ---- the engine's thread --------------------------------------------------------------------

    def _run(self) -> None:
        answered = began = time.monotonic()
        while not self._is_over.is_set():
            try:
                self._look()
                answered = time.monotonic()
            except (OSError, RuntimeError) as error:
                silent = time.monotonic() - answered
                if silent > self._patience:
                    text = f"engine: {self._engine.name} did not answer for {silent:.0f} s: {error}"
                    self._post(partial(self._driving.lose, text))
            except Exception as error:
                logger.exception("%s", self._engine.name)
                text = f"engine: {type(error).__name__}: {error}"
                self._post(partial(self._driving.lose, text))
            waited = time.monotonic() - began
            if self._driving.machine is None and waited > self._nodes.wait:
                self._post(partial(self._driving.lose, self._lack(waited)))
            self._is_over.wait(_LOOK_SECONDS)

    def _lack(self, waited: float) -> str:
        return (
            f"engine: {counted(self._nodes.min_nodes)} must begin, after {waited:.0f} s "
            f"{self._engine.name} has {counted(len(self._living)) if self._living else 'none'}"
        )

    def _look(self) -> None:
        """See what has changed at the engine, and start nodes on hosts that have none."""
        members, draining = self._engine.members(), self._engine.draining()
        for incarnation, node in list(self._living.items()):
            if (how := self._engine.dead(node)) is not None:
                del self._living[incarnation]
                self._note_end(incarnation, node.host, how)
            elif node.host in draining:
                self._post(partial(self._driving.drain, incarnation))
        is_over = self._driving.end is not None or self._driving.failure is not None
        if not (is_over or self._driving.is_ending):
            taken = {node.host for node in self._living.values()}
            free = [each for each in members if each not in taken and each not in draining]
            hosts = [h for h in free if self._deaths[h, self._driving.epoch] < _MOST_DEATHS]
            if free and not hosts and not taken and self._driving.machine is None:
                text = f"engine: no node has begun; the last one: {self._last_word}"
                self._post(partial(self._driving.lose, text))
            if hosts:
                self._start(hosts)

    def _start(self, hosts: Sequence[str]) -> None:
        if self._nodes.max_nodes is not None:
            hosts = hosts[: self._nodes.max_nodes - len(self._living)]
        configs = {
            host: replace(
                self._config,
                name=host.rpartition("//")[2],
                incarnation=new_incarnation(),
                comes=self._driving.is_training,
            )
            for host in hosts
        }
        names = {each.incarnation: each.name for each in configs.values()}
        self._post(partial(self._driving.expect, names))
        for host, config in configs.items():
            self._say(f"node {config.name} is started by {self._engine.name}")
            try:
                self._living[config.incarnation] = self._engine.start(host, config)
            except Exception as error:  # the host may be lost meanwhile
                how = Ended("engine", f"it cannot be started: {type(error).__name__}: {error}")
                self._note_end(config.incarnation, host, how)

    def _note_end(self, incarnation: int, host: str, how: Ended) -> None:
        logger.info("the node on %s has ended: %s: %s", host, *how)
        self._last_word = how.text
        self._deaths[host, self._driving.epoch] += 1
        self._post(partial(self._driving.ended, incarnation, how))

    def _post(self, function: Any) -> None:
        self._driving.post(function)

    def _say(self, text: str) -> None:
        logger.info(text)
        if self._is_shown:
            tell(f"hybridtrain: {text}")
