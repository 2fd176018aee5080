"""PyTorch: nn.Linear, CrossEntropyLoss and fused SGD, in processes of their own.

Modes: "one" process with 1 or 2 threads; "hogwild", processes that step on a shared
model (share_memory), one thread each; "ddp", DistributedDataParallel over gloo, one
thread each. Batches are neighbouring rows, which needs no copy, in a random order, and
processes of Hogwild take the next batch that nobody has, so that none waits for a slower
one; DDP's take turns, as each needs an equal number. The rate falls to 0 in equal parts.

Settings, on mnist: the quickest to an accuracy of 0.92 of batches 64 to 1024, rates 0.1
to 2, momentum 0 and 0.9. `seconds` are of the steps alone, after some that are not
counted; `whole` has the start of the processes, which read the rows from files that
were written before.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from bench import softmax
from bench.data import Dataset
from bench.harness import Sample, Side

_WORKER = Path(__file__).with_name("pytorch_worker.py")
_MOST_SECONDS = 600
_WARM_UP = 32  # batches


@dataclass(frozen=True, slots=True)
class Mode:
    """How many processes, each with how many threads; see above."""

    mode: str
    processes: int = 1
    threads: int = 1


def is_there() -> bool:
    """Whether PyTorch is installed."""
    return find_spec("torch") is not None


def write(X: Any, y: Any, folder: Path) -> Path:
    """Write the training rows for the processes, and return the folder."""
    np.save(folder / "X.npy", X)
    np.save(folder / "y.npy", y.astype(np.int64))
    return folder


def warm_up(fit: dict[str, Any]) -> dict[str, Any]:
    """Return a short fit with the settings of another, to go before it."""
    return {**fit, "epochs": 1, "most_batches": _WARM_UP}


def run(rows: Path, mode: Mode, fits: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], float]:
    """Run fits one after the other in the same processes.

    Returns
    -------
    found : list of dict
        What pytorch_worker.py says of each fit, and its coef and intercept.
    whole : float
        Seconds with the start of the processes.
    """
    with tempfile.TemporaryDirectory() as folder:
        job = {"data": str(rows), "fits": fits}
        job |= {"mode": mode.mode, "processes": mode.processes, "threads": mode.threads}
        Path(folder, "job.json").write_text(json.dumps(job))
        started = time.perf_counter()
        lines = _output([sys.executable, str(_WORKER), folder]).splitlines()
        whole = time.perf_counter() - started
        found: list[dict[str, Any]] = json.loads(lines[-1])
        for name in ("coef", "intercept"):
            for one, parameters in zip(found, np.load(Path(folder, f"{name}.npy")), strict=True):
                one[name] = parameters
    return found, whole


def _output(command: list[str]) -> str:
    """Return the standard output of a command; it and its children have ended."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            output, errors = process.communicate(timeout=_MOST_SECONDS)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    assert process.returncode == 0, errors
    return output


def side(data: Dataset, rows: Path, mode: Mode, **fit: Any) -> Side:
    """Return a side that fits once and measures rate, seconds, whole and accuracy."""

    def one() -> Sample:
        (_, found), whole = run(rows, mode, [warm_up(fit), fit])
        rate = found["rows"] / found["seconds"]
        return softmax.measured(data, **found, rate=rate, whole=whole)

    return one
