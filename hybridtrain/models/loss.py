# SPDX-License-Identifier: BSD-3-Clause
"""What Python asks of a loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from hybridtrain._core import loss as core

if TYPE_CHECKING:
    from hybridtrain.data.arrays import Floats

LossName = Literal[
    "logistic", "hinge", "squared_hinge", "softmax", "squared", "huber", "poisson", "quantile"
]


@dataclass(frozen=True)
class Loss:
    """What Python asks of a loss.

    A class has at most one field: the loss's parameter. `Linear` has an argument of the
    same name.

    Attributes
    ----------
    name : str
        As users and the core know it.
    is_classifier : bool
        Whether the targets are classes; else they are numbers.
    most_classes : int
        0 for numbers.
    has_margin_per_class : bool
        Whether each class has a margin, and parameters, of its own. The targets are then
        0, 1, ...; those of a loss with one margin for two classes are -1 and 1.
    has_probabilities : bool
        Whether the margins are log-odds.
    counterpart : str or None
        The loss with the same probabilities whose margins are the other way: one for
        each class where this one has a single margin, a single one where it has several.
    """

    name: ClassVar[LossName]
    is_classifier: ClassVar[bool]
    most_classes: ClassVar[int]
    has_margin_per_class: ClassVar[bool] = False
    has_probabilities: ClassVar[bool] = False
    counterpart: ClassVar[LossName | None] = None

    @property
    def number(self) -> int:
        """The core's number of the loss."""
        return core.LOSSES[self.name]

    def parameter(self, targets: Floats) -> float:
        """Return the number that the core's loss reads; 0 where it reads none."""
        return 0.0

    def curvature(self, targets: Floats) -> float:
        """Return the largest second derivative of the loss in a margin."""
        of_core = core.loss_curvature(self.number, self.parameter(targets))
        return of_core * self.curvature_scale(targets)

    def curvature_scale(self, targets: Floats) -> float:
        """Return the factor on the core's curvature, of a loss whose own follows the targets."""
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
            0 where a row has one margin.
        """
        return core.loss_sum(self.number, z, targets, weights, self.parameter(targets))

    def check_targets(self, targets: Floats) -> None:
        """Refuse numbers for which the loss cannot be computed.

        Raises
        ------
        InvalidDataError
            With what was expected and what was found.
        """

    def target_scale(self, targets: Floats) -> float:
        """Return how far margins have to move from the first intercept."""
        return 1.0

    def first_intercept(self, targets: Floats, weights: Floats | None, n_classes: int) -> Any:
        """Return the intercept to start from: the best one without features, or near it.

        From 0, SGD's small rate on the intercept would take long on a rare class.

        Returns
        -------
        float, or float32 array (n_classes,) where each class has a margin
            The mean target.
        """
        return float(np.average(targets.astype(np.float64), weights=weights))

    def largest_gradient(self, targets: Floats) -> tuple[float, bool]:
        """Return the largest derivative in a margin that the first step should meet.

        Returns
        -------
        size : float
            Of a row of weight 1.
        is_bound : bool
            Whether no step can meet a larger one.
        """
        return 1.0, True

    def first_bound(self, targets: Floats, weights: Floats | None) -> tuple[float, bool]:
        """Return what no gradient of the first step should exceed, a power of two.

        Returns
        -------
        bound : float
        is_bound : bool
            Whether no gradient of any step can exceed it.
        """
        size, is_bound = self.largest_gradient(targets)
        size *= 1.0 if weights is None else float(weights.max())
        return 2.0 ** math.ceil(math.log2(size)) if size > 0 else 1.0, is_bound

    def predictions(self, z: Floats) -> Floats:
        """Return the numbers predicted by margins, of a loss of numbers."""
        return z

    def probabilities(self, z: Floats, n_classes: int) -> Floats:
        """Return the probabilities (n_rows, classes), of a loss that has them; z as for `total`."""
        raise NotImplementedError
