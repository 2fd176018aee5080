# SPDX-License-Identifier: BSD-3-Clause
"""Which of the ways to several nodes a run takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hybridtrain.errors import MissingPackageError
from hybridtrain.nodes.places import Nodes
from hybridtrain.run.result import Result


def train_at(nodes: Any, arguments: Mapping[str, Any], version: str) -> Result:
    """Train on nodes, wherever they are; optional packages are imported here.

    Parameters
    ----------
    nodes : int, sequence of str, "env", "ray", Client, PlacementGroup or Nodes
    arguments : mapping
        Those of `train`.
    version : str
        Of the package.

    Raises
    ------
    MissingPackageError
        When pyzmq or msgspec is not installed.
    InvalidSettingError, NodesLostError, Exception
        As `train_on_nodes`.
    """
    asked = Nodes.of(nodes)
    try:
        if asked.engine == "dask":
            from hybridtrain.engines.dask_engine import train_at as train_on  # noqa: PLC0415 - optional
        elif asked.engine == "ray":
            from hybridtrain.engines.ray_engine import train_at as train_on  # noqa: PLC0415 - as above
        else:
            from hybridtrain.nodes.hosts import train_at as train_on  # noqa: PLC0415 - as above
    except ImportError as error:
        needed = "Ray, pyzmq and msgspec" if asked.engine == "ray" else "pyzmq and msgspec"
        extra = "ray" if asked.engine == "ray" else "nodes"
        raise MissingPackageError(
            f"nodes need {needed}; pip install 'hybridtrain[{extra}]'"
        ) from error
    return train_on(asked, arguments, version)
