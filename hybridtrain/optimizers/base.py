# SPDX-License-Identifier: BSD-3-Clause
"""The protocol of an optimizer: constants that say how a gradient becomes a step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from hybridtrain.arguments import plain, require_positive, shown
from hybridtrain.errors import InvalidSettingError
from hybridtrain.optimizers.schedules import Schedule, parse_schedule

Rate = float | Literal["auto", "formula"]


class Optimizer(Protocol):
    """Answer a plan's questions from a few frozen constants.

    Attributes
    ----------
    is_adaptive : bool
        Whether the steps of a parameter are divided by the size of its gradients.
    trains_in_parts : bool
        Whether a run can go on from the parameters of another run: the optimizer has no
        other state.
    takes_schedule : bool
        Whether the learning rate may change during a run.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    is_adaptive: ClassVar[bool]
    trains_in_parts: ClassVar[bool]
    takes_schedule: ClassVar[bool]

    @property
    def lr(self) -> Rate:
        """The first learning rate.

        "formula": `auto_lr` and `batch_lr` compute it. "auto": short trials choose a factor of it.
        """

    @property
    def schedule(self) -> str | Schedule:
        """How the learning rate changes."""

    @property
    def number(self) -> int:
        """The core's number of the optimizer."""

    @property
    def needs_dense_steps(self) -> bool:
        """Whether a step changes every parameter."""

    def constants(self) -> dict[str, Any]:
        """Return the constants that a run of the core reads; see `core_constants`."""

    def auto_lr(self, *, norm2: float, l1: float, curvature: float, scale: float) -> float:
        """Return the automatic rate of steps on one row.

        Parameters
        ----------
        norm2, l1 : float
            Means over the rows of the squared norm and of the sum of absolute values.
        curvature : float
            The largest second derivative of the loss.
        scale : float
            How far margins have to move.
        """

    def batch_lr(
        self, lr: float, *, batch: int, norm2: float, largest: Callable[[], float]
    ) -> float:
        """Return the automatic rate for the mean gradient of a batch.

        Parameters
        ----------
        lr : float
            The automatic rate of one row.
        batch : int
            Rows.
        norm2 : float
            The mean squared norm of a row.
        largest : function
            Estimates the largest eigenvalue of the rows' second moment.
        """

    def path(self, steps: int) -> float:
        """Return how far steps of one sign move a parameter in a run.

        The unit is lr. For an optimizer that is not adaptive, it is lr times the gradient.
        """


def require_rate(lr: Any, schedule: Any) -> Rate:
    """Return a learning rate, checked together with its schedule.

    Raises
    ------
    InvalidSettingError
        When the rate is neither "auto", "formula" nor a number above 0, or there is no such
        schedule.
    """
    parse_schedule(schedule)
    if isinstance(lr, str):
        if lr == "auto":
            return "auto"
        if lr == "formula":
            return "formula"
        raise InvalidSettingError(
            f'lr must be "auto", "formula" or a number > 0, got {shown(plain(lr))}'
        )
    return require_positive("lr", lr)


def require_share(name: str, value: Any) -> float:
    """Return a number in 0 .. 1, 1 excluded, also as float32.

    Raises
    ------
    InvalidSettingError
        When the value is not such a number.
    """
    share = plain(value)
    is_number = isinstance(share, int | float) and not isinstance(share, bool)
    if not (is_number and 0 <= share < 1 and np.float32(share) < 1):
        raise InvalidSettingError(
            f"{name} must be a number in 0 .. 1, 1 excluded, got {shown(value)}"
        )
    return float(share)


def core_constants(number: int, **given: float) -> dict[str, Any]:
    """Return the constants of an optimizer that a run of the core reads; 0 if not given."""
    return {
        "optimizer": number,
        "decay1": 0.0,
        "decay2": 0.0,
        "beta": 0.0,
        "averages_per_epoch": 0,
        **given,
    }
