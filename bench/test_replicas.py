"""Is the model as good with many workers, also where they take large steps?"""  # noqa: D400 - a question

from __future__ import annotations

import math
from typing import Any

import pytest

import hybridtrain as ht
from bench import ours
from bench.data import load
from bench.harness import EPOCHS, Figures, Sample

WORKERS = (2, 4, 8, 16)
TIMES_DEFAULT_RATE = (1, 4)
SEEDS = range(3)
WITHIN = {2: 1.01, 4: 1.01, 8: 1.01}  # of one worker's test loss, at the default rate


@pytest.mark.parametrize("name", ["rcv1l", "ctrl", "imdb", "a9a"])
def test_loss(benchmark: Any, figures: Figures, name: str) -> None:
    data = load(name)

    def train(workers: int, lr: float) -> list[Sample]:
        settings: dict[str, Any] = {"workers": workers, "optimizer": ht.SGD(lr=lr)}
        runs: list[Sample] = []
        for seed in SEEDS:
            try:
                runs.append(ours.side(data, epochs=EPOCHS, seed=seed, **settings)())
            except ht.DivergedError:
                runs.append({"loss": math.inf, "accuracy": 0.0, "workers": workers})
        return runs

    probe = ht.train(ht.Linear(l2=ours.L2), (data.X, data.y), workers=1, epochs=1, progress=False)
    rates = {k: k * probe.settings["lr"] for k in TIMES_DEFAULT_RATE}
    benchmark.pedantic(train, args=(2, rates[1]))
    for times, lr in rates.items():
        at = f"{times} x the default rate"
        runs = {workers: train(workers, lr) for workers in (1, *WORKERS)}
        for workers, mine in runs.items():
            losses = [run["loss"] for run in mine]
            figures.side(
                name,
                f"{workers} worker{'s' * (workers > 1)}, {at}",
                **{
                    f"test loss after {EPOCHS} epochs": losses,
                    "test accuracy": [run["accuracy"] for run in mine],
                    "workers used": str(mine[0]["workers"]),
                    "diverged": "**yes**" if math.inf in losses else "no",
                },
            )
            if workers > 1:
                figures.answer(
                    f"{name}: test loss of {workers} workers over 1, {at}",
                    [a / run["loss"] for a, run in zip(losses, runs[1], strict=True)],
                    goal=WITHIN.get(workers) if times == 1 else None,
                    goal_is="most",
                )
