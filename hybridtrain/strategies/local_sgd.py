# SPDX-License-Identifier: BSD-3-Clause
"""LocalSGD: replicas that train by themselves, and are averaged now and then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from hybridtrain._core.optimizer import is_dual
from hybridtrain.arguments import require_int
from hybridtrain.errors import InvalidSettingError
from hybridtrain.optimizers.outer import Nesterov, SlowMo, parse_outer
from hybridtrain.optimizers.periods import QSR, Fixed, parse_period
from hybridtrain.plan.base import Settings
from hybridtrain.plan.local import LocalSteps
from hybridtrain.plan.problem import Problem
from hybridtrain.plan.round import RoundPlan, plan_round
from hybridtrain.strategies.base import Part, Strategy


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalSGD:
    """Let replicas make steps of their own, and merge their changes every few steps.

    A replica is a task, as a part of a batch is for `Sync`: any worker takes it, no worker
    waits for a slow one, and what a killed worker had in hand is done again. The changes are
    summed without an order, so that the parameters have the same bits for any number of
    workers, on any backend, with or without stragglers.

    Parameters
    ----------
    every : int, "adacomm", "auto", QSR, str or None
        Steps of a replica between two merges, at least 1. None: 64, or fewer, so that an epoch
        has at least 32 merges. "adacomm" begins so, and merges more often as the loss falls.
        `QSR`, such as "qsr(every=4)", merges less often as the learning rate falls. "auto" takes
        as many steps as keep merges within a tenth of the workers' time: it follows the clock, so
        that equal runs have different bits. All of them choose at the start of an epoch.
    replicas : int, optional
        Replicas of the parameters, at least 1. The bits of a run depend on their number, and
        more of them than workers soften a straggler. None: as many as there are workers; on
        several nodes the workers of the process that calls `train`, times the nodes.
    outer : Nesterov, SlowMo or str, optional
        Steps by the mean change of the replicas, such as ``ht.Nesterov(lr=0.7,
        momentum=0.9)`` (DiLoCo), ``ht.SlowMo()`` or "nesterov(lr=0.5)". None: the
        parameters become the replicas' mean.

    Notes
    -----
    Parameters, momentum and means of gradients become the mean of the replicas', weighted by
    their rows. Sums of squares (AdaGrad, FTRL) add up. FTRL's z is what makes its w the mean of
    the replicas' beside that sum.

    `train`'s batch_size is the rows of one step of one replica. Staleness is that of every merge
    of a replica: the rows of the other replicas that enter with it.

    References
    ----------
    Stich 2019, "Local SGD converges fast and communicates little", arXiv:1805.09767. McMahan et
    al. 2017 (federated averaging), arXiv:1602.05629.
    """

    takes_batch_size: ClassVar[bool] = True
    steps_in_place: ClassVar[bool] = False
    has_replicas: ClassVar[bool] = False
    every: int | str | QSR | None = None
    replicas: int | None = None
    outer: Nesterov | SlowMo | str | None = None

    def __post_init__(self) -> None:
        set_field = object.__setattr__
        period = parse_period(self.every)
        if isinstance(period, Fixed | QSR):
            set_field(self, "every", period.every if isinstance(period, Fixed) else period)
        if self.replicas is not None:
            set_field(self, "replicas", require_int("replicas", self.replicas, least=1))
        set_field(self, "outer", parse_outer(self.outer))

    @property
    def parts(self) -> tuple[Part, ...]:
        """The strategy itself, for the whole run."""
        return (Part(self, None),)

    def same_bits(self, workers: int) -> bool:
        """Return whether no clock decides when replicas are merged."""
        del workers
        return not parse_period(self.every).follows_time

    @property
    def spans_nodes(self) -> bool:
        """Whether nodes can train together: unless the clock of each says when they merge."""
        return self.same_bits(1)

    @property
    def same_bits_for_any_workers(self) -> bool:
        """Whether the number of replicas is given; else it is that of the workers."""
        return self.replicas is not None and self.same_bits(1)

    @property
    def on_trial(self) -> LocalSGD:
        """One replica: its rate fits each of several, whose mean has less noise."""
        return LocalSGD(replicas=1)

    def plan(self, problem: Problem, settings: Settings) -> RoundPlan:
        """Plan a round whose tasks are the steps of replicas.

        Raises
        ------
        InvalidSettingError
            When there are more replicas than rows, when the optimizer cannot have an outer one, or
            as `plan_round`.
        """
        outer = parse_outer(self.outer)
        if outer is not None and is_dual(settings.optimizer.number):
            raise InvalidSettingError(
                f"{settings.optimizer!r} computes its parameters from sums, which an outer step "
                "would not change; use outer=None, or ht.AdaGrad()"
            )

        replicas = settings.workers if self.replicas is None else self.replicas
        constants = {} if outer is None else outer.constants()
        local = LocalSteps(replicas, parse_period(self.every), constants)
        return plan_round(problem, settings, exact=True, local=local)

    def describe(self, settings: Mapping[str, Any]) -> list[str]:
        """Return the replicas, and how often they were merged."""
        steps = settings.get("every") or [1]
        every = " to ".join(f"{n:,}" for n in dict.fromkeys([min(steps), max(steps)]))
        return [
            f"{settings['replicas']:,} replicas, merged every {every} steps of "
            f"{settings['batch_size']:,} rows"
        ]


def with_replicas(strategy: str | Strategy, replicas: int) -> Strategy:
    """Return a strategy, which is no word, with so many replicas if it leaves their number open."""
    assert not isinstance(strategy, str)
    if isinstance(strategy, LocalSGD) and strategy.replicas is None:
        return replace(strategy, replicas=replicas)
    return strategy
