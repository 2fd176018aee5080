"""How long does it take to import the package?"""  # noqa: D400 - a question

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.data import TINY
from bench.harness import Figures, Sample, Side, interleave

STATEMENTS = ("import hybridtrain", "pass", "import numpy", "import sklearn.linear_model")


def _side(statement: str, folder: Path) -> Side:
    def run() -> Sample:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", statement], check=True, cwd=folder)
        return {"seconds": time.perf_counter() - started}

    return run


def test_import(benchmark: Any, figures: Figures, tmp_path: Path) -> None:
    sides = {statement: _side(statement, tmp_path) for statement in STATEMENTS}
    rounds = interleave(benchmark, sides, guarded=False, repetitions=2 if TINY else 5)
    for statement in STATEMENTS:
        seconds = {"s, fresh interpreter": rounds.values(statement, "seconds")}
        figures.side("", f"python -c '{statement}'", **seconds)
    whole, bare = (rounds.values(s, "seconds") for s in STATEMENTS[:2])
    figures.answer("import hybridtrain", whole, unit="s", goal=0.3, goal_is="most")
    beyond = [a - b for a, b in zip(whole, bare, strict=True)]
    figures.answer("the same minus the bare interpreter", beyond, unit="s")
