"""How many seconds until the test loss is within 1, 0.5 or 0.1 % of the best of all?

Each entrant has a ladder of rungs (ladders.py): settings, each a fit of its own from
nothing. All rungs run once; the best loss of all sets the targets, and for each target
the quickest rung of an entrant that reaches it goes into the interleaved repetitions;
peers that are four times as slow as the quickest one have run once. An entrant that does
not reach it is named with its best loss.
"""  # noqa: D400 - a question

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import pytest

from bench.data import TINY, load
from bench.harness import Figures, Rounds, Sample, interleave
from bench.ladders import LADDERS, OURS, Rung

WITHIN = {"1 %": 1.01, "0.5 %": 1.005, "0.1 %": 1.001}
_SLOW = 4
# Most of the best peer's training time: our whole call, our training alone.
GOALS = {
    ("rcv1l", "0.5 %"): (1 / 2, 1 / 4),
    ("rcv1l", "0.1 %"): (1 / 3, None),
    ("ctrl", "0.5 %"): (1.0, None),
}


@lru_cache
def climb(name: str) -> list[tuple[Rung, Sample]]:
    """Run all rungs of a data set whose modules are there, once."""
    data = load(name)
    return [(rung, rung.side(data)()) for rung in LADDERS[name] if find_spec(rung.needs)]


def quickest(name: str, within: str) -> dict[str, tuple[Rung, Sample]]:
    """Return the quickest rung of each entrant whose loss is near enough to the best."""
    runs = climb(name)
    # Tiny data only shows that all run: everyone is near enough.
    target = (100 if TINY else WITHIN[within]) * min(run["loss"] for _, run in runs)
    chosen: dict[str, tuple[Rung, Sample]] = {}
    for rung, run in runs:
        metric = "whole" if rung.who in OURS else "seconds"
        before = chosen[rung.who][1][metric] if rung.who in chosen else float("inf")
        if run["loss"] <= target and run[metric] < before:
            chosen[rung.who] = rung, run
    return chosen


def best_losses(name: str) -> dict[str, float]:
    """Return the best test loss of each entrant's rungs."""
    found: dict[str, float] = {}
    for rung, run in climb(name):
        found[rung.who] = min(run["loss"], found.get(rung.who, float("inf")))
    return found


@pytest.mark.parametrize("within", WITHIN)
@pytest.mark.parametrize("name", LADDERS)
def test_seconds(benchmark: Any, figures: Figures, name: str, within: str) -> None:
    data = load(name)
    where = f"{name}, within {within}"
    chosen = quickest(name, within)
    seconds = {who: run["seconds"] for who, (_, run) in chosen.items()}
    most = _SLOW * min((seconds[who] for who in seconds if who not in OURS), default=0.0)
    again = [who for who in chosen if who in OURS or seconds[who] <= most]
    sides = {who: chosen[who][0].side(data) for who in again}
    rounds = interleave(benchmark, sides, guarded=True, repetitions=2 if TINY else 5)
    for who, (rung, run) in chosen.items():

        def values(metric: str, who: str = who, run: Sample = run) -> list[float]:
            return rounds.values(who, metric) if who in again else [run[metric]]

        figures.side(
            where,
            who,
            **{
                "s of training": values("seconds"),
                "s with conversion or choice of the rate": values("whole"),
                "test loss": values("loss"),
                "settings": rung.words,
            },
        )
    for who, loss in best_losses(name).items():
        if who not in chosen:
            figures.side(where, who, **{"not reached": f"best test loss {loss:.4f}"})
    _answer(figures, name, within, [who for who in again if who not in OURS], rounds)


def _answer(figures: Figures, name: str, within: str, peers: list[str], rounds: Rounds) -> None:
    ours_there = [who for who in OURS if who in rounds.samples]
    if not peers or not ours_there:
        return
    whole, training = GOALS.get((name, within), (None, None))

    def middle(who: str, metric: str) -> float:
        return sorted(rounds.values(who, metric))[len(rounds.kept()) // 2]

    mine = min(ours_there, key=lambda who: middle(who, "whole"))
    peer = min(peers, key=lambda who: middle(who, "seconds"))
    theirs = rounds.values(peer, "seconds")
    for metric, words, goal in (
        ("whole", "the whole call", whole),
        ("seconds", "training alone", training),
    ):
        figures.answer(
            f"{name}, within {within}: {mine}, {words}, over {peer}, training alone",
            [a / b for a, b in zip(rounds.values(mine, metric), theirs, strict=True)],
            goal=goal,
            goal_is="most",
            rounds=rounds,
        )
