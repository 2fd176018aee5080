"""What does a stream of two nodes lose against the workers of one, in rows a second and in loss?

Both sides have two workers on the same cores: two nodes of one, and one machine of two. Nodes merge
through ZeroMQ while they train; what that takes is in their rows a second.
"""  # noqa: D400 - a question

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import hybridtrain as ht
from bench import ours
from bench.data import Dataset, load
from bench.harness import EPOCHS, Figures, Side, interleave

ONE, TWO = "1 machine of 2 workers", "2 nodes of 1 worker"


def _side(data: Dataset, strategy: str, settings: dict[str, Any]) -> Side:
    def run() -> dict[str, Any]:
        result = ht.train(
            ht.Linear(l2=ours.L2),
            (data.X, data.y),
            strategy=strategy,
            epochs=2 * EPOCHS,
            progress=False,
            **settings,
        )
        fastest = min(record.seconds for record in result.history)
        p = np.clip(result.predict_proba(data.X_test)[:, 1], 1e-7, 1 - 1e-7)
        loss = -np.mean(np.where(data.y_test > 0, np.log(p), np.log(1 - p)))
        merges = result.nodes[0].steps / len(result.history) if result.nodes else 0
        return {"rate": len(data.y) / fastest, "loss": float(loss), "merges": merges}

    return run


@pytest.mark.parametrize("strategy", ["hybrid", "async", "hogwild"])
def test_rows_a_second(benchmark: Any, figures: Figures, strategy: str) -> None:
    data = load("rcv1l")
    sides = {
        ONE: _side(data, strategy, {"workers": 2}),
        TWO: _side(data, strategy, {"workers": 1, "nodes": 2}),
    }
    rounds = interleave(benchmark, sides, guarded=True)
    for who in sides:
        columns = {
            "rows a second, fastest epoch": rounds.values(who, "rate"),
            "test log loss": rounds.values(who, "loss"),
            "merges an epoch": rounds.values(who, "merges"),
        }
        figures.side(f"rcv1l, {strategy}", who, **columns)
    figures.answer(
        f"rcv1l, {strategy}: rows a second of {TWO} over {ONE}",
        rounds.ratio("rate", TWO, ONE),
        goal=0.8,
        rounds=rounds,
    )
    figures.answer(
        f"rcv1l, {strategy}: test log loss of {TWO} over {ONE}",
        rounds.ratio("loss", TWO, ONE),
        goal=1.005,
        goal_is="most",
        rounds=rounds,
    )
