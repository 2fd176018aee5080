# SPDX-License-Identifier: BSD-3-Clause
"""Many seeds of short runs: no run of several workers ends far from the run of one worker.

    python tests/stress/test_seeds.py --seeds 1000

runs each case with so many seeds, and ends with 1 if one is off by more than 2 %: for a machine
that does nothing else.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import hybridtrain as ht

MOST = 1.02  # loss over one worker's
MOST_BUSY = 2.0  # where others take a worker's core for a part of so short a run
SEEDS = 40

pytestmark = [pytest.mark.stress, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Case:
    """A strategy and an optimizer, on dense rows or on the same rows as CSR."""

    loss: str
    strategy: Any
    optimizer: Any
    workers: int
    is_dense: bool = True

    def losses(self, seed: int) -> tuple[float, float]:
        """Return the mean loss after training with one worker, and with several."""
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((20_000, 20), np.float32)
        y = X @ rng.standard_normal(20) + rng.standard_normal(len(X))
        if self.loss == "softmax":
            y = np.digitize(y, [-3, 3])
        data = X if self.is_dense else sp.csr_matrix(X)
        settings = {"strategy": self.strategy, "optimizer": self.optimizer, "seed": seed}
        one, several = (
            self._loss(
                ht.train(
                    ht.Linear(loss=self.loss),
                    (data, y),
                    workers=workers,
                    epochs=4,
                    progress=False,
                    **settings,
                ),
                X,
                y,
            )
            for workers in (1, self.workers)
        )
        return one, several

    def _loss(self, result: Any, X: Any, y: Any) -> float:
        if self.loss == "squared":
            return float(np.mean((result.predict(X) - y) ** 2))
        return float(-np.log(result.predict_proba(X)[np.arange(len(y)), y]).mean())


CASES = [
    Case("squared", ht.Hybrid(), ht.Adam(), 2),
    Case("squared", ht.Hybrid(), ht.FTRL(), 4),
    Case("squared", ht.Hybrid(), ht.SGD(), 4),
    Case("softmax", ht.Hogwild(), ht.FTRL(), 2),
    Case("softmax", ht.Hogwild(), ht.FTRL(), 2, is_dense=False),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_no_seed_is_far_off(case: Case) -> None:
    pairs = [case.losses(seed) for seed in range(SEEDS)]
    ratios = [several / one for one, several in pairs]
    assert np.median(ratios) <= MOST
    assert max(ratios) <= MOST_BUSY, (int(np.argmax(ratios)), max(ratios))


def main() -> int:
    """Run each case with the given number of seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000)
    seeds = parser.parse_args().seeds
    n_bad = 0
    for case in CASES:
        found = [(b / a, seed) for seed in range(seeds) for a, b in [case.losses(seed)]]
        bad = [pair for pair in found if pair[0] > MOST]
        n_bad += len(bad)
        print(case, "largest", max(found), "too large", len(bad), flush=True)
    return int(n_bad > 0)


if __name__ == "__main__":
    sys.exit(main())
