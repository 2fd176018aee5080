"""PyTorch with two processes, of which one may be killed: ``pytorch_killed.py MODE FOLDER``.

A program of killed.py. The model, the optimizer and the settings are those of pytorch.py.

"hogwild": as PyTorch's own example of Hogwild, processes that step on a shared model, each on
every second batch of an epoch, and a parent that joins them. The parent does not look at how
they ended.

"ddp": DistributedDataParallel over gloo, to be started by torchrun with --max-restarts. The
first process saves model, optimizer and epoch at the end of each epoch; when a process dies,
torchrun ends the other and starts both anew, and they go on from the file. They meet through a
file of their own: in torchrun's store they found addresses of the dead processes at times, and
failed until --max-restarts was used up.
"""

from __future__ import annotations

import copy
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed
from torch import nn

PROCESSES = 2
_WARM_UP = 16  # batches of each process


class Rows:
    """The rows of a job, and a process's batches of an epoch: neighbours, in a new order."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.X = torch.from_numpy(np.load(f"{job['data']}/X.npy"))
        self.y = torch.from_numpy(np.load(f"{job['data']}/y.npy"))
        self.batch = job["batch"]
        self.per_epoch = len(self.X) // self.batch // PROCESSES  # batches of each process

    def of_epoch(self, epoch: int, rank: int) -> Iterator[tuple[int, slice]]:
        """Yield the position in the process's run, and the rows of a batch."""
        order = torch.Generator().manual_seed(epoch)
        batches = torch.randperm(PROCESSES * self.per_epoch, generator=order)
        for k, batch in enumerate(batches[rank::PROCESSES].tolist()):
            yield epoch * self.per_epoch + k, slice(batch * self.batch, (batch + 1) * self.batch)

    def model(self) -> nn.Linear:
        """Return a model of zeros."""
        model = nn.Linear(self.X.shape[1], int(self.y.max()) + 1)
        with torch.no_grad():
            for parameters in model.parameters():
                parameters.zero_()
        return model


class Trainer:
    """A model with its optimizer, whose rate falls to 0 in equal parts."""

    def __init__(self, model: nn.Module, rows: Rows, job: dict[str, Any]) -> None:
        self.model, self._rows, self._lr = model, rows, job["lr"]
        self._total = job["epochs"] * rows.per_epoch
        self._loss = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.SGD(
            model.parameters(), self._lr, momentum=job["momentum"], fused=True
        )

    def step(self, position: int, rows: slice) -> None:
        """Make a step on a batch."""
        self.optimizer.param_groups[0]["lr"] = self._lr * (1 - position / self._total)
        self.optimizer.zero_grad()
        self._loss(self.model(self._rows.X[rows]), self._rows.y[rows]).backward()
        self.optimizer.step()

    def warm_up(self, rank: int) -> None:
        """Make some steps that are not counted."""
        for (position, rows), _ in zip(self._rows.of_epoch(0, rank), range(_WARM_UP), strict=False):
            self.step(position, rows)


def write_start(folder: str, victim: int) -> None:
    """Say that training begins, and who may be killed."""
    part = Path(folder, "start.part")
    part.write_text(json.dumps({"at": time.monotonic(), "victim": victim}))
    part.rename(Path(folder, "start.json"))


def write_end(folder: str, model: nn.Linear, *, at: float, rows: int, fate: str) -> None:
    """Write the model, and how the run ended."""
    np.save(f"{folder}/coef.npy", model.weight.detach().numpy())
    np.save(f"{folder}/intercept.npy", model.bias.detach().numpy())
    Path(folder, "end.json").write_text(json.dumps({"at": at, "rows": rows, "fate": fate}))


def hogwild_process(rank: int, job: dict[str, Any], shared: Any, barrier: Any, done: Any) -> None:
    """Be one of the processes of Hogwild; `done` has batches and the last step's time of each."""
    torch.set_num_threads(1)
    rows = Rows(job)
    Trainer(copy.deepcopy(shared), rows, job).warm_up(rank)
    trainer = Trainer(shared, rows, job)
    barrier.wait()
    for epoch in range(job["epochs"]):
        for position, batch in rows.of_epoch(epoch, rank):
            trainer.step(position, batch)
            done[2 * rank], done[2 * rank + 1] = position + 1, time.monotonic()


def hogwild(job: dict[str, Any], folder: str) -> None:
    """Start the processes of Hogwild, and wait for them."""
    rows = Rows(job)
    context = torch.multiprocessing.get_context("spawn")
    barrier, done = context.Barrier(PROCESSES + 1), context.RawArray("d", 2 * PROCESSES)
    model = rows.model()
    model.share_memory()
    processes = [
        context.Process(target=hogwild_process, args=(rank, job, model, barrier, done))
        for rank in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    barrier.wait()
    write_start(folder, processes[-1].pid)
    for process in processes:
        process.join()
    trained = sum(int(batches) for batches in done[::2]) * rows.batch
    is_alone = any(process.exitcode for process in processes)
    fate = "the other goes on; the dead one's rows are missing, and nothing says so"
    write_end(folder, model, at=max(done[1::2]), rows=trained, fate=fate if is_alone else "")


def ddp(job: dict[str, Any], folder: str) -> None:
    """Be one of the processes of DistributedDataParallel."""
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    rank, restarts = int(os.environ["RANK"]), int(os.environ["TORCHELASTIC_RESTART_COUNT"])
    torch.distributed.init_process_group(
        "gloo", f"file://{folder}/rendezvous{restarts}", rank=rank, world_size=PROCESSES
    )
    rows, checkpoint = Rows(job), Path(folder, "checkpoint.pt")
    mine, first = rows.model(), 0
    if restarts == 0:
        Trainer(nn.parallel.DistributedDataParallel(copy.deepcopy(mine)), rows, job).warm_up(rank)
    trainer = Trainer(nn.parallel.DistributedDataParallel(mine), rows, job)
    if checkpoint.exists():
        saved = torch.load(checkpoint)
        mine.load_state_dict(saved["model"])
        trainer.optimizer.load_state_dict(saved["optimizer"])
        first = saved["epoch"]
    torch.distributed.barrier()
    if restarts == 0 and rank == PROCESSES - 1:
        write_start(folder, os.getpid())
    for epoch in range(first, job["epochs"]):
        for position, batch in rows.of_epoch(epoch, rank):
            trainer.step(position, batch)
        if rank == 0:
            optimizer = trainer.optimizer.state_dict()
            state = {"model": mine.state_dict(), "optimizer": optimizer, "epoch": epoch + 1}
            torch.save(state, checkpoint.with_suffix(".part"))
            checkpoint.with_suffix(".part").rename(checkpoint)
    if rank == 0:
        trained = job["epochs"] * PROCESSES * rows.per_epoch * rows.batch
        fate = "torchrun starts both anew; they go on from the last epoch's file"
        write_end(folder, mine, at=time.monotonic(), rows=trained, fate=fate if restarts else "")
    torch.distributed.destroy_process_group()


def main(mode: str, folder: str) -> None:
    """Run the job of a folder."""
    job = json.loads(Path(folder, "job.json").read_text())
    {"hogwild": hogwild, "ddp": ddp}[mode](job, folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
