"""What does a step of the round cost, empty and merging a dense vector?"""  # noqa: D400 - a question

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bench.data import TINY
from bench.harness import Figures, Sample, Side, interleave

_HERE = Path(__file__).parent
_CSRC = _HERE.parent / "csrc"
_STEPS = 100 if TINY else 20_000
_EMPTY_GOAL_US = {2: 3.0, 8: 60.0}
_SIZES = {"64 kB": 1 << 14} if TINY else {"4 MB": 1 << 20, "64 MB": 1 << 24}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    path = tmp_path_factory.mktemp("round") / "round.so"
    modules = (path for name in ("round", "point", "futex") for path in _CSRC.glob(f"ht_{name}*.c"))
    sources = [_HERE / "round.c", *modules]
    flags = ["-std=gnu11", "-O3", "-march=native", "-shared", "-fPIC", "-pthread", f"-I{_CSRC}"]
    subprocess.run(["cc", *flags, "-o", path, *sources], check=True)
    found = ctypes.CDLL(str(path))
    for function in (found.empty_round, found.empty_barrier):
        function.restype = ctypes.c_double
        function.argtypes = [ctypes.c_int, ctypes.c_int]
    found.merge_dense.restype = ctypes.c_double
    found.merge_dense.argtypes = [ctypes.c_int, ctypes.c_long, ctypes.c_int, ctypes.c_int]
    return found


def _side(function: Any, *arguments: int) -> Side:
    def run() -> Sample:
        seconds = function(*arguments)
        assert seconds > 0, "a thread could not be started, or the sum is wrong"
        return {"seconds": seconds, "rate": 1 / seconds}

    return run


@pytest.mark.parametrize("workers", [2, 8])
def test_empty(benchmark: Any, figures: Figures, library: ctypes.CDLL, workers: int) -> None:
    sides = {
        "round": _side(library.empty_round, workers, _STEPS),
        "barrier that spins and yields": _side(library.empty_barrier, workers, _STEPS),
    }
    rounds = interleave(benchmark, sides, guarded=workers == 2)
    for who in sides:
        micros = [1e6 * s for s in rounds.values(who, "seconds")]
        figures.side(f"{workers} workers", who, **{"us": micros})
    figures.answer(
        f"an empty round, {workers} workers",
        [1e6 * s for s in rounds.values("round", "seconds")],
        unit="us",
        goal=_EMPTY_GOAL_US[workers],
        goal_is="most",
        rounds=rounds if workers == 2 else None,
    )


@pytest.mark.parametrize("size", _SIZES)
def test_dense(benchmark: Any, figures: Figures, library: ctypes.CDLL, size: str) -> None:
    n = _SIZES[size]
    steps = max((1 << 28) // n, 8) if not TINY else 8
    sides = {
        "round": _side(library.merge_dense, 2, n, steps, 0),
        "plain reduce-scatter and gather": _side(library.merge_dense, 2, n, steps, 1),
    }
    rounds = interleave(benchmark, sides, guarded=True)
    for who in sides:
        rates = [4e-9 * n * r for r in rounds.values(who, "rate")]
        figures.side(size, who, **{"GB/s of vector": rates})
    figures.answer(
        f"{size}: the round over plain",
        rounds.ratio("rate", "round", "plain reduce-scatter and gather"),
        goal=0.5,
        rounds=rounds,
    )
