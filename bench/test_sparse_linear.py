"""How many rows a second does one call of train train, against scikit-learn?"""  # noqa: D400 - a question

from __future__ import annotations

from typing import Any

import pytest

from bench import ours
from bench.data import load
from bench.harness import EPOCHS, Figures, interleave
from bench.peers import scikit_learn

ONE, TWO = "Hybrid, 1 worker", "Hybrid, 2 workers"
PEER, PEER_IN_ORDER = "SGDClassifier", "SGDClassifier, shuffle=False"
GOALS = {ONE: 5.0, TWO: 9.0}  # on rcv1l, against scikit-learn's defaults


@pytest.mark.parametrize("name", ["rcv1l", "ctrl"])
def test_rows_per_second(benchmark: Any, figures: Figures, name: str) -> None:
    data = load(name)
    settings: dict[str, tuple[Any, dict[str, Any]]] = {
        ONE: (ours, {"workers": 1}),
        TWO: (ours, {"workers": 2}),
        PEER: (scikit_learn, scikit_learn.SPEED[name]),
        PEER_IN_ORDER: (scikit_learn, {**scikit_learn.SPEED[name], "shuffle": False}),
    }
    sides = {who: m.side(data, epochs=EPOCHS, **kw) for who, (m, kw) in settings.items()}
    rounds = interleave(benchmark, sides, guarded=True)
    after = {who: m.losses(data, epochs=EPOCHS, **kw) for who, (m, kw) in settings.items()}
    good_loss = 1.01 * min(after[ONE])
    for who in sides:
        figures.side(
            name,
            who,
            **{
                "rows/s, training": rounds.values(who, "rate"),
                "rows/s, whole call": rounds.values(who, "call_rate"),
                f"test loss after {EPOCHS} epochs": rounds.values(who, "loss"),
                "s to 1.01 x the best loss of 1 worker": ours.seconds_to(
                    good_loss, after[who], rounds.values(who, "seconds")
                ),
            },
        )
    for who in (ONE, TWO):
        for metric, words in (("rate", "training"), ("call_rate", "whole call")):
            for peer in (PEER, PEER_IN_ORDER):
                figures.answer(
                    f"{name}: {who} over {peer}, {words}",
                    rounds.ratio(metric, who, peer),
                    goal=GOALS[who] if name == "rcv1l" and peer == PEER else None,
                    rounds=rounds,
                )
