"""joblib with loky: two processes train a part of each epoch, and their parameters are averaged.

A program of killed.py. Softmax regression in NumPy, minibatch descent from the mean of the
last epoch, the rate falling to 0 in equal parts. Settings, on mnist: the most accurate of batches
32 to 128 and rates 0.2 to 1, in as few epochs as bring 0.925.

When a worker is killed, `Parallel` raises TerminatedWorkerError and forgets what the others
have done. Left alone, the program ends there. This one catches it and tries the epoch again,
for which loky starts its processes anew.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from joblib.externals.loky.process_executor import TerminatedWorkerError

WORKERS = 2
Parameters = tuple[Any, Any]  # coef (n_features, n_classes) and intercept


def part(job: dict[str, Any], worker: int, epoch: int, start: Parameters) -> Parameters:
    """Train on a worker's rows of an epoch, and return the parameters."""
    X, y = (np.asarray(np.load(f"{job['data']}/{name}.npy", mmap_mode="r")) for name in "Xy")
    batch, per_epoch = job["batch"], len(X) // job["batch"]
    mine = np.random.default_rng(epoch).permutation(per_epoch)[worker::WORKERS]
    coef, intercept = (array.copy() for array in start)
    each = np.arange(batch)
    for k, position in enumerate(mine):
        done = (epoch + k / len(mine)) / job["epochs"]
        rows = slice(position * batch, (position + 1) * batch)
        margins = X[rows] @ coef + intercept
        margins -= margins.max(axis=1, keepdims=True)
        np.exp(margins, out=margins)
        margins /= margins.sum(axis=1, keepdims=True)
        margins[each, y[rows]] -= 1
        margins *= job["lr"] * (1 - done) / batch
        coef -= X[rows].T @ margins
        intercept -= margins.sum(axis=0)
    return coef, intercept


def pid(seconds: float) -> int:
    """Return a worker's number; it sleeps so that the other one takes the next task."""
    time.sleep(seconds)
    return os.getpid()


def main(folder: str) -> None:
    """Run the job of a folder."""
    job = json.loads(Path(folder, "job.json").read_text())
    X = np.load(f"{job['data']}/X.npy", mmap_mode="r")
    n_classes = int(np.load(f"{job['data']}/y.npy", mmap_mode="r").max()) + 1
    parameters = (np.zeros((X.shape[1], n_classes), np.float32), np.zeros(n_classes, np.float32))
    parallel = joblib.Parallel(n_jobs=WORKERS, backend="loky")
    tasks = [joblib.delayed(part)({**job, "epochs": 1}, w, 0, parameters) for w in range(WORKERS)]
    parallel(tasks)  # starts the processes, which import what they need
    victim = parallel(joblib.delayed(pid)(0.1) for _ in range(WORKERS))[-1]
    start = {"at": time.monotonic(), "victim": victim}
    Path(folder, "start.part").write_text(json.dumps(start))
    Path(folder, "start.part").rename(Path(folder, "start.json"))
    errors, epoch = 0, 0
    while epoch < job["epochs"]:
        tasks = [joblib.delayed(part)(job, w, epoch, parameters) for w in range(WORKERS)]
        try:
            found = parallel(tasks)
        except TerminatedWorkerError:
            errors += 1
            continue
        parameters = tuple(np.mean(arrays, axis=0) for arrays in zip(*found, strict=True))
        epoch += 1
    at = time.monotonic()
    np.save(f"{folder}/coef.npy", parameters[0].T)
    np.save(f"{folder}/intercept.npy", parameters[1])
    fate = "TerminatedWorkerError, caught by hand; the epoch is tried again" if errors else ""
    rows = job["epochs"] * (len(X) // job["batch"]) * job["batch"]
    Path(folder, "end.json").write_text(json.dumps({"at": at, "rows": rows, "fate": fate}))


if __name__ == "__main__":
    main(sys.argv[1])
