# SPDX-License-Identifier: BSD-3-Clause
"""Local steps of replicas: the rows of a step of the round, and what is stale in it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from hybridtrain._core.sync import MAX_TASK_ROWS, MAX_TASKS
from hybridtrain.arguments import shown
from hybridtrain.errors import InvalidSettingError
from hybridtrain.observe.records import Staleness
from hybridtrain.plan import costs
from hybridtrain.plan.problem import Problem

_STRIP_ROWS = 16  # neighbouring rows, that the memory brings together
_LEAST_STRIPS = 1024  # of an epoch, where strips are that long: their rows never part
_BATCH_ROWS = 16
_EVERY, _LEAST_MERGES = 64, 32


@dataclass(frozen=True, slots=True)
class LocalSteps:
    """Hold what the replicas of a run do between two merges.

    Attributes
    ----------
    replicas : int
    every : int
        Local steps between two merges; 0: still to be chosen.
    rows : int
        Of a local step.
    outer : dict
        The core's constants of the outer optimizer; empty: none.
    """

    replicas: int
    every: int
    rows: int = 0
    outer: dict[str, Any] = field(default_factory=dict)

    def constants(self) -> dict[str, Any]:
        """Return the constants that a run of the core reads."""
        return {
            "replicas": self.replicas,
            "every": self.every,
            "local_rows": self.rows,
            **self.outer,
        }


def _check_replicas(replicas: int, n_rows: int) -> None:
    """Refuse more replicas than there are rows, or than the core can hold.

    Raises
    ------
    InvalidSettingError
    """
    if replicas > min(n_rows, MAX_TASKS):
        raise InvalidSettingError(
            f"replicas must be at most the number of rows ({n_rows}) and {MAX_TASKS}, "
            f"got {shown(replicas)}"
        )


def _local_rows(n_rows: int, batch_size: int | None) -> int:
    if batch_size is None:
        return min(_BATCH_ROWS, n_rows)
    if batch_size > n_rows:
        raise InvalidSettingError(
            f"batch_size must be at least 1 and at most the number of rows ({n_rows}), "
            f"got {shown(batch_size)}"
        )
    return batch_size


def local_steps(problem: Problem, local: LocalSteps, batch_size: int | None) -> LocalSteps:
    """Choose what is still open: the rows of a local step, and how many steps there are.

    Raises
    ------
    InvalidSettingError
        When a number is out of range.
    """
    n_rows = problem.matrix.n_rows
    _check_replicas(local.replicas, n_rows)
    rows = _local_rows(n_rows, batch_size)
    at_once = local.replicas * rows
    every = local.every or min(n_rows // (at_once * _LEAST_MERGES), _EVERY)
    return replace(local, rows=rows, every=max(min(every, -(-n_rows // at_once)), 1))


def tasks_of_replicas(problem: Problem, local: LocalSteps) -> tuple[int, int]:
    """Return the rows of a strip, and the strips of a step of the round.

    A replica has the rows of its local steps, unless all replicas together would have more rows
    than there are: then an epoch is one step, of a strip or more for each replica.
    """
    n_rows = problem.matrix.n_rows
    of_replica = min(local.every * local.rows, -(-n_rows // local.replicas))
    most = costs.most_task_rows(problem)
    if not costs.is_clustered(problem.targets):
        most = max(most, min(_STRIP_ROWS, n_rows // _LEAST_STRIPS))
    most = min(most, MAX_TASK_ROWS, n_rows // local.replicas)
    strip = next(k for k in range(most, 0, -1) if of_replica % k == 0)
    return strip, local.replicas * of_replica // strip


def staleness_of_replicas(
    n_rows: int, strip_rows: int, batch_strips: int, replicas: int, epochs: float
) -> Staleness:
    """Count the rows of other replicas that enter with each replica, over so many epochs."""
    n_strips = -(-n_rows // strip_rows)
    steps = -(-n_strips // batch_strips)
    values: Counter[int] = Counter()
    done = round(epochs * steps)
    for step, times in _times(done, steps):
        first = step * batch_strips
        last = min(first + batch_strips, n_strips)
        tasks = min(replicas, last - first)
        ends = [first + (last - first) * t // tasks for t in range(tasks + 1)]
        rows = [min(end * strip_rows, n_rows) for end in ends]
        for begin, end in pairwise(rows):
            values[rows[-1] - rows[0] - (end - begin)] += times
    counts = [0] * (max(values, default=0).bit_length() + 1)
    for value, times in values.items():
        counts[value.bit_length()] += times
    total = sum(value * times for value, times in values.items())
    return Staleness(tuple(counts), total, max(values, default=0), "merge")


def _times(done: int, steps: int) -> list[tuple[int, int]]:
    """Return a full step and the last step of an epoch, and how often each was done."""
    epochs, rest = divmod(done, steps)
    full = epochs * (steps - 1) + rest
    return [(step, times) for step, times in ((0, full), (steps - 1, epochs)) if times]
