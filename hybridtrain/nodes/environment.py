# SPDX-License-Identifier: BSD-3-Clause
"""What SLURM, MPI launchers and torchrun tell a process by variables; no other file reads them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import NamedTuple

from hybridtrain.errors import InvalidSettingError

ADDRESS_VARIABLE = "HYBRIDTRAIN_ADDRESS"
_FIRST_PORT, _N_PORTS = 20_000, 10_000  # of SLURM jobs, by their number
_RANKS = (  # launcher, rank, number of processes; the first that is set counts
    ("torchrun", "RANK", "WORLD_SIZE"),
    ("Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("MPICH", "PMI_RANK", "PMI_SIZE"),
    ("SLURM", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
    ("SLURM", "SLURM_PROCID", "SLURM_NTASKS"),
)


class Place(NamedTuple):
    """Say where this process is among those that a launcher has started.

    Attributes
    ----------
    rank : int
        0 .. size - 1; rank 0 is also the driver.
    size : int
    address : str
        "HOST:PORT", where rank 0 listens.
    """

    rank: int
    size: int
    address: str


def place_of(variables: Mapping[str, str] = os.environ) -> Place:
    """Return the place that the variables of a launcher say; those of this process.

    HYBRIDTRAIN_ADDRESS says where rank 0 listens. Without it this is the port after torchrun's
    own (MASTER_ADDR, MASTER_PORT), or the first machine of the SLURM job, at a port that follows
    from the job's number.

    Raises
    ------
    InvalidSettingError
        When they are missing, or contradict each other.
    """
    for launcher, rank_name, size_name in _RANKS:
        if rank_name in variables and size_name in variables:
            rank, size = _number(variables, rank_name), _number(variables, size_name)
            if rank >= size:
                raise InvalidSettingError(
                    f"{launcher} says {rank_name}={rank}, which must be below {size_name}={size}"
                )
            return Place(rank, size, _address(variables, launcher))
    raise InvalidSettingError(
        'nodes="env" needs the variables of a launcher (torchrun: RANK and WORLD_SIZE, Open MPI: '
        "OMPI_COMM_WORLD_RANK and _SIZE, MPICH: PMI_RANK and PMI_SIZE, SLURM: SLURM_PROCID and "
        "SLURM_NTASKS), and found none: start the program with srun, mpiexec or torchrun"
    )


def _address(variables: Mapping[str, str], launcher: str) -> str:
    if given := variables.get(ADDRESS_VARIABLE):
        return given
    if "MASTER_ADDR" in variables and "MASTER_PORT" in variables:
        port = _number(variables, "MASTER_PORT") + 1  # torchrun listens at MASTER_PORT itself
        return f"{variables['MASTER_ADDR']}:{port}"
    hosts = variables.get("SLURM_STEP_NODELIST") or variables.get("SLURM_JOB_NODELIST")
    if hosts and "SLURM_JOB_ID" in variables:
        port = _FIRST_PORT + _number(variables, "SLURM_JOB_ID") % _N_PORTS
        return f"{first_host(hosts)}:{port}"
    raise InvalidSettingError(
        f"{launcher} does not say where rank 0 is reached: set {ADDRESS_VARIABLE}=HOST:PORT to the "
        "same value on every machine"
    )


def first_host(hosts: str) -> str:
    """Return the first host of a SLURM list.

    Examples
    --------
    >>> first_host("node[007-012,20],login1"), first_host("a,b"), first_host("r[1-2]n[3-4]")
    ('node007', 'a', 'r1n3')
    """
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])*", hosts)
    return re.sub(r"\[([^\],-]*)[^\]]*\]", r"\1", first[0] if first else "")


def _number(variables: Mapping[str, str], name: str) -> int:
    text = variables[name]
    if not (text.isascii() and text.isdigit()):
        raise InvalidSettingError(f"{name} must be a whole number >= 0, got {text!r}")
    return int(text)
