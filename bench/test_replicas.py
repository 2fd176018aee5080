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
WITHIN = {2: 1.01, 4: 1.01, 8: 1.01}  # of one worker's test loss, at the default rate


@pytest.mark.parametrize("name", ["rcv1l", "ctrl", "imdb", "a9a"])
def test_loss(benchmark: Any, figures: Figures, name: str) -> None:
    data = load(name)

    def train(workers: int, lr: float) -> Sample:
        try:
            sgd = ht.SGD(lr=lr)
            return ours.side(data, epochs=EPOCHS, workers=workers, optimizer=sgd)()
        except ht.DivergedError:
            return {"loss": math.inf, "accuracy": 0.0, "workers": workers}

    probe = ht.train(ht.Linear(l2=ours.L2), (data.X, data.y), workers=1, epochs=1, progress=False)
    rates = {k: k * probe.settings["lr"] for k in TIMES_DEFAULT_RATE}
    benchmark.pedantic(train, args=(2, rates[1]))
    for times, lr in rates.items():
        at = f"{times} x the default rate"
        got = one = train(1, lr)
        for workers in (1, *WORKERS):
            got = got if workers == 1 else train(workers, lr)
            figures.side(
                name,
                f"{workers} workers, {at}",
                **{
                    f"test loss after {EPOCHS} epochs": got["loss"],
                    "test accuracy": got["accuracy"],
                    "workers used": str(got["workers"]),
                    "diverged": "no" if math.isfinite(got["loss"]) else "**yes**",
                },
            )
            if workers > 1:
                figures.answer(
                    f"{name}: test loss of {workers} workers over 1, {at}",
                    [got["loss"] / one["loss"]],
                    goal=WITHIN.get(workers) if times == 1 else None,
                    goal_is="most",
                )
