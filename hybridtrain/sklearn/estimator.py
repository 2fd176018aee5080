# SPDX-License-Identifier: BSD-3-Clause
"""The common part of the scikit-learn estimators: from their parameters to `train`."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.base import BaseEstimator, is_regressor
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_feature_names, check_is_fitted, validate_data

from hybridtrain.arguments import MOST_SEED, plain, require_bool, require_int, shown
from hybridtrain.data.arrays import Doubles, Floats
from hybridtrain.data.row_weights import rows_that_count, tiny_text
from hybridtrain.data.scaling import Scaling
from hybridtrain.data.targets import require_present
from hybridtrain.engines.lazily import lazily
from hybridtrain.errors import InvalidSettingError
from hybridtrain.machine import usable_cores
from hybridtrain.models.linear import Linear, finite_doubles, finite_floats
from hybridtrain.models.loss import LossName
from hybridtrain.models.losses import Softmax
from hybridtrain.notices import warn_user
from hybridtrain.optimizers.base import Optimizer
from hybridtrain.optimizers.parse import parse_optimizer
from hybridtrain.optimizers.schedules import parse_schedule
from hybridtrain.plan.round import largest_batch
from hybridtrain.run.result import Result
from hybridtrain.sklearn.parameters import of_loss, without_run
from hybridtrain.sklearn.rows import sound
from hybridtrain.sklearn.stream_schedule import StreamSchedule
from hybridtrain.strategies.parse import parse_strategy
from hybridtrain.training import train

_ROWS_TO_TRAIN = 1_000_000  # by default, over all epochs
_LEAST_EPOCHS, _MOST_EPOCHS = 10, 500  # by default
_OF_FORMULA = 0.5  # of the formula's rate, in parts
_SEVERAL = 2  # workers, of a number that follows the rows and the machine
_ROWS_PER_WORKER = 10_000  # at least, by default: a worker is to pay for its start
_DTYPES = np.float32, np.float64  # other types become the first


def has_partial_fit(estimator: LinearEstimator) -> bool:
    """Return whether the estimator can be trained in parts.

    Raises
    ------
    AttributeError
        When the estimator cannot; the message has the reason.
    """
    try:
        optimizer = parse_optimizer(estimator.optimizer)
    except InvalidSettingError:
        return True  # the call says what is wrong with it
    if optimizer.trains_in_parts:
        return True
    raise AttributeError(
        "partial_fit needs optimizer='sgd' or ht.SGD(...), whose state is the parameters: "
        f"the sums of {type(optimizer).__name__} would start anew in each call"
    )


class LinearEstimator(BaseEstimator, ABC):
    """Hold the common part of the classifier and the regressor.

    Every method reads the current values of `coef_`, `intercept_` and `classes_`. No other
    attribute holds parameters.
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.non_deterministic = not self._has_same_bits()
        return tags

    def _has_same_bits(self) -> bool:
        """Whether a fit with the same random state has the same bits."""
        try:
            strategy = parse_strategy(self.strategy)
        except InvalidSettingError:
            return False  # a fit says what is wrong with it
        workers = plain(self.workers)
        return strategy.same_bits(workers if isinstance(workers, int) else _SEVERAL)

    @property
    def result_(self) -> Result:
        """The `Result` of the last call of `fit` or `partial_fit`.

        Its parameters are copies of the current `coef_` and `intercept_`.
        """
        if not hasattr(self, "_run"):
            raise AttributeError("result_ is there after fit or partial_fit")
        run: Result = self._run
        labels = self._labels()
        coef, intercept = self._parameters(self.n_features_in_, labels)
        model = run.model
        if coef.ndim == 2:
            model = replace(model, loss=Softmax.name)
        params = of_loss(model.loss_object, coef, intercept)
        if np.ndim(params["intercept"]):
            params["intercept"] = self._typed(params["intercept"])
        for array in params.values():
            if isinstance(array, np.ndarray):
                array.flags.writeable = False  # else a change of the copy would be lost silently
        return replace(run, model=model, params=params, classes=labels)

    def _checked(self, X: Any, y: Any, *, reset: bool, least: int = 1) -> tuple[Any, Any]:
        """Check rows and targets as scikit-learn does; frames and lists become arrays."""
        require_present(y)
        X, y = validate_data(
            self,
            sound(X),
            y,
            reset=reset,
            accept_sparse="csr",
            dtype=_DTYPES,
            y_numeric=is_regressor(self),
            ensure_min_samples=least,
        )
        return X, y

    @property
    def _least_rows(self) -> int:
        """Rows of a fit: one to train on, and with patience one to validate on."""
        return 1 if self.patience is None else 2

    def _counting(
        self, X: Any, y: Any, sample_weight: Any, class_weight: Any = None
    ) -> tuple[Any, Any, Any]:
        """Leave out rows of weight 0, which must count in neither epochs, rates nor workers.

        Returns
        -------
        X, y
        sample_weight : array (n_rows,) or None
        """
        if isinstance(sample_weight, int | float | np.number):
            sample_weight = np.full(len(y), sample_weight)
        counts, n_tiny = rows_that_count(y, sample_weight, class_weight, len(y))
        if counts is None:
            return X, y, sample_weight
        if n_tiny:
            warn_user([tiny_text(n_tiny)])
        weight = None if sample_weight is None else np.asarray(sample_weight)[counts]
        return X[counts], y[counts], weight

    def _trained(self, X: Any) -> tuple[Result, Any]:
        """Return a result with one margin, or with three or more, and checked rows."""
        check_is_fitted(self, ["coef_", "intercept_"])
        rows = validate_data(self, sound(X), reset=False, accept_sparse="csr", dtype=_DTYPES)
        labels = self._labels()
        coef, intercept = self._parameters(rows.shape[1], labels)
        model = Linear(loss=self._predicting_loss(coef.ndim))
        return without_run(model, coef, intercept, labels, self._scaling), rows

    @property
    def _scaling(self) -> Scaling | None:
        """The coordinates of the last run; predictions are measured from their centre."""
        return self._run.scaling if hasattr(self, "_run") else None

    def _typed(self, intercept: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return intercepts in the type that a `Result` has: float64 where they are shifted."""
        is_shifted = self._scaling is not None and self._scaling.is_shifted
        return intercept.astype(np.float64 if is_shifted else np.float32)

    def _labels(self) -> npt.NDArray[Any] | None:
        """Return `classes_`, checked; None for numbers."""
        return None

    @abstractmethod
    def _predicting_loss(self, dimensions: int) -> LossName:
        """Return a loss whose results have the predictions of this loss."""

    @abstractmethod
    def _parameters(self, n_features: int, labels: npt.NDArray[Any] | None) -> tuple[Floats, Any]:
        """Return `coef_` and `intercept_` for these classes, checked, in copies.

        Returns
        -------
        coef : float32 array (n_features,), or (n_classes, n_features) for three or more
        intercept : float, or float64 array (n_classes,)

        Raises
        ------
        InvalidSettingError
            When an attribute that the user has set has another shape, or is not finite.
        """

    def _read_parameters(self, shape: tuple[int, ...]) -> tuple[Floats, Doubles]:
        """Return `coef_` of a shape, and `intercept_` of its first dimension or one number."""
        given = self.coef_
        if sparse.issparse(given):
            given = given.toarray()
            if len(shape) == 1 and given.shape == (1, *shape):
                given = given[0]
        coef = finite_floats("coef_", given)
        if coef.shape != shape:
            raise InvalidSettingError(
                f"coef_ must have shape {shape} for these features and classes, got shape "
                f"{coef.shape}"
            )
        intercept = finite_doubles("intercept_", self.intercept_)
        outputs = shape[0] if len(shape) == 2 else 1
        if intercept.shape not in ((), (outputs,)):
            raise InvalidSettingError(
                f"intercept_ must have shape ({outputs},) or be one number, got shape "
                f"{intercept.shape}"
            )
        return coef, np.broadcast_to(intercept, (outputs,)).copy()

    def _start(
        self, model: Linear, n_features: int, labels: npt.NDArray[Any] | None = None
    ) -> dict[str, Any]:
        """Return `coef_` and `intercept_` as parameters to start from."""
        coef, intercept = self._parameters(n_features, labels)
        if np.any(intercept) and not model.fit_intercept:
            raise InvalidSettingError(
                "intercept_ must be 0 to train on without an intercept (fit_intercept=False), got "
                f"{shown(self.intercept_)}"
            )
        params = of_loss(model.loss_object, coef, intercept)
        return params if labels is None else {**params, "classes": labels}

    def _fit(
        self,
        model: Linear,
        data: tuple[Any, ...],
        weight: float,
        init: dict[str, Any] | None,
        *,
        n_rows: int | None = None,
        nodes: Any = None,
    ) -> Self:
        """Train all epochs; `weight` is the mean weight of the rows, `nodes` has these rows."""
        n_rows = data[0].shape[0] if n_rows is None else n_rows
        trained = n_rows
        epochs = self.epochs
        if epochs is None:
            epochs = min(max(-(-_ROWS_TO_TRAIN // n_rows), _LEAST_EPOCHS), _MOST_EPOCHS)
        early: dict[str, Any] = {}
        if self.patience is not None:
            share = self._share_held_out(n_rows)
            early = {"patience": self.patience, "validation": share}
            trained -= round(share * n_rows)
        settings = self._settings(trained)
        if nodes is not None:
            settings |= {"nodes": nodes, "workers": self.workers}
        result = train(
            model,
            data,
            optimizer=self._optimizer(),
            epochs=epochs,
            init=init,
            **settings,
            **early,
        )
        self._keep(result)
        self.n_iter_ = len(result.history)
        self.n_samples_seen_ = sum(record.rows for record in result.history)
        self._weight_seen = weight * self.n_samples_seen_
        return self

    def _partial_fit(
        self,
        model: Linear,
        data: tuple[Any, ...],
        weight: float,
        init: dict[str, Any] | None,
    ) -> Self:
        """Train one epoch; `weight` is the mean weight of the rows."""
        optimizer = self._optimizer()
        n_rows = data[0].shape[0]
        seen, epochs = getattr(self, "n_samples_seen_", 0), getattr(self, "n_iter_", 0)
        weight_seen = getattr(self, "_weight_seen", 0.0) + weight * n_rows
        # Trials of the rate on a few rows, again in each call, would make it uneven.
        # The formula is for rates that fall to 0: those of a stream do not.
        is_auto = optimizer.lr == "auto"
        lr = "formula" if is_auto else optimizer.lr
        share = _OF_FORMULA if is_auto else 1.0
        schedule = StreamSchedule(
            schedule=parse_schedule(optimizer.schedule),
            seen=seen,
            rows=n_rows,
            n_features=data[0].shape[1],
            epochs=epochs,
            weight=share * (weight * (seen + n_rows) / weight_seen if weight_seen > 0 else 1.0),
        )
        result = train(
            model,
            data,
            optimizer=replace(optimizer, lr=lr, schedule=schedule),
            epochs=1,
            init=init,
            **self._settings(n_rows, self._scaling),
        )
        self._keep(result)
        self.n_iter_ = epochs + 1
        self.n_samples_seen_ = seen + n_rows
        self._weight_seen = weight_seen
        return self

    def _kept(self, X: Any, y: Any, sample_weight: Any) -> Any:
        """Return the rows of dask collections, computed; note the features."""
        from hybridtrain.engines.dask_estimating import Kept  # noqa: PLC0415 - optional

        kept = Kept.of(X, y, sample_weight)
        _check_feature_names(self, X._meta, reset=True)
        self.n_features_in_ = X.shape[1]
        return kept

    def _lazily(self, name: str, X: Any, dtype: Any, columns: Any = None) -> npt.NDArray[Any]:
        """Return the predictions of a method for a dask collection: one, not an array."""
        predictions: Any = lazily(getattr(copy.deepcopy(self), name), X, dtype, columns)
        return predictions  # type: ignore[no-any-return]  # Dask has no types

    def _goes_on(self) -> bool:
        """Whether `fit` starts from the current parameters."""
        return require_bool("warm_start", self.warm_start) and hasattr(self, "coef_")

    def _share_held_out(self, n_rows: int) -> Any:
        """Return `validation_fraction`, changed for few rows so that both sides have one."""
        share = plain(self.validation_fraction)
        is_number = isinstance(share, int | float) and not isinstance(share, bool)
        if not is_number or not 0 < share < 1:
            raise InvalidSettingError(
                "validation_fraction must be a number in 0 .. 1, both excluded, got "
                f"{shown(self.validation_fraction)}"
            )
        return min(max(share, 1.0 / n_rows), (n_rows - 1.0) / n_rows) if n_rows > 1 else share

    def _settings(self, n_rows: int, scaling: Scaling | None = None) -> dict[str, Any]:
        """Return the arguments of `train` that are the same for all calls.

        Parameters
        ----------
        n_rows : int
            At least this number of rows is trained on.
        scaling : Scaling, optional
            Coordinates to go on in; None: those that `scale` chooses.
        """
        workers, batch_size = self.workers, self.batch_size
        if workers is None:
            workers = min(usable_cores(), max(1, n_rows // _ROWS_PER_WORKER))
        elif isinstance(workers, int | np.integer) and n_rows > 0:
            workers = min(workers, n_rows)
        if isinstance(batch_size, int | np.integer) and batch_size > n_rows > 0:
            batch_size = largest_batch(n_rows)
        verbose = plain(self.verbose)
        if not isinstance(verbose, int):
            raise InvalidSettingError(f"verbose must be True or False, got {shown(self.verbose)}")
        return {
            "strategy": self.strategy,
            "workers": workers,
            "batch_size": batch_size,
            "scale": self.scale if self.scale is None or scaling is None else scaling,
            "seed": self._seed(),
            "progress": bool(verbose),
            "backend": self.backend,
            "timeout": self.timeout,
        }

    def _seed(self) -> int:
        seed = plain(self.random_state)
        if isinstance(seed, int):
            return require_int("random_state", int(seed), least=0, most=MOST_SEED)
        if seed is not None and not isinstance(seed, np.random.RandomState):
            raise InvalidSettingError(
                f"random_state must be an int >= 0, a RandomState or None, got {shown(seed)}"
            )
        return int(check_random_state(seed).randint(2**31))

    def _linear(self, **arguments: Any) -> Linear:
        return Linear(l1=self.l1, l2=self.l2, fit_intercept=self.fit_intercept, **arguments)

    def _optimizer(self) -> Optimizer:
        optimizer = parse_optimizer(self.optimizer)
        if isinstance(self.lr, str) and self.lr == "auto":
            return optimizer
        return replace(optimizer, lr=self.lr)

    def _keep(self, result: Result) -> None:
        """Set the parameters, and keep the records of the run without them."""
        names = getattr(self, "feature_names_in_", None)  # of a frame, which became an array
        if names is not None:
            result = replace(result, feature_names=tuple(map(str, names)))
        self._run = replace(result, params={}, classes=None)
