# SPDX-License-Identifier: BSD-3-Clause
"""Weights of rows: sample weight times the weight of the class."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hybridtrain.data.arrays import REAL, Doubles, Floats, describe
from hybridtrain.data.missing import find_missing, missing_text
from hybridtrain.data.targets import classes_of, labels_of, vector
from hybridtrain.errors import InvalidDataError

if TYPE_CHECKING:
    from hybridtrain.models.class_weights import Weights

_LEAST = float(np.finfo(np.float32).tiny)  # in means of all weights; less loses its digits


def sample_weights(weight: Any, n_rows: int) -> Floats | None:
    """Scale sample weights to mean 1; None when they are all equal.

    Raises
    ------
    InvalidDataError
        When they are not finite numbers >= 0, some of them above 0.
    """
    doubles = checked_weights(weight, n_rows)
    if doubles.min() == doubles.max():
        return None
    scaled: Floats = (doubles / doubles.mean()).astype(np.float32)
    return scaled


def checked_weights(weight: Any, n_rows: int) -> Doubles:
    """Return sample weights, scaled by a power of two so that the largest is about 1.

    Raises
    ------
    InvalidDataError
        When they are not finite numbers >= 0, some of them above 0.
    """
    numbers = vector(weight, n_rows, "sample_weight")
    rule = "sample_weight must be finite, >= 0 and not all zero"
    is_missing = find_missing(numbers)
    if is_missing is not None:
        raise InvalidDataError(
            f"{rule}, {missing_text(numbers, is_missing)}; leave these rows out; "
            f"got {describe(weight)}"
        )
    if numbers.dtype.kind not in REAL:
        raise InvalidDataError(f"sample_weight must hold real numbers, got {describe(weight)}")
    with np.errstate(over="ignore"):
        doubles = numbers.astype(np.float64)
    if not (np.isfinite(doubles).all() and doubles.min() >= 0 and doubles.max() > 0):
        raise InvalidDataError(f"{rule}, got values in {doubles.min()} .. {doubles.max()}")
    return largest_to_one(doubles)


def largest_to_one(weights: Doubles) -> Doubles:
    """Scale weights exactly, by a power of two, so that the largest is in 1/2 .. 1.

    Their sums and products then stay finite.
    """
    _, exponent = math.frexp(float(weights.max()))
    scaled: Doubles = np.ldexp(weights, -exponent)
    return scaled


def weights_of_rows(
    of_classes: Doubles,
    numbers: npt.NDArray[np.intp],
    weights: npt.NDArray[Any] | None,
    name: str,
) -> Doubles:
    """Return the product of class weight and sample weight of each row.

    If the sum of the products is not finite, they are scaled by a power of two.

    Parameters
    ----------
    of_classes : float64 array (K,)
    numbers : int array (n_rows,)
        The class of each row, 0 .. K - 1.
    weights : array (n_rows,) or None
        Sample weights; None: 1.
    name : str
        Of the rows, for the message.

    Returns
    -------
    float64 array (n_rows,)

    Raises
    ------
    InvalidDataError
        When all products are 0.
    """

    def products_with(of_classes: Doubles) -> Doubles:
        return of_classes[numbers] if weights is None else of_classes[numbers] * weights

    with np.errstate(over="ignore"):
        products = products_with(of_classes)
        total = float(products.sum())
    if not math.isfinite(total):
        products = products_with(largest_to_one(of_classes))
        total = float(products.sum())
    if not total > 0:
        raise _no_weight(name, of_classes)
    return products


def _no_weight(name: str, of_classes: Doubles) -> InvalidDataError:
    """Return the error of rows of which none counts."""
    return InvalidDataError(
        f"class_weight times sample_weight must be above 0 for some rows of {name} and is not, "
        f"got the sum 0.0 for class weights {of_classes.tolist()}"
    )


def rows_that_count(
    y: Any, weight: Any, class_weight: Weights, n_rows: int, name: str = "data"
) -> tuple[npt.NDArray[np.bool_] | None, int]:
    """Return which rows have a weight above 0.

    Parameters
    ----------
    y : array-like (n_rows,)
        Read only when a class may count nothing.
    weight : array-like (n_rows,) or None
        Sample weights.
    class_weight : None, "balanced" or dict of label to weight
    n_rows : int
    name : str
        Of the rows, for messages.

    Returns
    -------
    counts : bool array (n_rows,) or None
        None: all of them.
    n_tiny : int
        Of the other rows, those whose weight is above 0, but so small beside the mean
        that float32 cannot hold it. They count as 0.

    Raises
    ------
    InvalidDataError
        When the weights, or the labels where they matter, are invalid, or no row counts.
    """
    products = None if weight is None else checked_weights(weight, n_rows)
    if isinstance(class_weight, Mapping):
        of_labels = largest_to_one(np.array(list(class_weight.values()), np.float64))
        least = 1.0 if products is None else float(products.min())
        if float(of_labels.min()) * least < _LEAST:
            labels = labels_of(y, n_rows)
            classes = classes_of(labels)
            factors = dict(zip(class_weight, of_labels.tolist(), strict=True))
            of_classes = np.array([factors.get(label, 1.0) for label in classes.tolist()])
            of_rows = of_classes[np.searchsorted(classes, labels)]
            products = of_rows if products is None else of_rows * products
            if not products.any():
                raise _no_weight(name, np.array(list(class_weight.values())))
    if products is None:
        return None, 0
    counts = products >= _LEAST * products.mean()
    if counts.all():
        return None, 0
    return counts, int((~counts & (products > 0)).sum())


def tiny_text(n_tiny: int) -> str:
    """Say that weights were taken for 0."""
    return (
        f"sample_weight: {n_tiny:,} weights above 0 are less than {_LEAST:.2g} of the mean, which "
        "float32 cannot hold: they count as 0, and their rows are left out"
    )
