# SPDX-License-Identifier: BSD-3-Clause
"""Labels and numbers of users, converted to float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hybridtrain.data.arrays import REAL, Floats, contiguous, describe
from hybridtrain.data.classes import check_same_type, class_numbers
from hybridtrain.data.missing import find_missing, missing_text
from hybridtrain.errors import InvalidDataError

if TYPE_CHECKING:
    from hybridtrain.models.loss import Loss


def vector(values: Any, n_rows: int, name: str) -> npt.NDArray[Any]:
    """Return a user's values for the rows as an array of one dimension.

    Parameters
    ----------
    values : array-like (n_rows,)
    n_rows : int
    name : str
        Of the argument, for messages.

    Returns
    -------
    array (n_rows,)
        A list that mixes text with other values becomes one of objects.

    Raises
    ------
    InvalidDataError
        When it is masked, is not a sequence, or has another shape.
    """
    if isinstance(values, np.ma.MaskedArray):
        raise InvalidDataError(
            f"{name} must not be masked, as the model has no missing values, got "
            f"{describe(values)}; leave out the masked rows: with "
            f"keep = ~numpy.ma.getmaskarray({name}) use X[keep] and {name}.data[keep]"
        )
    if isinstance(values, str | bytes | Mapping | Set) or hasattr(values, "__next__"):
        raise InvalidDataError(
            f"{name} must be an array, a list or a pandas Series with one value for each row of X, "
            f"in order, got {describe(values)}"
        )
    try:
        array = np.asarray(values)
        if isinstance(values, list | tuple) and array.dtype.kind in "US" and not _is_text(values):
            array = np.array(values, dtype=object)  # else NaN would become the text "nan"
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidDataError(
            f"{name} must have one value for each of the {n_rows} rows of X, got "
            f"{describe(values)} that is no array: {error}"
        ) from error
    if array.ndim != 1 or len(array) != n_rows:
        of_one = ".iloc[:, 0]" if hasattr(values, "iloc") else ".ravel()"
        raise InvalidDataError(
            f"{name} must be one-dimensional with one value for each of the {n_rows} rows of X, "
            f"got {describe(values)}"
            + (f" of shape {array.shape}" if not hasattr(values, "shape") else "")
            + (f"; use {name}{of_one}" if array.size == n_rows and array.ndim > 1 else "")
        )
    return array


def _is_text(values: Sequence[Any]) -> bool:
    return all(isinstance(value, str) for value in values) or all(
        isinstance(value, bytes) for value in values
    )


def labels_of(y: Any, n_rows: int) -> npt.NDArray[Any]:
    """Return labels as an array, none of them missing or infinite.

    Raises
    ------
    InvalidDataError
        When labels are missing; the message has their count and the first row.
    """
    labels = vector(y, n_rows, "y")
    _refuse_missing(labels, y)
    return labels


def require_present(y: Any) -> None:
    """Refuse targets that are masked, or missing in another type than numbers.

    Shapes, and NaN among numbers, are checked elsewhere.
    """
    if isinstance(y, np.ma.MaskedArray):
        vector(y, len(y), "y")
    if not hasattr(y, "__len__") or hasattr(y, "columns"):
        return
    try:
        n_dimensions = np.ndim(y)
    except ValueError:  # lists of different lengths, which `vector` refuses
        n_dimensions = 1
    labels = vector(y, len(y), "y") if n_dimensions == 1 else np.zeros(0)
    if labels.dtype.kind != "f":
        _refuse_missing(labels, y)


def _refuse_missing(targets: npt.NDArray[Any], y: Any, as_float32: str = "") -> None:
    """Refuse targets that are missing or infinite."""
    if targets.dtype.kind == "f" and np.isfinite(targets).all():
        return
    is_missing = find_missing(targets)
    if is_missing is not None:
        raise InvalidDataError(
            f"y must not hold NaN or infinity{as_float32}, {missing_text(targets, is_missing)}; "
            f"leave these rows out of X and y; got {describe(y)}"
        )
    if targets.dtype.kind == "f":
        row = int(np.argmin(np.isfinite(targets)))
        raise InvalidDataError(
            f"y must not hold NaN or infinity{as_float32}, found {targets[row]} in row {row}; "
            f"got {describe(y)}"
        )


def class_targets(
    y: Any, n_rows: int, classes: npt.NDArray[Any] | None = None, *, loss: Loss
) -> tuple[Floats, npt.NDArray[Any]]:
    """Turn labels into the targets of a loss of classes.

    Parameters
    ----------
    y : array-like (n_rows,)
        Labels of any type that can be sorted; no NaN.
    n_rows : int
    classes : array (n_classes,), optional
        The classes to expect; None: those found.
    loss : Loss

    Returns
    -------
    targets : float32 array (n_rows,)
        0, 1, ... if each class has a margin; else -1 for the first of two classes, +1
        for the second.
    classes : array (n_classes,)

    Raises
    ------
    InvalidDataError
        When the number of classes does not go with the loss, or a class is not
        expected, or NaN.
    """
    labels = labels_of(y, n_rows)
    if classes is None:
        classes = classes_of(labels)
        _check_number_of_classes(classes, loss)
    else:
        require_trained(labels, classes)
    if loss.has_margin_per_class:
        return class_numbers(labels, classes).astype(np.float32), classes
    return np.where(labels == classes[1], np.float32(1), np.float32(-1)), classes


def numbers_of(targets: Floats, loss: Loss) -> npt.NDArray[np.intp]:
    """Return the number of each row's class, of targets that `class_targets` gave."""
    numbers: npt.NDArray[np.intp] = (targets if loss.has_margin_per_class else targets > 0).astype(
        np.intp
    )
    return numbers


