# SPDX-License-Identifier: BSD-3-Clause
"""Local steps of replicas: the rows of a step of the round, and what is stale in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from hybridtrain._core.sync import MAX_TASK_ROWS, MAX_TASKS, SyncRun
from hybridtrain.arguments import shown
from hybridtrain.data.arrays import Floats
from hybridtrain.errors import InvalidSettingError
from hybridtrain.observe.records import Staleness
from hybridtrain.optimizers.periods import Course, Fixed, Period
from hybridtrain.plan import costs
from hybridtrain.plan.problem import Problem

_STRIP_ROWS = 16  # neighbouring rows, that the memory brings together
_LEAST_STRIPS = 1024  # of an epoch, where strips are that long: their rows never part
_BATCH_ROWS = 16
_EVERY, _LEAST_MERGES = 64, 32
NO_LOSS = -1.0  # of the last epoch, in a run that goes on where another strategy has trained


@dataclass(frozen=True, slots=True)
class LocalSteps:
    """Hold what the replicas of a run do between two merges.

    Attributes
    ----------
    replicas : int
    period : Period
        Says how many local steps there are between two merges.
    outer : dict
        The core's constants of the outer optimizer; empty: none.
    rows : int
        Of a local step.
    usual : int
        Local steps between two merges, unless the period says otherwise.
    unit : int
        Local steps of a batch of the core; between two merges there are one or more batches.
    most : int
        Batches between two merges, at most.
    """

    replicas: int
    period: Period
    outer: dict[str, Any] = field(default_factory=dict)
    rows: int = 0
    usual: int = 0
    unit: int = 0
    most: int = 1

    def constants(self) -> dict[str, Any]:
        """Return the constants that a run of the core reads."""
        return {
            "replicas": self.replicas,
            "every": self.unit,
            "most_together": self.most,
            "local_rows": self.rows,
            **self.outer,
        }


class LocalRun(SyncRun):
    """A run of replicas, which begins each epoch with its own number of local steps."""

    def follow(self, local: LocalSteps, first_lr: float, shape: tuple[int, int, int]) -> None:
        """Set what decides the steps of each epoch, and the rows, strips' rows and strips."""
        self._local, self._shape = local, shape
        self._first_lr = self._lr = first_lr
        self._spent = self._merging()
        self.taken: dict[int, int] = {}  # batches between two merges, by epoch

    def set_rates(self, epoch: int, lrs: Floats) -> None:
        """Set the rates of an epoch; see SyncRun."""
        super().set_rates(epoch, lrs)
        self._lr = float(lrs[0])

    def begin(self, epoch: int) -> None:
        """Open epoch 1, 2, ...; see SyncRun."""
        local = self._local
        steps = first = local.period.first(local.usual, self._first_lr)
        if self.opened and self.last_loss != NO_LOSS:
            report = self.epoch_report()
            if report["trained"]:
                self.last_loss = report["loss"] / report["trained"]
                self.first_loss = self.first_loss or self.last_loss
            merged, worked = (
                after - before for after, before in zip(self._merging(), self._spent, strict=True)
            )
            course = Course(
                lr=self._lr,
                first_lr=self._first_lr,
                loss=self.last_loss,
                first_loss=self.first_loss,
                merging=merged / worked if worked > 0 else 0.0,
            )
            steps = local.period.following(self.together * local.unit, first, course)
        self.last_loss = max(self.last_loss, 0.0)
        self._spent = self._merging()
        self.take_together(min(-(-steps // local.unit), local.most))
        self.taken[epoch] = self.together
        super().begin(epoch)

    def resume(self) -> None:
        """Go on with an epoch that was stopped; see SyncRun."""
        self.taken.setdefault(self.opened, self.together)
        super().resume()

    def _merging(self) -> tuple[float, float]:
        """Return the workers' seconds in merges, and in merges and steps."""
        reports = [self.report(w) for w in range(self.n_workers)]
        merging = sum(r["merge"] for r in reports)
        return merging, merging + sum(r["compute"] for r in reports)

    def epoch_report(self) -> dict[str, Any]:
        """Return what the epoch has done so far, with its staleness; see SyncRun."""
        report = super().epoch_report()
        epoch = {self.opened: self.taken[self.opened]} if self.opened in self.taken else {}
        return {**report, "staleness": self._staleness(epoch, report["batches"])}

    def staleness(self) -> Staleness:
        """Return the staleness of all epochs that this run has begun."""
        return self._staleness(self.taken, super().epoch_report()["batches"])

    def _staleness(self, taken: Mapping[int, int], done: int) -> Staleness:
        epochs: dict[int, float] = {}
        for epoch, together in taken.items():
            share = min(done / self.steps_per_epoch() - (epoch - 1), 1.0)
            epochs[together] = epochs.get(together, 0.0) + share
        return staleness_of_replicas(*self._shape, self._local.replicas, epochs)

    def steps_by_epoch(self) -> list[int]:
        """Return the local steps between two merges, of each epoch that this run has begun."""
        return [taken * self._local.unit for _, taken in sorted(self.taken.items())]


def local_steps(problem: Problem, local: LocalSteps, batch_size: int | None) -> LocalSteps:
    """Choose the rows of a local step, and what numbers of steps there may be.

    Raises
    ------
    InvalidSettingError
        When a number is out of range.
    """
    n_rows = problem.matrix.n_rows
    if local.replicas > min(n_rows, MAX_TASKS):
        raise InvalidSettingError(
            f"replicas must be at most the number of rows ({n_rows}) and {MAX_TASKS}, "
            f"got {shown(local.replicas)}"
        )
    if batch_size is not None and batch_size > n_rows:
        raise InvalidSettingError(
            f"batch_size must be at least 1 and at most the number of rows ({n_rows}), "
            f"got {shown(batch_size)}"
        )
    rows = min(_BATCH_ROWS, n_rows) if batch_size is None else batch_size
    at_once = local.replicas * rows
    usual = max(min(n_rows // (at_once * _LEAST_MERGES), _EVERY), 1)
    if isinstance(local.period, Fixed):
        every = min(local.period.first(usual, 0.0), -(-n_rows // at_once))
        return replace(local, rows=rows, usual=usual, unit=every)
    unit = max(_STRIP_ROWS // rows, 1)
    most = -(-n_rows // (at_once * unit))
    return replace(local, rows=rows, usual=usual, unit=unit, most=most)


def strips_of_replicas(problem: Problem, local: LocalSteps) -> tuple[int, int]:
    """Return the rows of a strip, and the strips of a batch of all replicas.

    A replica has the rows of its local steps, unless all replicas together would have more rows
    than there are: then an epoch is one batch, of a strip or more for each replica.
    """
    n_rows = problem.matrix.n_rows
    of_replica = min(local.unit * local.rows, -(-n_rows // local.replicas))
    most = costs.most_task_rows(problem)
    if not costs.is_clustered(problem.targets):
        most = max(most, min(_STRIP_ROWS, n_rows // _LEAST_STRIPS))
    most = min(most, MAX_TASK_ROWS, n_rows // local.replicas)
    strip = next(k for k in range(most, 0, -1) if of_replica % k == 0)
    return strip, local.replicas * of_replica // strip


def staleness_of_replicas(
    n_rows: int, strip_rows: int, batch_strips: int, replicas: int, taken: Mapping[int, float]
) -> Staleness:
    """Count the rows of other replicas that enter with each replica.

    Parameters
    ----------
    n_rows, strip_rows, batch_strips, replicas : int
    taken : mapping
        How many merges there were of steps of so many batches, as far as an epoch goes: a
        fraction of an epoch's merges.
    """
    n_strips = -(-n_rows // strip_rows)
    values: Counter[int] = Counter()
    for together, epochs in taken.items():
        of_step = together * batch_strips
        steps = -(-n_strips // of_step)
        for step, times in _times(round(epochs * steps), steps):
            first = step * of_step
            last = min(first + of_step, n_strips)
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
