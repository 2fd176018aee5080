# SPDX-License-Identifier: BSD-3-Clause
"""A node in a child process of an engine's worker, which answers its engine meanwhile."""

from __future__ import annotations

import os
from collections.abc import Callable

from hybridtrain.engines.base import Ended, NodeConfig
from hybridtrain.nodes.local import Handed, LocalNode
from hybridtrain.transport.security import TOKEN_VARIABLE

_GLANCE_SECONDS = 0.1
_MOST_BYTES = 4096  # of a reason


def run_child(config: NodeConfig, handed: Handed, is_wanted: Callable[[], bool]) -> Ended:
    """Run a node until its process ends, or is wanted no more.

    Parameters
    ----------
    config : NodeConfig
    handed : Handed
        What the node's own `train` is given beside what the driver says; closed afterwards.
    is_wanted : function
        Whether the engine still asks for the node.

    Returns
    -------
    Ended
    """
    why = os.memfd_create("hybridtrain-why")
    node = None
    try:
        words = {
            "join": config.address,
            "wait": config.wait,
            "why": why,
            "comes": "late" if config.comes else None,
        }
        env = {TOKEN_VARIABLE: config.token}
        node = LocalNode(config.name, config.incarnation, words, handed, env=env, fds=[why])
        while node.wait(_GLANCE_SECONDS) is None:
            if not is_wanted():
                return Ended("engine", "the driver has cancelled its task")
        said = os.pread(why, _MOST_BYTES, 0).decode("utf-8", "replace")
        return Ended("node", said or str(node.death()))
    finally:
        if node is not None:
            node.end(0.0)
        os.close(why)
        handed.close()
