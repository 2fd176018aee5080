# SPDX-License-Identifier: BSD-3-Clause
"""Labels, numbers and sample weights: from what users have to float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain._core.rows import MAX_CLASSES
from hybridtrain.arrays import REAL, Floats, describe
from hybridtrain.classes import check_same_type, class_numbers
from hybridtrain.errors import InvalidDataError


def _vector(array: Any, n_rows: int, name: str) -> npt.NDArray[Any]:
    vector = np.asarray(array)
    if vector.ndim != 1 or len(vector) != n_rows:
        raise InvalidDataError(
            f"{name} must be one-dimensional with one value for each of the {n_rows} rows of X, "
            f"got {describe(array)}"
            + (f"; use {name}.ravel()" if vector.size == n_rows and vector.ndim > 1 else "")
        )
    return vector


def class_targets(
    y: Any, n_rows: int, classes: npt.NDArray[Any] | None = None, *, loss: str = "logistic"
) -> tuple[Floats, npt.NDArray[Any]]:
    """Turn labels into what a loss of classes expects.

    Parameters
    ----------
    y : array-like (n_rows,)
        Labels of any type that can be sorted; no NaN.
    n_rows : int
    classes : array (n_classes,), optional
        The classes to expect; None: those found.
    loss : str
        "softmax" for two classes or more, else the name of a loss of two.

    Returns
    -------
    targets : float32 array (n_rows,)
        0, 1, ... for softmax; -1 for the first of two classes, +1 for the second.
    classes : array (n_classes,)

    Raises
    ------
    InvalidDataError
        When the number of classes does not go with the loss, or a class is not
        expected, or NaN.
    """
    labels = _vector(y, n_rows, "y")
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise InvalidDataError(f"y must not hold NaN or infinity, got {describe(y)}")
    found = _classes_of(labels)
    if classes is None:
        _check_number_of_classes(found, loss)
        classes = found
    else:
        check_same_type(found, classes)
        if not np.isin(found, classes).all():
            unknown = found[~np.isin(found, classes)].tolist()[0]
            raise InvalidDataError(
                f"y holds the class {unknown!r}; the model was trained on {classes.tolist()!r}"
            )
    if loss == "softmax":
        return class_numbers(labels, classes).astype(np.float32), classes
    return np.where(labels == classes[1], np.float32(1), np.float32(-1)), classes


def _classes_of(labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if labels.dtype.kind in REAL:  # two passes; sorting all labels would take long
        ends = np.array([labels.min(), labels.max()])
        if ends[0] != ends[1] and ((labels == ends[0]) | (labels == ends[1])).all():
            return ends
    try:
        return np.unique(labels)
    except TypeError as error:
        raise InvalidDataError(f"the labels in y cannot be sorted: {error}") from error


def _check_number_of_classes(found: npt.NDArray[Any], loss: str) -> None:
    most = MAX_CLASSES if loss == "softmax" else 2
    if 2 <= len(found) <= most:
        return
    shown = ", ".join(repr(label) for label in found[:5].tolist())
    expected = f"2 to {most} classes" if loss == "softmax" else "two classes"
    advice = ""
    if len(found) > 2 and loss != "softmax":
        advice = '; use loss="softmax", or for one class against the rest pass y == label'
    raise InvalidDataError(
        f"y must hold {expected} for {loss} loss, found {len(found)}: {shown}"
        + (", ..." if len(found) > 5 else "")
        + advice
    )


def real_targets(y: Any, n_rows: int) -> Floats:
    """Turn numeric targets into float32.

    Raises
    ------
    InvalidDataError
        When they are not numbers, or not finite as float32.
    """
    vector = _vector(y, n_rows, "y")
    if vector.dtype.kind not in REAL:
        raise InvalidDataError(f"y must hold real numbers for a regression, got {describe(y)}")
    with np.errstate(over="ignore"):
        targets = np.ascontiguousarray(vector, dtype=np.float32)
    if not np.isfinite(targets).all():
        raise InvalidDataError(f"y must not hold NaN or infinity (as float32), got {describe(y)}")
    return targets


def sample_weights(weight: Any, n_rows: int) -> Floats | None:
    """Scale sample weights to mean 1; None when they are all equal.

    Raises
    ------
    InvalidDataError
        When they are not finite numbers >= 0 with a positive sum.
    """
    vector = _vector(weight, n_rows, "sample_weight")
    if vector.dtype.kind not in REAL:
        raise InvalidDataError(f"sample_weight must hold real numbers, got {describe(weight)}")
    doubles = vector.astype(np.float64)
    if not np.isfinite(doubles).all() or doubles.min() < 0 or doubles.sum() <= 0:
        raise InvalidDataError(
            "sample_weight must be finite, >= 0 and not all zero, got values in "
            f"{doubles.min()} .. {doubles.max()}"
        )
    if doubles.min() == doubles.max():
        return None
    scaled: Floats = (doubles / doubles.mean()).astype(np.float32)
    return scaled
