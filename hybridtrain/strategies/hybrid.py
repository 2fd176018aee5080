# SPDX-License-Identifier: BSD-3-Clause
"""Hybrid: private replicas of the frequent features, the rare ones updated in place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from hybridtrain.arguments import plain, shown
from hybridtrain.errors import InvalidSettingError
from hybridtrain.plan.base import Settings
from hybridtrain.plan.compress import checked_compress
from hybridtrain.plan.problem import Problem
from hybridtrain.plan.stream import StreamPlan, plan_stream
from hybridtrain.strategies.base import (
    DENSE_STEPS_REMEDY,
    ROWS_IN_FLIGHT,
    Part,
    checked_every,
    is_auto,
    told_every,
)

_MOST_FEATURES = (1 << 32) - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Hybrid:
    """Keep frequent features in private replicas, update the rare ones in place.

    Each worker exchanges the changes of its replica with the shared parameters
    every few thousand rows. The changes are weighted: P workers together change a
    parameter as much as one worker would that trains the same rows in sequence.

    Parameters
    ----------
    hot : "auto", int or float
        How many of the most frequent features have replicas: a number of
        features (int), or a share of all features in 0 .. 1 (float; 0.0 is Hogwild,
        1.0 asynchronous local SGD). "auto": all features of dense rows; of sparse
        rows the whole model if a worker's replica fits the core's second-level
        cache, else the most frequent features that fit half of this cache.
    every : "auto" or int
        Rows of a worker between exchanges, at least 1. "auto": a measured number with
        which exchanges take at most 5 % of the time. A worker still makes at least 32
        exchanges an epoch.
    compress : "int8", "top_k(share)" or None
        How changes travel between nodes: rounded to 8 bits; of the share of the parameters that
        have changed most; or whole. What is left out is added to the next change.

    Notes
    -----
    One exchange reads and writes the hot parameters once: for each, about 12 bytes
    of the worker's own memory and 8 bytes of shared memory.
    """

    takes_batch_size: ClassVar[bool] = False
    steps_in_place: ClassVar[bool] = False
    has_replicas: ClassVar[bool] = True
    hot: Literal["auto"] | int | float = "auto"
    every: Literal["auto"] | int = "auto"
    compress: str | None = None

    def __post_init__(self) -> None:
        hot = plain(self.hot)
        object.__setattr__(self, "hot", hot)
        if not is_auto(hot):
            is_number = isinstance(hot, int | float) and not isinstance(hot, bool)
            most = 1 if isinstance(hot, float) else _MOST_FEATURES
            if not (is_number and 0 <= hot <= most):
                raise InvalidSettingError(
                    'hot must be "auto", a number of features (int >= 0) or a share of them '
                    f"(float in 0 .. 1), got {shown(hot)}"
                )
        object.__setattr__(self, "every", checked_every(self.every))
        object.__setattr__(self, "compress", checked_compress(self.compress))

    @property
    def parts(self) -> tuple[Part, ...]:
        """The strategy itself, for the whole run."""
        return (Part(self, None),)

    def same_bits(self, workers: int) -> bool:
        """Return whether there is one worker: with several, their speeds decide the order."""
        return workers == 1

    @property
    def spans_nodes(self) -> bool:
        """Whether nodes can train together: yes."""
        return True

    @property
    def same_bits_for_any_workers(self) -> bool:
        """Return False: several workers promise no bits."""
        return False

    @property
    def on_trial(self) -> Hybrid:
        """The strategy itself, on one node."""
        return replace(self, compress=None)

    def plan(self, problem: Problem, settings: Settings) -> StreamPlan:
        """Plan a stream whose hot features have replicas.

        Raises
        ------
        InvalidSettingError
            When a step of the optimizer changes more parameters than those of a row, or
            when `plan_stream` raises it.
        """
        if settings.optimizer.needs_dense_steps:
            self._check_dense_steps(problem, settings)
        return plan_stream(
            problem,
            settings,
            rows_in_flight=ROWS_IN_FLIGHT,
            exact=False,
            hot=self.hot,
            every=self.every,
            compress=self.compress,
        )

    def _check_dense_steps(self, problem: Problem, settings: Settings) -> None:
        """Refuse dense steps where a step does not reach every parameter."""
        reason = f"{settings.optimizer!r} changes every parameter in every step"
        if not problem.matrix.is_dense:
            raise InvalidSettingError(
                f"{reason}, and a step of Hybrid on a sparse row touches its features alone; "
                f"{DENSE_STEPS_REMEDY}"
            )
        if self.hot not in ("auto", 1.0) and self.hot != problem.matrix.n_features:
            raise InvalidSettingError(
                f"{reason}, so that all features must be hot, got hot={self.hot!r}; "
                f'use hot="auto", or {DENSE_STEPS_REMEDY}'
            )

    def describe(self, settings: Mapping[str, Any]) -> list[str]:
        """Return how many features were hot, and how often workers exchanged them."""
        return [f"{settings['hot']:,} hot features", *told_every(settings, "exchanges")]
