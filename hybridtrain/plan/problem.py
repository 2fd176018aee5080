# SPDX-License-Identifier: BSD-3-Clause
"""A problem: a model and the checked data to learn it from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain._core.loss import outputs
from hybridtrain._core.rows import Rows
from hybridtrain.data.arrays import Floats
from hybridtrain.data.labelled import Labelled, of_validation
from hybridtrain.data.matrix import Matrix
from hybridtrain.data.rounding import lost_in_targets
from hybridtrain.data.row_weights import sample_weights, weights_of_rows
from hybridtrain.data.scaling import Scaling
from hybridtrain.data.targets import class_targets, numbers_of, real_targets
from hybridtrain.errors import InvalidDataError
from hybridtrain.models.class_weights import weights_of_classes
from hybridtrain.models.linear import Linear
from hybridtrain.models.loss import Loss


@dataclass(frozen=True, slots=True)
class Problem:
    """Hold a model and checked data.

    Attributes
    ----------
    model : Linear
    matrix : Matrix
    targets : float32 array (n_rows,)
        See `class_targets` and `real_targets`.
    weights : float32 array (n_rows,) or None
        Weights of mean 1; None: all are 1.
    classes : array (n_classes,) or None
    warnings : tuple of str
        Texts about the targets and weights, for the user.
    scaling : Scaling or None
        The coordinates of the matrix and the targets; None: the user's own.
    """

    model: Linear
    matrix: Matrix
    targets: Floats
    weights: Floats | None
    classes: npt.NDArray[Any] | None
    warnings: tuple[str, ...] = ()
    scaling: Scaling | None = None

    @property
    def loss(self) -> Loss:
        """The model's loss."""
        return self.model.loss_object

    @property
    def n_classes(self) -> int:
        """Classes that have a margin each; 0: one output."""
        if not self.loss.has_margin_per_class:
            return 0
        assert self.classes is not None
        return len(self.classes)

    @property
    def n_outputs(self) -> int:
        """Parameters of one feature in the core."""
        return outputs(self.n_classes)

    @property
    def constants(self) -> dict[str, Any]:
        """The constants of the model that a run of the core reads."""
        return {
            "loss": self.loss.number,
            "loss_parameter": self.loss.parameter(self.targets),
            "n_classes": self.n_classes,
            "l1": self.model.l1,
            "l2": self.model.l2,
            "intercept": self.model.fit_intercept,
        }

    @property
    def curvature(self) -> float:
        """The largest second derivative of the loss in an output."""
        return self.loss.curvature(self.targets)

    @property
    def target_scale(self) -> float:
        """How far margins have to move."""
        return self.loss.target_scale(self.targets)

    def to_trained(self, coef: Floats, intercept: Any) -> tuple[Floats, Any]:
        """Return parameters in the problem's coordinates for the user's ones."""
        return (
            (coef, intercept) if self.scaling is None else self.scaling.to_trained(coef, intercept)
        )

    def to_user(self, coef: Floats, intercept: Any) -> tuple[Floats, Any]:
        """Return the user's parameters for those in the problem's coordinates."""
        return (coef, intercept) if self.scaling is None else self.scaling.to_user(coef, intercept)

    def penalty(self, coef: Floats, intercept: Any) -> float:
        """Return the penalties, which are on the user's coefficients, of parameters of a run."""
        if not self.model.has_penalty:
            return 0.0
        doubles = self.to_user(coef, intercept)[0].astype(np.float64)
        square = float((doubles * doubles).sum())
        return self.model.l1 * float(np.abs(doubles).sum()) + self.model.l2 / 2.0 * square

    def take(self, ids: npt.NDArray[np.intp] | slice) -> Problem:
        """Return the problem of some rows."""
        weights = self.weights
        if weights is not None:
            weights = weights[ids] / weights[ids].mean(dtype=np.float64)
            weights = weights.astype(np.float32)
        return replace(
            self, matrix=self.matrix.take(ids), targets=self.targets[ids], weights=weights
        )

    def rows(self, reach: Floats | None = None) -> Rows:
        """Return the core's view of the rows, with none of the elements hot."""
        return self.matrix.rows(self.targets, self.weights, reach)


def learn(
    model: Linear,
    rows: Labelled,
    held_out: Labelled | None,
    classes: npt.NDArray[Any] | None,
) -> tuple[Problem, Problem | None]:
    """Return the problem of the rows, and the problem of the rows held out.

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
        targets, found = class_targets(y, matrix.n_rows, classes, loss=model.loss_object)
        return Problem(model, matrix, targets, weights, found, rows.warnings, rows.scaling)
    targets, numbers = real_targets(y, matrix.n_rows)
    model.loss_object.check_targets(targets)
    lost = lost_in_targets(numbers)
    warnings = (*rows.warnings, *((lost,) if lost else ()))
    return Problem(model, matrix, targets, weights, None, warnings, rows.scaling)


def _weighted(
    problem: Problem,
    of_classes: npt.NDArray[np.float64] | None,
    name: str,
    absent: tuple[Any, ...] = (),
) -> tuple[Problem, npt.NDArray[np.float64] | None]:
    """Multiply class weights into row weights; None: compute class weights from these rows."""
    model, weights = problem.model, problem.weights
    if model.class_weight is None or problem.classes is None:
        return problem, None
    numbers = numbers_of(problem.targets, problem.loss)
    if of_classes is None:
        of_classes = weights_of_classes(
            model.class_weight, problem.classes, numbers, weights, absent
        )
    of_rows = weights_of_rows(of_classes, numbers, weights, name)
    return replace(problem, weights=sample_weights(of_rows, len(of_rows))), of_classes
