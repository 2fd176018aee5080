"""What do updates without locks cost: time, lost updates, or, by merges of replicas, loss?

Rows of up to 64 different features, numbered by frequency; each element adds 1 to its
coordinate of a float32 vector, by the core's own steps. In place, lossy (plain loads and
stores) or exact (compare-and-swap); or with the hot features in a replica of each worker,
whose changes are exchanged every so many rows, and the others in place, lossy. The limit is
a vector for each worker alone; the other limit is the ping-pong of a cache line.

Merges: P replicas train with equal speed and exchange in turn, the longest period that the
package chooses (32 exchanges a worker and epoch). It is a simulation in one thread, as two
cores cannot show 16, but by the core's own steps and exchanges: with the curvature of the
data its merges are weighted, with none they are the sum of the changes, with an endless one
their mean. Rates and curvatures are the package's; l2 is 0.
"""  # noqa: D400 - a question

from __future__ import annotations

import ctypes
import os
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import hybridtrain as ht
from bench import ours
from bench.data import TINY, load
from bench.harness import EPOCHS, TWO_CORES, Figures, Rounds, Sample, Side, interleave
from bench.native.core import build
from hybridtrain._core.rows import isas
from hybridtrain.data.matrix import canonical_rows
from hybridtrain.plan.base import Settings
from hybridtrain.plan.problem import Problem
from hybridtrain.run.initial import initial_parameters

_ROWS, _DRAWS, _PASSES = (512, 64, 2) if TINY else (16_384, 64, 64)
_WAYS = {"lossy, in place": 0, "exact, in place": 1, "hot private": 2, "a vector each": 3}
# By features: how many are hot, as fit into half of a second-level cache of 1 MB, and the
# rows between exchanges.
_HOT = {1_000: (1_000, 1_024), 1_000_000: (65_536, 16_384)}
_MODULES = ("base", "linear", "loss", "softmax", "optimizer", "replica", "block", "log", "team")
_CORES = (sorted(os.sched_getaffinity(0)) * 2)[:2]

_MERGES = {"weighted": 1.0, "sum": 0.0, "mean": 1e30}  # times the curvature
_WORKERS = (2, 4, 8, 16)
_TIMES_RATE = (1, 4)  # of the default one
_SEEDS = range(1 if TINY else 3)
_EXCHANGES = 32
_MOST_LOSS = 1.01  # of one worker's

_I32 = np.ctypeslib.ndpointer(np.int32, flags="C")
_I64 = np.ctypeslib.ndpointer(np.int64, flags="C")
_F32 = np.ctypeslib.ndpointer(np.float32, flags="C")
_DOUBLE = ctypes.POINTER(ctypes.c_double)
_INT, _LONG = ctypes.c_int, ctypes.c_long


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    modules = (*_MODULES, "point", "futex", "vector", "roster", "rows")
    found = build(tmp_path_factory.mktemp("lock_free"), "lock_free", modules)
    rows = [_LONG, _LONG]  # and features
    counts = [_INT, _LONG, _LONG, _DOUBLE, _DOUBLE]
    found.updates.argtypes = [_I64, _I32, _I32, *rows, _LONG, _INT, _I32, *counts]
    found.merges.argtypes = [_I64, _I32, _F32, _F32, *rows, _I64, _LONG, _INT, _LONG]
    found.merges.argtypes += [ctypes.c_float, _F32, _F32]
    found.merges.restype = None
    return found


