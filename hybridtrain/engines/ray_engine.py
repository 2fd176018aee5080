# SPDX-License-Identifier: BSD-3-Clause
"""Nodes on the machines of a Ray cluster: an actor on each, or in each bundle of a group."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import ray
from ray.util import placement_group_table
from ray.util.scheduling_strategies import (
    NodeAffinitySchedulingStrategy,
    PlacementGroupSchedulingStrategy,
)

from hybridtrain.engines.base import Ended, EngineNode, NodeConfig
from hybridtrain.engines.placing import Placed
from hybridtrain.engines.ray_node import RayNode
from hybridtrain.engines.ray_rows import Tables, stored
from hybridtrain.errors import InvalidSettingError
from hybridtrain.nodes.places import RAY, Nodes
from hybridtrain.nodes.supervision import train_on_nodes
from hybridtrain.run.result import Result

logger = logging.getLogger(__name__)
_END_SECONDS = 5.0
_SHORT = 6  # digits of a machine's number


def train_at(nodes: Any, arguments: Mapping[str, Any], version: str) -> Result:
    """Train on the machines of a Ray cluster; as `train_at` of choosing.py."""
    asked = Nodes.of(nodes)
    is_shown = arguments["progress"] is not False

    def hosts(given: Mapping[str, Any]) -> Placed:
        if not ray.is_initialized():
            ray.init()  # as Ray's own libraries do: RAY_ADDRESS, or a cluster of this machine
        told, tables = stored(given)
        group = None if asked.members == RAY else asked.members
        engine = RayEngine(group, tables, given["workers"])
        return Placed(engine, asked, told, is_shown=is_shown)

    return train_on_nodes(hosts, arguments, version)


class _Place(NamedTuple):
    """Where a node may run.

    Attributes
    ----------
    machine : str
        Ray's number of it.
    n_cpus : int
        That Ray has for nodes there.
    n_free : int
        Of these.
    bundle : int or None
        Of the placement group; None: anywhere on the machine.
    """

    machine: str
    n_cpus: int
    n_free: int
    bundle: int | None


class RayEngine:
    """The machines of a Ray cluster, as `Engine`.

    Hosts are the machines whose CPUs are free for a node; of a placement group its bundles.

    Parameters
    ----------
    group : PlacementGroup or None
    tables : mapping
        As of `stored`.
    workers : int or None
        Of each node; None: one for each free CPU of its machine.

    Raises
    ------
    InvalidSettingError
        When no machine or bundle has so many CPUs, or the group has been removed.
    """

    def __init__(self, group: Any, tables: Tables, workers: int | None) -> None:
        self._group = group
        self._tables = tables
        self._address = ray.get_runtime_context().gcs_address
        self._actor = ray.remote(RayNode)
        self._places: dict[str, _Place] = {}
        self._draining: set[str] = set()
        self._nodes: list[EngineNode] = []
        self._need = workers or 1
        self.members()
        self._require_cpus()
        self._warn_of_open_channel()

    @property
    def name(self) -> str:
        """The cluster."""
        return f"the Ray cluster at {self._address}"

    @property
    def route(self) -> str:
        """The address of the head's machine."""
        return f"tcp://{self._address}"

    def members(self) -> Sequence[str]:
        """Return the machines, or bundles, that there are now."""
        try:
            machines = {each["NodeID"]: each for each in ray.nodes() if each["Alive"]}
            # What Ray's own libraries ask; Ray has no public name for either.
            self._draining = set(ray._private.state.state.get_draining_nodes())
            free = ray._private.state.available_resources_per_node()
            self._places = self._found(machines, free)
        except ray.exceptions.RayError as error:
            raise ConnectionError(str(error)) from error
        # An actor that had to wait for CPUs would hold up the run.
        return [host for host, its in self._places.items() if its.n_free >= self._need]

    def draining(self) -> Collection[str]:
        """Return the hosts on machines that Ray will lose, such as preempted ones."""
        return [host for host, its in self._places.items() if its.machine in self._draining]

    def start(self, host: str, config: NodeConfig) -> EngineNode:
        """Start an actor on a host; it has as many CPUs of Ray's as the node has workers."""
        place = self._places[host]
        workers = config.workers or place.n_free
        if place.bundle is None:
            where = NodeAffinitySchedulingStrategy(place.machine, soft=False)
        else:
            where = PlacementGroupSchedulingStrategy(self._group, place.bundle)
        # Ray does not start it again: a node that comes has another incarnation.
        options = {"num_cpus": workers, "max_restarts": 0, "scheduling_strategy": where}
        actor = self._actor.options(**options).remote()
        node = EngineNode(host, (actor, actor.run.remote(config, self._tables, workers)))
        self._nodes.append(node)
        return node

    def dead(self, node: EngineNode) -> Ended | None:
        """Return how a node's actor has ended; one whose machine is gone would wait for ever."""
        if node.host not in self._places:
            return Ended("engine", "its Ray machine is gone")
        actor, task = node.task
        ready, _ = ray.wait([task], timeout=0)
        if not ready:
            return None
        ray.kill(actor)  # it would keep its CPUs from the next node
        return _end_of(task)

    def close(self) -> None:
        """Wait for the actors of a run that is over, then end them all."""
        if not (self._nodes and ray.is_initialized()):
            return
        try:
            actors, tasks = zip(*(node.task for node in self._nodes), strict=True)
            ray.wait(list(tasks), num_returns=len(tasks), timeout=_END_SECONDS)
            for actor in actors:
                ray.kill(actor)
        except Exception as error:  # the run has ended in its own way
            logger.info("%s does not answer: %r", self.name, error)

    def _found(self, machines: Mapping[str, Any], free: Mapping[str, Any]) -> dict[str, _Place]:
        """Return the hosts by name: Ray's number, and behind "//" what users see."""
        if self._group is None:
            return {
                f"{number}//{_shown(its)}": _Place(
                    number, _cpus(its["Resources"]), _cpus(free.get(number, {})), None
                )
                for number, its in machines.items()
            }
        table = placement_group_table(self._group)
        if table["state"] == "REMOVED":
            raise InvalidSettingError("the placement group has been removed: make another one")
        return {
            f"{k}//{_shown(machines[number])}/{k}": _Place(
                number, _cpus(table["bundles"][k]), _cpus(table["bundles"][k]), k
            )
            for k, number in table["bundles_to_node_id"].items()
            if number in machines
        }

    def _require_cpus(self) -> None:
        most = max((its.n_cpus for its in self._places.values()), default=None)
        if most is not None and most < self._need:
            what = "machine" if self._group is None else "bundle of the placement group"
            raise InvalidSettingError(
                f"a node needs {self._need} CPUs of {self.name}, and no {what} has more than "
                f"{most}; set fewer workers, or give Ray more CPUs"
            )

    def _warn_of_open_channel(self) -> None:
        machines = {each["NodeManagerAddress"] for each in ray.nodes()}
        if len(machines) > 1 and os.environ.get("RAY_USE_TLS", "0") != "1":
            logger.warning(
                "%s is not encrypted: who reads its network gets the token of this run, and the "
                "rows; start Ray with RAY_USE_TLS=1",
                self.name,
            )


def _cpus(resources: Mapping[str, float]) -> int:
    return int(resources.get("CPU", 0))


def _shown(machine: Mapping[str, Any]) -> str:
    return f"{machine['NodeManagerAddress']}:{machine['NodeID'][:_SHORT]}"


def _end_of(task: Any) -> Ended:
    try:
        ended: Ended = ray.get(task)
    except ray.exceptions.RayActorError as error:
        return Ended("engine", f"its Ray actor has ended: {_first_line(error)}")
    except ray.exceptions.RayTaskError as error:
        return Ended("node", f"its Ray actor has failed: {_first_line(error.cause or error)}")
    except ray.exceptions.RayError as error:
        return Ended("engine", f"{type(error).__name__}: {_first_line(error)}")
    return ended


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
