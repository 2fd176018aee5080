# SPDX-License-Identifier: BSD-3-Clause
"""The result of a run: parameters, predictions, records, storage."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain import class_weights
from hybridtrain._core.rows import (
    Rows,
    isas,
    loss_sum,
    outputs,
    sigmoid,
    softmax,
    softmax_sum,
)
from hybridtrain.data import Floats, canonical_rows, class_targets, real_targets, sample_weights
from hybridtrain.errors import InvalidDataError, InvalidSettingError, needing_memory
from hybridtrain.machine import over_ranges, usable_cores
from hybridtrain.models import Linear
from hybridtrain.parameters import pack
from hybridtrain.problem import Problem
from hybridtrain.telemetry import EpochRecord, LedgerRecord, Staleness, WorkerReport

_FORMAT = "hybridtrain-result-2"


@dataclass(frozen=True, slots=True)
class Result:
    """A trained model and the story of its training.

    Attributes
    ----------
    model : Linear
    params : dict
        "coef": float32 array (n_features,) in the user's own order of features;
        "intercept": float. Of softmax: (n_classes, n_features) and (n_classes,).
    classes : array (n_classes,) or None
        The labels, in the order of `predict_proba`'s columns; None for regression.
    history : tuple of EpochRecord
    settings : dict
        What was used, also where it was chosen automatically.
    seed : int
    ledger : tuple of LedgerRecord
    staleness : Staleness
        Of exchanges where features were hot, else sampled in place.
    staleness_in_place : Staleness or None
        Sampled on the cold features; None when nothing was updated in place.
    workers : tuple of WorkerReport
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

    @property
    def _n_classes(self) -> int:
        """Classes of softmax; 0: one output."""
        return len(self.params["coef"]) if self.model.loss == "softmax" else 0

    def _outputs(self, X: Any) -> Floats:
        """Return the core's outputs: (n_rows,), or (n_rows, padded classes)."""
        coef = self.params["coef"]
        threads = usable_cores()
        with needing_memory("predicting"):
            matrix = canonical_rows(X, threads=threads, n_features=coef.shape[-1])
            return margins(
                matrix.rows(), coef, self.params["intercept"], self._n_classes, threads=threads
            )

    def decision_function(self, X: Any) -> Floats:
        """Return the margins ``X @ coef + intercept``.

        Parameters
        ----------
        X : SciPy sparse matrix or NumPy array (n_rows, n_features)

        Returns
        -------
        float32 array (n_rows,), or (n_rows, n_classes) of softmax

        Raises
        ------
        InvalidDataError
            As for training, or when the number of features differs.
        """
        z = self._outputs(X)
        return z[:, : self._n_classes] if self._n_classes else z

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the predicted labels, or values for regression.

        Parameters
        ----------
        X : SciPy sparse matrix or NumPy array (n_rows, n_features)

        Returns
        -------
        array (n_rows,)
            Of the labels' own type, or float32.

        Raises
        ------
        InvalidDataError
            As `decision_function`.
        """
        z = self.decision_function(X)
        if self.classes is None:
            return z
        labels: npt.NDArray[Any] = self.classes[_class_numbers(z)]
        return labels

    def predict_proba(self, X: Any) -> Floats:
        """Return the probabilities of the classes.

        Parameters
        ----------
        X : SciPy sparse matrix or NumPy array (n_rows, n_features)

        Returns
        -------
        float32 array (n_rows, n_classes)
            Columns in the order of `classes`.

        Raises
        ------
        InvalidSettingError
            For another loss than logistic.
        InvalidDataError
            As `decision_function`.
        """
        if self.classes is None or not self.model.has_probabilities:
            raise InvalidSettingError(
                "predict_proba needs logistic or softmax loss, whose margins are log-odds; this "
                f"model has {self.model.loss} loss: use predict"
                + (" or decision_function" if self.model.is_classifier else "")
            )
        z = self._outputs(X)
        proba = np.empty((len(z), len(self.classes)), np.float32)
        if self._n_classes:
            softmax(self._n_classes, z, proba)
            return proba
        p = np.empty_like(z)
        sigmoid(z, p)
        proba[:, 1] = p
        sigmoid(-z, p)
        proba[:, 0] = p
        return proba

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
            As for training; a class that was not trained is an error.
        """
        z = self.decision_function(X)
        weight = None if sample_weight is None else sample_weights(sample_weight, len(z))
        if self.classes is not None:
            # As softmax: the targets are then the classes' numbers.
            targets, _ = class_targets(y, len(z), self.classes, loss="softmax")
            return float(np.average(_class_numbers(z) == targets, weights=weight))
        truth = real_targets(y, len(z)).astype(np.float64)
        residual = np.average((truth - z) ** 2, weights=weight)
        spread = np.average((truth - np.average(truth, weights=weight)) ** 2, weights=weight)
        if spread == 0:
            raise InvalidDataError("R^2 is not defined: all targets are equal")
        return float(1.0 - residual / spread)

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
        classes = self.classes
        if classes is not None and classes.dtype == object:
            if not all(isinstance(label, str) for label in classes):
                raise InvalidDataError(
                    f"labels must be text or numbers to be saved, got {classes.tolist()!r}"
                )
            classes = classes.astype(np.str_)
        story = {
            "format": _FORMAT,
            "model": {
                **asdict(self.model),
                "class_weight": class_weights.to_json(self.model.class_weight),
            },
            "history": [asdict(record) for record in self.history],
            "settings": self.settings,
            "seed": self.seed,
            "ledger": [asdict(record) for record in self.ledger],
            "staleness": asdict(self.staleness),
            "staleness_in_place": self.staleness_in_place and asdict(self.staleness_in_place),
            "workers": [asdict(report) for report in self.workers],
        }
        arrays = {**self.params, "story": np.array(json.dumps(story))}
        if classes is not None:
            arrays["classes"] = classes
        np.savez(path, **arrays)


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
        When the file holds something else.
    OSError
        When it cannot be read.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            story = json.loads(str(file["story"]))
            coef, intercept = file["coef"], file["intercept"]
            classes = file["classes"] if "classes" in file.files else None
        if story.get("format") != _FORMAT:
            raise KeyError("format")
        in_place = story["staleness_in_place"]
        model = story["model"]
        model["class_weight"] = class_weights.from_json(model.get("class_weight"))
        return Result(
            model=Linear(**model),
            params={"coef": coef, "intercept": intercept if intercept.ndim else float(intercept)},
            classes=classes,
            history=tuple(EpochRecord(**record) for record in story["history"]),
            settings=story["settings"],
            seed=story["seed"],
            ledger=tuple(LedgerRecord(**record) for record in story["ledger"]),
            staleness=_staleness(story["staleness"]),
            staleness_in_place=in_place and _staleness(in_place),
            workers=tuple(WorkerReport(**report) for report in story["workers"]),
        )
    except OSError:
        raise
    except Exception as error:  # a foreign or damaged file fails in many ways
        raise InvalidDataError(
            f"{path} is not a file that Result.save of this version wrote: {error!r}"
        ) from error


