# SPDX-License-Identifier: BSD-3-Clause
"""Models: what is learned, as small constants."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from hybridtrain.errors import InvalidSettingError

LOSSES = ("logistic", "softmax", "squared")
_OF_CLASSES = ("logistic", "softmax")


@dataclass(frozen=True, kw_only=True, slots=True)
class Linear:
    """A linear model, ``margin = X @ coef + intercept``.

    It minimises ``(1/S) sum_i s_i loss(y_i, margin_i) + l1 ||coef||_1 +
    (l2/2) ||coef||^2``, with s_i the sample weights and S their sum; the
    intercept is not penalised.

    Parameters
    ----------
    loss : "logistic", "softmax" or "squared"
        ``log(1 + exp(-y margin))`` for two classes; ``log(sum_k exp(margin_k)) -
        margin_y`` for two or more, each with a margin and parameters of its own;
        ``(margin - y)^2 / 2``.
    l1, l2 : float
        Penalties, at least 0. `l2` is what scikit-learn's SGDClassifier calls
        alpha, and ``1 / (C S)`` of its LogisticRegression. A feature that no
        row holds keeps the coefficient 0.
    fit_intercept : bool
        Whether there is an intercept.
    """

    loss: Literal["logistic", "softmax", "squared"] = "logistic"
    l1: float = 0.0
    l2: float = 0.0
    fit_intercept: bool = True

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise InvalidSettingError(f"loss must be one of {', '.join(LOSSES)}, got {self.loss!r}")
        for name in ("l1", "l2"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise InvalidSettingError(f"{name} must be a number >= 0, got {value!r}")
            if not (math.isfinite(value) and value >= 0):
                raise InvalidSettingError(f"{name} must be finite and >= 0, got {value}")
        if not isinstance(self.fit_intercept, bool):
            raise InvalidSettingError(
                f"fit_intercept must be True or False, got {self.fit_intercept!r}"
            )

    @property
    def is_classifier(self) -> bool:
        """Whether the targets are classes."""
        return self.loss in _OF_CLASSES

    @property
    def has_penalty(self) -> bool:
        """Whether l1 or l2 is positive."""
        return self.l1 > 0 or self.l2 > 0
