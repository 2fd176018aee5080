# SPDX-License-Identifier: BSD-3-Clause
"""Parameters: from the user's arrays to the core's rows of outputs, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain._core.rows import outputs
from hybridtrain.errors import InvalidSettingError

Floats = npt.NDArray[np.float32]


def finite_floats(name: str, value: Any) -> Floats:
    """Return a float32 copy of a user's number or numbers.

    Parameters
    ----------
    name : str
        For the message.
    value : array-like

    Returns
    -------
    float32 array

    Raises
    ------
    InvalidSettingError
        When they are no real numbers, or not finite as float32.
    """
    try:
        given = np.asarray(value)
        if given.dtype.kind not in "fiubO":
            raise TypeError(f"got {given.dtype}")
        with np.errstate(over="ignore"):
            numbers = np.array(given, dtype=np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidSettingError(f"{name} must hold numbers: {error}") from error
    if not np.isfinite(numbers).all():
        where = f" at {int(np.argmin(np.isfinite(numbers)))}" if numbers.ndim else ""
        found = numbers[~np.isfinite(numbers)].flat[0]
        raise InvalidSettingError(f"{name} must be finite as float32, got {found}{where}")
    return numbers


def require_shape(name: str, numbers: Floats, shape: tuple[int, ...]) -> None:
    """Refuse an array of another shape; () is that of one number.

    Raises
    ------
    InvalidSettingError
        When the shape differs.
    """
    if numbers.shape != shape:
        expected = f"have shape {shape}" if shape else "be one number"
        raise InvalidSettingError(f"{name} must {expected}, got shape {numbers.shape}")


def pack(
    coef: Any, intercept: Any, n_classes: int, order: npt.NDArray[np.intp] | None = None
) -> Floats:
    """Return the core's parameters: the intercepts, then feature after feature.

    Parameters
    ----------
    coef : array (n_features,), or (n_classes, n_features)
    intercept : float, or array (n_classes,)
    n_classes : int
        Of softmax; 0: one output.
    order : int array (n_features,), optional
        The user's number of each feature of the core; None: the same.

    Returns
    -------
    float32 array ((n_features + 1) * outputs,)
    """
    of_classes = np.atleast_2d(np.asarray(coef, np.float32))
    packed = np.zeros((of_classes.shape[1] + 1, outputs(n_classes)), np.float32)
    packed[0, : len(of_classes)] = intercept
    packed[1:, : len(of_classes)] = (of_classes if order is None else of_classes[:, order]).T
    return packed.ravel()


def unpack(
    parameters: Floats, n_classes: int, order: npt.NDArray[np.intp] | None = None
) -> tuple[Floats, Any]:
    """Return coef and intercept, the inverse of `pack`.

    Returns
    -------
    coef : float32 array (n_features,), or (n_classes, n_features)
    intercept : float, or float32 array (n_classes,)
    """
    matrix = parameters.reshape(-1, outputs(n_classes))[:, : max(n_classes, 1)]
    of_classes = np.empty((matrix.shape[1], len(matrix) - 1), np.float32)
    of_classes[:, slice(None) if order is None else order] = matrix[1:].T
    if n_classes == 0:
        return of_classes[0], float(matrix[0, 0])
    return of_classes, matrix[0].copy()
