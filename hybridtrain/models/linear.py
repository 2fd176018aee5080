# SPDX-License-Identifier: BSD-3-Clause
"""The linear model: its settings, and the conversion of its parameters to the core and back."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hybridtrain._core.loss import outputs
from hybridtrain.arguments import is_finite, plain, require_bool, shown
from hybridtrain.errors import InvalidSettingError
from hybridtrain.models import class_weights
from hybridtrain.models.loss import Loss, LossName
from hybridtrain.models.losses import LOSSES, PARAMETERS, require_loss

if TYPE_CHECKING:
    from hybridtrain.data.arrays import Doubles, Floats

_MOST_PENALTY = 1e30  # so that products with rates are finite as float32


@dataclass(frozen=True, kw_only=True, slots=True)
class Linear:
    """A linear model, ``margin = X @ coef + intercept``.

    Training minimises ``(1/S) sum_i s_i loss(y_i, margin_i) + l1 ||coef||_1 +
    (l2/2) ||coef||^2``, where s_i is the weight of row i and S the sum of the weights.
    The intercept is not penalised. A row's weight is its sample weight times the
    weight of its class.

    Parameters
    ----------
    loss : str
        For two classes, y = -1 or 1: "logistic", ``log(1 + exp(-y margin))``;
        "hinge", ``max(0, 1 - y margin)``; "squared_hinge", its square. For two
        classes or more, each with a margin and parameters of its own: "softmax",
        ``log(sum_k exp(margin_k)) - margin_y``. For numbers: "squared",
        ``(margin - y)^2 / 2``; "huber", squared loss up to a distance of `delta` and the
        straight line ``delta (|margin - y| - delta / 2)`` beyond, so that a few distant
        targets count less; "quantile", ``q (y - margin)`` for margins below y and
        ``(1 - q) (margin - y)`` above, whose margins estimate the quantile `q` of y.
        For counts, y >= 0: "poisson", ``exp(margin) - y margin`` (half of the
        deviance, as scikit-learn's PoissonRegressor); `Result.predict` gives
        ``exp(margin)``.
    l1, l2 : float
        Penalties, in 0 .. 1e30. `l2` is what scikit-learn's SGDClassifier calls
        alpha, and ``1 / (C S)`` of its LogisticRegression. A feature that no
        row holds keeps the coefficient 0.
    fit_intercept : bool
        Whether there is an intercept.
    class_weight : None, "balanced" or dict of label to weight
        A factor on the weight of each row, by its class; for classifiers only.
        "balanced": all classes count the same, ``n / (n_classes n_of_class)``, where
        both n are sums of sample weights. A dict has a weight >= 0 for each class. They
        enter all losses, also the validation loss (with the weights of the training
        data), but not `Result.score`.
    delta : float
        Only for "huber": the distance at which the line begins, in units of y,
        greater than 0.
    q : float
        Only for "quantile": the level, in 1e-6 .. 1 - 1e-6; 0.5 is the median.

    References
    ----------
    "huber": Huber 1964, "Robust Estimation of a Location Parameter", Annals of
    Mathematical Statistics 35. "quantile": Koenker and Bassett 1978, "Regression
    Quantiles", Econometrica 46. "poisson": McCullagh and Nelder 1989, "Generalized
    Linear Models", chapter 6.
    """

    loss: LossName = "logistic"
    l1: float = 0.0
    l2: float = 0.0
    fit_intercept: bool = True
    class_weight: class_weights.Weights = field(default=None, hash=False)
    delta: float = 1.0
    q: float = 0.5

    def __post_init__(self) -> None:
        require_loss(self.loss)
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
        self._check_parameters()

    def _check_parameters(self) -> None:
        """Refuse the parameter of a loss that this model does not have, unless it is default."""
        defaults = {argument.name: argument.default for argument in fields(self)}
        for name, owner in PARAMETERS.items():
            value = plain(getattr(self, name))
            object.__setattr__(self, name, value)
            owner(**{name: value})  # refuses what it cannot compute with
            if value != defaults[name] and owner is not LOSSES[self.loss]:
                raise InvalidSettingError(
                    f"{name} is for {owner.name} loss alone, got {name}={value} with {self.loss} "
                    "loss; leave it out"
                )

    @property
    def loss_object(self) -> Loss:
        """The loss object, with its parameter."""
        loss = LOSSES[self.loss]
        return loss(**{parameter.name: getattr(self, parameter.name) for parameter in fields(loss)})

    @property
    def is_classifier(self) -> bool:
        """Whether the targets are classes."""
        return LOSSES[self.loss].is_classifier

    @property
    def has_probabilities(self) -> bool:
        """Whether the margins are log-odds."""
        return LOSSES[self.loss].has_probabilities

    @property
    def has_penalty(self) -> bool:
        """Whether l1 or l2 is positive."""
        return self.l1 > 0 or self.l2 > 0


def require_model(model: Any) -> Linear:
    """Return the model.

    Raises
    ------
    InvalidSettingError
        When it is not a model.
    """
    if not isinstance(model, Linear):
        raise InvalidSettingError(f"model must be ht.Linear(...), got {shown(model)}")
    return model


def finite_doubles(name: str, value: Any) -> Doubles:
    """Return a float64 copy of a user's number or numbers, finite as float32.

    As `finite_floats`, for intercepts: they may be large beside how margins vary.
    """
    finite_floats(name, value)
    return np.array(value, dtype=np.float64)


def finite_floats(name: str, value: Any) -> Floats:
    """Return a float32 copy of a user's number or numbers.

    Parameters
    ----------
    name : str
        For the message.
    value : array-like

    Returns
    -------
    float32 array

    Raises
    ------
    InvalidSettingError
        When they are not real numbers, or not finite as float32.
    """
    try:
        given = np.asarray(value)
        if given.dtype.kind not in "fiubO":
            raise TypeError(f"got {given.dtype}")
        with np.errstate(over="ignore"):
            numbers = np.array(given, dtype=np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidSettingError(f"{name} must hold numbers: {error}") from error
    if not np.isfinite(numbers).all():
        where = f" at {int(np.argmin(np.isfinite(numbers)))}" if numbers.ndim else ""
        found = numbers[~np.isfinite(numbers)].flat[0]
        raise InvalidSettingError(f"{name} must be finite as float32, got {found}{where}")
    return numbers


def require_shape(name: str, numbers: npt.NDArray[Any], shape: tuple[int, ...]) -> None:
    """Refuse an array of another shape; () is the shape of one number.

    Raises
    ------
    InvalidSettingError
        When the shape differs.
    """
    if numbers.shape != shape:
        expected = f"have shape {shape}" if shape else "be one number"
        raise InvalidSettingError(f"{name} must {expected}, got shape {numbers.shape}")


def pack(
    coef: Any, intercept: Any, n_classes: int, order: npt.NDArray[np.intp] | None = None
) -> Floats:
    """Return the core's parameters: the intercepts, then feature after feature.

    Parameters
    ----------
    coef : array (n_features,), or (n_classes, n_features)
    intercept : float, or array (n_classes,)
    n_classes : int
        The classes of softmax; 0: one output.
    order : int array (n_features,), optional
        The user's number of each feature of the core; None: both numbers are equal.

    Returns
    -------
    float32 array ((n_features + 1) * outputs,)
    """
    of_classes = np.atleast_2d(np.asarray(coef, np.float32))
    packed = np.zeros((of_classes.shape[1] + 1, outputs(n_classes)), np.float32)
    packed[0, : len(of_classes)] = intercept
    packed[1:, : len(of_classes)] = (of_classes if order is None else of_classes[:, order]).T
    return packed.ravel()


def unpack(
    parameters: Floats, n_classes: int, order: npt.NDArray[np.intp] | None = None
) -> tuple[Floats, Any]:
    """Return coef and intercept, the inverse of `pack`.

    Returns
    -------
    coef : float32 array (n_features,), or (n_classes, n_features)
    intercept : float, or float32 array (n_classes,)
    """
    matrix = parameters.reshape(-1, outputs(n_classes))[:, : max(n_classes, 1)]
    of_classes = np.empty((matrix.shape[1], len(matrix) - 1), np.float32)
    of_classes[:, slice(None) if order is None else order] = matrix[1:].T
    if n_classes == 0:
        return of_classes[0], float(matrix[0, 0])
    return of_classes, matrix[0].copy()
