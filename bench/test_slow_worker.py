"""What does one slow worker of two cost each strategy, in time to a test loss?

Threads; one of two is 5 and 20 times as slow as without: a signal's handler makes it sleep
factor - 1 times the processor time that it uses, anywhere (slow.c). The target of a strategy
is 0.5 % above its own test loss after 20 epochs, undisturbed; it has as many epochs as it
needs, of a ladder, with and without the slow one. On two cores nothing can be better than
2 / (1 + 1 / factor) times as long. Seconds are those of training alone.
"""  # noqa: D400 - a question

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import hybridtrain as ht
from bench import ours
from bench.data import TINY, Dataset, load
from bench.harness import Figures, Sample, Side, interleave
from bench.slow import slowed

NAME = "rcv1l"
WORKERS = 2
FACTORS = (5.0,) if TINY else (5.0, 20.0)
LADDER = (1,) if TINY else (2, 3, 4, 5, 6, 8, 10, 12, 20)
WITHIN = 100.0 if TINY else 1.005
STRATEGIES: dict[str, Any] = {
    "Hybrid": "hybrid",
    "Async": "async",
    "Async(staleness=4)": ht.Async(staleness=4),
    "LocalSGD(replicas=8)": ht.LocalSGD(replicas=8),
    "LocalSGD(replicas=2)": ht.LocalSGD(replicas=2),
    "Sync": "sync",
    "Hogwild": "hogwild",
}
MOST = {"Hybrid": 2.0, "Async": 2.0, "LocalSGD(replicas=8)": 2.0}  # of the largest factor


def _side(data: Dataset, who: str, factor: float, epochs: int) -> Side:
    train = ours.side(data, epochs=epochs, strategy=STRATEGIES[who], workers=WORKERS)

    def run() -> Sample:
        with slowed(WORKERS - 1, factor) if factor > 1 else nullcontext([1.0]) as times:
            sample = train()
        near = 0.9 <= times[0] / factor <= 1.1
        assert TINY or near, f"a worker was not slowed {factor:g} times, but {times[0]:g} times"
        return {**sample, "slowed": times[0]}

    return run


def _words(who: str, factor: float) -> str:
    return f"{who}, " + ("undisturbed" if factor == 1 else f"one {factor:g} times as slow")


def _climb(data: Dataset, who: str) -> dict[float, int]:
    """Return the least epochs to the target for each factor that reaches it."""
    target = WITHIN * _side(data, who, 1.0, LADDER[-1])()["loss"]
    chosen: dict[float, int] = {}
    left = list(LADDER)
    for factor in (1.0, *FACTORS):
        while left and _side(data, who, factor, left[0])()["loss"] > target:
            left.pop(0)  # with a slow one it needs no fewer
        if left:
            chosen[factor] = left[0]
    return chosen


def test_slow_worker(benchmark: Any, figures: Figures) -> None:
    data = load(NAME)
    epochs = {
        _words(who, factor): (who, factor, k)
        for who in STRATEGIES
        for factor, k in _climb(data, who).items()
    }
    sides = {words: _side(data, *rung) for words, rung in epochs.items()}
    rounds = interleave(benchmark, sides, guarded=True, repetitions=2 if TINY else 5)
    for side, (_, _, k) in epochs.items():
        figures.side(
            NAME,
            side,
            **{
                "s to the target": rounds.values(side, "seconds"),
                "test loss": rounds.values(side, "loss"),
                "epochs": f"{k}",
                "its time over its processor time": rounds.values(side, "slowed"),
            },
        )
    for factor in FACTORS:
        for who in STRATEGIES:
            slow, plain = _words(who, factor), _words(who, 1.0)
            there = slow in sides and plain in sides
            figures.answer(
                f"{NAME}: {who}, one {factor:g} times as slow over undisturbed",
                rounds.ratio("seconds", slow, plain) if there else [],
                goal=MOST.get(who) if factor == FACTORS[-1] else None,
                goal_is="most",
                rounds=rounds,
            )
