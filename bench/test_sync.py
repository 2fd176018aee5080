"""What does synchronous training cost, and what does exactness?"""  # noqa: D400 - a question

from __future__ import annotations

from typing import Any

import pytest

import hybridtrain as ht
from bench import ours
from bench.data import load
from bench.harness import EPOCHS, Figures, interleave

PLAIN, EXACT = ht.Sync(exact=False), ht.Sync()
SETTINGS: dict[str, dict[str, Any]] = {
    "Sync(exact=False), 1 worker": {"strategy": PLAIN, "workers": 1},
    "Sync(exact=False), 2 workers": {"strategy": PLAIN, "workers": 2},
    "Sync(exact=True), 1 worker": {"strategy": EXACT, "workers": 1},
    "Sync(exact=True), 2 workers": {"strategy": EXACT, "workers": 2},
    "Hybrid, 1 worker": {"strategy": "hybrid", "workers": 1},
}
EXACT_OVER_PLAIN = {"rcv1l": 1 / 1.25, "ctrl": 1 / 1.6}


@pytest.mark.parametrize("name", ["rcv1l", "ctrl"])
def test_rows(benchmark: Any, figures: Figures, name: str) -> None:
    data = load(name)
    sides = {who: ours.side(data, epochs=EPOCHS, **kw) for who, kw in SETTINGS.items()}
    rounds = interleave(benchmark, sides, guarded=True)
    for who in sides:
        figures.side(
            name,
            who,
            **{
                "rows/s, training": rounds.values(who, "rate"),
                "rows/s, whole call": rounds.values(who, "call_rate"),
                f"test loss after {EPOCHS} epochs": rounds.values(who, "loss"),
                "smallest share of a worker": rounds.values(who, "least_share"),
            },
        )
    plain, plain_two, exact, exact_two, hybrid = SETTINGS
    for side, other, goal in (
        (plain, hybrid, 0.5 if name == "rcv1l" else None),
        (exact_two, exact, 1.6),
        (exact_two, plain_two, EXACT_OVER_PLAIN[name]),
        (plain_two, plain, None),
    ):
        ratios = rounds.ratio("rate", side, other)
        figures.answer(f"{name}: {side} over {other}", ratios, goal=goal, rounds=rounds)
    figures.answer(
        f"{name}: smallest share of the rows, {exact_two}",
        rounds.values(exact_two, "least_share"),
        unit="",
        goal=0.3,
        rounds=rounds,
    )
