# SPDX-License-Identifier: BSD-3-Clause
"""Models: what is learned, as small constants."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from hybridtrain.arguments import is_finite, nearest, plain, require_bool, shown
from hybridtrain.errors import InvalidSettingError
from hybridtrain.models import class_weights

LOSSES = ("logistic", "hinge", "squared_hinge", "softmax", "squared", "huber")
_OF_CLASSES = ("logistic", "hinge", "squared_hinge", "softmax")
_LEAST_DELTA, _MOST_DELTA = 1e-30, 1e30  # float32 computes with its products
_MOST_PENALTY = 1e30  # so that products with rates are finite as float32


@dataclass(frozen=True, kw_only=True, slots=True)
class Linear:
    """A linear model, ``margin = X @ coef + intercept``.

    It minimises ``(1/S) sum_i s_i loss(y_i, margin_i) + l1 ||coef||_1 +
    (l2/2) ||coef||^2``, with s_i the weights and S their sum; the
    intercept is not penalised. A row's weight is its sample weight times the
    weight of its class.

    Parameters
    ----------
    loss : str
        For two classes, y = -1 or 1: "logistic", ``log(1 + exp(-y margin))``;
        "hinge", ``max(0, 1 - y margin)``; "squared_hinge", its square. For two
        classes or more, each with a margin and parameters of its own: "softmax",
        ``log(sum_k exp(margin_k)) - margin_y``. For numbers: "squared",
        ``(margin - y)^2 / 2``; "huber", the same up to a distance of `delta` and a
        straight line beyond, ``delta (|margin - y| - delta / 2)``, so that a few
        targets that are far off count less.
    l1, l2 : float
        Penalties, in 0 .. 1e30. `l2` is what scikit-learn's SGDClassifier calls
        alpha, and ``1 / (C S)`` of its LogisticRegression. A feature that no
        row holds keeps the coefficient 0.
    fit_intercept : bool
        Whether there is an intercept.
    class_weight : None, "balanced" or dict of label to weight
        What the rows of a class count, for classifiers. "balanced": all classes
        count the same, ``n / (n_classes n_of_class)``, weighted by the sample
        weights. A dict has a weight >= 0 for each class. It enters all losses,
        that of validation data too (with the weights of the training data), but
        not `Result.score`.
    delta : float
        For "huber" alone: the distance from which a row counts as far off, in
        units of y, greater than 0.

    References
    ----------
    "huber": Huber 1964, "Robust Estimation of a Location Parameter", Annals of
    Mathematical Statistics 35.
    """

    loss: Literal["logistic", "hinge", "squared_hinge", "softmax", "squared", "huber"] = "logistic"
    l1: float = 0.0
    l2: float = 0.0
    fit_intercept: bool = True
    class_weight: class_weights.Weights = field(default=None, hash=False)
    delta: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.loss, str) or self.loss not in LOSSES:
            raise InvalidSettingError(
                f"loss must be one of {', '.join(LOSSES)}, got {shown(self.loss)}"
                + nearest(self.loss, LOSSES)
            )
        for name in ("l1", "l2"):
            value = plain(getattr(self, name))
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise InvalidSettingError(f"{name} must be a number >= 0, got {shown(value)}")
            if not (is_finite(value) and value >= 0):
                raise InvalidSettingError(f"{name} must be finite and >= 0, got {shown(value)}")
            if value > _MOST_PENALTY:
                raise InvalidSettingError(
                    f"{name} must be at most {_MOST_PENALTY:g}, got {shown(value)}"
                )
            object.__setattr__(self, name, value)
        object.__setattr__(self, "fit_intercept", require_bool("fit_intercept", self.fit_intercept))
        object.__setattr__(self, "class_weight", class_weights.checked(self.class_weight))
        if self.class_weight is not None and not self.is_classifier:
            raise InvalidSettingError(
                f"class_weight needs classes, {self.loss} loss has numbers; use sample_weight"
            )
        object.__setattr__(self, "delta", plain(self.delta))
        self._check_delta()

    def _check_delta(self) -> None:
        if isinstance(self.delta, bool) or not isinstance(self.delta, int | float):
            raise InvalidSettingError(f"delta must be a number > 0, got {shown(self.delta)}")
        if not _LEAST_DELTA <= self.delta <= _MOST_DELTA:
            raise InvalidSettingError(
                f"delta must be in {_LEAST_DELTA} .. {_MOST_DELTA}, got {shown(self.delta)}"
            )
        if self.delta != 1 and self.loss != "huber":
            raise InvalidSettingError(
                f"delta is for huber loss alone, got delta={self.delta} with {self.loss} loss; "
                "leave it out"
            )

    @property
    def is_classifier(self) -> bool:
        """Whether the targets are classes."""
        return self.loss in _OF_CLASSES

    @property
    def has_probabilities(self) -> bool:
        """Whether the margins are log-odds."""
        return self.loss in ("logistic", "softmax")

    @property
    def has_penalty(self) -> bool:
        """Whether l1 or l2 is positive."""
        return self.l1 > 0 or self.l2 > 0


def require_model(model: Any) -> Linear:
    """Return the model.

    Raises
    ------
    InvalidSettingError
        When it is something else than a model.
    """
    if not isinstance(model, Linear):
        raise InvalidSettingError(f"model must be ht.Linear(...), got {shown(model)}")
    return model
