# SPDX-License-Identifier: BSD-3-Clause
"""Outer optimizers: what the mean change of replicas makes of the parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hybridtrain._core.sync import OUTER
from hybridtrain.arguments import called, require_positive, shown
from hybridtrain.errors import InvalidSettingError
from hybridtrain.optimizers.base import require_share


@dataclass(frozen=True, kw_only=True, slots=True)
class Nesterov:
    """Take the mean change of the replicas as a gradient, and step with Nesterov's momentum.

    With g the parameters less the replicas' mean: ``u = momentum * u + g``, and
    ``w -= lr * (g + momentum * u)``.

    Parameters
    ----------
    lr : float
        Greater than 0. With ``lr=1`` and ``momentum=0``, w is the replicas' mean.
    momentum : float
        In 0 .. 1, 1 excluded.

    References
    ----------
    Douillard et al. 2023, "DiLoCo", arXiv:2311.08105.
    """

    lr: float = 0.7
    momentum: float = 0.9

    def __post_init__(self) -> None:
        _check(self)

    def constants(self) -> dict[str, Any]:
        """Return the constants that a run of the core reads."""
        return _constants("nesterov", self.lr, self.momentum)


@dataclass(frozen=True, kw_only=True, slots=True)
class SlowMo:
    """Take the mean change of the replicas as a gradient, and step with slow momentum.

    With g the parameters less the replicas' mean, and e the learning rate of the local steps:
    ``u = momentum * u + g / e``, and ``w -= lr * e * u``.

    Parameters
    ----------
    lr : float
        Greater than 0. With ``lr=1`` and ``momentum=0``, w is the replicas' mean.
    momentum : float
        In 0 .. 1, 1 excluded.

    References
    ----------
    Wang, Tantia, Ballas and Rabbat 2020, "SlowMo", arXiv:1910.00643.
    """

    lr: float = 1.0
    momentum: float = 0.5

    def __post_init__(self) -> None:
        _check(self)

    def constants(self) -> dict[str, Any]:
        """Return the constants that a run of the core reads."""
        return _constants("slowmo", self.lr, self.momentum)


_OUTER: dict[str, type[Nesterov | SlowMo]] = {"nesterov": Nesterov, "slowmo": SlowMo}


def _check(outer: Nesterov | SlowMo) -> None:
    object.__setattr__(outer, "lr", require_positive("lr", outer.lr))
    object.__setattr__(outer, "momentum", require_share("momentum", outer.momentum))


def _constants(name: str, lr: float, momentum: float) -> dict[str, Any]:
    return {"outer": OUTER[name], "outer_rate": lr, "outer_decay": momentum}


def parse_outer(outer: str | Nesterov | SlowMo | None) -> Nesterov | SlowMo | None:
    """Turn "nesterov" or "nesterov(lr=0.5)" into an outer optimizer; None stays None.

    Raises
    ------
    InvalidSettingError
        When the name or an argument is unknown.
    """
    expected = f'outer must be None or one of {", ".join(_OUTER)}, such as "nesterov(lr=0.5)"'
    if isinstance(outer, str):
        made: Nesterov | SlowMo = called(outer, _OUTER, expected)
        return made
    if outer is not None and not isinstance(outer, tuple(_OUTER.values())):
        raise InvalidSettingError(f"{expected}, got {shown(outer)}")
    return outer
