# SPDX-License-Identifier: BSD-3-Clause
"""The losses that a classifier takes."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
from sklearn.utils.multiclass import type_of_target

from hybridtrain.arguments import shown
from hybridtrain.errors import InvalidDataError, InvalidSettingError
from hybridtrain.models.loss import LossName
from hybridtrain.models.losses import (
    LOSSES,
    OF_CLASSES,
    OF_NUMBERS,
    WITH_PROBABILITIES,
    require_loss,
)

_BINARY = tuple(name for name in OF_CLASSES if LOSSES[name].counterpart is None)


def _is_one_of(loss: Any, names: tuple[str, ...]) -> bool:
    return isinstance(loss, str) and loss in names


def is_binary(loss: Any) -> bool:
    """Whether a loss is for two classes only."""
    return _is_one_of(loss, _BINARY)


def has_probabilities(estimator: Any) -> bool:
    """Return whether the loss of a classifier has probabilities.

    Raises
    ------
    AttributeError
        When it has none; the message has the reason.
    """
    if _is_one_of(estimator.loss, WITH_PROBABILITIES):
        return True
    raise AttributeError(
        f"probabilities need loss={' or '.join(map(repr, WITH_PROBABILITIES))}, got "
        f"{shown(estimator.loss)}; CalibratedClassifierCV gives them to other losses"
    )


def loss_of_classes(loss: Any, y: Any, classes: npt.NDArray[Any]) -> LossName:
    """Return the loss that trains these classes: for three or more, "logistic" is "softmax".

    Raises
    ------
    InvalidSettingError
        When the loss is not one of classes.
    InvalidDataError
        When there are fewer than two classes, or more than the loss can have.
    """
    if not isinstance(loss, str) or loss in OF_NUMBERS:
        raise InvalidSettingError(
            f"loss must be one of {', '.join((*WITH_PROBABILITIES, *_BINARY))}, got "
            f"{shown(loss)}"
            + (f": {loss!r} is a loss of LinearRegressor" if isinstance(loss, str) else "")
        )
    if len(classes) < 2:
        raise InvalidDataError(
            f"y must hold at least two classes, got 1 class: {classes.tolist()[0]!r}"
        )
    chosen = require_loss(loss)
    if len(classes) == 2 or chosen.has_margin_per_class:
        return chosen.name
    if chosen.counterpart is None:
        raise InvalidDataError(
            "Only binary classification is supported. The type of the target is "
            f"{type_of_target(y)}, with {len(classes)} classes; for loss={loss!r} use "
            "OneVsRestClassifier(LinearClassifier(...)), or choose loss='softmax'"
        )
    return chosen.counterpart
