# SPDX-License-Identifier: BSD-3-Clause
"""What the scikit-learn estimators share: from their parameters to `train`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, is_regressor
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from hybridtrain.data import Floats
from hybridtrain.machine import usable_cores
from hybridtrain.models import Linear
from hybridtrain.notices import warn_user
from hybridtrain.optimizers import SGD, Optimizer, parse_optimizer
from hybridtrain.result import Result
from hybridtrain.row_weights import rows_that_count, tiny_text
from hybridtrain.schedules import Schedule, parse_schedule
from hybridtrain.sparse_arrays import sound_csr
from hybridtrain.targets import require_present
from hybridtrain.train import train

_ROWS_TO_TRAIN = 1_000_000  # by default, over all epochs
_LEAST_EPOCHS, _MOST_EPOCHS = 10, 500  # by default
_ROWS_PER_WORKER = 10_000  # at least, by default: a thread is to pay for its start
_STREAM_ROWS_PER_FEATURE, _LEAST_STREAM_ROWS, _MOST_STREAM_ROWS = 10, 1_000, 20_000
_STREAM_POWER = 0.75
_DTYPES = np.float32, np.float64  # other types become the first


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamSchedule:
    """The learning rate of one call of `partial_fit`.

    A schedule without an end goes on where the last call left it. One that goes
    to 0 at the end of the run cannot: a stream has no known end, and may be cut
    into calls of any size. Its rate is divided by ``(1 + rows / k) ** 0.75``, k ten
    times the number of features, but in 1,000 .. 20,000: in so many rows every
    parameter has had its first large steps. Of sixteen such rules on seven data
    sets this one was never far from the best, at one pass and at eight.

    Parameters
    ----------
    schedule : Schedule
        Of the optimizer.
    seen : int
        Rows trained before this call.
    rows : int
        Rows of this call.
    n_features : int
    epochs : int
        Epochs and calls before this one.
    weight : float
        Mean weight of this call's rows, in means of all rows so far: `train`
        scales weights to mean 1.

    References
    ----------
    Robbins and Monro 1951, "A stochastic approximation method": the rates of an
    endless stream reach the optimum if their sum is infinite and that of their
    squares is not, for powers above 1/2 up to 1.
    """

    schedule: Schedule
    seen: int
    rows: int
    n_features: int
    epochs: int
    weight: float = 1.0

    def factor(self, epochs: float, total: float) -> float:
        """Return the factor after so much of this call."""
        if self.schedule.factor(0.5, 1) != self.schedule.factor(0.5, 2):  # it has an end
            scale = _STREAM_ROWS_PER_FEATURE * self.n_features
            scale = min(max(scale, _LEAST_STREAM_ROWS), _MOST_STREAM_ROWS)
            factor = (1.0 + (self.seen + epochs * self.rows) / scale) ** -_STREAM_POWER
        else:
            factor = self.schedule.factor(self.epochs + epochs, self.epochs + total)
        return float(self.weight * factor)


def has_partial_fit(estimator: LinearEstimator) -> bool:
    """Return whether the estimator can be trained in parts.

    Raises
    ------
    AttributeError
        When it cannot, with the reason.
    """
    optimizer = parse_optimizer(estimator.optimizer)
    if isinstance(optimizer, SGD):
        return True
    raise AttributeError(
        "partial_fit needs optimizer='sgd' or ht.SGD(...), whose state is the parameters: "
        f"the sums of {type(optimizer).__name__} would start anew in each call"
    )


def _sound(X: Any) -> Any:
    """Return sparse rows whose arrays scikit-learn and SciPy can trust; others as they are."""
    return sound_csr(X) if issparse(X) else X


class LinearEstimator(BaseEstimator):
    """What the classifier and the regressor share."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        is_sync = str(self.strategy).lower().startswith("sync")
        tags.non_deterministic = not (is_sync or self.workers == 1)
        return tags

    def _checked(self, X: Any, y: Any, *, reset: bool, least: int = 1) -> tuple[Any, Any]:
        """Check rows and targets as scikit-learn does; frames and lists become arrays."""
        require_present(y)
        X, y = validate_data(
            self,
            _sound(X),
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
        """Leave out rows of weight 0: neither epochs nor rates nor workers may see them."""
        counts, n_tiny = rows_that_count(y, sample_weight, class_weight, len(y))
        if counts is None:
            return X, y, sample_weight
        if n_tiny:
            warn_user([tiny_text(n_tiny)])
        weight = None if sample_weight is None else np.asarray(sample_weight)[counts]
        return X[counts], y[counts], weight

    def _margins(self, X: Any) -> Floats:
        rows = self._checked_rows(X)
        return self.result_.decision_function(rows)

    def _checked_rows(self, X: Any) -> Any:
        check_is_fitted(self)
        return validate_data(self, _sound(X), reset=False, accept_sparse="csr", dtype=_DTYPES)

    def _fit(
        self,
        model: Linear,
        data: tuple[Any, ...],
        weight: float,
        init: dict[str, Any] | None = None,
    ) -> Self:
        """Train all epochs; `weight` is the mean weight of the rows."""
        n_rows = data[0].shape[0]
        epochs = self.epochs
        if epochs is None:
            epochs = min(max(-(-_ROWS_TO_TRAIN // n_rows), _LEAST_EPOCHS), _MOST_EPOCHS)
        early = {}
        if self.patience is not None:
            early = {"patience": self.patience, "validation": self.validation_fraction}
        going_on = self.warm_start and hasattr(self, "result_")
        result = train(
            model,
            data,
            optimizer=self._optimizer(),
            epochs=epochs,
            init=self.result_ if going_on else init,
            **self._settings(n_rows),
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
        init: Result | dict[str, Any] | None,
    ) -> Self:
        """Train one epoch; `weight` is the mean weight of the rows."""
        optimizer = self._optimizer()
        assert isinstance(optimizer, SGD)  # see has_partial_fit
        n_rows = data[0].shape[0]
        seen, epochs = getattr(self, "n_samples_seen_", 0), getattr(self, "n_iter_", 0)
        weight_seen = getattr(self, "_weight_seen", 0.0) + weight * n_rows
        schedule = StreamSchedule(
            schedule=parse_schedule(optimizer.schedule),
            seen=seen,
            rows=n_rows,
            n_features=data[0].shape[1],
            epochs=epochs,
            weight=weight * (seen + n_rows) / weight_seen if weight_seen > 0 else 1.0,
        )
        result = train(
            model,
            data,
            optimizer=replace(optimizer, schedule=schedule),
            epochs=1,
            init=init,
            **self._settings(n_rows),
        )
        self._keep(result)
        self.n_iter_ = epochs + 1
        self.n_samples_seen_ = seen + n_rows
        self._weight_seen = weight_seen
        return self

    def _settings(self, n_rows: int) -> dict[str, Any]:
        """Return the arguments of `train` that are the same for all calls."""
        workers = self.workers
        if workers is None:
            workers = min(usable_cores(), max(1, n_rows // _ROWS_PER_WORKER))
        elif isinstance(workers, int | np.integer):
            workers = min(workers, n_rows)
        seed = self.random_state
        if not isinstance(seed, int | np.integer):
            seed = check_random_state(seed).randint(2**31)
        return {
            "strategy": self.strategy,
            "workers": workers,
            "batch_size": self.batch_size,
            "seed": int(seed),
            "progress": bool(self.verbose),
        }

    def _linear(self, **arguments: Any) -> Linear:
        return Linear(l1=self.l1, l2=self.l2, fit_intercept=self.fit_intercept, **arguments)

    def _optimizer(self) -> Optimizer:
        optimizer = parse_optimizer(self.optimizer)
        return optimizer if self.lr == "auto" else replace(optimizer, lr=self.lr)

    def _keep(self, result: Result) -> None:
        """Set the result and what is read from it."""
        names = getattr(self, "feature_names_in_", None)  # of a frame, which became an array
        if names is not None:
            result = replace(result, feature_names=tuple(map(str, names)))
        self.result_ = result
