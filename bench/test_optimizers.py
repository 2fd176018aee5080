"""How many rows a second does AdaGrad train, against SGD?"""  # noqa: D400 - a question

from __future__ import annotations

from typing import Any

import pytest

from bench import ours
from bench.data import load
from bench.harness import EPOCHS, Figures, interleave


@pytest.mark.parametrize("l2", [0.0, ours.L2])
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", ["rcv1l", "ctrl"])
def test_adagrad(benchmark: Any, figures: Figures, name: str, workers: int, l2: float) -> None:
    data = load(name)
    settings = {"workers": workers, "l2": l2, "epochs": EPOCHS}
    sides = {who: ours.side(data, optimizer=who, **settings) for who in ("adagrad", "sgd")}
    rounds = interleave(benchmark, sides, guarded=workers > 1)
    after = {who: ours.losses(data, optimizer=who, **settings) for who in sides}
    good_loss = 1.01 * max(min(losses) for losses in after.values())
    case = f"{workers} worker{'s' * (workers > 1)}, {'with' if l2 else 'without'} l2"
    for who in sides:
        figures.side(
            name,
            f"{who}, {case}",
            **{
                "rows/s, training": rounds.values(who, "rate"),
                f"test loss after {EPOCHS} epochs": rounds.values(who, "loss"),
                "s to 1.01 x the worse one's best loss": ours.seconds_to(
                    good_loss, after[who], rounds.values(who, "seconds")
                ),
            },
        )
    ratios = rounds.ratio("rate", "adagrad", "sgd")
    figures.answer(f"{name}: AdaGrad over SGD, {case}", ratios, goal=0.6, rounds=rounds)
