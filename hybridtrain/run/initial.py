# SPDX-License-Identifier: BSD-3-Clause
"""The parameters that a run starts from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain.arguments import shown
from hybridtrain.data.arrays import Doubles, Floats
from hybridtrain.data.classes import sorted_classes
from hybridtrain.data.files import reading_of
from hybridtrain.data.pandas_frames import order_of
from hybridtrain.errors import InvalidDataError, InvalidSettingError
from hybridtrain.models.linear import Linear, finite_doubles, finite_floats, require_shape
from hybridtrain.plan.problem import Problem
from hybridtrain.run.result import Result

_KEYS = "coef", "intercept", "classes"


@dataclass(frozen=True, slots=True)
class Initial:
    """Hold copies of the parameters that a user gives to start from.

    Attributes
    ----------
    coef : float32 array
    intercept : float64 array or None
        None: 0.
    classes : array (n_classes,) or None
        In ascending order, which the parameters follow; None: unknown.
    names : tuple of str or None
        The names of the features; None: unknown.
    """

    coef: Floats
    intercept: Doubles | None
    classes: npt.NDArray[Any] | None = None
    names: tuple[str, ...] | None = None


def common_reading(data: Any, init: Any) -> dict[str, Any] | None:
    """Return how the file of the data was read, checked against that of `init`.

    Returns
    -------
    dict or None
        The reading of `data`, else that of `init`; None: no file is known.

    Raises
    ------
    InvalidDataError
        When the indices of one file count from 0 and those of the other from 1.
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


def read_initial(init: Any, model: Linear) -> Initial | None:
    """Read parameters to start from; those of classes are brought into ascending order.

    Parameters
    ----------
    init : Result or dict or None
    model : Linear
        What is to be trained.

    Returns
    -------
    Initial or None

    Raises
    ------
    InvalidDataError
        When a result has classes and the model has numbers, or the other way round.
    InvalidSettingError
        When `init` is neither a result nor a dict, its classes or loss do not go with the
        model, or a parameter is not finite.
    """
    if init is None:
        return None
    if isinstance(init, Result):
        _check_loss(init, model)
        params, classes, names = init.params, init.classes, init.feature_names
    elif isinstance(init, dict) and "coef" in init:
        unknown = [key for key in init if key not in _KEYS]
        if unknown:
            raise InvalidSettingError(
                f"init must have the keys {', '.join(_KEYS)}, got {shown(unknown[0])}"
            )
        params, classes, names = init, init.get("classes"), None
    else:
        raise InvalidSettingError(
            'init must be a Result or a dict with "coef" and "intercept", got '
            f"{type(init).__name__}"
        )
    coef = finite_floats('init["coef"]', params["coef"])
    intercept = None
    if "intercept" in params:
        intercept = finite_doubles('init["intercept"]', params["intercept"])
    if classes is None:
        return Initial(coef, intercept, names=names)
    if not model.is_classifier:
        raise InvalidSettingError(
            f'init["classes"] is for losses of classes, got {shown(classes)} with {model.loss} '
            "loss; leave it out"
        )
    labels, order = sorted_classes(classes, 'init["classes"]')
    most = model.loss_object.most_classes
    if not 2 <= len(labels) <= most:
        raise InvalidSettingError(
            f'init["classes"] must be {f"2 to {most}" if most > 2 else "two"} classes for '
            f"{model.loss} loss, got {len(labels)}: {shown(classes)}"
        )
    if model.loss_object.has_margin_per_class:
        _check_rows(coef, intercept, labels)
        of_classes = None if intercept is None else intercept[order]
        return Initial(coef[order], of_classes, labels, names)
    if order[0] == 0:
        return Initial(coef, intercept, labels, names)
    of_other = None if intercept is None else -intercept
    return Initial(-coef, of_other, labels, names)


def initial_parameters(initial: Initial | None, problem: Problem) -> tuple[Floats, Any]:
    """Return coef and intercept to start from, in the problem's coordinates.

    Parameters
    ----------
    initial : Initial or None
        None: zeros, and the best intercept without features.
    problem : Problem

    Returns
    -------
    coef : float32 array (n_features,), or (n_classes, n_features) of softmax
    intercept : float, or float32 array (n_classes,)

    Raises
    ------
    InvalidSettingError
        When the parameters do not fit the problem.
    """
    n_features = problem.matrix.n_features
    of_classes = (problem.n_classes,) if problem.n_classes else ()
    if initial is None:
        best = np.zeros(of_classes, np.float32)
        if problem.model.fit_intercept:
            of_loss = problem.loss.first_intercept
            best = np.asarray(of_loss(problem.targets, problem.weights, problem.n_classes))
        coef = np.zeros((*of_classes, n_features), np.float32)
        return coef, best.astype(np.float32) if of_classes else float(np.float32(best))
    coef, intercept = initial.coef, initial.intercept
    coef = _matched(coef, initial.names, problem.matrix.names)
    require_shape('init["coef"]', coef, (*of_classes, n_features))
    if intercept is None:
        intercept = np.zeros(of_classes)
    require_shape('init["intercept"]', intercept, of_classes)
    if intercept.any() and not problem.model.fit_intercept:
        raise InvalidSettingError("init has an intercept, but fit_intercept is False")
    coef, start = problem.to_trained(coef, intercept)
    return coef, start.astype(np.float32) if of_classes else float(np.float32(start))


def named_as(initial: Initial | None, problem: Problem) -> Problem:
    """Return the problem, named as the result to start from if it has no names itself."""
    names = None if initial is None else initial.names
    matrix = problem.matrix
    if names is None or matrix.names is not None or len(names) != matrix.n_features:
        return problem
    return replace(problem, matrix=replace(matrix, names=names))


def _matched(coef: Floats, theirs: tuple[str, ...] | None, ours: tuple[str, ...] | None) -> Floats:
    """Return coefficients in the order of the problem's features."""
    if theirs is None or ours is None or theirs == ours:
        return coef
    matched = np.empty_like(coef)
    matched[..., order_of(ours, theirs)] = coef
    return matched


def _check_rows(coef: Floats, intercept: Doubles | None, classes: npt.NDArray[Any]) -> None:
    """Refuse a number of classes that differs from the number of rows."""
    for name, numbers in (("coef", coef), ("intercept", intercept)):
        if numbers is not None and numbers.shape[:1] != classes.shape:
            raise InvalidSettingError(
                f'init["{name}"] must have a row for each of the {len(classes)} classes '
                f"{shown(classes.tolist())}, got shape {numbers.shape}"
            )


def _check_loss(init: Result, model: Linear) -> None:
    if model.is_classifier != (init.classes is not None):
        expected = "classes" if model.is_classifier else "numbers"
        raise InvalidDataError(
            f"init was trained on the classes {shown(init.classes)} with {init.model.loss} loss; "
            f"{model.loss} loss is of {expected}: train from the start"
        )
    if init.model.loss_object.has_margin_per_class != model.loss_object.has_margin_per_class:
        raise InvalidSettingError(
            f"init was trained with {init.model.loss} loss, and the model has {model.loss} loss: "
            "softmax has a row of coefficients for each class, the others one for two classes; "
            "train from the start, or pass the coefficients as a dict"
        )