def _staleness(fields: dict[str, Any]) -> Staleness:
    return Staleness(**{**fields, "counts": tuple(fields["counts"])})


def _class_numbers(z: Floats) -> npt.NDArray[np.intp]:
    """Return the number of the class with the largest margin."""
    return z.argmax(axis=1) if z.ndim == 2 else (z > 0).astype(np.intp)


def margins(rows: Rows, coef: Floats, intercept: Any, n_classes: int, *, threads: int) -> Floats:
    """Return row times coef plus intercept for all rows of a view.

    Parameters
    ----------
    rows : Rows
    coef, intercept
        As in `Result.params`.
    n_classes : int
        Of softmax; 0: one output.
    threads : int

    Returns
    -------
    float32 array (n_rows,), or (n_rows, padded classes)
    """
    n_outputs = outputs(n_classes)
    parameters = pack(coef, intercept, n_classes)
    z = np.empty(rows.shape[0] * n_outputs, np.float32)
    isa = len(isas()) - 1

    def compute(first: int, last: int) -> None:
        part = z[first * n_outputs : last * n_outputs]
        rows.margins(parameters, n_outputs, isa, first, last, part)

    over_ranges(compute, rows.shape[0], threads)
    return z.reshape(-1, n_outputs) if n_classes else z


def mean_loss(problem: Problem, z: Floats) -> float:
    """Return the weighted mean loss of a problem's rows with these margins."""
    targets, weights = problem.targets, problem.weights
    if problem.n_classes:
        total = softmax_sum(problem.n_classes, z, targets, weights)
    else:
        total = loss_sum(problem.loss_code, z, targets, weights, problem.model.delta)
    return total / len(z)
