"""Are the models as good as scikit-learn's on real data, after the same epochs?

Each side has its default rates and the l2 of a grid with the smallest test
loss; medians over seeds. As good: worse by at most one standard error of the
difference, which is taken row by row over the test rows. Averaging, which
hybridtrain does not have yet, is shown without a goal.
"""  # noqa: D400 - a question

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pytest

from bench import ours
from bench.data import REAL, TINY, load
from bench.harness import Figures, Sample, Side
from bench.peers import scikit_learn

GRID = (1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6, 1e-6, 1e-7)
EPOCHS = 2 if TINY else 10
SEEDS = range(1 if TINY else 5)
TWO = "Hybrid, 2 workers"
OURS: dict[str, dict[str, Any]] = {
    "Hybrid, 1 worker": {"workers": 1},
    TWO: {"workers": 2},
    "Hogwild, 2 workers": {"workers": 2, "strategy": "hogwild"},
    "Hybrid, 1 worker, AdaGrad": {"workers": 1, "optimizer": "adagrad"},
}
PEER = "SGDClassifier"
PEERS: dict[str, dict[str, Any]] = {PEER: {}, f"{PEER}(average=True)": {"average": True}}


@dataclass(frozen=True, slots=True)
class Best:
    """The runs of all seeds with the l2 whose median test loss is smallest."""

    l2: float
    runs: list[Sample]

    @classmethod
    def of(cls, side: Callable[[float, int], Side]) -> Best:
        """Run a side with every l2 and seed."""
        runs = {l2: [side(l2, seed)() for seed in SEEDS] for l2 in GRID}
        best = min(GRID, key=lambda l2: np.median([run["loss"] for run in runs[l2]]))
        return cls(best, runs[best])

    def all(self, metric: str) -> list[float]:
        """Return a figure of each seed."""
        return [run[metric] for run in self.runs]

    def middle(self, metric: str) -> float:
        """Return its median over the seeds."""
        return float(np.median(self.all(metric)))

    def margins(self) -> Any:
        """Return the test margins of the seed with the median loss."""
        return sorted(self.runs, key=lambda run: run["loss"])[len(self.runs) // 2]["margins"]


def _standard_error(differences: Any) -> float:
    return float(differences.std() / len(differences) ** 0.5)


@pytest.mark.parametrize("name", REAL)
def test_quality(benchmark: Any, figures: Figures, name: str) -> None:
    data = load(name)

    def side(module: Any, **settings: Any) -> Callable[[float, int], Side]:
        return lambda l2, seed: module.side(data, epochs=EPOCHS, l2=l2, seed=seed, **settings)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn overflows at small alpha
        found = {who: Best.of(side(scikit_learn, **settings)) for who, settings in PEERS.items()}
    found |= {who: Best.of(side(ours, **settings)) for who, settings in OURS.items()}
    benchmark.pedantic(side(ours, workers=2)(found[TWO].l2, 0))
    for who, best in found.items():
        figures.side(
            name,
            who,
            **{
                "best l2": f"{best.l2:g}",
                f"test log loss after {EPOCHS} epochs": best.all("loss"),
                "test accuracy": best.all("accuracy"),
                "rows/s, training": best.all("rate"),
                "s of training": best.all("seconds"),
            },
        )
    for who, peer in product(OURS, PEERS):
        mine, theirs = found[who], found[peer]
        versus = f"{who} minus {peer}"
        for metric, words, of_rows in (
            ("loss", "log loss", ours.losses_of),
            ("error", "error rate", ours.errors_of),
        ):
            rows = of_rows(mine.margins(), data.y_test) - of_rows(theirs.margins(), data.y_test)
            figures.answer(
                f"{name}: test {words}, {versus}",
                [mine.middle(metric) - theirs.middle(metric)],
                unit="",
                goal=_standard_error(rows) if peer == PEER else None,
                goal_is="most",
            )
