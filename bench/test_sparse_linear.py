"""How many rows a second does one call of train train, against scikit-learn and Snap ML?

The limit is a loop in C that reads each row and computes its margin, and updates nothing.
It is compiled for general values: rows of ones, whose values ours does not read, can beat it.
"""  # noqa: D400 - a question

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

from bench import limits, ours
from bench.data import load
from bench.harness import EPOCHS, Figures, interleave
from bench.peers import scikit_learn, snapml

ONE, TWO = "Hybrid, 1 worker", "Hybrid, 2 workers"
PEER, PEER_IN_ORDER = "SGDClassifier", "SGDClassifier, shuffle=False"
SNAPML = "Snap ML, 2 threads"
LIMITS = {ONE: "margins alone, 1 thread", TWO: "margins alone, 2 threads"}
NAMES = ("rcv1l", "ctrl", "imdb", "kdd99", "nycflights13")
# l2 of the sets on which Snap ML needs more to converge at all.
LARGER_L2 = {"imdb": 1e-5, "kdd99": 1e-5, "nycflights13": 1e-5}
# Least (data, side, peer): of all rows a second, training alone.
GOALS = {
    ("rcv1l", ONE, PEER): 5.0,
    ("rcv1l", TWO, PEER): 9.0,
    ("imdb", TWO, SNAPML): 3.0,
    ("kdd99", TWO, SNAPML): 3.0,
    ("nycflights13", TWO, SNAPML): 3.0,
}


@pytest.mark.parametrize("name", NAMES)
def test_rows_per_second(benchmark: Any, figures: Figures, name: str) -> None:
    data = load(name)
    peer = scikit_learn.SPEED.get(name, {})
    settings: dict[str, tuple[Any, dict[str, Any]]] = {
        ONE: (ours, {"workers": 1}),
        TWO: (ours, {"workers": 2}),
        PEER: (scikit_learn, peer),
        PEER_IN_ORDER: (scikit_learn, {**peer, "shuffle": False}),
    }
    if find_spec("snapml"):
        settings[SNAPML] = (snapml, {"rate": True})
    l2 = LARGER_L2.get(name, ours.L2)
    sides = {who: m.side(data, epochs=EPOCHS, l2=l2, **kw) for who, (m, kw) in settings.items()}
    for threads, limit in enumerate(LIMITS.values(), start=1):
        sides[limit] = limits.margins(data, threads=threads, epochs=EPOCHS)
    rounds = interleave(benchmark, sides, guarded=True)
    for who in sides:
        figures.side(
            name,
            who,
            **{
                "rows/s, training": rounds.values(who, "rate"),
                "rows/s, whole call": rounds.values(who, "call_rate"),
                f"test loss after {EPOCHS} epochs": rounds.values(who, "loss"),
            },
        )
    for who in (ONE, TWO):
        for metric, words in (("rate", "training"), ("call_rate", "whole call")):
            for other in (who for who in settings if who not in (ONE, TWO)):
                figures.answer(
                    f"{name}: {who} over {other}, {words}",
                    rounds.ratio(metric, who, other),
                    goal=GOALS.get((name, who, other)) if metric == "rate" else None,
                    rounds=rounds,
                )
        over_limit = rounds.ratio("rate", who, LIMITS[who])
        figures.answer(f"{name}: {who} over {LIMITS[who]}", over_limit, rounds=rounds)
    figures.answer(f"{name}: {TWO} over {ONE}", rounds.ratio("rate", TWO, ONE), rounds=rounds)
