# SPDX-License-Identifier: BSD-3-Clause
"""Async: every worker trains a replica of the whole model, and its changes enter as they come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from hybridtrain.arguments import plain, require_int, shown
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

_MOST_STALENESS = (1 << 20) - 1  # merges


@dataclass(frozen=True, kw_only=True, slots=True)
class Async:
    """Train a replica of the model in each worker, and add its changes as they come.

    Every worker steps on its own replica, row by row. After `every` rows it adds its change
    to the shared parameters, takes over what others have added meanwhile, and goes on. With
    `staleness` a worker waits while it is further than that ahead of the slowest one.

    Parameters
    ----------
    every : "auto" or int
        Rows of a worker between its merges, at least 1. "auto": chosen from the data.
    staleness : int or None
        How many merges a worker may be ahead of the slowest living worker that still has
        rows in the epoch; at least 0. 0: nobody merges for the next time until all have come to
        this merge. None: nobody waits.
    compensate : "auto" or None
        "auto": a change counts for less where others have merged so much since its worker's view
        that it might move a parameter past its optimum; see Notes. None: every change counts in
        full. Both are the same, to the bit, where nobody else has merged since.
    compress : "int8", "top_k(share)" or None
        How changes travel between nodes: rounded to 8 bits; of the share of the parameters that
        have changed most; or whole. What is left out is added to the next change.

    Notes
    -----
    Changes of parameters, of FTRL's z and of sums of squares add up. Momentum and means of
    gradients are a worker's own between its merges, and become the workers' mean in a merge. P
    workers that add up their changes move P times as far as one: ``lr="auto"`` is smaller for
    it, but not for AdaGrad and FTRL with compensation. A rate of the user's is taken as it is.

    Compensation multiplies the change of parameter j by ``1 / (4 u d)`` where this is less than
    1, but never by less than the worker's share ``n / (n + d)`` of all rows. d are the rows that
    others have merged since the worker's view, n the worker's own ones, and
    ``u = lr * h * mean(|x_j| ||x||)``, with h the second derivative of the loss: the largest one
    between a row's margin and its target, a mean over the worker's last 256 rows or more. These
    are the delay-adaptive steps of SGD, ``min(lr, 1 / (4 L d))``, for each parameter. Where the
    optimizer divides by a root, u is divided by it. For AdaGrad and FTRL, the change is also
    multiplied by the root of the worker's sum of squares over that of the merged one: the steps
    are revised to those that all workers' gradients allow. That is AdaptiveRevision without its
    products of gradients, with which small delays cost loss. ``result.settings["compensation"]``
    says which rule was used.

    With a bound of s merges, a merge enters after at most ``(workers - 1) * (2 * s + 2)``
    merges of others since its worker's view; ``result.workers[k].ahead`` is the largest lead
    with which a merge of a worker has entered, and never above s. The changes of a worker that
    died are older; they enter when its successor begins.

    A merge reads and writes all parameters once: for each, about 12 bytes of the worker's
    own memory and 8 bytes of shared memory.

    References
    ----------
    The gate: Ho et al. 2013, "More effective distributed ML via a stale synchronous parallel
    parameter server", NIPS 26. Local steps: Stich 2019, "Local SGD converges fast and
    communicates little", arXiv:1805.09767. Delay-adaptive steps: Koloskova, Stich and Jaggi 2022,
    "Sharper convergence guarantees for asynchronous SGD", arXiv:2206.08307; Mishchenko et al.
    2022, "Asynchronous SGD beats minibatch SGD under arbitrary delays", arXiv:2206.07638.
    AdaptiveRevision: McMahan and Streeter 2014, "Delay-tolerant algorithms for asynchronous
    distributed online learning", NIPS 27.
    """

    takes_batch_size: ClassVar[bool] = False
    steps_in_place: ClassVar[bool] = False
    has_replicas: ClassVar[bool] = True
    every: Literal["auto"] | int = "auto"
    staleness: int | None = None
    compensate: Literal["auto"] | None = "auto"
    compress: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "every", checked_every(self.every))
        if self.staleness is not None:
            bound = require_int("staleness", self.staleness, least=0, most=_MOST_STALENESS)
            object.__setattr__(self, "staleness", bound)
        compensate = plain(self.compensate)
        if not (compensate is None or is_auto(compensate)):
            raise InvalidSettingError(f'compensate must be "auto" or None, got {shown(compensate)}')
        object.__setattr__(self, "compensate", compensate)
        object.__setattr__(self, "compress", checked_compress(self.compress))

    @property
    def parts(self) -> tuple[Part, ...]:
        """The strategy itself, for the whole run."""
        return (Part(self, None),)

    @property
    def on_trial(self) -> Async:
        """The strategy itself, on one node."""
        return replace(self, compress=None)

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

    def plan(self, problem: Problem, settings: Settings) -> StreamPlan:
        """Plan a stream whose replicas hold the whole model, and whose changes add up.

        Raises
        ------
        InvalidSettingError
            When a step of the optimizer changes more parameters than those of a row, or
            when `plan_stream` raises it.
        """
        if settings.optimizer.needs_dense_steps and not problem.matrix.is_dense:
            raise InvalidSettingError(
                f"{settings.optimizer!r} changes every parameter in every step, and a step of "
                f"Async on a sparse row touches its features alone; {DENSE_STEPS_REMEDY}"
            )
        return plan_stream(
            problem,
            settings,
            rows_in_flight=ROWS_IN_FLIGHT,
            exact=False,
            hot=1.0,
            every=self.every,
            adds=True,
            compensates=self.compensate is not None,
            staleness=self.staleness,
            compress=self.compress,
        )

    def describe(self, settings: Mapping[str, Any]) -> list[str]:
        """Return how often workers merged, and how far the gate let them run ahead."""
        gate = [] if self.staleness is None else [f"at most {self.staleness:,} merges ahead"]
        full = ["no compensation"] if self.compensate is None else []
        return [*told_every(settings, "merges"), *gate, *full]