def require_trained(labels: npt.NDArray[Any], classes: npt.NDArray[Any]) -> None:
    """Refuse labels that a model was not trained on.

    Raises
    ------
    InvalidDataError
        When one is not among the classes, or is of another type.
    """
    found = classes_of(labels)
    check_same_type(found, classes)
    if not np.isin(found, classes).all():
        unknown = found[~np.isin(found, classes)].tolist()[0]
        raise InvalidDataError(
            f"y holds the class {unknown!r}; the model was trained on {classes.tolist()!r}"
        )


def classes_of(labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the different labels, sorted.

    Raises
    ------
    InvalidDataError
        When labels cannot be compared with each other.
    """
    if labels.dtype.kind in REAL:  # two passes; sorting all labels would take long
        ends = np.array([labels.min(), labels.max()])
        if ends[0] != ends[1] and ((labels == ends[0]) | (labels == ends[1])).all():
            return ends
    try:
        return np.unique(labels)
    except (TypeError, ValueError) as error:
        raise InvalidDataError(
            f"the labels in y cannot be sorted: {error}; use labels of one type, such as text"
        ) from error


def _check_number_of_classes(found: npt.NDArray[Any], loss: Loss) -> None:
    most = loss.most_classes
    if 2 <= len(found) <= most:
        return
    shown = ", ".join(repr(label) for label in found[:5].tolist())
    expected = f"2 to {most} classes" if most > 2 else "two classes"
    advice = ""
    if len(found) > most == 2:
        advice = '; use loss="softmax", or for one class against the rest pass y == label'
    raise InvalidDataError(
        f"y must hold {expected} for {loss.name} loss, found {len(found)}: {shown}"
        + (", ..." if len(found) > 5 else "")
        + advice
    )


def real_targets(y: Any, n_rows: int) -> tuple[Floats, npt.NDArray[Any]]:
    """Turn numeric targets into float32.

    Parameters
    ----------
    y : array-like (n_rows,)
        Real numbers.
    n_rows : int

    Returns
    -------
    targets : float32 array (n_rows,)
    numbers : array (n_rows,)
        The targets as the user gave them.

    Raises
    ------
    InvalidDataError
        When they are not numbers, or not finite as float32.
    """
    numbers = vector(y, n_rows, "y")
    if numbers.dtype.kind not in REAL:
        _refuse_missing(numbers, y)
        raise InvalidDataError(
            f"y must hold real numbers for a regression, got {describe(y)}"
            + ("; if they are numbers: y.astype(float)" if numbers.dtype.kind == "O" else "")
        )
    with np.errstate(over="ignore"):
        targets = contiguous(numbers, np.float32)
    if not np.isfinite(targets).all():
        _refuse_missing(numbers, y, " (as float32)")
        row = int(np.argmin(np.isfinite(targets)))
        raise InvalidDataError(
            f"y must not hold NaN or infinity (as float32), found {numbers[row]} in row {row}; "
            f"got {describe(y)}"
        )
    return targets, numbers
