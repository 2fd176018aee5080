# SPDX-License-Identifier: BSD-3-Clause
"""Words for strategies: "hybrid(every=4096)" becomes Hybrid(every=4096), and back."""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from hybridtrain.arguments import called, shown
from hybridtrain.errors import InvalidSettingError
from hybridtrain.strategies.asynchronous import Async
from hybridtrain.strategies.base import Single, Strategy
from hybridtrain.strategies.hierarchical import Hierarchical
from hybridtrain.strategies.hogwild import Hogwild
from hybridtrain.strategies.hybrid import Hybrid
from hybridtrain.strategies.local_sgd import LocalSGD
from hybridtrain.strategies.switch import Switch
from hybridtrain.strategies.sync import Sync

STRATEGIES: dict[str, type[Single]] = {
    "async": Async,
    "hogwild": Hogwild,
    "hybrid": Hybrid,
    "local_sgd": LocalSGD,
    "sync": Sync,
}
_COMPOSED: dict[str, type[Hierarchical | Switch]] = {
    "hierarchical": Hierarchical,
    "switch": Switch,
}
_WORDS: dict[str, type[Any]] = {**STRATEGIES, **_COMPOSED}
_NAMES = {kind: name for name, kind in _WORDS.items()}


def parse_strategy(strategy: str | Strategy) -> Strategy:
    """Turn "hybrid" or "hybrid(every=4096)" into a strategy.

    Parameters
    ----------
    strategy : str or a strategy
        A strategy is returned as it is; the words in a `Switch` or a `Hierarchical` are turned
        as well.

    Returns
    -------
    Strategy

    Raises
    ------
    InvalidSettingError
        When the name or an argument is unknown.
    """
    expected = (
        f'strategy must be one of {", ".join(STRATEGIES)}, such as "hybrid" or '
        '"hybrid(every=4096)", or switch(("sync", 2), ("hybrid", None)), or hierarchical(groups=2)'
    )
    if isinstance(strategy, str):
        strategy = called(strategy, _WORDS, expected)
    if isinstance(strategy, Switch | Hierarchical):
        return strategy.parsed(parse_strategy)
    if isinstance(strategy, str) or not isinstance(strategy, tuple(_WORDS.values())):
        raise InvalidSettingError(f"{expected}, got {shown(strategy)}")
    return strategy


def default_strategies() -> tuple[str, ...]:
    """Return the names of the strategies that `compare` runs unless it is told which.

    They are "async", "hogwild", "hybrid", "local_sgd" and "sync", all without arguments. Composed
    strategies ("hierarchical", "switch") run when named.

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
    >>> from hybridtrain import Hybrid, Switch
    >>> strategy_name(Hybrid()), strategy_name(Hybrid(every=64))
    ('hybrid', 'hybrid(every=64)')
    >>> strategy_name(Switch(("sync", 2), (Hybrid(every=64), None)))
    "switch(('sync', 2), ('hybrid(every=64)', None))"
    """
    if isinstance(strategy, Switch):
        parts = [
            (each if isinstance(each, str) else strategy_name(each), epochs)
            for each, epochs in strategy.given
        ]
        return f"switch({', '.join(map(repr, parts))})"
    return _word(_NAMES[type(strategy)], strategy)


def _word(name: str, made: Any) -> str:
    """Return the word that makes a frozen dataclass; an argument may be the word of another."""
    given = {}
    for field in fields(made):
        value = getattr(made, field.name)
        if is_dataclass(value):
            value = _word(_NAMES.get(type(value), type(value).__name__.lower()), value)
        if value != field.default:
            given[field.name] = value
    arguments = [f"{key}={value!r}" for key, value in given.items()]
    return f"{name}({', '.join(arguments)})" if arguments else name
