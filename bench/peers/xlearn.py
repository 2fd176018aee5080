"""xLearn's linear model: AdaGrad, lock-free on two threads, in a process of its own.

It reads text only, which is written once and which it turns into its own binary file on
first use; neither is timed. `seconds` is the sum of its log's epochs, in steps of 10 ms;
`whole` is its log's total, most of it reading the binary file. Rows are not normalised,
early stopping is off. Rates of 0.05 to 2 were tried.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np

from bench.data import Dataset
from bench.harness import Sample, Side
from bench.peers import text

_PROGRAM = """
import sys, xlearn
train, test, model, log, rate, epochs = sys.argv[1:]
job = xlearn.create_linear()
job.setTrain(train)
job.setValidate(test)
job.disableEarlyStop()
job.disableNorm()
settings = {"task": "binary", "lr": float(rate), "lambda": 0.0, "epoch": int(epochs), "log": log}
job.fit({**settings, "metric": "acc", "opt": "adagrad", "nthread": 2}, model)
"""
_STEP_S = 0.01  # of its log
_EPOCH = re.compile(r"\d+%\S*\s*\S*\]\S*\s+\d+\s+(\S+)\s+(\S+)\s+(\S+)\s+([\d.]+)")
_TOTAL = re.compile(r"Total time cost: ([\d.]+)")


def side(data: Dataset, *, epochs: int, rate: float) -> Side:
    """Return a side that trains in a process and reads its log."""

    def run() -> Sample:
        train, test = map(str, text.svmlight(data))
        model, log = (str(text.folder / name) for name in ("model", "xlearn_log"))
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, train, test, model, log, str(rate), str(epochs)],
            capture_output=True,
            text=True,
            check=True,
            env={"USER": "nobody", **os.environ},  # it stops without a name
        )
        lines = _EPOCH.findall(done.stdout)
        total = _TOTAL.search(done.stdout)
        if len(lines) != epochs or total is None:
            raise RuntimeError(f"xlearn's log was not understood:\n{done.stdout}{done.stderr}")
        return {
            "loss": float(lines[-1][1]),
            "accuracy": float(lines[-1][2]),
            "margins": np.empty(0),
            "seconds": max(sum(float(line[3]) for line in lines), _STEP_S / 2),
            "whole": float(total[1]),
        }

    return run
