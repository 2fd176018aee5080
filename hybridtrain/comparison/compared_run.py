# SPDX-License-Identifier: BSD-3-Clause
"""One strategy's run among others, and the figures that it is compared by."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain.data.row_weights import largest_to_one
from hybridtrain.run.result import Result
from hybridtrain.strategies.parse import Strategy, Sync


def strategy_name(strategy: Strategy) -> str:
    """Return the word for a strategy, with the arguments that are not its defaults.

    Examples
    --------
    >>> from hybridtrain import Hybrid
    >>> strategy_name(Hybrid()), strategy_name(Hybrid(every=64))
    ('hybrid', 'hybrid(every=64)')
    """
    arguments = [
        f"{field.name}={getattr(strategy, field.name)!r}"
        for field in fields(strategy)
        if getattr(strategy, field.name) != field.default
    ]
    name = type(strategy).__name__.lower()
    return f"{name}({', '.join(arguments)})" if arguments else name


def auc(scores: npt.NDArray[Any], positive: npt.NDArray[np.bool_], weights: Any = None) -> float:
    """Return the area under the ROC curve: how often a positive row scores higher.

    Parameters
    ----------
    scores : array (n_rows,)
        Finite.
    positive : bool array (n_rows,)
    weights : array (n_rows,), optional
        At least 0.

    Returns
    -------
    float
        The share of pairs of a positive and a negative row in which the positive
        one scores higher; ties count one half. NaN when a class has no rows.

    References
    ----------
    Mann and Whitney 1947, doi:10.1214/aoms/1177730491.

    Examples
    --------
    >>> auc(np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, False, True, True]))
    0.875
    """
    weight = np.ones(len(scores))
    if weights is not None:
        weight = largest_to_one(np.asarray(weights, np.float64))
    _, place = np.unique(scores, return_inverse=True)
    ups = np.bincount(place, np.where(positive, weight, 0.0))
    downs = np.bincount(place, np.where(positive, 0.0, weight))
    below = np.cumsum(downs) - downs
    pairs = float(ups.sum() * downs.sum())
    return float((ups * (below + 0.5 * downs)).sum()) / pairs if pairs else math.nan


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedRun:
    """One strategy's run, and what it is compared by.

    Attributes
    ----------
    strategy : strategy
    result : Result
        Of a diverged run: up to the last epoch whose parameters are finite.
    score : float
        On the validation rows: area under the ROC curve for two classes, accuracy
        for more, R^2 for numbers; NaN when it is not defined there.
    diverged : str
        What the error said; empty when the run ended well.
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
    def same_bits(self) -> bool:
        """Whether another run with the same number of workers has the same bits."""
        return isinstance(self.strategy, Sync) or self.workers == 1

    @property
    def same_bits_for_any_workers(self) -> bool:
        """Whether it has them with every number of workers."""
        return isinstance(self.strategy, Sync) and self.strategy.exact

    def epochs_to(self, target: float) -> int | None:
        """Return the epochs after which the validation loss first is at most the target."""
        return next((k for k, loss in enumerate(self.losses, 1) if loss <= target), None)

    def seconds_to(self, target: float) -> float | None:
        """Return the seconds of training in these epochs; None: never."""
        epochs = self.epochs_to(target)
        return None if epochs is None else sum(r.seconds for r in self.result.history[:epochs])

    def story(self, target: float) -> dict[str, Any]:
        """Return all that is known of the run as plain values."""
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
            "staleness_mean": result.staleness.mean,
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
