# SPDX-License-Identifier: BSD-3-Clause
"""Hogwild: one parameter vector that every worker updates in place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from hybridtrain.arguments import require_bool
from hybridtrain.errors import InvalidSettingError
from hybridtrain.plan.base import Settings
from hybridtrain.plan.compress import checked_compress
from hybridtrain.plan.problem import Problem
from hybridtrain.plan.stream import StreamPlan, plan_stream
from hybridtrain.strategies.base import DENSE_STEPS_REMEDY, Part


@dataclass(frozen=True, kw_only=True, slots=True)
class Hogwild:
    """Update one shared parameter vector in place, lock-free, row by row.

    This is the textbook method. Cache lines of frequent features travel between the
    cores, so several workers are often slower than one. `Hybrid` scales better. On dense
    rows, where all lines travel in every row, one worker trains alone, and
    `result.settings["workers_reason"]` says so.

    Parameters
    ----------
    exact : bool
        False: an update may overwrite another worker's update (plain loads and
        stores). True: no update is lost (compare-and-swap per parameter); slower.
    compress : "int8", "top_k(share)" or None
        How changes travel between nodes: rounded to 8 bits; of the share of the parameters that
        have changed most; or whole. What is left out is added to the next change.

    Notes
    -----
    Staleness is sampled on one row in 1,000.

    References
    ----------
    Niu, Recht, Re and Wright 2011, "Hogwild!", arXiv:1106.5730.
    """

    takes_batch_size: ClassVar[bool] = False
    has_replicas: ClassVar[bool] = False
    exact: bool = False
    compress: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "exact", require_bool("exact", self.exact))
        object.__setattr__(self, "compress", checked_compress(self.compress))

    @property
    def steps_in_place(self) -> bool:
        """Whether steps are plain loads and stores, which also go with a replica."""
        return not self.exact

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
    def on_trial(self) -> Hogwild:
        """The strategy itself, on one node."""
        return replace(self, compress=None)

    def plan(self, problem: Problem, settings: Settings) -> StreamPlan:
        """Plan a stream without replicas: every worker steps in place, row by row.

        Raises
        ------
        InvalidSettingError
            When a step of the optimizer changes every parameter, or when `plan_stream`
            raises it.
        """
        if settings.optimizer.needs_dense_steps:
            raise InvalidSettingError(
                f"{settings.optimizer!r} changes every parameter in every step, and Hogwild steps "
                f"in place, lock-free; {DENSE_STEPS_REMEDY}"
            )
        return plan_stream(
            problem,
            settings,
            rows_in_flight=1,
            exact=self.exact,
            hot=0,
            every="auto",
            compress=self.compress,
        )

    def describe(self, settings: Mapping[str, Any]) -> list[str]:
        """Return an empty list: Hogwild chooses no setting."""
        del settings
        return []
