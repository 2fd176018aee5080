"""Are the models as good as scikit-learn's on real data, after the same epochs?

Each side has the l2 of a grid with the smallest test loss, and its default
rates. As good: the difference over the test rows, taken row by row, is at most
one standard error of itself.
"""  # noqa: D400 - a question

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest

from bench import ours
from bench.data import REAL, TINY, load
from bench.harness import Figures, Sample, Side
from bench.peers import scikit_learn

GRID = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
EPOCHS = 2 if TINY else 10
OURS: dict[str, dict[str, Any]] = {
    "Hybrid, 1 worker": {"workers": 1},
    "Hybrid, 2 workers": {"workers": 2},
    "Hogwild, 2 workers": {"workers": 2, "strategy": "hogwild"},
    "Hybrid, 1 worker, AdaGrad": {"workers": 1, "optimizer": "adagrad"},
}
PEER = "SGDClassifier"
PEERS: dict[str, dict[str, Any]] = {PEER: {}, f"{PEER}(average=True)": {"average": True}}


def _best(side: Callable[[float], Side]) -> tuple[float, Sample]:
    """Return the l2 of the grid with the smallest test loss, and its sample."""
    samples = {l2: side(l2)() for l2 in GRID}
    best = min(samples, key=lambda l2: samples[l2]["loss"])
    return best, {**samples[best], "best": max(s["accuracy"] for s in samples.values())}


@pytest.mark.parametrize("name", REAL)
def test_quality(benchmark: Any, figures: Figures, name: str) -> None:
    data = load(name)

    def side(module: Any, **settings: Any) -> Callable[[float], Side]:
        return lambda l2: module.side(data, epochs=EPOCHS, l2=l2, **settings)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn overflows at small alpha
        found = {who: _best(side(scikit_learn, **kw)) for who, kw in PEERS.items()}
    found |= {who: _best(side(ours, **kw)) for who, kw in OURS.items()}
    two = "Hybrid, 2 workers"
    benchmark.pedantic(side(ours, workers=2)(found[two][0]))
    for who, (l2, sample) in found.items():
        figures.side(
            name,
            who,
            **{
                "best l2 of the grid": f"{l2:g}",
                f"test log loss after {EPOCHS} epochs": sample["loss"],
                "test accuracy": sample["accuracy"],
                "best test accuracy of the grid": sample["best"],
                "rows/s, training": sample["rate"],
                "s of training": sample["seconds"],
            },
        )
    for who in OURS:
        for peer in PEERS:
            mine, theirs = (found[w][1]["margins"] for w in (who, peer))
            for words, of_rows in (("log loss", ours.losses_of), ("error rate", ours.errors_of)):
                worse = of_rows(mine, data.y_test) - of_rows(theirs, data.y_test)
                figures.answer(
                    f"{name}: test {words} of {who} minus that of {peer}",
                    [float(worse.mean())],
                    unit="",
                    goal=float(worse.std() / len(worse) ** 0.5),
                    goal_is="most",
                )
