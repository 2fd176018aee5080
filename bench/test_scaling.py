"""How do many workers scale, and how near do two come to two runs that share nothing?"""  # noqa: D400 - a question

from __future__ import annotations

import logging
import os
import threading
from typing import Any

import pytest

import hybridtrain as ht
from bench import ours
from bench.data import TINY, Dataset, load
from bench.harness import EPOCHS, TWO_CORES, Figures, Sample, Side, interleave

SEEDS = range(5)
WORKERS = (1, 2, 4, 8)
Span = tuple[float, float]  # start and end of an epoch, seconds


class _EpochEnds(logging.Handler):
    """Note when the epochs of each thread end; `train` logs a line for each."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.at: dict[int | None, list[float]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self.at.setdefault(record.thread, []).append(record.created)


def independent(data: Dataset, epochs: int) -> Side:
    """Return a side that trains each half of the rows by itself, both at the same time.

    Its rate is the sum of both rates over the time in which both train.
    """
    half = len(data.y) // 2
    halves = [(data.X[:half], data.y[:half]), (data.X[half:], data.y[half:])]

    def run() -> Sample:
        spans: list[list[Span]] = [[], []]
        ends = _EpochEnds()
        start = threading.Barrier(2)

        def train(k: int) -> None:
            start.wait()
            result = ht.train(
                ht.Linear(l2=ours.L2), halves[k], workers=1, epochs=epochs, progress=False
            )
            at = ends.at[threading.get_ident()]
            spans[k] = [(t - h.seconds, t) for t, h in zip(at, result.history, strict=True)]

        logger = logging.getLogger("hybridtrain.run.job")
        level = logger.level
        logger.addHandler(ends)
        logger.setLevel(logging.INFO)
        try:
            threads = [threading.Thread(target=train, args=(k,)) for k in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            logger.removeHandler(ends)
            logger.setLevel(level)
        return {"rate": _rate_while_both(spans, half)}

    return run


def _rate_while_both(spans: list[list[Span]], rows: int) -> float:
    first = max(s[0][0] for s in spans)
    last = min(s[-1][1] for s in spans)
    rate = 0.0
    for mine in spans:
        within = [(max(a, first), min(b, last), b - a) for a, b in mine]
        parts = [(b - a, length) for a, b, length in within if b > a]
        trained = sum(rows * part / length for part, length in parts)
        rate += trained / sum(part for part, _ in parts)
    return rate


@pytest.mark.skipif(not TWO_CORES, reason="needs two cores")
@pytest.mark.parametrize("name", ["rcv1l", "ctrl"])
def test_two_workers(benchmark: Any, figures: Figures, name: str) -> None:
    data = load(name)
    epochs = 500 if TINY else 2 * EPOCHS  # so that both train at the same time for long
    limit = "two runs of half the rows each"
    sides = {
        "Hybrid, 2 workers": ours.side(data, epochs=epochs, workers=2),
        "Hybrid, 1 worker": ours.side(data, epochs=epochs, workers=1),
        limit: independent(data, epochs),
    }
    rounds = interleave(benchmark, sides, guarded=True)
    for who in sides:
        figures.side(name, who, **{"rows/s, training": rounds.values(who, "rate")})
    two = "Hybrid, 2 workers"
    over_limit = rounds.ratio("rate", two, limit)
    figures.answer(f"{name}: 2 workers over the limit", over_limit, goal=0.85, rounds=rounds)
    over_one = rounds.ratio("rate", two, "Hybrid, 1 worker")
    figures.answer(f"{name}: 2 workers over 1 worker", over_one, rounds=rounds)


@pytest.mark.parametrize("strategy", ["hybrid", "sync", "hogwild"])
@pytest.mark.parametrize("name", ["rcv1l", "ctrl"])
def test_workers(benchmark: Any, figures: Figures, name: str, strategy: str) -> None:
    data = load(name)
    cores = len(os.sched_getaffinity(0))

    def words(workers: int) -> str:
        more = f", on {cores} cores" if workers > cores else ""
        return f"{strategy}, {workers} worker{'s' * (workers > 1)}{more}"

    settings = {"strategy": strategy, "epochs": EPOCHS}
    sides = {words(w): ours.side(data, workers=w, **settings) for w in WORKERS}
    rounds = interleave(benchmark, sides, guarded=True, repetitions=2 if TINY else 5)
    for who in sides:
        figures.side(
            name,
            who,
            **{
                "rows/s, training": rounds.values(who, "rate"),
                f"test loss after {EPOCHS} epochs": rounds.values(who, "loss"),
            },
        )
        if who != words(1):
            ratios = rounds.ratio("rate", who, words(1))
            figures.answer(f"{name}: {who}, over 1 worker", ratios, rounds=rounds)


@pytest.mark.parametrize("name", ["rcv1l", "ctrl"])
def test_loss(benchmark: Any, figures: Figures, name: str) -> None:
    data = load(name)

    def loss(workers: int, seed: int) -> float:
        return ours.side(data, epochs=EPOCHS, workers=workers, seed=seed)()["loss"]

    one = [loss(1, seed) for seed in SEEDS]
    benchmark.pedantic(loss, args=(2, 0))
    two = [loss(2, seed) for seed in SEEDS]
    after = f"test loss after {EPOCHS} epochs, {len(SEEDS)} seeds"
    figures.side(name, "Hybrid, 1 worker", **{after: one})
    figures.side(name, "Hybrid, 2 workers", **{after: two})
    ratios = [b / a for a, b in zip(one, two, strict=True)]
    what = f"{name}: test loss of 2 workers over 1 worker"
    figures.answer(what, ratios, goal=1.001, goal_is="most")
