# SPDX-License-Identifier: BSD-3-Clause
"""The protocol of a strategy: constants that say when and how workers merge, and promises."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import Field
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, TypeGuard

from hybridtrain.arguments import plain, require_int, shown
from hybridtrain.errors import InvalidSettingError
from hybridtrain.plan.base import Plan, Settings
from hybridtrain.plan.problem import Problem

DENSE_STEPS_REMEDY = "use ht.AdaGrad() or ht.FTRL() here, or the strategy ht.Sync()"
MOST_ROWS = (1 << 32) - 1  # of a worker between merges
ROWS_IN_FLIGHT = 4  # of a worker with replicas: outputs are computed before any of them steps


Epochs = int | Literal["plateau"] | None
LEAST_OF_PLATEAU = 2  # epochs: the second is compared with the first


class Strategy(Protocol):
    """State what trains a run, from a few frozen constants, and the promises of the run."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def parts(self) -> tuple[Part, ...]:
        """What trains the run, one after the other."""

    def same_bits(self, workers: int) -> bool:
        """Return whether runs of equal data, settings and workers have equal bits.

        Bits are those of the parameters. A run with a time limit has no promise.
        """

    @property
    def same_bits_for_any_workers(self) -> bool:
        """Whether runs that differ only in the number of workers also have equal bits."""

    @property
    def spans_nodes(self) -> bool:
        """Whether several nodes can train together by it."""

    def describe(self, settings: Mapping[str, Any]) -> list[str]:
        """Return short texts about a `Result.settings`, such as "60 hot features"."""


class Single(Strategy, Protocol):
    """Train a run, or a part of it, by one rule from its first epoch to its last."""

    @property
    def takes_batch_size(self) -> bool:
        """Whether a step has many rows, and the user may set their number; else it has one row."""

    @property
    def steps_in_place(self) -> bool:
        """Whether workers step on the same parameters, lock-free: also on a replica they share."""

    @property
    def has_replicas(self) -> bool:
        """Whether each worker trains and exchanges a replica, which a group could share."""

    @property
    def on_trial(self) -> Single:
        """The strategy, of one worker, by which short trials of learning rates train."""

    def plan(self, problem: Problem, settings: Settings) -> Plan:
        """Choose the constants of a run.

        Raises
        ------
        InvalidSettingError
            When the settings do not go with the strategy or the problem.
        """


class Part(NamedTuple):
    """Hold a part of a run.

    Attributes
    ----------
    strategy : Single
    epochs : int, "plateau" or None
        "plateau": until the loss stops falling; None: the rest of the run.
    """

    strategy: Single
    epochs: Epochs


def is_single(strategy: Any) -> TypeGuard[Single]:
    """Return whether a strategy trains by one rule, and is no word."""
    return hasattr(strategy, "plan")


@contextmanager
def of_part(name: str) -> Iterator[None]:
    """Let what is raised about a part of a composed strategy name the part."""
    try:
        yield
    except InvalidSettingError as error:
        raise InvalidSettingError(f"{name}: {error}") from error


def check_epochs(strategy: Strategy, epochs: int) -> None:
    """Refuse a run that leaves a part of its strategy without an epoch, or an epoch without a part.

    Raises
    ------
    InvalidSettingError
    """
    parts = strategy.parts
    of_kind = {"plateau": LEAST_OF_PLATEAU, None: 1}
    least = sum(n if isinstance(n, int) else of_kind[n] for _, n in parts)
    if least > epochs:
        raise InvalidSettingError(
            f"epochs must be at least {least} for the parts of {strategy!r}, got {epochs}"
        )
    if parts[-1].epochs is not None and least < epochs:
        raise InvalidSettingError(
            f"the parts of {strategy!r} must have the {epochs} epochs of the run, got {least}; use "
            "None for the last part, which then trains the rest, or another number of epochs"
        )


def takes_batch_size(strategy: Strategy) -> bool:
    """Return whether a part of a run does; the others step on one row."""
    return any(part.strategy.takes_batch_size for part in strategy.parts)


def check_batch_size(strategy: Strategy, batch_size: Any) -> None:
    """Refuse a batch size that is wrong for this strategy with any data.

    Raises
    ------
    InvalidSettingError
        When it is not an int of at least 1, or not 1 for a strategy that steps on one row.
    """
    if batch_size is None:
        return
    if takes_batch_size(strategy):
        require_int("batch_size", batch_size, least=1)
    elif not (type(batch_size) is int and batch_size == 1):
        raise InvalidSettingError(
            f"batch_size must be 1 (or None) with {type(strategy).__name__}, which steps "
            f"on one row at a time, got {shown(batch_size)}"
        )


def is_auto(value: Any) -> bool:
    """Whether a setting is left to the plan."""
    return isinstance(value, str) and value == "auto"


def checked_every(value: Any) -> Literal["auto"] | int:
    """Return the rows of a worker between merges.

    Raises
    ------
    InvalidSettingError
        When it is neither "auto" nor an int of at least 1.
    """
    every = plain(value)
    if is_auto(every):
        return "auto"
    if isinstance(every, bool) or not isinstance(every, int):
        raise InvalidSettingError(f'every must be "auto" or an int, got {shown(every)}')
    if every < 1:
        raise InvalidSettingError(f"every must be >= 1 row, got {shown(every)}")
    if every > MOST_ROWS:
        raise InvalidSettingError(f"every must be at most {MOST_ROWS}, got {shown(every)}")
    return every


def told_every(settings: Mapping[str, Any], deed: str) -> list[str]:
    """Return how often workers merged, such as "merges every 64 rows"; empty for one worker."""
    every = settings.get("every")
    if not every:
        return []
    ends = dict.fromkeys([min(every), max(every)])
    return [f"{deed} every " + " to ".join(f"{n:,}" for n in ends) + " rows"]
