# SPDX-License-Identifier: BSD-3-Clause
"""Nodes that an engine places: begun together, replaced, drained, and let go with the run.

The engine here is a few processes of this machine, without any package of a cluster.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.node_runs import SETTINGS, bits, data, model

import hybridtrain as ht
from hybridtrain.engines import placing
from hybridtrain.engines.base import Ended, EngineNode, NodeConfig
from hybridtrain.engines.placing import Placed
from hybridtrain.errors import InvalidDataError, NodesLostError
from hybridtrain.nodes.calls import BROUGHT
from hybridtrain.nodes.local import Handed, LocalNode
from hybridtrain.nodes.places import Nodes
from hybridtrain.nodes.supervision import train_on_nodes
from hybridtrain.transport.security import TOKEN_VARIABLE
from hybridtrain.version import __version__

ARGUMENTS: dict[str, Any] = {
    "optimizer": "sgd",
    "seed": 0,
    "init": None,
    "validation": None,
    "seconds": None,
    "patience": None,
    "scale": "auto",
    "backend": "threads",
    "checkpoint": None,
    "resume": False,
    "chaos": None,
    "record": None,
    "progress": False,
}


class Hosts:
    """An engine whose hosts are names that a test adds and takes away."""

    name, route = "the engine of this test", "tcp://127.0.0.1:9"

    def __init__(self, *hosts: str) -> None:
        self.hosts = dict.fromkeys(hosts, True)  # whether they stay
        self.handed = Handed({"data": data("logistic"), "workers": 1})
        self.started: list[EngineNode] = []
        self.on_start: Callable[[EngineNode], None] = lambda node: None
        self.says: Mapping[str, Ended] = {}  # of hosts on which no node can be
        self.fails: BaseException | None = None
        self.tokens: set[str] = set()
        self.words: list[str] = []  # of the nodes' processes, as all users of the machine see them

    def note_words(self, node: EngineNode) -> None:
        self.words.append(Path(f"/proc/{node.task.pid}/cmdline").read_text())

    def members(self) -> Sequence[str]:
        if self.fails is not None:
            raise self.fails
        return list(self.hosts)

    def draining(self) -> Collection[str]:
        return [host for host, stays in self.hosts.items() if not stays]

    def start(self, host: str, config: NodeConfig) -> EngineNode:
        assert "token" not in repr(config)
        words = {"join": config.address, "wait": config.wait}
        words["comes"] = "late" if config.comes else None
        env = {TOKEN_VARIABLE: config.token}
        self.tokens.add(config.token)
        task = LocalNode(config.name, config.incarnation, words, self.handed, env=env)
        self.started.append(EngineNode(host, task))
        self.on_start(self.started[-1])
        return self.started[-1]

    def dead(self, node: EngineNode) -> Ended | None:
        if node.host not in self.hosts:
            node.task.end(0.0)
            return Ended("engine", "its host is gone")
        if node.host in self.says:
            return self.says[node.host]
        cause = node.task.death()
        return None if cause is None else Ended("node", cause)

    def close(self) -> None:
        for node in self.started:
            node.task.end()
        self.handed.close()


def train(
    engine: Hosts, callback: Any = None, *, epochs: int = 3, timeout: float = 6.0, **places: Any
) -> ht.Result:
    given = {**ARGUMENTS, **SETTINGS, "epochs": epochs, "timeout": timeout}
    given |= {"model": model("logistic"), "data": BROUGHT}
    nodes = Nodes(1)
    for name, value in {"wait": 60.0, **places}.items():
        object.__setattr__(nodes, name, value)  # they go with an engine's client alone
    return train_on_nodes(
        lambda told: Placed(engine, nodes, told, is_shown=False),
        {**given, "callbacks": [] if callback is None else [callback]},
        __version__,
    )


def alone(n_epochs: int, *, of: int = 3) -> str:
    """Return the bits of one machine that ends after some epochs of the planned ones."""
    given = {**SETTINGS, "epochs": of, "progress": False}
    stop = [lambda record: record.epoch == n_epochs]
    return bits(ht.train(model("logistic"), data("logistic"), **given, callbacks=stop))


@pytest.mark.parametrize("has_network", [False, True])
def test_the_run_begins_with_every_host_and_at_most_max_nodes(
    monkeypatch: pytest.MonkeyPatch, has_network: bool
) -> None:
    if has_network:
        monkeypatch.setattr(placing, "is_local", lambda address: False)
    engine = Hosts("a", "b", "c")
    engine.on_start = engine.note_words
    result = train(engine, max_nodes=2)
    [token] = engine.tokens
    assert (len(token) > 50) == has_network
    assert not has_network or not any(token in words for words in engine.words)
    assert bits(result) == alone(3)
    [line] = result.settings["nodes"]["lines"]
    assert line.startswith("2 nodes: ")
    assert "c" not in line.removeprefix("2 nodes: ").split(", ")


def test_hosts_that_come_go_and_drain_change_the_nodes_between_steps(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "hybridtrain.nodes.driving")
    engine = Hosts("a", "b")
    acts = iter(
        [
            ("2 nodes: ", lambda: engine.hosts.pop("a")),
            ("a left: its host is gone", lambda: engine.hosts.update(c=True)),
            ("node c came", lambda: engine.hosts.update(b=False)),
            ("b left: its machine is taken away", lambda: engine.hosts.update(d=True)),
            ("node d came", lambda: None),
        ]
    )
    pending = [next(acts)]

    def on_epoch(record: ht.EpochRecord) -> bool:
        del record
        if pending[0][0] in caplog.text:
            pending[0][1]()
            pending[0] = next(acts, ("\0", lambda: None))
        return pending[0][0] == "\0"

    result = train(engine, on_epoch, epochs=100_000)
    assert bits(result) == alone(len(result.history), of=100_000)
    assert [node.host for node in engine.started] == ["a", "b", "c", "d"]
    assert engine.started[1].task.wait(10.0) is not None  # it was told to end


def test_a_host_that_is_lost_before_the_run_is_replaced() -> None:
    engine = Hosts("a", "b")

    def lose_first(node: EngineNode) -> None:
        if node.host == "a":
            del engine.hosts["a"]
            engine.hosts["c"] = True

    engine.on_start = lose_first
    result = train(engine)
    assert bits(result) == alone(3)
    assert {node.host for node in engine.started} == {"a", "b", "c"}


def test_a_node_that_is_killed_before_the_run_ends_it() -> None:
    engine = Hosts("a")
    engine.on_start = lambda node: os.kill(node.task.pid, signal.SIGKILL)
    with pytest.raises(
        NodesLostError, match=r"node a has ended before the run began: killed \(signal 9"
    ):
        train(engine)


def test_rows_and_engines_that_fail_are_named() -> None:
    engine = Hosts("a")
    engine.says = {"a": Ended("data", "partition 3 is torn")}
    with pytest.raises(InvalidDataError, match="partition 3 is torn"):
        train(engine)
    engine = Hosts("a")
    engine.says = {"a": Ended("engine", "its rows are lost")}
    with pytest.raises(NodesLostError, match=r"engine: no node has begun; .* its rows are lost"):
        train(engine)
    assert len(engine.started) == 3
    with pytest.raises(NodesLostError, match=r"engine: 1 node must begin, after .* has none"):
        train(Hosts(), wait=0.5)
    engine = Hosts("a", "b")

    def fail(record: ht.EpochRecord) -> None:
        engine.fails = engine.fails or ConnectionError("no scheduler")

    with pytest.raises(NodesLostError, match=r"engine of this test did not .* s: no scheduler"):
        train(engine, fail, epochs=100_000, timeout=2.0)
    assert not [each for each in threading.enumerate() if each.name == "hybridtrain-engine"]
