"""What the machine allows: loops that do only what no training can leave out."""

from __future__ import annotations

import ctypes
import math
import subprocess
import tempfile
import time
from functools import lru_cache
from pathlib import Path

import numpy as np

from bench.data import Dataset
from bench.harness import Side

_SOURCE = Path(__file__).parent / "native" / "limit.c"


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "limit.so"
        flags = ["-O3", "-march=native", "-ffast-math", "-shared", "-fPIC", "-pthread"]
        subprocess.run(["cc", *flags, "-o", path, _SOURCE], check=True)
        library = ctypes.CDLL(str(path))
    library.margins_seconds.restype = ctypes.c_double
    library.margins_seconds.argtypes = [
        *(ctypes.c_int, ctypes.c_long),
        *([ctypes.c_void_p] * 4),
        ctypes.c_int,
    ]
    return library


def margins(data: Dataset, *, threads: int, epochs: int) -> Side:
    """Return a side that reads sparse rows once an epoch and computes their margins, in C."""

    def run() -> dict[str, float]:
        X = data.X
        starts, columns = (np.ascontiguousarray(a, np.int32) for a in (X.indptr, X.indices))
        weights = np.zeros(X.shape[1], np.float32)
        arrays = (a.ctypes.data for a in (starts, columns, X.data, weights))
        seconds = _library().margins_seconds(threads, X.shape[0], *arrays, epochs)
        assert seconds > 0, "a thread could not be started"
        nothing = {"call_rate": math.nan, "loss": math.nan}
        return {"rate": epochs * X.shape[0] / seconds, **nothing}

    return run


def products(data: Dataset) -> Side:
    """Return a side that takes dense rows, an epoch of them, through two products of BLAS."""

    def run() -> dict[str, float]:
        n_classes = int(data.y.max()) + 1
        coef = np.zeros((data.X.shape[1], n_classes), np.float32)
        started = time.perf_counter()
        data.X.T @ (data.X @ coef)
        seconds = time.perf_counter() - started
        nothing = {"whole": math.nan, "accuracy": math.nan}
        return {"rate": len(data.y) / seconds, "seconds": seconds, **nothing}

    return run
