"""Train a linear softmax model with PyTorch: ``python pytorch_worker.py FOLDER``.

FOLDER has job.json, the fields of `Job`. Afterwards it has coef.npy and intercept.npy
with the parameters of each fit, and the last line of standard output is JSON, for each
fit: `seconds` from when all processes are ready until the last step, `end`, that step on
the clock of time.perf_counter, `rows`, trained in all epochs, and `slowed`, how many
times as long the last process took for its pauses.

It imports nothing of bench, so that fresh processes import no more than they need.
"""

from __future__ import annotations

import copy
import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed
from torch import nn


@dataclass(frozen=True, slots=True)
class Fit:
    """One fit from nothing; the learning rate falls to 0 in equal parts.

    The last process sleeps, after each step, slow - 1 times the step's processor time.
    """

    epochs: int
    batch: int  # rows of one step of one process
    lr: float
    momentum: float = 0.0
    slow: float = 1.0
    most_batches: int | None = None  # of all processes


@dataclass(frozen=True, slots=True)
class Job:
    """Fits, one after the other, in the same processes."""

    data: str  # a folder with X.npy, float32, and y.npy, int64
    mode: str  # "one", "hogwild" or "ddp"
    processes: int
    threads: int  # of each process
    fits: list[Fit]


class Batches:
    """The batches of a fit: neighbouring rows, in a new order for each epoch.

    Processes of DDP take turns, others take the next one that nobody has.
    """

    def __init__(self, fit: Fit, n_rows: int, rank: int, job: Job, taken: Any) -> None:
        self._per_epoch = n_rows // fit.batch
        self.total = min(fit.epochs * self._per_epoch, fit.most_batches or sys.maxsize)
        self._rows = fit.batch
        self._stride = job.processes if job.mode == "ddp" else 0
        if self._stride:
            self.total -= self.total % self._stride
        self._next = rank
        self._taken = taken
        self._epoch = -1

    def __iter__(self) -> Any:
        """Yield the position in the run and the rows of batches."""
        while (position := self._claim()) < self.total:
            epoch, k = divmod(position, self._per_epoch)
            if epoch != self._epoch:
                order = torch.Generator().manual_seed(epoch)
                self._order = torch.randperm(self._per_epoch, generator=order).tolist()
                self._epoch = epoch
            first = self._order[k] * self._rows
            yield position, slice(first, first + self._rows)

    def _claim(self) -> int:
        if self._stride:
            self._next += self._stride
            return self._next - self._stride
        with self._taken.get_lock():
            self._taken.value += 1
            return int(self._taken.value) - 1


@dataclass(slots=True)
class Shared:
    """What the processes share."""

    model: nn.Linear
    taken: Any  # batches so far, a counter with a lock
    barrier: Any
    times: Any  # start, end, pauses and processor time of each process


def work(rank: int, job: Job, folder: str, shared: Shared) -> None:
    """Be one of the processes."""
    torch.set_num_threads(job.threads)
    X = torch.from_numpy(np.load(f"{job.data}/X.npy"))
    y = torch.from_numpy(np.load(f"{job.data}/y.npy"))
    mine = shared.model
    model: nn.Module = mine
    if job.mode == "ddp":
        mine = copy.deepcopy(mine)  # what is passed to a process is in shared memory
        rendezvous = f"file://{folder}/rendezvous"
        torch.distributed.init_process_group(
            "gloo", rendezvous, rank=rank, world_size=job.processes
        )
        model = nn.parallel.DistributedDataParallel(mine)
    coefs, intercepts, found = [], [], []
    for fit in job.fits:
        shared.barrier.wait()
        with torch.no_grad():
            for parameters in mine.parameters():
                parameters.zero_()
        shared.taken.value = 0
        shared.barrier.wait()
        my_fit = fit if rank == job.processes - 1 else replace(fit, slow=1.0)
        batches = Batches(fit, len(X), rank, job, shared.taken)
        shared.times[4 * rank : 4 * rank + 4] = train(model, my_fit, batches, X, y)
        shared.barrier.wait()
        coefs.append(mine.weight.detach().numpy().copy())
        intercepts.append(mine.bias.detach().numpy().copy())
        times = np.reshape(shared.times[:], (job.processes, 4))
        end, (*_, paused, busy) = times[:, 1].max(), times[-1]
        seconds, slowed = end - times[:, 0].max(), 1 + paused / busy
        rows = batches.total * fit.batch
        found.append({"seconds": seconds, "end": end, "rows": rows, "slowed": slowed})
    if rank == 0:
        np.save(f"{folder}/coef.npy", coefs)
        np.save(f"{folder}/intercept.npy", intercepts)
        print(json.dumps(found), flush=True)
    if job.mode == "ddp":
        torch.distributed.destroy_process_group()


def train(
    model: nn.Module, fit: Fit, batches: Batches, X: torch.Tensor, y: torch.Tensor
) -> list[float]:
    """Train, and return start and end, and the seconds of pauses and of the processor."""
    optimizer = torch.optim.SGD(model.parameters(), fit.lr, momentum=fit.momentum, fused=True)
    loss_of = nn.CrossEntropyLoss()
    paused, busy = 0.0, time.thread_time()
    started = ended = time.perf_counter()
    before = busy
    for position, rows in batches:
        optimizer.param_groups[0]["lr"] = fit.lr * (1 - position / batches.total)
        optimizer.zero_grad()
        loss_of(model(X[rows]), y[rows]).backward()
        optimizer.step()
        ended = time.perf_counter()
        if fit.slow > 1:
            time.sleep((fit.slow - 1) * (time.thread_time() - before))
            paused += time.perf_counter() - ended
            before = time.thread_time()
    return [started, ended, paused, time.thread_time() - busy]


def main(folder: str) -> None:
    """Run the job of a folder."""
    fields = json.loads(Path(folder, "job.json").read_text())
    job = Job(**{**fields, "fits": [Fit(**fit) for fit in fields["fits"]]})
    n_features = np.load(f"{job.data}/X.npy", mmap_mode="r").shape[1]
    n_classes = int(np.load(f"{job.data}/y.npy", mmap_mode="r").max()) + 1
    context = torch.multiprocessing.get_context("spawn")
    shared = Shared(
        nn.Linear(n_features, n_classes),
        context.Value("q", 0),
        context.Barrier(job.processes),
        context.Array("d", 4 * job.processes),
    )
    if job.mode == "one":
        work(0, job, folder, shared)
        return
    if job.mode == "hogwild":
        shared.model.share_memory()
    torch.multiprocessing.spawn(work, (job, folder, shared), job.processes)


if __name__ == "__main__":
    main(sys.argv[1])
