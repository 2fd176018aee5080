# SPDX-License-Identifier: BSD-3-Clause
"""Where the nodes of a run are: the argument `nodes` of `train`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from hybridtrain.arguments import is_finite, is_instance, require_bool, require_int, shown
from hybridtrain.errors import InvalidSettingError
from hybridtrain.paths import PathLike, path_text

ENVIRONMENT, RAY = "env", "ray"
MOST_HERE = 64  # nodes on one machine
_DASK_CLIENT = "distributed.client.Client"
_RAY_GROUP = "ray.util.placement_group.PlacementGroup"


class DaskClient(Protocol):
    """A `dask.distributed.Client`: Dask is imported only by who has one."""

    def scheduler_info(self, n_workers: int = -1, **kwargs: Any) -> Any:
        """Return what the scheduler knows of its workers."""

    def submit(self, func: Any, *args: Any, **kwargs: Any) -> Any:
        """Run a function on a worker."""


class RayGroup(Protocol):
    """A `ray.util.placement_group.PlacementGroup`: Ray is imported only by who has one."""

    @property
    def bundle_count(self) -> int:
        """The number of its bundles."""

    def wait(self, timeout_seconds: float = 30) -> bool:
        """Wait until it is placed."""


@dataclass(frozen=True, slots=True)
class Nodes:
    """Say where the nodes of a run are, and who may take part.

    Parameters
    ----------
    members : int, sequence of str, "env", "ray", PlacementGroup or dask.distributed.Client
        A number: this many nodes on this machine; with `listen`, this many nodes that join from
        other machines by ``hybridtrain node --join HOST:PORT``. Addresses: nodes that were
        started there by ``hybridtrain node --listen HOST:PORT``. "env": the same program runs on
        every machine, started by SLURM, an MPI launcher or torchrun, whose variables are read.
        A client: nodes within the workers of its Dask cluster. "ray": one on each machine of the
        Ray cluster that this program is connected to. A placement group of Ray: in each bundle.
    listen : str, optional
        "HOST:PORT", an address of this machine that the nodes reach; "*": any free port. None,
        with addresses: the one that the route to the first node leaves from.
    token_file : path, optional
        A file of mode 0600 with the token that all nodes have. None: the environment variable
        HYBRIDTRAIN_TOKEN, if it is set.
    insecure : bool
        Whether to go without a token beyond this machine: anybody who reaches an address may
        then take part, and all traffic can be read.
    wait : float
        Greater than 0: the seconds for which nodes are waited for before the run.
    min_nodes : int
        At least 1, of an engine's nodes: with fewer the run does not begin, and waits, for
        `timeout` of `train` at most.
    max_nodes : int, optional
        At least `min_nodes`: of an engine's nodes at the same time. None: one on each host.

    Raises
    ------
    InvalidSettingError
        When an argument is out of range or does not go with another.
    """

    members: int | Sequence[str] | str | DaskClient | RayGroup
    listen: str | None = None
    token_file: PathLike | None = None
    insecure: bool = False
    wait: float = 600.0
    min_nodes: int = 1
    max_nodes: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", _checked(self.members, is_local=self.listen is None))
        if self.listen is not None and not (isinstance(self.listen, str) and self.listen):
            raise InvalidSettingError(f'listen must be "HOST:PORT", got {shown(self.listen)}')
        if self.token_file is not None:
            object.__setattr__(self, "token_file", path_text(self.token_file))
        require_bool("insecure", self.insecure)
        if not is_finite(self.wait) or self.wait <= 0:
            raise InvalidSettingError(f"wait must be > 0 seconds, got {shown(self.wait)}")
        if self.insecure and self.token_file is not None:
            raise InvalidSettingError("insecure=True goes without a token: leave token_file out")
        if self.members == ENVIRONMENT and self.listen is not None:
            raise InvalidSettingError(
                'nodes="env" listens where the launcher says; set HYBRIDTRAIN_ADDRESS=HOST:PORT on '
                "every machine instead of listen"
            )
        require_int("min_nodes", self.min_nodes, least=1)
        if self.max_nodes is not None:
            require_int("max_nodes", self.max_nodes, least=self.min_nodes)
        if self.engine is None and (self.min_nodes, self.max_nodes) != (1, None):
            raise InvalidSettingError("min_nodes and max_nodes go with an engine: Dask or Ray")
        if self.engine is not None and (self.insecure or self.token_file is not None):
            raise InvalidSettingError(
                "a run of an engine draws a token of its own: leave token_file and insecure out"
            )

    @classmethod
    def of(cls, nodes: Any) -> Nodes:
        """Return what the argument `nodes` of `train` says."""
        return nodes if isinstance(nodes, Nodes) else cls(nodes)

    @property
    def engine(self) -> str | None:
        """Who starts the nodes: "dask" or "ray"; None: no engine."""
        if is_instance(self.members, _DASK_CLIENT):
            return "dask"
        is_ray = self.members == RAY or is_instance(self.members, _RAY_GROUP)
        return "ray" if is_ray else None

    @property
    def n_here(self) -> int | None:
        """The number of nodes on this machine; None: they are elsewhere."""
        is_here = isinstance(self.members, int) and self.listen is None
        return int(self.members) if is_here else None  # type: ignore[arg-type]  # see is_here


def _checked(members: Any, *, is_local: bool) -> Any:
    if is_instance(members, _DASK_CLIENT) or is_instance(members, _RAY_GROUP):
        return members
    most = MOST_HERE if is_local else 4096
    if isinstance(members, int) and not isinstance(members, bool) and 1 <= members <= most:
        return members
    if isinstance(members, str) and members in (ENVIRONMENT, RAY):
        return members
    if isinstance(members, Sequence) and not isinstance(members, str | bytes) and members:
        if len(set(members)) < len(members):
            raise InvalidSettingError(f"nodes names an address twice: {shown(members)}")
        if all(isinstance(each, str) for each in members):
            return tuple(members)
    raise InvalidSettingError(
        f"nodes must be a number of nodes on this machine, 1 to {MOST_HERE}, a list of addresses "
        'such as ["10.0.0.5:7000"], "env", "ray", a dask.distributed.Client, a placement group of '
        f"Ray or ht.Nodes(...), got {shown(members)}"
    )
