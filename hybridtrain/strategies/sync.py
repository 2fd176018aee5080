# SPDX-License-Identifier: BSD-3-Clause
"""Sync: minibatch steps of all workers together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from hybridtrain.arguments import require_bool
from hybridtrain.plan.base import Settings
from hybridtrain.plan.problem import Problem
from hybridtrain.plan.round import RoundPlan, plan_round
from hybridtrain.strategies.base import Part


@dataclass(frozen=True, kw_only=True, slots=True)
class Sync:
    """Step on minibatches: one optimizer step with the mean gradient of a batch.

    A batch is cut into small tasks. No worker waits for a slow one: a second worker
    also computes a task that takes too long, and the first result counts.

    Parameters
    ----------
    exact : bool
        True: sums do not depend on their order (64-bit integers on a grid). The
        parameters have the same bits for any number of workers, on any instruction set,
        with or without stragglers. False: float32 sums. They give equal bits for an equal
        number of workers, and are faster if there are many features.

    Notes
    -----
    Nothing is stale: every gradient of a step is taken at the same parameters.

    References
    ----------
    Sums: fixed-point, as in Demmel and Nguyen 2013, "Fast reproducible
    floating-point summation", doi:10.1109/ARITH.2013.9.
    """

    takes_batch_size: ClassVar[bool] = True
    steps_in_place: ClassVar[bool] = False
    has_replicas: ClassVar[bool] = False
    exact: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "exact", require_bool("exact", self.exact))

    @property
    def parts(self) -> tuple[Part, ...]:
        """The strategy itself, for the whole run."""
        return (Part(self, None),)

    def same_bits(self, workers: int) -> bool:
        """Return True: sums have no order, or one that the number of workers fixes."""
        del workers
        return True

    @property
    def same_bits_for_any_workers(self) -> bool:
        """Whether sums do not depend on their order."""
        return self.exact

    @property
    def spans_nodes(self) -> bool:
        """Whether nodes can train together: with exact sums."""
        return self.exact

    @property
    def on_trial(self) -> Sync:
        """The strategy itself."""
        return self

    def plan(self, problem: Problem, settings: Settings) -> RoundPlan:
        """Plan a round: the rows of a task and of a batch.

        Raises
        ------
        InvalidSettingError
            As `plan_round`.
        """
        return plan_round(problem, settings, exact=self.exact)

    def describe(self, settings: Mapping[str, Any]) -> list[str]:
        """Return how many rows a step had, if there were several."""
        batch = settings["batch_size"]
        return [f"batches of {batch:,} rows"] if batch > 1 else []
