"""Is a run of two strategies as soon near the best loss as the better one of them alone?

Sync, Hybrid, and Sync for one epoch followed by Hybrid; two workers. Each has a rung for each
number of epochs. The target is 0.5 % above the best test loss of all rungs; the quickest rung that
reaches it is run again, in turns with the others. Seconds are those of training and of the switch;
preparing, in which each part has its own trials of the rate, is a column of its own.
"""  # noqa: D400 - a question

from __future__ import annotations

import time
from typing import Any

import hybridtrain as ht
from bench import ours
from bench.data import TINY, Dataset, load
from bench.harness import Figures, Sample, Side, interleave

NAME = "rcv1l"
EPOCHS = (2, 3) if TINY else (2, 3, 5, 6, 7, 8, 10, 12, 20)
SWITCH = "Sync, then Hybrid"
STRATEGIES: dict[str, Any] = {
    "Sync": "sync",
    "Hybrid": "hybrid",
    SWITCH: ht.Switch(("sync", 1), ("hybrid", None)),
}
WITHIN = 100.0 if TINY else 1.005
MOST = 1.05  # of the better part's seconds


def _side(data: Dataset, who: str, epochs: int) -> Side:
    def run() -> Sample:
        started = time.perf_counter()
        result = ht.train(
            ht.Linear(l2=ours.L2),
            (data.X, data.y),
            strategy=STRATEGIES[who],
            workers=2,
            epochs=epochs,
            progress=False,
        )
        whole = time.perf_counter() - started
        switch = sum(p["switch_seconds"] or 0.0 for p in result.settings.get("parts", []))
        seconds = sum(h.seconds for h in result.history) + switch
        margins = result.decision_function(data.X_test)
        prepared = result.settings["preparing_seconds"]
        return ours.measured(
            margins, data, seconds=seconds, whole=whole, switch=switch, prepared=prepared
        )

    return run


def test_switch(benchmark: Any, figures: Figures) -> None:
    data = load(NAME)
    runs = {(who, k): _side(data, who, k)() for who in STRATEGIES for k in EPOCHS}
    target = WITHIN * min(run["loss"] for run in runs.values())
    chosen = {
        who: min(
            (k for k in EPOCHS if runs[who, k]["loss"] <= target),
            key=lambda k, who=who: runs[who, k]["seconds"],
            default=None,
        )
        for who in STRATEGIES
    }
    sides = {who: _side(data, who, k) for who, k in chosen.items() if k is not None}
    for who in STRATEGIES.keys() - sides.keys():
        least = min(runs[who, k]["loss"] for k in EPOCHS)
        figures.side(NAME, who, **{"not reached": f"best test loss {least:.4f}"})
    rounds = interleave(benchmark, sides, guarded=True, repetitions=2 if TINY else 7)
    for who in sides:
        figures.side(
            NAME,
            who,
            **{
                "epochs": str(chosen[who]),
                "s of training": rounds.values(who, "seconds"),
                "s of the switch": rounds.values(who, "switch"),
                "s of preparing": rounds.values(who, "prepared"),
                "s of the whole call": rounds.values(who, "whole"),
                "test loss": rounds.values(who, "loss"),
            },
        )
    alone = [who for who in sides if who != SWITCH]
    if SWITCH not in sides or not alone:
        return

    def middle(who: str) -> float:
        return sorted(rounds.values(who, "seconds"))[len(rounds.kept()) // 2]

    better = min(alone, key=middle)
    figures.answer(
        f"{NAME}, seconds to within 0.5 % of the best loss, over {better}",
        rounds.ratio("seconds", SWITCH, better),
        goal=MOST,
        goal_is="most",
        rounds=rounds,
    )
