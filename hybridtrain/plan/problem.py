# SPDX-License-Identifier: BSD-3-Clause
"""What is to be learned from which rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain._core.rows import LOSSES, SOFTMAX_CURVATURE, Rows, loss_curvature, outputs
from hybridtrain.data.arrays import Floats
from hybridtrain.data.labelled import Labelled, of_validation
from hybridtrain.data.matrix import Matrix
from hybridtrain.data.rounding import lost_in_targets
from hybridtrain.data.row_weights import sample_weights
from hybridtrain.data.targets import class_targets, real_targets
from hybridtrain.errors import InvalidDataError
from hybridtrain.models.class_weights import weights_of_classes, weights_of_rows
from hybridtrain.models.linear import Linear

_LARGEST_TARGET = 1e15  # sums of squared errors stay far below the limit of float32


@dataclass(frozen=True, slots=True)
class Problem:
    """A model and checked data.

    Attributes
    ----------
    model : Linear
    matrix : Matrix
    targets : float32 array (n_rows,)
        See `class_targets` and `real_targets`.
    weights : float32 array (n_rows,) or None
        Of mean 1; None: all are 1.
    classes : array (n_classes,) or None
    warnings : tuple of str
        What the user should know of the targets and weights.
    """

    model: Linear
    matrix: Matrix
    targets: Floats
    weights: Floats | None
    classes: npt.NDArray[Any] | None
    warnings: tuple[str, ...] = ()

    @property
    def n_classes(self) -> int:
        """Classes of softmax; 0: one output."""
        if self.model.loss != "softmax":
            return 0
        assert self.classes is not None
        return len(self.classes)

    @property
    def n_outputs(self) -> int:
        """Parameters of one feature in the core."""
        return outputs(self.n_classes)

    @property
    def constants(self) -> dict[str, Any]:
        """What a run of the core needs to know of the model."""
        return {
            "loss": self.loss_code,
            "n_classes": self.n_classes,
            "delta": self.model.delta,
            "l1": self.model.l1,
            "l2": self.model.l2,
            "intercept": self.model.fit_intercept,
        }

    @property
    def loss_code(self) -> int:
        """The core's number of the loss of one output."""
        return 0 if self.n_classes else LOSSES[self.model.loss]

    @property
    def curvature(self) -> float:
        """The largest second derivative of the loss in an output."""
        return SOFTMAX_CURVATURE if self.n_classes else loss_curvature(self.loss_code)

    def rows(self) -> Rows:
        """Return the core's view of the rows, with none of the elements hot."""
        return self.matrix.rows(self.targets, self.weights)


def learn(
    model: Linear,
    rows: Labelled,
    held_out: Labelled | None,
    classes: npt.NDArray[Any] | None,
) -> tuple[Problem, Problem | None]:
    """Return what is to be learned from rows, and the same of those held out.

    Parameters
    ----------
    model : Linear
    rows, held_out : Labelled
    classes : array (n_classes,) or None
        The classes to expect; None: those found in `rows`.

    Raises
    ------
    InvalidDataError
        When y or the weights do not go with the model and the rows.
    """
    problem, of_classes = _weighted(_problem(model, rows, classes), None, "data", rows.absent)
    if held_out is None:
        return problem, None
    try:
        checked, _ = _weighted(_problem(model, held_out, problem.classes), of_classes, "validation")
    except InvalidDataError as error:
        raise of_validation(error) from error
    return problem, checked


def _problem(model: Linear, rows: Labelled, classes: npt.NDArray[Any] | None) -> Problem:
    matrix, y, weight = rows[:3]
    weights = None if weight is None else sample_weights(weight, matrix.n_rows)
    if model.is_classifier:
        targets, found = class_targets(y, matrix.n_rows, classes, loss=model.loss)
        return Problem(model, matrix, targets, weights, found, rows.warnings)
    targets, numbers = real_targets(y, matrix.n_rows)
    largest = float(np.abs(targets).max(initial=0.0))
    if largest > _LARGEST_TARGET:
        raise InvalidDataError(
            f"y must be at most {_LARGEST_TARGET:g} in absolute value, as float32 cannot hold "
            f"the sums of squares of larger errors; found {largest:.3g}: scale y"
        )
    lost = lost_in_targets(numbers)
    warnings = (*rows.warnings, *((lost,) if lost else ()))
    return Problem(model, matrix, targets, weights, None, warnings)


def _weighted(
    problem: Problem,
    of_classes: npt.NDArray[np.float64] | None,
    name: str,
    absent: tuple[Any, ...] = (),
) -> tuple[Problem, npt.NDArray[np.float64] | None]:
    """Multiply the weights of classes into those of rows; None: found from these rows."""
    model, weights = problem.model, problem.weights
    if model.class_weight is None or problem.classes is None:
        return problem, None
    targets = problem.targets
    numbers = (targets if problem.n_classes else targets > 0).astype(np.intp)
    if of_classes is None:
        of_classes = weights_of_classes(
            model.class_weight, problem.classes, numbers, weights, absent
        )
    of_rows = weights_of_rows(of_classes, numbers, weights, name)
    return replace(problem, weights=sample_weights(of_rows, len(targets))), of_classes
