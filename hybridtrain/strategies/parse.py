# SPDX-License-Identifier: BSD-3-Clause
"""Words for strategies: "hybrid(every=4096)" becomes Hybrid(every=4096), and back."""

from __future__ import annotations

from dataclasses import fields

from hybridtrain.arguments import called, shown
from hybridtrain.errors import InvalidSettingError
from hybridtrain.strategies.base import Single, Strategy
from hybridtrain.strategies.hogwild import Hogwild
from hybridtrain.strategies.hybrid import Hybrid
from hybridtrain.strategies.switch import Switch
from hybridtrain.strategies.sync import Sync

STRATEGIES: dict[str, type[Single]] = {"hogwild": Hogwild, "hybrid": Hybrid, "sync": Sync}
_WORDS = {**STRATEGIES, "switch": Switch}
_NAMES = {kind: name for name, kind in _WORDS.items()}


def parse_strategy(strategy: str | Strategy) -> Strategy:
    """Turn "hybrid" or "hybrid(every=4096)" into a strategy.

    Parameters
    ----------
    strategy : str or a strategy
        A strategy is returned as it is; the words in a `Switch` are turned as well.

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
        '"hybrid(every=4096)", or switch(("sync", 2), ("hybrid", None))'
    )
    if isinstance(strategy, str):
        strategy = called(strategy, _WORDS, expected)
    if isinstance(strategy, Switch):
        return strategy.parsed(parse_strategy)
    if isinstance(strategy, str) or not isinstance(strategy, tuple(_WORDS.values())):
        raise InvalidSettingError(f"{expected}, got {shown(strategy)}")
    return strategy


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
    arguments = [
        f"{field.name}={getattr(strategy, field.name)!r}"
        for field in fields(strategy)
        if getattr(strategy, field.name) != field.default
    ]
    name = _NAMES[type(strategy)]
    return f"{name}({', '.join(arguments)})" if arguments else name
