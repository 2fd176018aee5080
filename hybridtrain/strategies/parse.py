# SPDX-License-Identifier: BSD-3-Clause
"""Words for strategies: "hybrid(every=4096)" becomes Hybrid(every=4096), and back."""

from __future__ import annotations

from dataclasses import fields

from hybridtrain.arguments import called, shown
from hybridtrain.errors import InvalidSettingError
from hybridtrain.strategies.asynchronous import Async
from hybridtrain.strategies.base import Strategy
from hybridtrain.strategies.hogwild import Hogwild
from hybridtrain.strategies.hybrid import Hybrid
from hybridtrain.strategies.sync import Sync

STRATEGIES: dict[str, type[Strategy]] = {
    "async": Async,
    "hogwild": Hogwild,
    "hybrid": Hybrid,
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


def strategy_name(strategy: Strategy) -> str:
    """Return the word for a strategy, with the arguments that are not its defaults.

    Examples
    --------
    >>> from hybridtrain import Hybrid
    >>> strategy_name(Hybrid()), strategy_name(Hybrid(every=64))
    ('hybrid', 'hybrid(every=64)')
    """
    arguments = [
        f"{field.name}={getattr(strategy, field.name)!r}"
        for field in fields(strategy)
        if getattr(strategy, field.name) != field.default
    ]
    name = _NAMES[type(strategy)]
    return f"{name}({', '.join(arguments)})" if arguments else name
