"""What does the textbook method, Hogwild, gain or lose with a second worker?"""  # noqa: D400 - a question

from __future__ import annotations

from typing import Any

import pytest

import hybridtrain as ht
from bench import ours
from bench.data import load
from bench.harness import EPOCHS, Figures, interleave

SETTINGS: dict[str, dict[str, Any]] = {
    "Hogwild, 2 workers": {"strategy": "hogwild", "workers": 2},
    "Hogwild(exact=True), 2 workers": {"strategy": ht.Hogwild(exact=True), "workers": 2},
    "Hogwild, 1 worker": {"strategy": "hogwild", "workers": 1},
    "Hybrid, 1 worker": {"strategy": "hybrid", "workers": 1},
    "Hybrid, 2 workers": {"strategy": "hybrid", "workers": 2},
}


@pytest.mark.parametrize("name", ["rcv1l", "ctrl"])
def test_second_worker(benchmark: Any, figures: Figures, name: str) -> None:
    data = load(name)
    sides = {who: ours.side(data, epochs=EPOCHS, **kw) for who, kw in SETTINGS.items()}
    rounds = interleave(benchmark, sides, guarded=True)
    after = {who: ours.losses(data, epochs=EPOCHS, **kw) for who, kw in SETTINGS.items()}
    good_loss = 1.01 * min(after["Hybrid, 1 worker"])
    for who in sides:
        figures.side(
            name,
            who,
            **{
                "rows/s, training": rounds.values(who, "rate"),
                f"test loss after {EPOCHS} epochs": rounds.values(who, "loss"),
                "s to 1.01 x the best loss of Hybrid, 1 worker": ours.seconds_to(
                    good_loss, after[who], rounds.values(who, "seconds")
                ),
            },
        )
    two, exact, one, hybrid, _ = SETTINGS
    for side, other in ((two, one), (exact, one), (two, hybrid), (exact, hybrid), (one, hybrid)):
        ratios = rounds.ratio("rate", side, other)
        figures.answer(f"{name}: {side} over {other}", ratios, rounds=rounds)
