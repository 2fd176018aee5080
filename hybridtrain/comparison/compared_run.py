# SPDX-License-Identifier: BSD-3-Clause
"""One strategy's run in a comparison, and its figures."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from hybridtrain.run.result import Result
from hybridtrain.strategies.base import Strategy
from hybridtrain.strategies.parse import strategy_name


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedRun:
    """Hold one strategy's run and the figures to compare it by.

    Attributes
    ----------
    strategy : strategy
    result : Result
        Of a diverged run, the result up to the last epoch whose parameters are finite.
    score : float
        On the validation rows: area under the ROC curve for two classes, accuracy
        for more, R^2 for numbers; NaN if these rows do not define it.
    diverged : str
        The error's message; empty when the run did not diverge.
    """

    strategy: Strategy
    result: Result
    score: float
    diverged: str = ""

    @property
    def name(self) -> str:
        """The strategy's word and arguments."""
        return strategy_name(self.strategy)

    @property
    def workers(self) -> int:
        """How many trained."""
        return len(self.result.workers)

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return self.result.seed

    @property
    def seconds(self) -> float:
        """Seconds of training in all epochs, without preparing and validation."""
        return sum(record.seconds for record in self.result.history)

    @property
    def rows_per_second(self) -> float:
        """Rows trained in a second, over all epochs and workers; NaN without any."""
        rows = sum(record.rows for record in self.result.history)
        return rows / self.seconds if self.seconds > 0 else math.nan

    @property
    def losses(self) -> tuple[float, ...]:
        """Validation loss after each epoch."""
        history = self.result.history
        return tuple(math.nan if r.validation_loss is None else r.validation_loss for r in history)

    @property
    def validation_loss(self) -> float:
        """Validation loss after the last epoch; NaN without any."""
        return self.losses[-1] if self.losses else math.nan

    @property
    def waiting(self) -> float:
        """Share of the workers' time that they waited for others; in 0 .. 1."""
        return self._share("waiting")

    @property
    def merging(self) -> float:
        """Share of the workers' time in merges with the shared parameters; in 0 .. 1."""
        return self._share("merging")

    def _share(self, name: str) -> float:
        reports = self.result.workers
        total = sum(report.computing + report.merging + report.waiting for report in reports)
        return sum(getattr(report, name) for report in reports) / total if total > 0 else 0.0

    @property
    def staleness_mean(self) -> float:
        """Mean staleness of the run, rows."""
        return self.result.staleness.mean

    @property
    def staleness_max(self) -> int:
        """Largest staleness of the run, rows."""
        return self.result.staleness.max

    @property
    def deaths(self) -> tuple[str, ...]:
        """How worker processes died: all causes, worker by worker."""
        return tuple(cause for report in self.result.workers for cause in report.deaths)

    @property
    def same_bits(self) -> bool:
        """Whether another run with the same number of workers has the same bits."""
        return self.strategy.same_bits(self.workers)

    @property
    def same_bits_for_any_workers(self) -> bool:
        """Whether a run with any number of workers has the same bits."""
        return self.strategy.same_bits_for_any_workers

    def epochs_to(self, target: float) -> int | None:
        """Return the number of epochs until the validation loss is at most the target."""
        return next((k for k, loss in enumerate(self.losses, 1) if loss <= target), None)

    def seconds_to(self, target: float) -> float | None:
        """Return the seconds of training until the target loss; None: never."""
        epochs = self.epochs_to(target)
        return None if epochs is None else sum(r.seconds for r in self.result.history[:epochs])

    def story(self, target: float) -> dict[str, Any]:
        """Return all figures and records of the run as plain values."""
        result = self.result
        return {
            "strategy": self.name,
            "workers": self.workers,
            "rows_per_second": self.rows_per_second,
            "seconds": self.seconds,
            "seconds_to_target": self.seconds_to(target),
            "epochs_to_target": self.epochs_to(target),
            "validation_loss": self.validation_loss,
            "score": self.score,
            "waiting": self.waiting,
            "merging": self.merging,
            "staleness_mean": self.staleness_mean,
            "same_bits": self.same_bits,
            "same_bits_for_any_workers": self.same_bits_for_any_workers,
            "diverged": self.diverged,
            "model": asdict(result.model),
            "seed": result.seed,
            "settings": result.settings,
            "history": [asdict(record) for record in result.history],
            "ledger": [asdict(record) for record in result.ledger],
            "staleness": asdict(result.staleness),
            "staleness_in_place": result.staleness_in_place and asdict(result.staleness_in_place),
            "worker_reports": [asdict(report) for report in result.workers],
        }
