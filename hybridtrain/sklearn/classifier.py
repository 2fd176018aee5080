# SPDX-License-Identifier: BSD-3-Clause
"""The scikit-learn classifier."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from hybridtrain.arguments import shown
from hybridtrain.data.classes import named_labels, require_known, sorted_classes
from hybridtrain.data.collections import is_collection
from hybridtrain.data.matrix import Floats
from hybridtrain.errors import InvalidDataError, InvalidSettingError
from hybridtrain.models import class_weights
from hybridtrain.models.linear import Linear
from hybridtrain.models.loss import LossName
from hybridtrain.models.losses import Softmax, require_loss
from hybridtrain.optimizers.base import Optimizer
from hybridtrain.run.result import Result
from hybridtrain.sklearn.class_losses import has_probabilities, is_binary, loss_of_classes
from hybridtrain.sklearn.estimator import LinearEstimator, has_partial_fit
from hybridtrain.sklearn.parameters import difference, zeros_of
from hybridtrain.sklearn.rows import weighted_by_class
from hybridtrain.strategies.base import Strategy


class LinearClassifier(ClassifierMixin, LinearEstimator):
    """Classify with a linear model trained on many workers.

    Training minimises ``(1/S) sum_i s_i loss(y_i, x_i w + b) + l1 ||w||_1 +
    (l2/2) ||w||^2``, with s_i the weights of the rows and S their sum.

    Parameters
    ----------
    loss : "logistic", "softmax", "hinge" or "squared_hinge"
        "logistic" with three or more classes is "softmax"; the hinges are for
        two classes.
    l1, l2 : float
        Penalties, at least 0.
    fit_intercept : bool
    class_weight : None, "balanced" or dict
        A dict of label to weight. A label left out of it has weight 1. Labels that y
        lacks are ignored, if no label of y is left out. "balanced": all classes count
        the same; refused by `partial_fit`, which does not know later rows.
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
        Share of the rows that `patience` holds out, at least one row. Classes are held
        out in proportion, and at least one row of each class is trained on.
    verbose : bool
        Whether runs longer than a second show their epochs on standard error.
    backend : "threads" or "processes"
        What the workers are, as for `train`. A process that dies is replaced, and
        ``result_.workers`` says how it died.
    timeout : float
        Seconds, greater than 0; as for `train`.

    Attributes
    ----------
    classes_ : array (n_classes,)
    coef_ : float32 array (1, n_features), or (n_classes, n_features) for three or more
    intercept_ : array (1,) or (n_classes,)
        These three attributes are the model: if you set them or change them in place,
        prediction and further training use the new values. For softmax of two classes,
        `coef_` is the difference of its two rows.
    result_ : Result
        The last call of `fit` or `partial_fit`, with copies of the current parameters.
        For softmax of two classes, its second row is half of `coef_` and its first row
        the negative of the second.
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
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.preprocessing import minmax_scale
    >>> from hybridtrain.sklearn import LinearClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X = minmax_scale(X)
    >>> classifier = LinearClassifier(random_state=0).fit(X[:400], y[:400])
    >>> bool(classifier.score(X[400:], y[400:]) > 0.95)
    True
    """

    def __init__(
        self,
        loss: str = "logistic",
        *,
        l1: float = 0.0,
        l2: float = 1e-4,
        fit_intercept: bool = True,
        class_weight: str | dict[Any, float] | None = None,
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
        self.l1 = l1
        self.l2 = l2
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
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

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = not is_binary(self.loss)
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train a model.

        Parameters
        ----------
        X : sparse matrix, array or frame (n_rows, n_features)
            Or a dask array or frame, to train on the workers of the current Dask client.
        y : array-like (n_rows,)
            Labels of two or more classes.
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
            return self._fit_collections(X, y, sample_weight)
        X, y = self._checked(X, y, reset=True, least=self._least_rows)
        check_classification_targets(y)
        goes_on = self._goes_on()
        classes = np.unique(y)
        if goes_on and hasattr(self, "classes_"):
            classes = require_known(classes, self._labels())
        model = self._model(y, classes)
        X, y, sample_weight = self._counting(X, y, sample_weight, model.class_weight)
        init: Any = zeros_of(model, X, y, classes)
        if goes_on:
            init = self._start(model, X.shape[1], classes)
        return self._fit(model, *weighted_by_class(X, y, sample_weight, model, classes), init)

    def _fit_collections(self, X: Any, y: Any, sample_weight: Any) -> Self:
        from hybridtrain.engines.dask_estimating import counted_labels  # noqa: PLC0415 - optional

        kept = self._kept(X, y, sample_weight)
        classes, counts = counted_labels(kept)
        check_classification_targets(classes)
        model = self._model(classes, classes)
        weight = kept.mean_weight
        if isinstance(model.class_weight, dict):
            weight *= np.average([model.class_weight[c] for c in classes.tolist()], weights=counts)
        init = self._start(model, self.n_features_in_, classes) if self._goes_on() else None
        n_rows = int(counts.sum())
        return self._fit(model, kept.data, weight, init, n_rows=n_rows, nodes=kept.client)

    @available_if(has_partial_fit)
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train one epoch on these rows, from the current parameters.

        Parameters
        ----------
        X : sparse matrix, array or frame (n_rows, n_features)
        y : array-like (n_rows,)
            Need not hold all classes.
        classes : array-like (n_classes,)
            All labels that will come; only the first call needs it.
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
        The rate "auto" is that of the formula, for the rows of each call. The schedules "constant",
        "inverse_scaling" and "exponential" continue from call to call; a call counts as
        an epoch. A schedule that goes to 0 at the end of the run (SGD's default) cannot
        continue. The rate is then divided by ``(1 + rows / k) ** 0.75``, with the rows
        of all calls and of the fit before them, and k ten times the number of features,
        but in 1,000 .. 20,000.
        """
        X, y = self._checked(X, y, reset=not hasattr(self, "n_features_in_"))
        found = np.unique(y)
        known = require_known(found, self._announced(classes))
        model = self._model(y, known)
        X, y, sample_weight = self._counting(X, y, sample_weight, model.class_weight)
        init: Any = zeros_of(model, X, y, known)
        if hasattr(self, "coef_"):
            init = self._start(model, X.shape[1], known)
        return self._partial_fit(model, *weighted_by_class(X, y, sample_weight, model, known), init)

    def decision_function(self, X: Any) -> Floats:
        """Return the margins of the second class, or of each of three or more.

        Parameters
        ----------
        X : sparse matrix, array or frame (n_rows, n_features)

        Returns
        -------
        float32 array (n_rows,) or (n_rows, n_classes)
        """
        if is_collection(X):
            columns = self._labels() if len(self._labels()) > 2 else None
            return self._lazily("decision_function", X, np.float32, columns)
        trained, rows = self._trained(X)
        return trained.decision_function(rows)

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the most probable labels.

        Parameters
        ----------
        X : sparse matrix, array or frame (n_rows, n_features)

        Returns
        -------
        array (n_rows,)
            Has the type of the labels. Of a dask array or frame: a dask array or series.
        """
        if is_collection(X):
            return self._lazily("predict", X, self._labels().dtype)
        trained, rows = self._trained(X)
        return trained.predict(rows)

    @available_if(has_probabilities)
    def predict_proba(self, X: Any) -> Floats:
        """Return the probability of each class.

        Parameters
        ----------
        X : sparse matrix, array or frame (n_rows, n_features)

        Returns
        -------
        float32 array (n_rows, n_classes)
        """
        if is_collection(X):
            return self._lazily("predict_proba", X, np.float32, self._labels())
        trained, rows = self._trained(X)
        return trained.predict_proba(rows)

    @available_if(has_probabilities)
    def predict_log_proba(self, X: Any) -> Floats:
        """Return the logarithm of the probability of each class.

        Parameters
        ----------
        X : sparse matrix, array or frame (n_rows, n_features)

        Returns
        -------
        float32 array (n_rows, n_classes)
            At least -87.4, the logarithm of the smallest float32.
        """
        if is_collection(X):
            return self._lazily("predict_log_proba", X, np.float32, self._labels())
        logs: Floats = np.log(np.maximum(self.predict_proba(X), np.finfo(np.float32).tiny))
        return logs

    def _labels(self) -> npt.NDArray[Any]:
        """Return `classes_`, checked."""
        check_is_fitted(self, "classes_")
        labels, _ = sorted_classes(self.classes_, "classes_")
        if len(labels) < 2:
            raise InvalidDataError(
                f"y must hold at least two classes, got 1 class: {labels.tolist()[0]!r}"
            )
        return np.asarray(self.classes_)

    def _parameters(self, n_features: int, labels: npt.NDArray[Any] | None) -> tuple[Floats, Any]:
        assert labels is not None
        n_classes = len(labels)
        if n_classes > 2:
            return self._read_parameters((n_classes, n_features))
        coef, intercept = self._read_parameters((1, n_features))
        return coef[0], float(intercept[0])

    def _predicting_loss(self, dimensions: int) -> LossName:
        if dimensions == 2:
            return Softmax.name
        loss = require_loss(self.loss)
        if loss.has_margin_per_class and loss.counterpart is not None:
            return loss.counterpart
        return loss.name

    def _announced(self, classes: Any) -> npt.NDArray[Any]:
        """Return the classes of a stream, from its first call."""
        if isinstance(self.class_weight, str) and self.class_weight == "balanced":
            raise InvalidSettingError(
                "class_weight must be None or a dict label -> weight for partial_fit, which cannot "
                "know how many rows of each class will come; got 'balanced'"
            )
        given = None if classes is None else np.unique(named_labels(classes, "classes"))
        if not hasattr(self, "classes_"):
            if given is None:
                raise InvalidSettingError(
                    "the first call of partial_fit must have classes=[all labels that will come]"
                )
            known: npt.NDArray[Any] = given
        else:
            known = self._labels()
            if given is not None and not np.array_equal(given, np.sort(known)):
                raise InvalidDataError(
                    f"classes must be those of the first call, {shown(known.tolist())}, got "
                    f"{shown(classes)}"
                )
        return known

    def _model(self, y: Any, classes: npt.NDArray[Any]) -> Linear:
        loss = loss_of_classes(self.loss, y, classes)
        weights = class_weights.of_classes(self.class_weight, classes.tolist())
        return self._linear(loss=loss, class_weight=weights)

    def _keep(self, result: Result) -> None:
        super()._keep(result)
        coef = np.atleast_2d(result.params["coef"])
        intercept = self._typed(np.atleast_1d(result.params["intercept"]))
        if len(coef) == 2:  # softmax of two classes: what decides is the difference
            coef, intercept = difference(coef, intercept, result.scaling)
        self.classes_, self.coef_, self.intercept_ = result.classes, coef, intercept
