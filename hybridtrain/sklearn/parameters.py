# SPDX-License-Identifier: BSD-3-Clause
"""Parameters of an estimator, in the form of a loss or of a result."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain.data.arrays import Floats
from hybridtrain.data.scaling import Scaling
from hybridtrain.models.linear import Linear
from hybridtrain.models.loss import Loss
from hybridtrain.observe.records import Staleness
from hybridtrain.run.result import Result


def of_loss(loss: Loss, coef: Floats, intercept: Any) -> dict[str, Any]:
    """Return parameters in a loss's form: softmax has two rows for two classes."""
    if loss.has_margin_per_class and coef.ndim == 1:
        coef = np.stack([-coef / 2, coef / 2])
        intercept = np.array([-intercept / 2, intercept / 2])
    return {"coef": coef, "intercept": intercept}


def difference(
    coef: Floats, intercept: npt.NDArray[Any], scaling: Scaling | None
) -> tuple[Floats, npt.NDArray[Any]]:
    """Return the second of two rows of parameters minus the first, with the same margins.

    The difference of coefficients is rounded: far from 0, where the columns' centre may be,
    margins must not change by it.
    """
    scaling = scaling or Scaling()
    at_centre = scaling.at_centre(coef, intercept)
    coef = coef[1:] - coef[:1]
    return coef, at_centre[1:] - at_centre[:1] - scaling.at_centre(coef, 0)


def without_run(
    model: Linear,
    coef: Floats,
    intercept: Any,
    classes: npt.NDArray[Any] | None,
    scaling: Scaling | None,
) -> Result:
    """Return a result that predicts with these parameters and has no records of a run."""
    return Result(
        model=model,
        params={"coef": coef, "intercept": intercept},
        classes=classes,
        history=(),
        settings={},
        seed=0,
        ledger=(),
        staleness=Staleness((0,), 0, 0, "none"),
        staleness_in_place=None,
        scaling=scaling,
    )


def zeros_of(model: Linear, X: Any, y: Any, classes: npt.NDArray[Any]) -> dict[str, Any] | None:
    """Return parameters to start from where y lacks classes, whose log-odds would be infinite."""
    if len(np.unique(y)) == len(classes):
        return None
    shape = (len(classes), X.shape[1]) if model.loss_object.has_margin_per_class else (X.shape[1],)
    zeros = np.zeros(shape, np.float32)
    return {"coef": zeros, "intercept": zeros.sum(axis=-1), "classes": classes}
