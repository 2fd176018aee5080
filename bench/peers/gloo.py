"""PyTorch's torch.distributed with gloo: barrier, and all_reduce in place.

Each process has a vector of its own and one thread of PyTorch. They meet through a file,
and speak over the loopback interface, which is what gloo has between processes.
"""

from __future__ import annotations

import sys
import tempfile
from importlib.util import find_spec

from bench.peers.steps import Peer, Vectors, Worker, fork

PEER = Peer("gloo", "" if find_spec("torch") else "torch", environment={"GLOO_SOCKET_IFNAME": "lo"})


def main(workers: int, work: list[str]) -> None:
    """Time the steps; torch is imported once, before the processes part."""
    import torch  # noqa: PLC0415 - a peer that may be missing
    from torch import distributed  # noqa: PLC0415

    def vectors(n: int) -> Vectors:
        vector = torch.zeros(n)
        return vector, vector, lambda: distributed.all_reduce(vector)

    def run(rank: int) -> None:
        torch.set_num_threads(1)
        distributed.init_process_group(
            "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=workers
        )
        Worker(rank, workers, distributed.barrier, vectors).measure(work, torch.__version__)
        distributed.destroy_process_group()

    with tempfile.TemporaryDirectory() as folder:
        fork(workers, run)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
