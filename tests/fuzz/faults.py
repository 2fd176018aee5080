# SPDX-License-Identifier: BSD-3-Clause
"""Cases that break the contract, each in one way: the fuzzers must say so. No part of a run."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from fuzz.contract import Allowed, check_model, fingerprint, require
from fuzz.draw import Draw

import hybridtrain as ht


def _train() -> ht.Result:
    X = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)
    return ht.train(ht.Linear(), (X, X[:, 0] > 0), workers=1, epochs=2, progress=False)


def _crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _hang() -> None:
    time.sleep(60)


def _raw() -> None:
    raise IndexError("list index out of range")


def _warn() -> None:
    warnings.warn("overflow", RuntimeWarning, stacklevel=2)


def _thread() -> None:
    threading.Thread(target=time.sleep, args=(4,)).start()


def _file() -> None:
    tempfile.mkstemp()


def _child() -> None:
    os.spawnlp(os.P_NOWAIT, "true", "true")


def _memory() -> None:
    np.ones(1 << 27)


def _not_finite() -> None:
    result = _train()
    result.params["coef"][1] = np.nan
    check_model(result)


def _other_bits() -> None:
    result = _train()
    before = fingerprint(result)
    result.params["coef"][1] += 1
    require(fingerprint(result) == before, "other bits")


def _sound() -> None:
    check_model(_train(), np.eye(3, dtype=np.float32), n_rows=20)


FAULTS: tuple[tuple[Callable[[], None], str], ...] = (
    (_sound, ""),
    (_crash, "the process ended with -11"),
    (_hang, "hangs for"),
    (_raw, "raw IndexError"),
    (_warn, "raw RuntimeWarning"),
    (_thread, "threads are left"),
    (_file, "temporary files are left"),
    (_child, "a child process is left"),
    (_memory, "MB more than any before"),
    (_not_finite, "coef is not finite"),
    (_other_bits, "other bits"),
)


def case(draw: Draw, place: Path) -> tuple[Callable[[], None], Allowed]:
    """Return the fault of the seed's number."""
    return FAULTS[draw.number][0], Allowed()
