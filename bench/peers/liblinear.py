"""LIBLINEAR through its own Python package (liblinear-multicore).

Solver 0 (trust-region Newton, parallel with -m) or 7 (dual coordinate descent); C is
1 / (l2 * rows), the intercept a penalised feature (-B 1). `problem` copies the rows
into LIBLINEAR's nodes: that counts in `whole`, not in `seconds`.
"""

from __future__ import annotations

import time

import numpy as np

from bench.data import Dataset
from bench.harness import Sample, Side
from bench.ours import L2, measured


def side(
    data: Dataset, *, tolerance: float, l2: float = L2, solver: int = 0, threads: int = 2
) -> Side:
    """Return a side that converts and fits to a tolerance (-e)."""
    from liblinear import liblinearutil  # noqa: PLC0415 - a peer that may be missing

    cost = 1 / (l2 * len(data.y))
    options = f"-s {solver} -c {cost!r} -e {tolerance!r} -B 1 -q"
    if solver == 0:
        options += f" -m {threads}"

    def run() -> Sample:
        started = time.perf_counter()
        problem = liblinearutil.problem(data.y, data.X, 1)
        converted = time.perf_counter()
        model = liblinearutil.train(problem, liblinearutil.parameter(options))
        ended = time.perf_counter()
        n_features = data.X.shape[1]
        weights, intercept = model.get_decfun()
        weights = np.array(weights[:n_features])
        margins = data.X_test[:, : len(weights)] @ weights + intercept
        return measured(margins, data, seconds=ended - converted, whole=ended - started)

    return run
