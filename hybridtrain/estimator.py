# SPDX-License-Identifier: BSD-3-Clause
"""What the scikit-learn estimators share: from their parameters to `train`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.base import BaseEstimator, is_regressor
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from hybridtrain.arguments import MOST_SEED, plain, require_bool, require_int, shown
from hybridtrain.classes import check_no_label_is_missing
from hybridtrain.data import Floats, sample_weights
from hybridtrain.errors import InvalidSettingError
from hybridtrain.machine import usable_cores
from hybridtrain.models import Linear
from hybridtrain.optimizers import SGD, Optimizer, parse_optimizer
from hybridtrain.parameters import finite_floats
from hybridtrain.result import Result
from hybridtrain.round_plan import largest_batch
from hybridtrain.schedules import parse_schedule
from hybridtrain.strategies import Sync
from hybridtrain.stream_schedule import StreamSchedule
from hybridtrain.telemetry import Staleness
from hybridtrain.train import train

_ROWS_TO_TRAIN = 1_000_000  # by default, over all epochs
_LEAST_EPOCHS, _MOST_EPOCHS = 10, 500  # by default
_ROWS_PER_WORKER = 10_000  # at least, by default: a thread is to pay for its start
_DTYPES = np.float32, np.float64  # other types become the first


@dataclass(frozen=True, slots=True)
class RowWeights:
    """What the weights of a call's rows say about its training.

    Attributes
    ----------
    mean : float
        Of the products of sample weight and class weight.
    counting : int
        Rows whose product is above 0.
    """

    mean: float
    counting: int


def has_partial_fit(estimator: LinearEstimator) -> bool:
    """Return whether the estimator can be trained in parts.

    Raises
    ------
    AttributeError
        When it cannot, with the reason.
    """
    try:
        optimizer = parse_optimizer(estimator.optimizer)
    except InvalidSettingError:
        return True  # the call says what is wrong with it
    if isinstance(optimizer, SGD):
        return True
    raise AttributeError(
        "partial_fit needs optimizer='sgd' or ht.SGD(...), whose state is the parameters: "
        f"the sums of {type(optimizer).__name__} would start anew in each call"
    )


class LinearEstimator(BaseEstimator):
    """What the classifier and the regressor share.

    What is predicted with and trained further is `coef_`, `intercept_` and `classes_`,
    as they are when a method is called. Nothing else holds parameters.
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        strategy, workers = self.strategy, plain(self.workers)
        is_word = isinstance(strategy, str)
        is_sync = isinstance(strategy, Sync) or (is_word and strategy.strip().startswith("sync"))
        is_alone = isinstance(workers, int) and workers == 1
        tags.non_deterministic = not (is_sync or is_alone)
        return tags

    @property
    def result_(self) -> Result:
        """The `Result` of the last call of `fit` or `partial_fit`.

        Its parameters are copies of `coef_` and `intercept_` as they are now.
        """
        if not hasattr(self, "_run"):
            raise AttributeError("result_ is there after fit or partial_fit")
        run: Result = self._run
        labels = self._labels()
        coef, intercept = self._parameters(self.n_features_in_, labels)
        model = run.model
        if coef.ndim == 2:
            model = replace(model, loss="softmax")
        params = _of_loss(model.loss, coef, intercept)
        for array in params.values():
            if isinstance(array, np.ndarray):
                array.flags.writeable = False  # else a change of the copy would be lost silently
        return replace(run, model=model, params=params, classes=labels)

    def _checked(self, X: Any, y: Any, *, reset: bool, least: int = 1) -> tuple[Any, Any]:
        """Check rows and targets as scikit-learn does; frames and lists become arrays."""
        check_no_label_is_missing(y)
        X, y = validate_data(
            self,
            X,
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

    def _trained(self, X: Any) -> tuple[Result, Any]:
        """Return what predicts, with one margin or three and more, and checked rows."""
        check_is_fitted(self, ["coef_", "intercept_"])
        rows = validate_data(self, X, reset=False, accept_sparse="csr", dtype=_DTYPES)
        labels = self._labels()
        coef, intercept = self._parameters(rows.shape[1], labels)
        model = Linear(loss=self._predicting_loss(coef.ndim))  # type: ignore[arg-type]
        return _without_run(model, coef, intercept, labels), rows

    def _labels(self) -> npt.NDArray[Any] | None:
        """Return `classes_`, checked; None for numbers."""
        return None

    def _predicting_loss(self, dimensions: int) -> str:
        """Return a loss whose results predict as this one's do."""
        raise NotImplementedError

    def _parameters(self, n_features: int, labels: npt.NDArray[Any] | None) -> tuple[Floats, Any]:
        """Return `coef_` and `intercept_` for these classes, checked, in copies.

        Returns
        -------
        coef : float32 array (n_features,), or (n_classes, n_features) for three or more
        intercept : float, or float32 array (n_classes,)

        Raises
        ------
        InvalidSettingError
            When what the user has set has another shape, or is not finite.
        """
        raise NotImplementedError

    def _read_parameters(self, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
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
        intercept = finite_floats("intercept_", self.intercept_)
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
        params = _of_loss(model.loss, coef, intercept)
        return params if labels is None else {**params, "classes": labels}

    def _fit(
        self,
        model: Linear,
        data: tuple[Any, ...],
        weights: RowWeights,
        init: dict[str, Any] | None,
    ) -> Self:
        """Train all epochs."""
        n_rows = data[0].shape[0]
        counting = weights.counting
        epochs = self.epochs
        if epochs is None:
            epochs = min(max(-(-_ROWS_TO_TRAIN // n_rows), _LEAST_EPOCHS), _MOST_EPOCHS)
        early: dict[str, Any] = {}
        if self.patience is not None:
            share = self._share_held_out(counting)
            early = {"patience": self.patience, "validation": share}
            counting -= round(share * counting)
        result = train(
            model,
            data,
            optimizer=self._optimizer(),
            epochs=epochs,
            init=init,
            **self._settings(counting),
            **early,
        )
        self._keep(result)
        self.n_iter_ = len(result.history)
        self.n_samples_seen_ = sum(record.rows for record in result.history)
        self._weight_seen = weights.mean * self.n_samples_seen_
        return self

    def _partial_fit(
        self,
        model: Linear,
        data: tuple[Any, ...],
        weights: RowWeights,
        init: dict[str, Any] | None,
    ) -> Self:
        """Train one epoch."""
        optimizer = self._optimizer()
        assert isinstance(optimizer, SGD)  # see has_partial_fit
        n_rows = data[0].shape[0]
        seen, epochs = getattr(self, "n_samples_seen_", 0), getattr(self, "n_iter_", 0)
        weight_seen = getattr(self, "_weight_seen", 0.0) + weights.mean * n_rows
        schedule = StreamSchedule(
            schedule=parse_schedule(optimizer.schedule),
            seen=seen,
            rows=n_rows,
            n_features=data[0].shape[1],
            epochs=epochs,
            weight=weights.mean * (seen + n_rows) / weight_seen if weight_seen > 0 else 1.0,
        )
        result = train(
            model,
            data,
            optimizer=replace(optimizer, schedule=schedule),
            epochs=1,
            init=init,
            **self._settings(weights.counting),
        )
        self._keep(result)
        self.n_iter_ = epochs + 1
        self.n_samples_seen_ = seen + n_rows
        self._weight_seen = weight_seen
        return self

    def _goes_on(self) -> bool:
        """Whether `fit` starts from the parameters that are there."""
        return require_bool("warm_start", self.warm_start) and hasattr(self, "coef_")

    def _share_held_out(self, n_rows: int) -> Any:
        """Return `validation_fraction`, of few rows so that both sides have one."""
        share = plain(self.validation_fraction)
        is_number = isinstance(share, int | float) and not isinstance(share, bool)
        if not is_number or not 0 < share < 1:
            raise InvalidSettingError(
                "validation_fraction must be a number in 0 .. 1, both excluded, got "
                f"{shown(self.validation_fraction)}"
            )
        return min(max(share, 1.0 / n_rows), (n_rows - 1.0) / n_rows) if n_rows > 1 else share

    def _settings(self, n_rows: int) -> dict[str, Any]:
        """Return the arguments of `train` that are the same for all calls.

        Parameters
        ----------
        n_rows : int
            Those that are trained on, at least.
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
            "seed": self._seed(),
            "progress": bool(verbose),
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
        """Set the parameters, and keep the story of the run without them."""
        self._run = replace(result, params={}, classes=None)


def weighted(
    X: Any, y: Any, sample_weight: Any, of_rows: Any = None
) -> tuple[tuple[Any, ...], RowWeights]:
    """Return the data that `train` takes, and what the weights of its rows say.

    Parameters
    ----------
    X, y
        Checked.
    sample_weight : array-like (n_rows,), or one number for all, or None
    of_rows : array (n_rows,), optional
        The weight of each row's class.

    Raises
    ------
    InvalidDataError
        When the sample weights are not finite numbers >= 0 with a positive sum.
    """
    n_rows = len(y)
    if sample_weight is None and of_rows is None:
        return (X, y), RowWeights(1.0, n_rows)
    products = np.ones(n_rows) if of_rows is None else of_rows
    if sample_weight is None:
        return (X, y), _row_weights(products)
    if isinstance(sample_weight, int | float | np.number):
        sample_weight = np.full(n_rows, sample_weight)
    sample_weights(sample_weight, n_rows)
    products = products * np.asarray(sample_weight, np.float64)
    return (X, y, sample_weight), _row_weights(products)


def _row_weights(products: npt.NDArray[np.float64]) -> RowWeights:
    return RowWeights(float(products.mean()), int(np.count_nonzero(products)))


def _of_loss(loss: str, coef: Floats, intercept: Any) -> dict[str, Any]:
    """Return parameters as a loss has them: softmax has two rows for two classes."""
    if loss == "softmax" and coef.ndim == 1:
        coef = np.stack([-coef / 2, coef / 2])
        intercept = np.array([-intercept / 2, intercept / 2], np.float32)
    return {"coef": coef, "intercept": intercept}


def _without_run(
    model: Linear, coef: Floats, intercept: Any, classes: npt.NDArray[Any] | None
) -> Result:
    """Return parameters that predict, wherever they came from."""
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
    )
