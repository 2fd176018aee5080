# SPDX-License-Identifier: BSD-3-Clause
"""Nodes in the workers of a Dask cluster: a long task in each, which does not leave its worker."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from distributed import Client, wait
from distributed.comm.addressing import get_address_host

from hybridtrain.arguments import shown
from hybridtrain.data.collections import is_collection
from hybridtrain.engines.base import Ended, EngineNode, NodeConfig
from hybridtrain.engines.dask_node import run_node
from hybridtrain.engines.dask_rows import Collections, Held, taken_apart
from hybridtrain.engines.placing import Placed
from hybridtrain.errors import InvalidSettingError
from hybridtrain.nodes.places import Nodes
from hybridtrain.nodes.supervision import train_on_nodes
from hybridtrain.run.result import Result

logger = logging.getLogger(__name__)
_LEAVING = "closing", "closing_gracefully"
_ANSWER_SECONDS = 5.0
_END_SECONDS = 5.0


def train_at(nodes: Any, arguments: Mapping[str, Any], version: str) -> Result:
    """Train on the workers of a Dask cluster; as `train_at` of choosing.py."""
    asked = Nodes.of(nodes)
    is_shown = arguments["progress"] is not False

    def hosts(given: Mapping[str, Any]) -> Placed:
        told, tables = taken_apart(given)
        engine = DaskEngine(_checked(asked.members), tables)
        return Placed(engine, asked, told, is_shown=is_shown)

    return train_on_nodes(hosts, arguments, version)


class DaskEngine:
    """The workers of a Dask cluster, as `Engine`.

    Hosts are the workers that hold partitions, and those that come later; once one is lost, all.
    Rows that are not dask collections may go to any worker.

    Parameters
    ----------
    client : Client
    tables : mapping
        Rows in memory, as of `taken_apart`.

    Raises
    ------
    InvalidDataError
        When the collections cannot be trained on.
    """

    def __init__(self, client: Client, tables: Mapping[str, tuple[Any, ...]]) -> None:
        self._client = client
        self._address = client.scheduler.address
        are_collections = any(is_collection(part) for table in tables.values() for part in table)
        self._rows = (Collections if are_collections else Held)(client, tables)
        self._workers: dict[str, Any] = self._look()
        holders = self._rows.holders()
        self._holders = set(self._workers) if holders is None else holders
        self._without = self._workers.keys() - self._holders
        self._nodes: list[EngineNode] = []
        self._warn_of_open_channel()

    @property
    def name(self) -> str:
        """The cluster."""
        return f"the Dask cluster at {self._address}"

    @property
    def route(self) -> str:
        """An address of the scheduler's machine."""
        host = get_address_host(self._address)
        return f"tcp://[{host}]:9" if ":" in host else f"tcp://{host}:9"

    def members(self) -> Sequence[str]:
        """Return the workers that there are now."""
        self._workers = self._look()
        if not self._holders.issubset(self._workers):
            self._without = set()
        return [each for each in self._workers if each not in self._without]

    def draining(self) -> Collection[str]:
        """Return the workers that are being retired."""
        return [each for each, its in self._workers.items() if its["status"] in _LEAVING]

    def start(self, host: str, config: NodeConfig) -> EngineNode:
        """Submit a node's task to a worker, and to no other."""
        task = self._client.submit(
            run_node,
            host,
            config,
            self._rows.on(host),
            key=f"hybridtrain-node-{config.incarnation:016x}",
            workers=[host],
            allow_other_workers=False,
            pure=False,
            retries=0,
        )
        node = EngineNode(host, task)
        self._nodes.append(node)
        return node

    def dead(self, node: EngineNode) -> Ended | None:
        """Return how a node's task has ended; one whose worker is gone would wait for ever."""
        if node.host not in self._workers:
            node.task.cancel()
            return Ended("engine", "its Dask worker is gone")
        status = node.task.status
        if status == "pending":
            return None
        if status == "finished":
            ended: Ended = node.task.result(timeout=_ANSWER_SECONDS)
            return ended
        if status == "error":
            error = node.task.exception(timeout=_ANSWER_SECONDS)
            return Ended("node", f"its Dask task has failed: {type(error).__name__}: {error}")
        return Ended("engine", f"its Dask task is {status}")

    def close(self) -> None:
        """Wait for the tasks of a run that is over, and cancel the others."""
        tasks = [node.task for node in self._nodes if node.host in self._workers]
        try:
            wait(tasks, timeout=_END_SECONDS)
        except Exception as error:  # some have not ended, were cancelled, or nobody answers
            logger.info("tasks of nodes are cancelled: %r", error)
        try:
            self._client.cancel(tasks)
            self._rows.close()
        except Exception as error:  # the run has ended in its own way
            logger.info("%s does not answer: %r", self.name, error)

    def _look(self) -> dict[str, Any]:
        if self._client.status != "running":
            raise ConnectionError(f"its client is {self._client.status}")
        # Not scheduler_info(): the client replaces what that returns, at times by totals alone.
        identity = self._client.sync(self._client.scheduler.identity, n_workers=-1)
        workers: dict[str, Any] = identity["workers"]
        return workers

    def _warn_of_open_channel(self) -> None:
        addresses = [self._address, *self._workers]
        is_open = not self._address.startswith("tls://")
        if is_open and not all(_is_local(get_address_host(each)) for each in addresses):
            logger.warning(
                "%s is not encrypted: who reads its network gets the token of this run, and the "
                "rows; give the cluster and its client a distributed.Security",
                self.name,
            )


def _is_local(host: str) -> bool:
    return host.startswith("127.") or host in ("::1", "localhost")


def _checked(client: Any) -> Client:
    if client.asynchronous:
        raise InvalidSettingError(
            "nodes must be a Client that waits for answers, got one with asynchronous=True"
        )
    if client.status != "running":
        raise InvalidSettingError(f"nodes must be a connected Client, got {shown(client)}")
    return client
