# SPDX-License-Identifier: BSD-3-Clause
"""Hierarchical: groups of workers that share one replica by one strategy, and meet by another."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Literal

import numpy as np

from hybridtrain.arguments import plain, require_int, shown
from hybridtrain.errors import InvalidSettingError
from hybridtrain.machine import numa_nodes, usable_core_numbers
from hybridtrain.plan.base import Plan, Settings, check_workers
from hybridtrain.plan.problem import Problem
from hybridtrain.plan.stream import StreamPlan
from hybridtrain.strategies.base import Part, Single, Strategy, is_auto, is_single, of_part

Cores = tuple[int, ...]
Groups = Literal["auto"] | int | tuple[Cores, ...]

_COMPOSITIONS = (
    'several groups go with within="hogwild" and between="hybrid" or "async"; one group goes with '
    "any strategy"
)
_EXPECTED = 'groups must be "auto", an int of at least 1, or a list of sets of core numbers'


@dataclass(frozen=True, kw_only=True, slots=True)
class Hierarchical:
    """Let groups of workers share a replica, and exchange the replicas between the groups.

    The workers of a group step on one replica in place, lock-free. After `every` rows of its own
    (as `between` says) each worker exchanges the replica of its group with the shared parameters.
    So cache lines that every row writes travel within a group, and not between groups.

    Parameters
    ----------
    within : str or strategy
        How the workers of a group train: "hogwild". One group alone may train by any strategy, and
        then has its bits.
    between : str or strategy
        How the groups meet: "hybrid" or "async", with their arguments.
    groups : "auto", int or list of sets of int
        "auto": one group for each NUMA node that has usable cores. An int: so many groups of
        neighbouring workers. Sets of core numbers: a group for each set, whose workers run on
        these cores alone, and are as many as the set's share of all cores given.

    Notes
    -----
    Several groups train dense rows with one worker each, and
    ``result.settings["workers_reason"]`` says so: a dense row changes every parameter, and
    workers of a group would pass all cache lines back and forth in each row.

    `result.settings["groups"]` has the workers and the cores of each group. Staleness is that of
    exchanges between groups, in rows of other groups.

    References
    ----------
    Zhang and Re 2014, "DimmWitted: a study of main-memory statistical analytics", PVLDB 7(12)
    (PerNode), arXiv:1403.7550.
    """

    within: str | Strategy = "hogwild"
    between: str | Strategy = "hybrid"
    groups: Literal["auto"] | int | Collection[Collection[int]] = "auto"

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", _checked_groups(self.groups))

    def parsed(self, parse: Callable[[str | Strategy], Strategy]) -> Hierarchical:
        """Return the same strategy with objects in place of words.

        Raises
        ------
        InvalidSettingError
            When `parse` raises it, or `within` or `between` cannot be composed.
        """
        inner: dict[str, Any] = {}
        for name in ("within", "between"):
            with of_part(f"{name} of Hierarchical"):
                strategy = inner[name] = parse(getattr(self, name))
            if not is_single(strategy) or isinstance(strategy, Hierarchical):
                raise InvalidSettingError(
                    f"{name} of Hierarchical must be a strategy that trains by itself, got "
                    f"{shown(strategy)}"
                )
        if self._most_groups > 1:
            _check_composition(inner["within"], inner["between"])
        return replace(self, within=inner["within"], between=inner["between"])

    @property
    def _inner(self) -> Single:
        return _object(self.within)

    @property
    def _outer(self) -> Single:
        return _object(self.between)

    @property
    def _most_groups(self) -> int:
        """How many groups there are with workers enough."""
        groups = numa_nodes() if is_auto(self.groups) else self.groups
        return groups if isinstance(groups, int) else len(groups)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The strategy itself, for the whole run."""
        return (Part(self, None),)

    @property
    def takes_batch_size(self) -> bool:
        """Whether there is one group, whose strategy does."""
        return self._most_groups == 1 and self._inner.takes_batch_size

    @property
    def steps_in_place(self) -> bool:
        """False: a group's workers have a replica already."""
        return False

    @property
    def has_replicas(self) -> bool:
        """False: the replicas are the groups'."""
        return False

    @property
    def on_trial(self) -> Single:
        """What one worker would train by."""
        return (self._inner if self._most_groups == 1 else self._outer).on_trial

    def same_bits(self, workers: int) -> bool:
        """Return whether the only group's strategy promises it, or there is one worker."""
        return self._inner.same_bits(workers) if self._most_groups == 1 else workers == 1

    @property
    def spans_nodes(self) -> bool:
        """Whether nodes can train together, each in groups: if what the groups meet by does."""
        return (self._inner if self._most_groups == 1 else self._outer).spans_nodes

    @property
    def same_bits_for_any_workers(self) -> bool:
        """Whether there is one group, whose strategy promises it."""
        return self._most_groups == 1 and self._inner.same_bits_for_any_workers

    def plan(self, problem: Problem, settings: Settings) -> Plan:
        """Plan as the strategy between the groups, with a replica for each group.

        One group is planned by its strategy alone.

        Raises
        ------
        InvalidSettingError
            When there are more groups than workers, when this process may not use a given core,
            when the strategies do not compose, or when one of them raises it.
        """
        check_workers(settings.workers, problem.matrix.n_rows)
        sizes, cores = self._groups(settings.workers)
        if len(sizes) == 1:
            reason = ""
            if is_auto(self.groups):
                is_alone = settings.workers == 1
                reason = "one worker" if is_alone else "the usable cores are of one NUMA node"
            plan = self._inner.plan(problem, settings)
            return _told(plan, [plan.workers], cores, groups_reason=reason)
        _check_composition(self._inner, self._outer)
        changes = {}
        if problem.matrix.is_dense and settings.workers > len(sizes):
            changes["workers_reason"] = (
                f"{settings.workers} workers in {len(sizes)} groups would write the same "
                "parameters in every dense row; one worker of each group trains"
            )
            sizes = [1] * len(sizes)
            settings = replace(settings, workers=len(sizes))
        elif settings.optimizer.needs_dense_steps and settings.workers > len(sizes):
            self._inner.plan(problem, settings)  # which refuses it
        plan = self._outer.plan(problem, settings)
        if plan.workers < settings.workers:  # one worker is faster, and the plan says why
            given = sorted(chain(*(of for of in cores if of is not None)))
            return _told(plan, [plan.workers], [tuple(given) or None])
        assert isinstance(plan, StreamPlan)
        if plan.n_hot == 0:
            raise InvalidSettingError(
                f"the workers of a group share a replica, and {self._outer!r} has none: no feature "
                "is hot; choose another hot, or Hogwild for all workers"
            )
        if settings.workers > len(sizes):
            team_of = np.repeat(np.arange(len(sizes), dtype=np.uint32), sizes)
            plan = replace(plan, team_of=team_of)
        return _told(plan, sizes, cores, **changes)

    def _groups(self, workers: int) -> tuple[list[int], list[Cores | None]]:
        """Return the workers and the cores of each group; None: any core.

        Raises
        ------
        InvalidSettingError
        """
        if is_auto(self.groups) and min(len(numa_nodes()), workers) == 1:
            return [workers], [None]
        groups = numa_nodes()[:workers] if is_auto(self.groups) else _checked_groups(self.groups)
        n_groups = groups if isinstance(groups, int) else len(groups)
        if n_groups > workers:
            raise InvalidSettingError(
                f"groups must be at most the number of workers ({workers}), got {n_groups}; set "
                f"workers={n_groups} or more, or fewer groups"
            )
        if isinstance(groups, int):
            return _split(workers, [1] * groups), [None] * groups
        assert not isinstance(groups, str)
        unusable = set(chain(*groups)) - set(usable_core_numbers())
        if unusable:
            raise InvalidSettingError(
                f"groups must be of cores that this process may use "
                f"({shown(list(usable_core_numbers()))}), got {shown(sorted(unusable))}"
            )
        return _split(workers, [len(cores) for cores in groups]), list(groups)

    def describe(self, settings: Mapping[str, Any]) -> list[str]:
        """Return the groups, and what the strategy that trained them says."""
        sizes = [group["workers"] for group in settings["groups"]]
        if len(sizes) == 1:
            reason = settings["groups_reason"]
            is_inner = self._most_groups == 1 or reason  # else one worker was faster than groups
            strategy = self._inner if is_inner else self._outer
            why = f" ({reason})" if reason else ""
            name = type(strategy).__name__
            return [f"one group{why}, trained by {name}", *strategy.describe(settings)]
        text = " + ".join(map(str, sizes))
        return [f"{len(sizes)} groups of {text} workers", *self._outer.describe(settings)]


