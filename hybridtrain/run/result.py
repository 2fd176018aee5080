# SPDX-License-Identifier: BSD-3-Clause
"""The result of a run: parameters, predictions, records."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain.data.arrays import Floats
from hybridtrain.data.classes import class_numbers
from hybridtrain.data.matrix import Matrix, canonical_rows
from hybridtrain.data.row_weights import checked_weights, rows_that_count
from hybridtrain.data.scaling import Scaling
from hybridtrain.data.targets import labels_of, real_targets, require_trained
from hybridtrain.errors import InvalidSettingError, needing_memory
from hybridtrain.machine import usable_cores
from hybridtrain.models.linear import Linear
from hybridtrain.models.losses import WITH_PROBABILITIES
from hybridtrain.observe.records import (
    EpochRecord,
    LedgerRecord,
    NodeReport,
    Staleness,
    WorkerReport,
)
from hybridtrain.run import storage
from hybridtrain.run.chaos import FaultRecord
from hybridtrain.run.environment import instruction_set
from hybridtrain.run.evaluate import (
    comparable_margins,
    exact_margins,
    margins,
    r_squared,
    unpadded,
)
from hybridtrain.run.frames import epochs_of, frame_of, require_pandas


@dataclass(frozen=True, slots=True)
class Result:
    """Hold a trained model and the records of its training.

    Attributes
    ----------
    model : Linear
    params : dict
        "coef": float32 array (n_features,) in the user's own order of features;
        "intercept": float. For softmax: (n_classes, n_features) and (n_classes,), the
        intercepts in float64 where rows were centred, else float32.
    classes : array (n_classes,) or None
        The labels, in the order of `predict_proba`'s columns; None for regression.
    history : tuple of EpochRecord
    settings : dict
        Every setting of the run, given or chosen.
    seed : int
    ledger : tuple of LedgerRecord
    staleness : Staleness
        Measured at every exchange if the run had hot features, else sampled in place.
    staleness_in_place : Staleness or None
        Sampled on the cold features; None when nothing was updated in place.
    workers : tuple of WorkerReport
        On several nodes: of the node that sent the result.
    nodes : tuple of NodeReport
        Each process that took part in a run on nodes, by name; else empty.
    feature_names : tuple of str or None
        The column names of the frame that the model was trained on; None: the rows had
        no names. Prediction matches the columns of a frame by name, those of an array
        by position.
    faults : tuple of FaultRecord
        What a plan of `hybridtrain.chaos` did to the run: first what fired, in order, then
        what did not. Not saved.
    scaling : Scaling or None
        The coordinates of the run, if they were not the user's. Prediction measures rows
        from the same centre, in float64, so that it keeps what they vary by.

    Notes
    -----
    **Thread safety.** Several threads may call any method at the same time: no method
    changes the result. A thread that changes an array of `params` must do so while no
    other thread uses the result.
    """

    model: Linear
    params: dict[str, Any]
    classes: npt.NDArray[Any] | None
    history: tuple[EpochRecord, ...]
    settings: dict[str, Any]
    seed: int
    ledger: tuple[LedgerRecord, ...]
    staleness: Staleness
    staleness_in_place: Staleness | None
    workers: tuple[WorkerReport, ...] = field(default=())
    feature_names: tuple[str, ...] | None = None
    scaling: Scaling | None = None
    faults: tuple[FaultRecord, ...] = ()
    nodes: tuple[NodeReport, ...] = ()

    @property
    def _n_classes(self) -> int:
        """Classes that have a margin each; 0: one output."""
        return len(self.params["coef"]) if self.model.loss_object.has_margin_per_class else 0

    def _rows(self, X: Any) -> tuple[Matrix, Any]:
        """Return rows, and the intercept that goes with them, in float64 where it is large."""
        coef, intercept = self.params["coef"], self.params["intercept"]
        threads, scaling = usable_cores(), self.scaling
        matrix = canonical_rows(
            X, threads=threads, n_features=coef.shape[-1], names=self.feature_names
        )
        if scaling is None or scaling.centre is None or not matrix.is_dense:
            return matrix, intercept
        unscaled = replace(scaling, scale=None)
        return unscaled.rows(matrix, threads=threads), scaling.at_centre(coef, intercept)

    def _outputs(self, matrix: Matrix, intercept: Any) -> Floats:
        """Return the core's outputs, (n_rows,) or (n_rows, padded classes)."""
        return margins(
            matrix.rows(),
            self.params["coef"],
            intercept,
            self._n_classes,
            isa=instruction_set(),
            threads=usable_cores(),
        )

    def _comparable(self, X: Any) -> Floats:
        """Return finite outputs that give the classes and their probabilities."""
        with needing_memory("predicting"):
            matrix, intercept = self._rows(X)
            z = self._outputs(matrix, intercept)
        comparable_margins(unpadded(z, self._n_classes), matrix, self.params["coef"], intercept)
        return z

    def _class_numbers(self, X: Any) -> npt.NDArray[np.intp]:
        """Return the number of the class with the largest margin."""
        z = unpadded(self._comparable(X), self._n_classes)
        return z.argmax(axis=1) if z.ndim == 2 else (z > 0).astype(np.intp)

    def decision_function(self, X: Any) -> npt.NDArray[Any]:
        """Return the margins ``X @ coef + intercept``.

        Parameters
        ----------
        X : SciPy sparse matrix or NumPy array (n_rows, n_features)

        Returns
        -------
        array (n_rows,), or for softmax (n_rows, n_classes)
            Of float32; of float64 for regression where rows or targets were centred.

        Raises
        ------
        InvalidDataError
            When training would refuse the rows, when the number of features or their
            names differ, or when float32 cannot hold a margin.
        """
        is_wide = self.classes is None and self.scaling is not None and self.scaling.is_shifted
        with needing_memory("predicting"):
            matrix, intercept = self._rows(X)
            of_core = 0.0 if is_wide else intercept
            z = unpadded(self._outputs(matrix, of_core), self._n_classes)
        z = exact_margins(z, matrix, self.params["coef"], of_core)
        return z.astype(np.float64) + intercept if is_wide else z

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the predicted labels, or values for regression.

        Parameters
        ----------
        X : SciPy sparse matrix or NumPy array (n_rows, n_features)

        Returns
        -------
        array (n_rows,)
            Has the type of the training labels; for regression, see `decision_function`.

        Raises
        ------
        InvalidDataError
            As `decision_function`, but a classifier accepts margins of any size.
        """
        if self.classes is None:
            return self.model.loss_object.predictions(self.decision_function(X))
        labels: npt.NDArray[Any] = self.classes[self._class_numbers(X)]
        return labels

    def predict_proba(self, X: Any) -> Floats:
        """Return the probabilities of the classes.

        Parameters
        ----------
        X : SciPy sparse matrix or NumPy array (n_rows, n_features)

        Returns
        -------
        float32 array (n_rows, n_classes)
            In 0 .. 1 for margins of any size; the columns are in the order of `classes`.

        Raises
        ------
        InvalidSettingError
            When the loss is neither logistic nor softmax.
        InvalidDataError
            When training would refuse the rows, or the number of features differs.
        """
        if self.classes is None or not self.model.has_probabilities:
            raise InvalidSettingError(
                f"predict_proba needs {' or '.join(WITH_PROBABILITIES)} loss, whose margins are "
                f"log-odds; this model has {self.model.loss} loss: use predict"
                + (" or decision_function" if self.model.is_classifier else "")
            )
        return self.model.loss_object.probabilities(self._comparable(X), self._n_classes)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy, or R^2 for regression.

        Parameters
        ----------
        X : SciPy sparse matrix or NumPy array (n_rows, n_features)
        y : array-like (n_rows,)
        sample_weight : array-like (n_rows,), optional

        Returns
        -------
        float

        Raises
        ------
        InvalidDataError
            When training would refuse the data, or y has a class that was not trained.
        """
        predicted = self.predict(X) if self.classes is None else self._class_numbers(X)
        n_rows = len(predicted)
        if self.classes is None:
            truth = real_targets(y, n_rows)[1].astype(np.float64)
        else:
            truth = labels_of(y, n_rows)
        weight = None if sample_weight is None else checked_weights(sample_weight, n_rows)
        counts, _ = rows_that_count(truth, weight, None, n_rows)
        if counts is not None and weight is not None:
            predicted, truth, weight = predicted[counts], truth[counts], weight[counts]
        if self.classes is not None:
            require_trained(truth, self.classes)
            is_right = predicted == class_numbers(truth, self.classes)
            return float(np.average(is_right, weights=weight))
        return r_squared(predicted, truth, weight)

    def coef_frame(self) -> Any:
        """Return the coefficients as a pandas frame.

        Returns
        -------
        pandas.DataFrame (n_features, n_outputs)
            Has one row per feature, labelled with its name, or with its number if the
            model has no names. It has one column "coef"; for softmax, one column per
            class. ``frame.attrs["intercept"]`` is a float; for softmax, a dict of class
            to float.

        Raises
        ------
        MissingPackageError
            Without pandas.
        """
        pd = require_pandas("coef_frame")
        coef, intercept = self.params["coef"], self.params["intercept"]
        index = None if self.feature_names is None else pd.Index(self.feature_names, dtype=object)
        if not self._n_classes:
            frame = pd.DataFrame({"coef": coef})
        else:
            assert self.classes is not None
            frame = pd.DataFrame(coef.T, columns=pd.Index(self.classes))
            intercept = dict(zip(self.classes.tolist(), intercept.tolist(), strict=True))
        if index is not None:
            frame.index = index
        frame.attrs["intercept"] = intercept
        return frame

    def to_frame(self) -> Any:
        """Return the records of all epochs as a pandas frame: history joined with ledger.

        Returns
        -------
        pandas.DataFrame
            Has one row for each epoch that was begun. Columns: "epoch" (int64, from 1);
            "seconds", "lr", "loss" and "validation_loss" (float64) and "rows" (Int64) as
            in `EpochRecord`; "trained", "repeated" and "dropped" (Int64) as in
            `LedgerRecord`; "staleness_mean" (float64) and "staleness_max" (Int64), rows:
            those of the epoch. A value that is not known is
            NaN, or <NA> in a column of Int64.

        Raises
        ------
        MissingPackageError
            Without pandas.
        """
        return frame_of(epochs_of(self), of_runs=False)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the result to a file that `ht.load` reads; no pickle.

        Parameters
        ----------
        path : str or path
            ".npz" is appended if the name does not end with it.

        Raises
        ------
        InvalidDataError
            When the labels are objects other than text.
        OSError
            When the file cannot be written.
        """
        storage.save(path, self)


def load(path: str | PathLike[str]) -> Result:
    """Read a result that `Result.save` wrote.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    Result

    Raises
    ------
    InvalidDataError
        When the file holds something else: everything is checked before it is used.
    OSError
        When the file cannot be read.
    """
    return Result(**storage.load(path))
