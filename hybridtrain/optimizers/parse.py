# SPDX-License-Identifier: BSD-3-Clause
"""Words for optimizers: "sgd(average=True)" becomes SGD(average=True)."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from hybridtrain.arguments import called, shown
from hybridtrain.errors import InvalidSettingError
from hybridtrain.optimizers.adagrad import AdaGrad
from hybridtrain.optimizers.adam import Adam
from hybridtrain.optimizers.base import Optimizer
from hybridtrain.optimizers.ftrl import FTRL
from hybridtrain.optimizers.rmsprop import RMSProp
from hybridtrain.optimizers.sgd import SGD

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "adagrad": AdaGrad,
    "adam": Adam,
    "ftrl": FTRL,
    "rmsprop": RMSProp,
}


def to_json(optimizer: Optimizer) -> dict[str, Any]:
    """Return an optimizer in a form that JSON keeps, without its schedule."""
    names = {kind: name for name, kind in OPTIMIZERS.items()}
    values = {each.name: getattr(optimizer, each.name) for each in fields(optimizer)}
    values.pop("schedule", None)
    return {"name": names[type(optimizer)], "values": values}


def from_json(told: dict[str, Any]) -> Optimizer:
    """Return what `to_json` was given, with the usual schedule.

    Raises
    ------
    ValueError, LookupError, TypeError
        When it is something else.
    """
    return OPTIMIZERS[told["name"]](**told["values"])


def parse_optimizer(optimizer: str | Optimizer) -> Optimizer:
    """Turn "sgd" or "sgd(average=True)" into an optimizer.

    Parameters
    ----------
    optimizer : str or an optimizer
        An optimizer is returned as it is.

    Returns
    -------
    Optimizer

    Raises
    ------
    InvalidSettingError
        When the name or an argument is unknown.
    """
    expected = (
        f'optimizer must be one of {", ".join(OPTIMIZERS)}, such as "sgd" or '
        '"sgd(average=True)", or ht.SGD(average=True)'
    )
    if isinstance(optimizer, str):
        made: Optimizer = called(optimizer, OPTIMIZERS, expected)
        return made
    if not isinstance(optimizer, tuple(OPTIMIZERS.values())):
        raise InvalidSettingError(f"{expected}, got {shown(optimizer)}")
    return optimizer
