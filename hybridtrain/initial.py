# SPDX-License-Identifier: BSD-3-Clause
"""The parameters that a run starts from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain.choices import first_intercept
from hybridtrain.data import Floats
from hybridtrain.errors import InvalidDataError, InvalidSettingError
from hybridtrain.frames import order_of
from hybridtrain.problem import Problem
from hybridtrain.result import Result


def classes_of(init: Any) -> npt.NDArray[Any] | None:
    """Return the classes that parameters to start from were trained on; None: unknown."""
    classes = init.get("classes") if isinstance(init, dict) else getattr(init, "classes", None)
    return None if classes is None else np.asarray(classes)


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
        init = _matched(init, problem)
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


def named_as(init: Any, problem: Problem) -> Problem:
    """Return the problem with the names of a result to start from, if it has none itself."""
    names = init.feature_names if isinstance(init, Result) else None
    matrix = problem.matrix
    if names is None or matrix.names is not None or len(names) != matrix.n_features:
        return problem
    return replace(problem, matrix=replace(matrix, names=names))


def _matched(init: Result, problem: Problem) -> dict[str, Any]:
    """Return a result's parameters in the order of the problem's features."""
    coef, theirs, ours = init.params["coef"], init.feature_names, problem.matrix.names
    if theirs is None or ours is None or theirs == ours:
        return init.params
    matched = np.empty_like(coef)
    matched[..., order_of(ours, theirs)] = coef
    return {**init.params, "coef": matched}


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
