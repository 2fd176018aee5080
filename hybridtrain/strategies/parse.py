# SPDX-License-Identifier: BSD-3-Clause
"""Words for strategies: "hybrid(every=4096)" becomes Hybrid(every=4096), and back."""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from hybridtrain.arguments import called, shown
from hybridtrain.errors import InvalidSettingError
from hybridtrain.strategies.base import Strategy
from hybridtrain.strategies.hogwild import Hogwild
from hybridtrain.strategies.hybrid import Hybrid
from hybridtrain.strategies.local_sgd import LocalSGD
from hybridtrain.strategies.sync import Sync

STRATEGIES: dict[str, type[Strategy]] = {
    "hogwild": Hogwild,
    "hybrid": Hybrid,
    "local_sgd": LocalSGD,
    "sync": Sync,
}
_NAMES = {kind: name for name, kind in STRATEGIES.items()}


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
    expected = (
        f'strategy must be one of {", ".join(STRATEGIES)}, such as "hybrid" or "hybrid(every=4096)"'
    )
    if isinstance(strategy, str):
        made: Strategy = called(strategy, STRATEGIES, expected)
        return made
    if not isinstance(strategy, tuple(STRATEGIES.values())):
        raise InvalidSettingError(f"{expected}, got {shown(strategy)}")
    return strategy


def default_strategies() -> tuple[str, ...]:
    """Return the names of all strategies that can be made without arguments.

    Examples
    --------
    >>> {"hogwild", "hybrid", "sync"} <= set(default_strategies())
    True
    """
    return tuple(
        name
        for name, kind in STRATEGIES.items()
        if all(
            field.default is not MISSING or field.default_factory is not MISSING
            for field in fields(kind)
        )
    )


def strategy_name(strategy: Strategy) -> str:
    """Return the word for a strategy, with the arguments that are not its defaults.

    Examples
    --------
    >>> from hybridtrain import Hybrid
    >>> strategy_name(Hybrid()), strategy_name(Hybrid(every=64))
    ('hybrid', 'hybrid(every=64)')
    """
    arguments = [
        f"{field.name}={_word(getattr(strategy, field.name))!r}"
        for field in fields(strategy)
        if getattr(strategy, field.name) != field.default
    ]
    name = _NAMES[type(strategy)]
    return f"{name}({', '.join(arguments)})" if arguments else name


def _word(value: Any) -> Any:
    """Return a part of a strategy, such as an outer optimizer, as its own word."""
    return repr(value).lower() if is_dataclass(value) else value
