# SPDX-License-Identifier: BSD-3-Clause
"""The scikit-learn regressor."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import RegressorMixin
from sklearn.utils.metaestimators import available_if

from hybridtrain.arguments import shown
from hybridtrain.data.collections import is_collection
from hybridtrain.data.matrix import Floats
from hybridtrain.errors import InvalidSettingError
from hybridtrain.models.linear import Linear
from hybridtrain.models.loss import LossName
from hybridtrain.models.losses import OF_CLASSES, OF_NUMBERS, PARAMETERS, require_loss
from hybridtrain.optimizers.base import Optimizer
from hybridtrain.run.result import Result
from hybridtrain.sklearn.estimator import LinearEstimator, has_partial_fit
from hybridtrain.sklearn.rows import weighted
from hybridtrain.strategies.base import Strategy


class LinearRegressor(RegressorMixin, LinearEstimator):
    """Predict numbers with a linear model trained on many workers.

    Training minimises ``(1/S) sum_i s_i loss(y_i, x_i w + b) + l1 ||w||_1 +
    (l2/2) ||w||^2``, with s_i the weights of the rows and S their sum.

    Parameters
    ----------
    loss : "squared", "huber", "poisson" or "quantile"
        As for `Linear`; with "poisson", `predict` gives the mean counts.
    delta : float
        For "huber": the distance at which the loss turns from squared to linear, in
        units of y.
    q : float
        For "quantile": the level, between 0 and 1.
    l1, l2 : float
        Penalties, at least 0.
    fit_intercept : bool
    strategy : str or strategy
        As for `train`: "hybrid", "hogwild", "sync", "local_sgd", "async", or with arguments;
        ``Hierarchical(groups=2)``; or a `Switch`, which `partial_fit` refuses: it trains one
        epoch.
    optimizer : str or optimizer
        As for `train`.
    lr : float, "auto" or "formula"
        Replaces the optimizer's own; "auto" leaves it.
    workers : int, optional
        Threads or processes; None: the usable cores, but at least 10,000 rows for each.
        At most one worker per row is started.
    epochs : int, optional
        None: a million rows in all, in 10 to 500 epochs.
    batch_size : int, optional
        As for `train`; a value above the number of rows is reduced to it.
    random_state : int, RandomState or None
        An int is the seed of `train`; None draws one from NumPy's global state.
    warm_start : bool
        Whether `fit` starts from the parameters of the last fit.
    scale : "auto" or None
        As for `train`. `partial_fit` keeps the coordinates of the call that chose them.
    patience : int, optional
        The number of epochs without a lower validation loss after which the rate falls
        to 0 and the fit ends, with the best epoch's parameters; see `train`. None: train
        all epochs.
    validation_fraction : float
        Share of the rows that `patience` holds out, at least one row.
    verbose : bool
        Whether runs longer than a second show their epochs on standard error.
    backend : "threads" or "processes"
        What the workers are, as for `train`. A process that dies is replaced, and
        ``result_.workers`` says how it died.
    timeout : float
        Seconds, greater than 0; as for `train`.

    Attributes
    ----------
    coef_ : float32 array (n_features,)
    intercept_ : float
        These two attributes are the model: if you set them or change them in place,
        prediction and further training use the new values.
    result_ : Result
        The last call of `fit` or `partial_fit`, with copies of the current parameters.
    n_iter_ : int
        Epochs of the last `fit`, plus the calls of `partial_fit` since.
    n_samples_seen_ : int
        Rows trained in these epochs and calls; a row counts each time it was used.
    n_features_in_ : int
    feature_names_in_ : array (n_features,)
        Exists if X was a frame with names.

    Notes
    -----
    With one worker, or with strategy "sync", equal data and `random_state` give equal
    results.

    **Thread safety.** Several threads may predict and score at the same time. `fit` and
    `partial_fit` change the estimator: no other thread may use it meanwhile.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> from hybridtrain.sklearn import LinearRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> regressor = LinearRegressor(random_state=0).fit(scale(X), y)
    >>> bool(regressor.score(scale(X), y) > 0.5)
    True
    """

    def __init__(
        self,
        loss: str = "squared",
        *,
        delta: float = 1.0,
        q: float = 0.5,
        l1: float = 0.0,
        l2: float = 1e-4,
        fit_intercept: bool = True,
        strategy: str | Strategy = "hybrid",
        optimizer: str | Optimizer = "sgd",
        lr: float | str = "auto",
        workers: int | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        random_state: Any = None,
        warm_start: bool = False,
        scale: str | None = "auto",
        patience: int | None = None,
        validation_fraction: float = 0.1,
        verbose: bool = False,
        backend: str = "threads",
        timeout: float = 60.0,
    ) -> None:
        self.loss = loss
        self.delta = delta
        self.q = q
        self.l1 = l1
        self.l2 = l2
        self.fit_intercept = fit_intercept
        self.strategy = strategy
        self.optimizer = optimizer
        self.lr = lr
        self.workers = workers
        self.epochs = epochs
        self.batch_size = batch_size
        self.random_state = random_state
        self.warm_start = warm_start
        self.scale = scale
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.verbose = verbose
        self.backend = backend
        self.timeout = timeout

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train a model.

        Parameters
        ----------
        X : sparse matrix, array or frame (n_rows, n_features)
            Or a dask array or frame, to train on the workers of the current Dask client.
        y : array-like (n_rows,)
            Numbers.
        sample_weight : array-like (n_rows,) or float, optional
            At least 0.

        Returns
        -------
        self

        Raises
        ------
        InvalidDataError, InvalidSettingError, DivergedError, WorkersDiedError
            As `train`; the first two are ValueErrors.
        """
        if is_collection(X):
            from hybridtrain.engines.dask_estimating import counted_rows  # noqa: PLC0415 - optional

            kept = self._kept(X, y, sample_weight)
            model, n_rows = self._model(), counted_rows(kept)
            init = self._start(model, self.n_features_in_) if self._goes_on() else None
            weight = kept.mean_weight
            return self._fit(model, kept.data, weight, init, n_rows=n_rows, nodes=kept.client)
        X, y = self._checked(X, y, reset=True, least=self._least_rows)
        model = self._model()
        init = self._start(model, X.shape[1]) if self._goes_on() else None
        return self._fit(model, *weighted(*self._counting(X, y, sample_weight)), init)

    @available_if(has_partial_fit)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train one epoch on these rows, from the current parameters.

        Parameters
        ----------
        X : sparse matrix, array or frame (n_rows, n_features)
        y : array-like (n_rows,)
            Numbers.
        sample_weight : array-like (n_rows,) or float, optional
            At least 0.

        Returns
        -------
        self

        Raises
        ------
        InvalidDataError, InvalidSettingError, DivergedError, WorkersDiedError
            As `train`.
        AttributeError
            For an optimizer whose state is more than the parameters.

        Notes
        -----
        For the learning rate see `LinearClassifier.partial_fit`.
        """
        X, y = self._checked(X, y, reset=not hasattr(self, "n_features_in_"))
        model = self._model()
        init = self._start(model, X.shape[1]) if hasattr(self, "coef_") else None
        return self._partial_fit(model, *weighted(*self._counting(X, y, sample_weight)), init)

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the values that the model expects.

        Parameters
        ----------
        X : sparse matrix, array or frame (n_rows, n_features)

        Returns
        -------
        array (n_rows,)
            As of `Result.predict`. Of a dask array or frame: a dask array or series.
        """
        if is_collection(X):
            return self._lazily("predict", X, self._typed(np.zeros(0)).dtype)
        trained, rows = self._trained(X)
        return trained.predict(rows)

    def _parameters(self, n_features: int, labels: Any = None) -> tuple[Floats, Any]:
        del labels
        coef, intercept = self._read_parameters((n_features,))
        return coef, float(intercept[0])

    def _predicting_loss(self, dimensions: int) -> LossName:
        del dimensions
        return self._checked_loss()

    def _checked_loss(self) -> LossName:
        loss = self.loss
        if not isinstance(loss, str) or loss in OF_CLASSES:
            raise InvalidSettingError(
                f"loss must be {' or '.join(OF_NUMBERS)}, got {shown(loss)}"
                + (f": {loss!r} is a loss of LinearClassifier" if isinstance(loss, str) else "")
            )
        return require_loss(loss).name

    def _model(self) -> Linear:
        loss = self._checked_loss()
        own = [name for name, owner in PARAMETERS.items() if owner.name == loss]
        return self._linear(loss=loss, **{name: getattr(self, name) for name in own})

    def _keep(self, result: Result) -> None:
        super()._keep(result)
        self.coef_, self.intercept_ = result.params["coef"], result.params["intercept"]
