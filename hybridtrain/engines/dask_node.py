# SPDX-License-Identifier: BSD-3-Clause
"""What a Dask worker runs: a node in a child process, which ends with the worker or with the task.

The worker's own process answers Dask meanwhile, however long a step takes.
"""

from __future__ import annotations

from typing import Any

from distributed import get_client, get_worker, secede

from hybridtrain.engines.base import Ended, NodeConfig
from hybridtrain.engines.child import run_child
from hybridtrain.engines.dask_rows import Keys, gathered
from hybridtrain.errors import InvalidDataError
from hybridtrain.nodes.local import Handed

MOVED = "moved"


def run_node(host: str, config: NodeConfig, keys: Keys) -> Ended:
    """Be a node of a run, until it is over; a task of its own, that leaves the worker's pool.

    Parameters
    ----------
    host : str
        The address of the worker that the node was made for.
    config : NodeConfig
    keys : mapping
        As of `gathered`.

    Returns
    -------
    Ended
    """
    worker = get_worker()
    if worker.address != host:
        return Ended("engine", MOVED)
    key = worker.get_current_task()
    secede()

    def is_wanted() -> bool:
        task = worker.state.tasks.get(key)
        return task is not None and task.state not in ("cancelled", "released", "forgotten")

    try:
        brought: dict[str, Any] = dict(gathered(keys, get_client()))
    except InvalidDataError as error:
        return Ended("data", str(error))
    except Exception as error:
        return Ended("engine", f"the rows cannot be gathered: {type(error).__name__}: {error}")
    brought["workers"] = config.workers or worker.state.nthreads
    handed = Handed(brought)
    del brought  # the child has its own
    return run_child(config, handed, is_wanted)
