# SPDX-License-Identifier: BSD-3-Clause
"""What is to be learned from which rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from hybridtrain._core.rows import LOSSES, SOFTMAX_CURVATURE, Rows, loss_curvature, outputs
from hybridtrain.data import Floats, Matrix
from hybridtrain.models import Linear


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
    """

    model: Linear
    matrix: Matrix
    targets: Floats
    weights: Floats | None
    classes: npt.NDArray[Any] | None

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
