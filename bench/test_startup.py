"""How long does it take to import the package, and to the end of a first step?"""  # noqa: D400 - a question

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.data import TINY
from bench.harness import Figures, Sample, Side, interleave
from bench.peers import pytorch
from bench.peers.pytorch import Mode

IMPORT, NUMPY = "import hybridtrain", "import numpy"
FIRST_USE = "import hybridtrain; hybridtrain.train"  # a name is imported when it is asked for
STATEMENTS = (IMPORT, FIRST_USE, "pass", NUMPY, "import sklearn.linear_model")

_ROWS = (
    "import time; import numpy as np; "
    "X = np.random.default_rng(0).random((1000, 20), np.float32); y = X[:, 0] > 0.5; "
)
# Each prints when its first training is over.
FIRST_STEPS = {
    "hybridtrain, 2 workers, 1 epoch": "import hybridtrain as ht; "
    "ht.train(ht.Linear(), (X, y), workers=2, epochs=1, progress=False)",
    "SGDClassifier, 1 epoch": "from sklearn.linear_model import SGDClassifier; "
    "SGDClassifier(loss='log_loss', max_iter=1, tol=None).fit(X, y)",
}
# A batch for each of two processes; the rows are read from a file.
PYTORCH = {"PyTorch, Hogwild, 2 processes": "hogwild", "PyTorch, DDP, 2 processes": "ddp"}
FIT = {"epochs": 1, "batch": 100, "lr": 0.1, "most_batches": 2}


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
    over = rounds.ratio("seconds", IMPORT, NUMPY)
    figures.answer(f"{IMPORT}, over {NUMPY}", over, goal=1.2, goal_is="most")
    seconds = rounds.values(FIRST_USE, "seconds")
    figures.answer(FIRST_USE, seconds, unit="s", goal=0.3, goal_is="most")


def _first_step(statement: str, folder: Path) -> Side:
    command = [sys.executable, "-c", f"{_ROWS}{statement}; print(time.perf_counter())"]

    def run() -> Sample:
        started = time.perf_counter()
        done = subprocess.run(command, check=True, cwd=folder, capture_output=True, text=True)
        return {"seconds": float(done.stdout) - started}

    return run


def _pytorch(mode: str, rows: Path) -> Side:
    def run() -> Sample:
        started = time.perf_counter()
        (found,), _ = pytorch.run(rows, Mode(mode, processes=2), [FIT])
        return {"seconds": found["end"] - started}

    return run


def test_first_step(benchmark: Any, figures: Figures, tmp_path: Path) -> None:
    sides = {who: _first_step(statement, tmp_path) for who, statement in FIRST_STEPS.items()}
    if pytorch.is_there():
        X = np.random.default_rng(0).random((1000, 20), np.float32)
        rows = pytorch.write(X, X[:, 0] > 0.5, tmp_path)
        modes = list(PYTORCH.items())[: 1 if TINY else 2]  # each start takes seconds
        sides |= {who: _pytorch(mode, rows) for who, mode in modes}
    else:
        figures.side("1000 x 20", "PyTorch", **{"left out": "not installed"})
    rounds = interleave(benchmark, sides, guarded=False, repetitions=2 if TINY else 5)
    for who in sides:
        seconds = {"s, fresh interpreter to the end of a first step": rounds.values(who, "seconds")}
        figures.side("1000 x 20", who, **seconds)
    mine = next(iter(sides))
    seconds = rounds.values(mine, "seconds")
    what = "fresh interpreter to the end of a first epoch, 2 workers"
    figures.answer(what, seconds, unit="s", goal=0.5, goal_is="most")
    for who in list(sides)[1:]:
        figures.answer(f"{what}, over {who}", rounds.ratio("seconds", mine, who))