def _object(strategy: str | Strategy) -> Single:
    if is_single(strategy):
        return strategy
    raise InvalidSettingError(
        f"strategies of Hierarchical must be objects here, such as ht.Hybrid(), got "
        f"{shown(strategy)}; train, compare and the estimators turn words into them"
    )


def _check_composition(within: Any, between: Any) -> None:
    if not within.steps_in_place:
        raise InvalidSettingError(
            "within must let workers step on one replica in place, by plain loads and stores, "
            f"which {within!r} does not; {_COMPOSITIONS}"
        )
    if not between.has_replicas:
        raise InvalidSettingError(
            f"between must exchange a replica for each group, which {between!r} does not; "
            f"{_COMPOSITIONS}"
        )


def _checked_groups(value: Any) -> Groups:
    """Return the groups as they are compared and hashed.

    Raises
    ------
    InvalidSettingError
    """
    groups = plain(value)
    if is_auto(groups):
        return "auto"
    if isinstance(groups, int):
        return require_int("groups", groups, least=1)
    if isinstance(groups, str) or not isinstance(groups, Iterable):
        raise InvalidSettingError(f"{_EXPECTED}, got {shown(value)}")
    cores = tuple(_checked_cores(group) for group in groups)
    if not cores:
        raise InvalidSettingError(f"{_EXPECTED}, got no set")
    if len(set(chain(*cores))) < sum(map(len, cores)):
        raise InvalidSettingError(f"a core must be in one group only, got {shown(value)}")
    return cores


def _checked_cores(group: Any) -> Cores:
    if isinstance(group, str) or not isinstance(group, Iterable):
        raise InvalidSettingError(f"{_EXPECTED}, got the group {shown(group)}")
    cores = sorted({require_int("a core of groups", core, least=0) for core in group})
    if not cores:
        raise InvalidSettingError("each group must have a core, got an empty one")
    return tuple(cores)


def _split(workers: int, weights: list[int]) -> list[int]:
    """Divide workers as the weights say, and at least one to each.

    Each other worker goes where most is missing: shares with the largest remainders round up.
    """
    total = sum(weights)
    sizes = [1] * len(weights)
    for _ in range(workers - len(weights)):
        most = max(range(len(sizes)), key=lambda k: (workers * weights[k] - total * sizes[k], k))
        sizes[most] += 1
    return sizes


def _told(plan: Any, sizes: list[int], cores: list[Cores | None], **reasons: str) -> Plan:
    """Return the plan whose choices tell the groups."""
    groups = [
        {"workers": size, "cores": None if of is None else list(of)}
        for size, of in zip(sizes, cores, strict=True)
    ]
    choices = {**plan.choices, "groups": groups, "groups_reason": "", **reasons}
    told: Plan = replace(plan, choices=choices)
    return told
