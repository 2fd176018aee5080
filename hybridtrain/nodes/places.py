# SPDX-License-Identifier: BSD-3-Clause
"""Where the nodes of a run are: the argument `nodes` of `train`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hybridtrain.arguments import is_finite, require_bool, shown
from hybridtrain.errors import InvalidSettingError
from hybridtrain.paths import PathLike, path_text

ENVIRONMENT = "env"
MOST_HERE = 64  # nodes on one machine


@dataclass(frozen=True, slots=True)
class Nodes:
    """Say where the nodes of a run are, and who may take part.

    Parameters
    ----------
    members : int, sequence of str or "env"
        A number: this many nodes on this machine; with `listen`, this many nodes that join from
        other machines by ``hybridtrain node --join HOST:PORT``. Addresses: nodes that were
        started there by ``hybridtrain node --listen HOST:PORT``. "env": the same program runs on
        every machine, started by SLURM, an MPI launcher or torchrun, whose variables are read.
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

    Raises
    ------
    InvalidSettingError
        When an argument is out of range or does not go with another.
    """

    members: int | Sequence[str] | str
    listen: str | None = None
    token_file: PathLike | None = None
    insecure: bool = False
    wait: float = 600.0

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

    @classmethod
    def of(cls, nodes: Any) -> Nodes:
        """Return what the argument `nodes` of `train` says."""
        return nodes if isinstance(nodes, Nodes) else cls(nodes)

    @property
    def n_here(self) -> int | None:
        """The number of nodes on this machine; None: they are elsewhere."""
        is_here = isinstance(self.members, int) and self.listen is None
        return int(self.members) if is_here else None  # type: ignore[arg-type]  # see is_here


def _checked(members: Any, *, is_local: bool) -> Any:
    most = MOST_HERE if is_local else 4096
    if isinstance(members, int) and not isinstance(members, bool) and 1 <= members <= most:
        return members
    if isinstance(members, str) and members == ENVIRONMENT:
        return members
    if isinstance(members, Sequence) and not isinstance(members, str | bytes) and members:
        if len(set(members)) < len(members):
            raise InvalidSettingError(f"nodes names an address twice: {shown(members)}")
        if all(isinstance(each, str) for each in members):
            return tuple(members)
    raise InvalidSettingError(
        f"nodes must be a number of nodes on this machine, 1 to {MOST_HERE}, a list of addresses "
        f'such as ["10.0.0.5:7000"], "env", or ht.Nodes(...), got {shown(members)}'
    )
