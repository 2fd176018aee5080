# SPDX-License-Identifier: BSD-3-Clause
"""The strategies: small constants that say when and how workers merge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from hybridtrain.arguments import called, plain, require_bool, shown
from hybridtrain.errors import InvalidSettingError

_MOST_ROWS = (1 << 32) - 1  # and features


def _is_auto(value: Any) -> bool:
    return isinstance(value, str) and value == "auto"


@dataclass(frozen=True, kw_only=True, slots=True)
class Hogwild:
    """Update one shared parameter vector in place, lock-free, row by row.

    The textbook method. Cache lines of frequent features travel between the
    cores, so that several workers are often slower than one: `Hybrid` is the
    method that scales.

    Parameters
    ----------
    exact : bool
        False: an update may overwrite another worker's (plain loads and
        stores). True: none is lost (compare-and-swap per parameter), slower.

    Notes
    -----
    Staleness is sampled on one row in 1,000.

    References
    ----------
    Niu, Recht, Re and Wright 2011, "Hogwild!", arXiv:1106.5730.
    """

    exact: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "exact", require_bool("exact", self.exact))


@dataclass(frozen=True, kw_only=True, slots=True)
class Hybrid:
    """Keep frequent features in private replicas, update the rare ones in place.

    Each worker exchanges the changes of its replica with the shared parameters
    every few thousand rows, weighted so that P workers do to a parameter what
    the same rows in sequence would have done.

    Parameters
    ----------
    hot : "auto", int or float
        How many of the most frequent features have replicas: a number of
        features (int), or a share of them in 0 .. 1 (float; 0.0 is Hogwild,
        1.0 asynchronous local SGD). "auto": the whole model if a worker's
        replica fits its second-level cache, else the longest frequency prefix
        that fits half of it.
    every : "auto" or int
        Rows of a worker between exchanges, at least 1. "auto": measured, so
        that exchanges take at most 5 % of the time, but at least 32 exchanges
        per worker and epoch.

    Notes
    -----
    One exchange reads and writes the hot parameters once: about 12 bytes each
    of the worker's own and 8 shared.
    """

    hot: Literal["auto"] | int | float = "auto"
    every: Literal["auto"] | int = "auto"

    def __post_init__(self) -> None:
        hot, every = plain(self.hot), plain(self.every)
        object.__setattr__(self, "hot", hot)
        object.__setattr__(self, "every", every)
        if not _is_auto(hot):
            is_number = isinstance(hot, int | float) and not isinstance(hot, bool)
            most = 1 if isinstance(hot, float) else _MOST_ROWS
            if not (is_number and 0 <= hot <= most):
                raise InvalidSettingError(
                    'hot must be "auto", a number of features (int >= 0) or a share of them '
                    f"(float in 0 .. 1), got {shown(hot)}"
                )
        if _is_auto(every):
            return
        if isinstance(every, bool) or not isinstance(every, int):
            raise InvalidSettingError(f'every must be "auto" or an int, got {shown(every)}')
        if every < 1:
            raise InvalidSettingError(f"every must be >= 1 row, got {shown(every)}")
        if every > _MOST_ROWS:
            raise InvalidSettingError(f"every must be at most {_MOST_ROWS}, got {shown(every)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sync:
    """Minibatch steps: the mean gradient of a batch, one optimizer step.

    A batch is cut into small tasks. Nobody waits for a worker: a task that
    takes one too long is computed by another as well, and the first counts.

    Parameters
    ----------
    exact : bool
        True: sums are free of order (64-bit integers on a grid), so that the
        parameters have the same bits for any number of workers, on any
        instruction set, with or without stragglers. False: float32 sums, equal
        bits for an equal number of workers; faster where features are many.

    Notes
    -----
    Nothing is stale: every gradient of a step is taken at the same parameters.

    References
    ----------
    Sums: fixed-point, as in Demmel and Nguyen 2013, "Fast reproducible
    floating-point summation", doi:10.1109/ARITH.2013.9.
    """

    exact: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "exact", require_bool("exact", self.exact))


Strategy = Hogwild | Hybrid | Sync
STRATEGIES: dict[str, type[Strategy]] = {"hogwild": Hogwild, "hybrid": Hybrid, "sync": Sync}


def parse_strategy(strategy: str | Strategy) -> Strategy:
    """Turn "hybrid" or "hybrid(every=4096)" into a strategy.

    Parameters
    ----------
    strategy : str or a strategy
        A strategy is returned as it is.

    Returns
    -------
    Strategy

    Raises
    ------
    InvalidSettingError
        When the name or an argument is unknown.
    """
    if isinstance(strategy, Hogwild | Hybrid | Sync):
        return strategy
    expected = (
        f'strategy must be one of {", ".join(STRATEGIES)}, such as "hybrid" or "hybrid(every=4096)"'
    )
    if not isinstance(strategy, str):
        raise InvalidSettingError(f"{expected}, got {shown(strategy)}")
    made: Strategy = called(strategy, STRATEGIES, expected)
    return made
