# SPDX-License-Identifier: BSD-3-Clause
"""Small runs on nodes; as a program, a driver that is ended in the middle of one.

    python tests/support/node_runs.py FOLDER
    python tests/support/node_runs.py FOLDER BACKEND NODES
    python tests/support/node_runs.py FOLDER threads "" STRATEGY

The first saves to the folder, kills the node that writes, and then ends itself by SIGTERM. The
second is killed in the middle of an epoch, before the run was ever saved. The third is the first
with another strategy.
"""

from __future__ import annotations

import functools
import hashlib
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

import hybridtrain as ht

ROWS, EPOCHS = 3000, 4
SETTINGS: dict[str, Any] = {"strategy": "sync", "workers": 1, "epochs": EPOCHS, "batch_size": 96}


def node_pids() -> list[int]:
    """Return the processes of the nodes that this process has started."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text(encoding="utf-8", errors="replace")
            if int(stat.rpartition(")")[2].split()[1]) != os.getpid():
                continue
            if b"launch.node_process" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:  # gone meanwhile
            continue
    return sorted(found)


@functools.cache
def data(kind: str) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    if kind == "softmax":
        X = rng.standard_normal((ROWS, 20)).astype(np.float32)
        return X, (X @ rng.standard_normal((20, 3))).argmax(axis=1)
    X = sp.random(ROWS, 500, density=0.03, format="csr", dtype=np.float32, random_state=0)
    return X, X @ rng.standard_normal(500) > 0


def model(kind: str) -> ht.Linear:
    return ht.Linear(loss="softmax" if kind == "softmax" else "logistic", l2=1e-4)


def bits(result: ht.Result) -> str:
    params = (np.asarray(result.params[name]).tobytes() for name in ("coef", "intercept"))
    return hashlib.sha256(b"".join(params)).hexdigest()


EPOCHS_OF_DRIVER, KILLED_IN, ENDED_IN = 100, 5, 60


def _strike(record: ht.EpochRecord) -> None:
    if record.epoch == KILLED_IN:
        os.kill(node_pids()[0], signal.SIGKILL)
    if record.epoch == ENDED_IN:
        os.kill(os.getpid(), signal.SIGTERM)


def _die(record: ht.EpochRecord) -> None:
    if record.epoch == KILLED_IN:
        threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGKILL)).start()


def _drive(folder: str, backend: str = "threads", nodes: str = "", strategy: str = "sync") -> None:
    is_killed = nodes != ""
    given = {**SETTINGS, "epochs": EPOCHS_OF_DRIVER, "strategy": strategy}
    if strategy != "sync":
        del given["batch_size"]
    ht.train(
        model("logistic"),
        data("logistic"),
        **given,
        backend=backend,
        nodes=int(nodes or 2),
        timeout=6.0,
        progress=False,
        checkpoint=ht.Checkpoint(folder, every_seconds=1000.0 if is_killed else 0.05),
        callbacks=[_die if is_killed else _strike],
    )


if __name__ == "__main__":
    _drive(*sys.argv[1:])
