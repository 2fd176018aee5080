# SPDX-License-Identifier: BSD-3-Clause
"""The classes that a user names: sorted, distinct, of the type of the labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain.arguments import shown
from hybridtrain.data.missing import find_missing
from hybridtrain.errors import InvalidDataError, InvalidSettingError

_KINDS = {
    "b": "numbers",
    "i": "numbers",
    "u": "numbers",
    "f": "numbers",
    "U": "text",
    "T": "text",
    "S": "bytes",
    "M": "dates",
    "m": "durations",
}
_TYPES = {
    str: "text",
    bytes: "bytes",
    bool: "numbers",
    int: "numbers",
    float: "numbers",
    np.number: "numbers",
    np.bool_: "numbers",
}


def named_labels(classes: Any, name: str) -> npt.NDArray[Any]:
    """Return the labels that a user names, checked.

    Parameters
    ----------
    classes : array-like (n,)
    name : str
        For the messages.

    Returns
    -------
    array (n,)

    Raises
    ------
    InvalidSettingError
        When they are not a list of labels of one type, or one is missing.
    """
    try:
        labels = np.asarray(classes)
    except ValueError as error:  # lists of different lengths
        raise InvalidSettingError(
            f"{name} must be one list of labels, got {shown(classes)}"
        ) from error
    if labels.ndim != 1 or len(labels) == 0:
        raise InvalidSettingError(f"{name} must be one list of labels, got {shown(classes)}")
    kinds = _kinds(labels)
    if labels.dtype.kind in "US" and isinstance(classes, list | tuple | set | frozenset):
        kinds = _kinds(np.array([*classes, None], object)[:-1])  # NumPy makes 1 to "1" beside "a"
    if len(kinds) > 1:
        raise InvalidSettingError(
            f"{name} must be labels of one type, got {' and '.join(sorted(kinds))}: "
            f"{shown(classes)}"
        )
    missing = _is_missing(labels)
    if missing.any():
        raise InvalidSettingError(
            f"{name} must not hold missing values, got {labels[missing][0]!r} at "
            f"{int(np.argmax(missing))}"
        )
    return labels


def sorted_classes(classes: Any, name: str) -> tuple[npt.NDArray[Any], npt.NDArray[np.intp]]:
    """Check the classes that a user names, and sort them.

    Parameters
    ----------
    classes : array-like (n_classes,)
    name : str
        For the messages.

    Returns
    -------
    classes : array (n_classes,)
        In ascending order.
    order : int array (n_classes,)
        The place of each sorted class among the given classes.

    Raises
    ------
    InvalidSettingError
        As `named_labels`, or when they cannot be sorted or one is named twice.
    """
    labels = named_labels(classes, name)
    try:
        order = np.argsort(labels, kind="stable")
    except TypeError as error:
        raise InvalidSettingError(f"{name} must be labels that can be sorted: {error}") from error
    labels = labels[order]
    repeated = labels[1:] == labels[:-1]
    if repeated.any():
        raise InvalidSettingError(
            f"{name} must name each class once, got {labels[1:][repeated].tolist()[0]!r} twice"
        )
    return labels, order


def check_same_type(labels: npt.NDArray[Any], classes: npt.NDArray[Any]) -> None:
    """Refuse labels of another type than the classes: NumPy would compare 1 and "1" as text.

    Parameters
    ----------
    labels : array
        The labels of y, each once.
    classes : array (n_classes,)
        The classes to expect.

    Raises
    ------
    InvalidDataError
        When the types differ, such as text and numbers.
    """
    of_labels, of_classes = _kinds(labels), _kinds(classes)
    if len(of_labels) == len(of_classes) == 1 and of_labels != of_classes:
        raise InvalidDataError(
            f"y holds the class {labels.tolist()[0]!r}; the model was trained on "
            f"{shown(classes.tolist())}: y must hold {of_classes.pop()}, got {of_labels.pop()}"
        )


def require_known(found: npt.NDArray[Any], classes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the classes, if they include every label of y.

    Raises
    ------
    InvalidDataError
        When a label is not among the classes, or has another type.
    """
    check_same_type(found, classes)
    unknown = np.setdiff1d(found, classes)
    if len(unknown):
        raise InvalidDataError(
            f"y must hold the classes {shown(classes.tolist())}, got {unknown.tolist()[0]!r}"
        )
    return classes


def class_numbers(labels: npt.NDArray[Any], classes: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Return the place of each label among the classes, which need not be sorted.

    Parameters
    ----------
    labels : array (n_rows,)
        All of them are among the classes.
    classes : array (n_classes,)
    """
    order = np.argsort(classes, kind="stable")
    if (order[1:] > order[:-1]).all():
        return np.searchsorted(classes, labels)
    numbers: npt.NDArray[np.intp] = order[np.searchsorted(classes, labels, sorter=order)]
    return numbers


def _kinds(labels: npt.NDArray[Any]) -> set[str]:
    """Return the kind of labels: "numbers", "text", ...; for other types, the type's name."""
    if labels.dtype.kind != "O":
        return {_KINDS.get(labels.dtype.kind, str(labels.dtype))}
    return {_kind(label) for label in labels[~_is_missing(labels)]}


def _kind(label: Any) -> str:
    for one, kind in _TYPES.items():
        if isinstance(label, one):
            return kind
    return type(label).__name__


def _is_missing(labels: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return where labels are missing or infinite."""
    missing = find_missing(labels)
    if missing is None:
        missing = np.zeros(len(labels), np.bool_)
    return missing | ~np.isfinite(labels) if labels.dtype.kind == "f" else missing
