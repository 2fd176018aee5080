# SPDX-License-Identifier: BSD-3-Clause
"""The parameters that a run starts from."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain.choices import first_intercept
from hybridtrain.data import Floats
from hybridtrain.errors import InvalidDataError, InvalidSettingError
from hybridtrain.files import reading_of
from hybridtrain.problem import Problem
from hybridtrain.result import Result


def classes_of(init: Any) -> npt.NDArray[Any] | None:
    """Return the classes that parameters to start from were trained on; None: unknown."""
    classes = init.get("classes") if isinstance(init, dict) else getattr(init, "classes", None)
    return None if classes is None else np.asarray(classes)


def common_reading(data: Any, init: Any) -> dict[str, Any] | None:
    """Return how the files were read that data and parameters to start from come from.

    Returns
    -------
    dict or None
        That of `data`; None: neither is known to come from a file.

    Raises
    ------
    InvalidDataError
        When the indices of one count from 0, those of the other from 1.
    """
    of_data = reading_of(data)
    of_init = init.settings.get("reading") if isinstance(init, Result) else None
    of_both = [(reading or {}).get("zero_based") for reading in (of_data, of_init)]
    if set(of_both) == {True, False}:
        first = [0 if zero_based else 1 for zero_based in of_both]
        raise InvalidDataError(
            f"init was trained on a file whose indices count from {first[1]}, those of "
            f"{data.name} were read as counting from {first[0]}; read both alike: "
            f"ht.read_data(path, zero_based={of_both[1]})"
        )
    return of_data or of_init


def initial_parameters(init: Any, problem: Problem) -> tuple[Floats, Any]:
    """Return coef and intercept to start from, in copies.

    Parameters
    ----------
    init : Result or dict or None
        None: zeros, and the best intercept without features.
    problem : Problem

    Returns
    -------
    coef : float32 array (n_features,), or (n_classes, n_features) of softmax
    intercept : float, or float32 array (n_classes,)

    Raises
    ------
    InvalidDataError
        When a result is of the other kind, classes or numbers.
    InvalidSettingError
        When the parameters do not fit the problem, or are not finite.
    """
    n_features = problem.matrix.n_features
    of_classes = (problem.n_classes,) if problem.n_classes else ()
    if init is None:
        init = {
            "coef": np.zeros((*of_classes, n_features)),
            "intercept": first_intercept(problem),
        }
    if isinstance(init, Result):
        if (problem.classes is None) != (init.classes is None):
            raise InvalidDataError(
                f"init was trained on the classes {init.classes!r}, y holds {problem.classes!r}"
            )
        init = init.params
    if not isinstance(init, dict) or "coef" not in init:
        raise InvalidSettingError(
            'init must be a Result or a dict with "coef" and "intercept", got '
            f"{type(init).__name__}"
        )
    coef = _finite('init["coef"]', init["coef"], (*of_classes, n_features))
    intercept = _finite(
        'init["intercept"]', init.get("intercept", np.zeros(of_classes)), of_classes
    )
    if intercept.any() and not problem.model.fit_intercept:
        raise InvalidSettingError("init has an intercept, but fit_intercept is False")
    return coef, intercept if of_classes else float(intercept)


def _finite(name: str, value: Any, shape: tuple[int, ...]) -> Floats:
    """Return a float32 copy of a number or of numbers of a shape."""
    try:
        with np.errstate(over="ignore"):
            numbers = np.array(value, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidSettingError(f"{name} must hold numbers: {error}") from error
    if numbers.shape != shape:
        expected = f"have shape {shape}" if shape else "be one number"
        raise InvalidSettingError(f"{name} must {expected}, got shape {numbers.shape}")
    if not np.isfinite(numbers).all():
        where = f" at {int(np.argmin(np.isfinite(numbers)))}" if shape else ""
        found = numbers[~np.isfinite(numbers)].flat[0]
        raise InvalidSettingError(f"{name} must be finite as float32, got {found}{where}")
    return numbers
