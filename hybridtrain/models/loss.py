# SPDX-License-Identifier: BSD-3-Clause
"""The protocol of a loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from hybridtrain._core import loss as core
from hybridtrain.errors import InvalidSettingError

if TYPE_CHECKING:
    from hybridtrain.data.arrays import Floats

LossName = Literal[
    "logistic", "hinge", "squared_hinge", "softmax", "squared", "huber", "poisson", "quantile"
]


@dataclass(frozen=True)
class Loss:
    """Answer Python's questions about a loss; the core does the arithmetic.

    A class has at most one field: the loss's parameter. `Linear` has an argument of the
    same name.

    Attributes
    ----------
    name : str
        The name for users and the core.
    is_classifier : bool
        Whether the targets are classes; else they are numbers.
    most_classes : int
        0 for numbers.
    has_margin_per_class : bool
        Whether each class has its own margin and parameters. The targets are then
        0, 1, ...; a loss with one margin for two classes has the targets -1 and 1.
    has_probabilities : bool
        Whether the margins are log-odds.
    is_shift_invariant : bool
        Whether a number added to margin and target does not change the loss.
    counterpart : str or None
        The loss with the same probabilities and another number of margins: one for each
        class if this loss has a single margin, a single one if this loss has several.
    """

    name: ClassVar[LossName]
    is_classifier: ClassVar[bool]
    most_classes: ClassVar[int]
    has_margin_per_class: ClassVar[bool] = False
    has_probabilities: ClassVar[bool] = False
    is_shift_invariant: ClassVar[bool] = False
    counterpart: ClassVar[LossName | None] = None

    @property
    def has_minimum(self) -> bool:
        """Whether the gradient falls to 0 evenly at a minimum, which a step could pass."""
        return not self.has_margin_per_class and core.loss_has_minimum(self.number)

    @property
    def number(self) -> int:
        """The core's number of the loss."""
        return core.LOSSES[self.name]

    def parameter(self, targets: Floats) -> float:
        """Return the parameter of the core's loss; 0 if it has none."""
        return 0.0

    def curvature(self, targets: Floats) -> float:
        """Return the largest second derivative of the loss in a margin."""
        of_core = core.loss_curvature(self.number, self.parameter(targets))
        return of_core * self.curvature_scale(targets)

    def curvature_scale(self, targets: Floats) -> float:
        """Return the factor on the core's curvature, for a loss whose curvature needs targets."""
        return 1.0

    def total(self, z: Floats, targets: Floats, weights: Floats | None, n_classes: int) -> float:
        """Return the sum of the rows' losses, each times its weight.

        Parameters
        ----------
        z : float32 array (n_rows,), or (n_rows, padded classes)
            The margins.
        targets : float32 array (n_rows,)
        weights : float32 array (n_rows,) or None
        n_classes : int
            0 if a row has one margin.
        """
        return core.loss_sum(self.number, z, targets, weights, self.parameter(targets))

    def check_targets(self, targets: Floats) -> None:
        """Refuse numbers for which the loss cannot be computed.

        Raises
        ------
        InvalidDataError
            When the loss cannot be computed; the message says what was expected.
        """

    def target_scale(self, targets: Floats) -> float:
        """Return how far margins have to move from the first intercept."""
        return 1.0

    def first_intercept(self, targets: Floats, weights: Floats | None, n_classes: int) -> Any:
        """Return the intercept to start from: the best one without features, or one near it.

        If it started from 0, SGD's small rate on the intercept would take long to reach the
        log-odds of a rare class.

        Returns
        -------
        float, or float32 array (n_classes,) if each class has a margin
            The mean target.
        """
        return float(np.average(targets.astype(np.float64), weights=weights))

    def largest_gradient(self, targets: Floats) -> tuple[float, bool]:
        """Return the largest derivative in a margin that the first step should meet.

        Returns
        -------
        size : float
            The derivative of a row of weight 1.
        is_bound : bool
            Whether no step can meet a larger derivative.
        """
        return 1.0, True

    def first_bound(self, targets: Floats, weights: Floats | None) -> tuple[float, bool]:
        """Return a bound on the gradients of the first step, a power of two.

        Returns
        -------
        bound : float
        is_bound : bool
            Whether no gradient of any step can exceed it.
        """
        size, is_bound = self.largest_gradient(targets)
        size *= 1.0 if weights is None else float(weights.max())
        return 2.0 ** math.ceil(math.log2(size)) if size > 0 else 1.0, is_bound

    def predictions(self, z: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the numbers that margins predict, for a loss of numbers."""
        return z

    def probabilities(self, z: Floats, n_classes: int) -> Floats:
        """Return probabilities (n_rows, classes), for a loss that has them; z as in `total`.

        Raises
        ------
        InvalidSettingError
            When the loss has none.
        """
        raise InvalidSettingError(
            f"{self.name} loss has no probabilities, as its margins are not log-odds; use predict"
        )
