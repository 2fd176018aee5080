# SPDX-License-Identifier: BSD-3-Clause
"""Class weights: factors on the weights of rows, by their classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hybridtrain.arguments import is_finite, plain, shown
from hybridtrain.errors import InvalidDataError, InvalidSettingError

Weights = Literal["balanced"] | Mapping[Any, float] | None
_Doubles = npt.NDArray[np.float64]


def checked(class_weight: Any) -> Weights:
    """Return class weights as plain Python values, in a dict of their own.

    Parameters
    ----------
    class_weight : None, "balanced" or dict of label to weight

    Returns
    -------
    None, "balanced" or dict

    Raises
    ------
    InvalidSettingError
        When it is something else, or a weight is not finite and at least 0, or
        none is above 0.
    """
    weights = _plain_weights(class_weight)
    if isinstance(weights, Mapping) and not any(weights.values()):
        raise InvalidSettingError(
            f"class_weight must be above 0 for at least one class, got {shown(class_weight)}"
        )
    return weights


def _plain_weights(class_weight: Any) -> Weights:
    """Return class weights as plain values, each of them checked."""
    if class_weight is None or (isinstance(class_weight, str) and class_weight == "balanced"):
        return class_weight  # type: ignore[return-value]  # None or "balanced"
    if not isinstance(class_weight, Mapping) or not class_weight:
        raise InvalidSettingError(
            'class_weight must be None, "balanced" or a dict of label to weight, '
            f"got {shown(class_weight)}"
        )
    weights = {plain(label): plain(weight) for label, weight in class_weight.items()}
    for label, weight in weights.items():
        if label != label:  # noqa: PLR0124 - NaN, NaT
            raise InvalidSettingError(f"class_weight must name labels, got {label!r}")
        is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not (is_number and is_finite(weight) and weight >= 0):
            raise InvalidSettingError(
                "class_weight must hold finite numbers >= 0, got "
                f"{shown(weight)} for {shown(label)}"
            )
    return weights


def of_classes(class_weight: Any, labels: list[Any]) -> Weights:
    """Return class weights of the classes `labels` alone, as scikit-learn reads a dict.

    A class that the dict leaves out has weight 1. The dict may name other classes, such as
    those that a part of the rows lacks. If it leaves out a class and names an unknown one,
    that is taken for a slip.

    Parameters
    ----------
    class_weight : None, "balanced" or dict of label to weight
    labels : list

    Returns
    -------
    None, "balanced" or dict

    Raises
    ------
    InvalidSettingError
        When it is something else, or leaves out a class and names an unknown one.
    """
    empty = isinstance(class_weight, dict) and not class_weight
    weights: Weights = {} if empty else _plain_weights(class_weight)
    if not isinstance(weights, Mapping):
        return weights
    left_out = [label for label in labels if label not in weights]
    unknown = [label for label in weights if label not in labels]
    if left_out and unknown:
        raise InvalidSettingError(
            f"class_weight must name the classes in y: it has {shown(unknown[0])}, which y "
            f"lacks, and lacks {shown(left_out[0])}"
        )
    return checked({label: weights.get(label, 1.0) for label in labels})


def weights_of_classes(
    class_weight: Weights,
    classes: npt.NDArray[Any],
    numbers: npt.NDArray[np.intp],
    weights: npt.NDArray[Any] | None,
    absent: Sequence[Any] = (),
) -> _Doubles:
    """Return the weight of each class.

    Parameters
    ----------
    class_weight : "balanced" or dict of label to weight
        "balanced": ``S / (K S_k)``, S the sum of the sample weights, K the number
        of classes with rows, S_k the sum over class k: all classes count the same.
        1 for a class without rows, which parameters to start from may bring.
    classes : array (K,)
        The labels.
    numbers : int array (n_rows,)
        The class of each row, 0 .. K - 1.
    weights : array (n_rows,) or None
        Sample weights; None: 1.
    absent : sequence
        Further labels that a dict may name: those that only rows of weight 0 have.

    Returns
    -------
    float64 array (K,)

    Raises
    ------
    InvalidSettingError
        When the dict lacks a class or names an unknown one.
    InvalidDataError
        When classes are to be balanced and one has no row with a weight above 0.
    """
    labels = classes.tolist()
    if class_weight == "balanced":
        counts = np.bincount(numbers, weights, minlength=len(labels)).astype(np.float64)
        has_rows = np.bincount(numbers, minlength=len(labels)) > 0
        if not counts[has_rows].all():
            raise InvalidDataError(
                'class_weight="balanced" needs rows with a weight above 0 of each class, found '
                f"none of {labels[int(np.argmin(np.where(has_rows, counts, np.inf)))]!r}"
            )
        balanced: _Doubles = np.ones(len(labels))
        balanced[has_rows] = counts.sum() / (has_rows.sum() * counts[has_rows])
        return balanced
    assert isinstance(class_weight, Mapping)
    for label in class_weight:
        if label not in labels and label not in absent:
            raise InvalidSettingError(
                f"class_weight must name the classes in y, {_shown(labels)}; got {label!r}"
            )
    for label in labels:
        if label not in class_weight:
            raise InvalidSettingError(
                f"class_weight must name each class in y, got none for {label!r}: "
                f"{_shown(list(class_weight))}"
            )
    return np.array([class_weight[label] for label in labels], np.float64)


def to_json(class_weight: Weights) -> Any:
    """Return class weights in a form that JSON keeps: pairs, as its keys can only be text.

    Raises
    ------
    InvalidDataError
        When a label is neither text nor a number.
    """
    if not isinstance(class_weight, Mapping):
        return class_weight
    for label in class_weight:
        if not isinstance(label, str | int | float):
            raise InvalidDataError(
                f"labels must be text or numbers to be saved, got {label!r} in class_weight"
            )
    return [[label, weight] for label, weight in class_weight.items()]


def from_json(pairs: Any) -> Any:
    """Return the class weights that `to_json` was given."""
    return {label: weight for label, weight in pairs} if isinstance(pairs, list) else pairs


def _shown(labels: list[Any]) -> str:
    return ", ".join(repr(label) for label in labels[:5]) + (", ..." if len(labels) > 5 else "")
