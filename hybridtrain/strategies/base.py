# SPDX-License-Identifier: BSD-3-Clause
"""The protocol of a strategy: constants that say when and how workers merge, and promises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field
from typing import Any, ClassVar, Literal, Protocol

from hybridtrain.arguments import plain, require_int, shown
from hybridtrain.errors import InvalidSettingError
from hybridtrain.plan.base import Plan, Settings
from hybridtrain.plan.problem import Problem

DENSE_STEPS_REMEDY = "use ht.AdaGrad() or ht.FTRL() here, or the strategy ht.Sync()"
MOST_ROWS = (1 << 32) - 1  # of a worker between merges
ROWS_IN_FLIGHT = 4  # of a worker with replicas: outputs are computed before any of them steps


class Strategy(Protocol):
    """Plan runs from a few frozen constants, and state the promises of these runs.

    Attributes
    ----------
    takes_batch_size : bool
        True: a step has many rows, and the user may set their number. False: a step has
        one row.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    takes_batch_size: ClassVar[bool]

    def same_bits(self, workers: int) -> bool:
        """Return whether runs of equal data, settings and workers have equal bits.

        Bits are those of the parameters. A run with a time limit has no promise.
        """

    @property
    def same_bits_for_any_workers(self) -> bool:
        """Whether runs that differ only in the number of workers also have equal bits."""

    def plan(self, problem: Problem, settings: Settings) -> Plan:
        """Choose the constants of a run.

        Raises
        ------
        InvalidSettingError
            When the settings do not go with the strategy or the problem.
        """

    def describe(self, settings: Mapping[str, Any]) -> list[str]:
        """Return short texts about a `Result.settings`, such as "60 hot features"."""


def check_batch_size(strategy: Strategy, batch_size: Any) -> None:
    """Refuse a batch size that is wrong for this strategy with any data.

    Raises
    ------
    InvalidSettingError
        When it is not an int of at least 1, or not 1 for a strategy that steps on one row.
    """
    if batch_size is None:
        return
    if strategy.takes_batch_size:
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