def _rows(law: str, n_features: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Return pointers and indices of rows with different features, in order."""
    rng = np.random.default_rng(0)
    shares = np.ones(n_features) if law == "uniform" else 1 / np.arange(1, n_features + 1)
    ends = np.cumsum(shares) / shares.sum()
    draws = np.sort(np.searchsorted(ends, rng.random((_ROWS, _DRAWS))), axis=1)
    is_new = np.diff(draws, axis=1, prepend=-1) > 0
    pointers = np.concatenate(([0], np.cumsum(is_new.sum(axis=1))))
    return pointers.astype(np.int64), draws[is_new].astype(np.int32)


@pytest.mark.parametrize("law", ["uniform", "zipf"])
@pytest.mark.parametrize("n_features", _HOT)
def test_updates(
    benchmark: Any, figures: Figures, library: ctypes.CDLL, n_features: int, law: str
) -> None:
    pointers, indices = _rows(law, n_features)
    n_hot, every = _HOT[n_features]
    hot = np.add.reduceat(indices < n_hot, pointers[:-1]).astype(np.int32)
    expected = _PASSES * len(indices)

    def side(way: int, workers: int) -> Side:
        def run() -> Sample:
            seconds, total = ctypes.c_double(), ctypes.c_double()
            rows = (pointers, indices, hot, _ROWS, n_features)
            where = (n_hot, way, np.array(_CORES, np.int32), workers, _PASSES, every)
            failed = library.updates(*rows, *where, ctypes.byref(seconds), ctypes.byref(total))
            assert not failed, "a thread could not be started or pinned"
            lost = 1 - total.value / expected
            return {"rate": expected / seconds.value, "lost": 100 * lost}

        return run

    # Ours first: the hybrid's way with both workers.
    sides = {
        _name(way, workers): side(_WAYS[way], workers)
        for workers in (2, 1)
        for way in sorted(_WAYS, key="hot private".__ne__)
        if (way, workers) != ("a vector each", 1)  # that is in place
    }
    rounds = interleave(benchmark, sides, guarded=True)
    data = f"{law} over {n_features:,} features"
    for who in sides:
        lost = rounds.values(who, "lost")
        if who not in (_name("lossy, in place", 2), _name("hot private", 2)):
            assert not any(lost), f"{who}: updates were lost"
        millions = [1e-6 * rate for rate in rounds.values(who, "rate")]
        figures.side(data, who, **{"million updates/s": millions, "% lost": lost})
    _answer_updates(figures, data, rounds)


def _name(way: str, workers: int) -> str:
    return f"{way}, {workers} worker{'s' * (workers > 1)}"


def _answer_updates(figures: Figures, data: str, rounds: Rounds) -> None:
    lossy, exact, private, alone = (_name(way, 2) for way in _WAYS)
    one = _name("lossy, in place", 1)
    for side, other in (
        (_name("exact, in place", 1), one),
        (lossy, one),
        (exact, one),
        (private, one),
        (private, lossy),
        (private, alone),
    ):
        ratios = rounds.ratio("rate", side, other)
        figures.answer(f"{data}: updates/s, {side} over {other}", ratios, rounds=rounds)
    for side in (lossy, private):
        lost = rounds.values(side, "lost")
        figures.answer(f"{data}: lost, {side}", lost, unit="% of updates", rounds=rounds)
    if TWO_CORES:
        trips = [1e-9 * rounds.guards[i][0] for i in rounds.kept()]
        times = [2 / rate for rate in rounds.values(lossy, "rate")]
        figures.answer(
            f"{data}: a worker's time for an update, {lossy}, over a cache line's way",
            [time / trip for time, trip in zip(times, trips, strict=True)],
            rounds=rounds,
        )


@pytest.mark.parametrize("name", ["a9a", "imdb"])
def test_merges(benchmark: Any, figures: Figures, library: ctypes.CDLL, name: str) -> None:
    data = load(name)
    problem = Problem(
        ht.Linear(l2=0), canonical_rows(data.X, threads=2), data.y, None, np.array([-1, 1])
    )
    plan = ht.Hybrid(hot=1.0, every=1024).plan(
        problem, Settings(optimizer=ht.SGD(), workers=2, epochs=EPOCHS, seed=0, isa=isas()[-1])
    )
    n_rows, n_features = data.X.shape
    first = plan.to_trained(*initial_parameters(None, problem))
    pointers = data.X.indptr.astype(np.int64)

    def curve(merge: str, workers: int, times: int, seed: int) -> list[float]:
        """Return the test loss after each epoch, each of a run of its own from nothing."""
        rng = np.random.default_rng(seed)
        order = np.concatenate([rng.permutation(n_rows) for _ in range(EPOCHS)])
        every = max(n_rows // workers // _EXCHANGES, 1)
        rows = (pointers, data.X.indices, data.X.data, data.y, n_rows, n_features)
        rate = times * plan.choices["lr"]
        curvature = np.minimum(plan.curvature.astype(float) * _MERGES[merge], 1e30)
        how = (workers, every, rate, curvature.astype(np.float32))
        losses = []
        for epochs in range(1, EPOCHS + 1):
            parameters = first.copy()
            library.merges(*rows, order, epochs * n_rows, *how, parameters)
            margins = data.X_test @ parameters[1:] + parameters[0]
            loss = float(ours.losses_of(margins, data.y_test).mean())
            losses.append(loss if np.isfinite(loss) else float("inf"))
        return losses

    benchmark.pedantic(curve, args=("weighted", 2, 1, 0))
    for times in _TIMES_RATE:
        alone = np.array([curve("weighted", 1, times, seed) for seed in _SEEDS])
        at = f"{name}, {times} x the default rate"
        figures.side(at, "1 worker", **_columns(alone))
        for workers in _WORKERS:
            found = {m: np.array([curve(m, workers, times, s) for s in _SEEDS]) for m in _MERGES}
            for merge, curves in found.items():
                figures.side(at, f"{workers} workers, {merge}", **_columns(curves))
            if times == 1:
                _answer_merges(figures, f"{name}, {workers} workers", found, alone)


def _columns(curves: Any) -> dict[str, Any]:
    """Return the columns of curves (seeds, epochs), the end first."""
    of_epoch = {f"after {k + 1}": curves[:, k] for k in range(EPOCHS - 1)}
    return {f"test loss after {EPOCHS} epochs": curves[:, -1], **of_epoch}


def _answer_merges(figures: Figures, data: str, found: dict[str, Any], alone: Any) -> None:
    figures.answer(
        f"{data}: test loss of weighted merges over one worker's",
        found["weighted"][:, -1] / alone[:, -1],
        goal=_MOST_LOSS,
        goal_is="most",
    )
    for merge in ("sum", "mean"):
        figures.answer(
            f"{data}: test loss of merges by {merge} over one worker's",
            found[merge][:, -1] / alone[:, -1],
        )
