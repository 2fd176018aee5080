# SPDX-License-Identifier: BSD-3-Clause
"""What a Ray actor runs: a node in a child process, which ends with the actor."""

from __future__ import annotations

from typing import Any

from hybridtrain.engines.base import Ended, NodeConfig
from hybridtrain.engines.child import run_child
from hybridtrain.engines.ray_rows import Tables, gathered
from hybridtrain.errors import InvalidDataError
from hybridtrain.nodes.local import Handed


class RayNode:
    """Hold a node on the machine where Ray has placed this actor."""

    def run(self, config: NodeConfig, tables: Tables, workers: int) -> Ended:
        """Be a node of a run, until it is over.

        Parameters
        ----------
        config : NodeConfig
        tables : mapping
            As of `gathered`.
        workers : int
            Of the node.

        Returns
        -------
        Ended
        """
        try:
            brought: dict[str, Any] = dict(gathered(tables))
        except InvalidDataError as error:
            return Ended("data", str(error))
        except Exception as error:
            return Ended("engine", f"the rows cannot be gathered: {type(error).__name__}: {error}")
        brought["workers"] = workers
        handed = Handed(brought)
        del brought  # the child has its own
        return run_child(config, handed, lambda: True)
