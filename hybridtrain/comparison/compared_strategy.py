# SPDX-License-Identifier: BSD-3-Clause
"""One strategy in a comparison: its runs with all seeds, and their figures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hybridtrain.comparison.compared_run import ComparedRun
from hybridtrain.comparison.spread import Band, band
from hybridtrain.comparison.text_table import counted


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedStrategy:
    """Hold the runs of one strategy with one number of workers, one run for each seed.

    Attributes
    ----------
    runs : tuple of ComparedRun
        In the order of the call's seeds.
    """

    runs: tuple[ComparedRun, ...]

    @property
    def name(self) -> str:
        """The strategy's word and arguments."""
        return self.runs[0].name

    @property
    def workers(self) -> int:
        """How many trained."""
        return self.runs[0].workers

    @property
    def diverged(self) -> int:
        """How many of the runs diverged."""
        return sum(bool(run.diverged) for run in self.runs)

    @property
    def best_loss(self) -> float:
        """Median of the runs' lowest validation losses, the upper one of two; infinity: none."""
        lowest = [min(filter(math.isfinite, run.losses), default=math.inf) for run in self.runs]
        return sorted(lowest)[len(lowest) // 2]

    def times_to(self, target: float) -> tuple[float, ...]:
        """Return the seconds of training until the target loss, one for each seed; inf: never."""
        times = (run.seconds_to(target) for run in self.runs)
        return tuple(math.inf if seconds is None else seconds for seconds in times)

    def usual_run(self, target: float) -> ComparedRun:
        """Return the run of median time until the target loss, the sooner one of two."""
        times = self.times_to(target)
        order = sorted(range(len(times)), key=times.__getitem__)
        return self.runs[order[(len(order) - 1) // 2]]

    @property
    def end_losses(self) -> tuple[float, ...]:
        """Validation losses after the last epoch, one for each seed; infinity: none."""
        losses = (run.validation_loss for run in self.runs)
        return tuple(math.inf if math.isnan(loss) else loss for loss in losses)

    def median(self, figure: str) -> float:
        """Return the median of an attribute of the runs, such as "rows_per_second"."""
        return band(getattr(run, figure) for run in self.runs).median

    @property
    def score(self) -> Band:
        """The scores on the validation rows."""
        return band((run.score for run in self.runs), worst=-math.inf)

    def story(self, target: float) -> dict[str, Any]:
        """Return the figures over all seeds as plain values."""
        bands = {
            "seconds_to_target": band(self.times_to(target)),
            "validation_loss": band(self.end_losses),
            "score": self.score,
        }
        return {
            "strategy": self.name,
            "workers": self.workers,
            "diverged": self.diverged,
            **{
                name: {"median": of.median, "lowest": of.lowest, "highest": of.highest}
                for name, of in bands.items()
            },
        }


def labels(strategies: Sequence[ComparedStrategy]) -> list[str]:
    """Return the strategies' names, with the number of workers where a name is there twice."""
    times = Counter(strategy.name for strategy in strategies)
    return [
        strategy.name
        if times[strategy.name] == 1
        else f"{strategy.name} with {counted(strategy.workers, 'worker')}"
        for strategy in strategies
    ]
