# SPDX-License-Identifier: BSD-3-Clause
"""Every optimizer of the table of names, and what goes with it."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest

from hybridtrain.optimizers.base import Optimizer
from hybridtrain.optimizers.parse import OPTIMIZERS


def _variants(kind: Any) -> list[Optimizer]:
    """Return an optimizer with its defaults, and once with each switch or number that is off on."""
    others: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        if isinstance(field.default, bool):
            others[field.name] = not field.default
        elif field.default == 0.0:
            others[field.name] = 0.9
    return [kind(), *(kind(**{name: value}) for name, value in others.items())]


ALL = [optimizer for kind in OPTIMIZERS.values() for optimizer in _variants(kind)]
STRATEGIES = [
    "hybrid",
    "hybrid(every=7)",
    "hogwild",
    "hogwild(exact=True)",
    "local_sgd(replicas=3)",
    "sync",
]
every_optimizer = pytest.mark.parametrize("optimizer", ALL, ids=repr)


def goes(optimizer: Optimizer, strategy: str, form: str) -> bool:
    """Whether a step reaches every parameter that it changes; form: "sparse" or "dense"."""
    reaches_all = strategy.startswith(("local_sgd", "sync")) or (
        form == "dense" and strategy.startswith("hybrid")
    )
    return reaches_all or not optimizer.needs_dense_steps


def going(forms: list[str], strategies: list[str], optimizers: list[Optimizer]) -> list[Any]:
    """Return (form, strategy, optimizer) that go together, as parameters of a test."""
    return [
        pytest.param(*case, id=f"{case[0]}-{case[1]}-{case[2]!r}")
        for case in itertools.product(forms, strategies, optimizers)
        if goes(case[2], case[1], case[0])
    ]


def averages(optimizer: Optimizer) -> bool:
    """Whether the result is a mean of iterates."""
    return bool(optimizer.constants()["averages_per_epoch"] > 0)


def has(optimizer: Optimizer, name: str) -> bool:
    """Whether an optimizer has an argument of this name."""
    return name in {field.name for field in dataclasses.fields(optimizer)}
