# SPDX-License-Identifier: BSD-3-Clause
"""A model evaluated on rows: its outputs, their mean loss, and scores."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain._core.loss import outputs
from hybridtrain._core.rows import Rows, isas
from hybridtrain.data.arrays import Doubles, Floats
from hybridtrain.data.matrix import Matrix
from hybridtrain.data.row_weights import largest_to_one
from hybridtrain.errors import InvalidDataError
from hybridtrain.models.linear import pack
from hybridtrain.parallel import over_ranges, worthwhile
from hybridtrain.plan.problem import Problem

_MOST = float(np.finfo(np.float32).max)


def margins(
    rows: Rows, coef: Floats, intercept: Any, n_classes: int, *, isa: str, threads: int
) -> Floats:
    """Return row times coef plus intercept for all rows of a view.

    Parameters
    ----------
    rows : Rows
    coef, intercept
        As in `Result.params`.
    n_classes : int
        The classes of softmax; 0: one output.
    isa : str
        The instruction set to compute with, one of `isas()`.
    threads : int

    Returns
    -------
    float32 array (n_rows,), or (n_rows, padded classes)
    """
    n_outputs = outputs(n_classes)
    parameters = pack(coef, intercept, n_classes)
    z = np.empty(rows.shape[0] * n_outputs, np.float32)
    isa_number = isas().index(isa)

    def compute(first: int, last: int) -> None:
        part = z[first * n_outputs : last * n_outputs]
        rows.margins(parameters, n_outputs, isa_number, first, last, part)

    over_ranges(compute, rows.shape[0], worthwhile(threads, rows.n_elements))
    return z.reshape(-1, n_outputs) if n_classes else z


def unpadded(z: Floats, n_classes: int) -> Floats:
    """Return a view of outputs without the padding to a multiple of lanes."""
    return z[:, :n_classes] if n_classes else z


def exact_margins(z: Floats, matrix: Matrix, coef: Floats, intercept: Any) -> Floats:
    """Return margins in which those that overflowed are computed again in float64.

    Parameters
    ----------
    z : float32 array (n_rows,), or (n_rows, n_classes)
        As the core computed them; changed in place.
    matrix : Matrix
    coef, intercept
        As in `Result.params`.

    Raises
    ------
    InvalidDataError
        When float32 cannot hold a margin.
    """
    if _is_finite(z):
        return z
    rows, wide = _wide_margins(z, matrix, coef, intercept)
    largest = np.abs(wide).reshape(len(rows), -1).max(axis=1)
    fits = largest <= _MOST
    if not fits.all():
        worst = int(np.argmin(fits))
        raise InvalidDataError(
            f"X, row {int(rows[worst])}: the sum of values times coefficients is "
            f"{largest[worst]:.3g} in absolute value, and float32 ends at {_MOST:.3g}; scale X, or "
            "look for a value that is far off"
        )
    z[rows] = wide
    return z


def comparable_margins(z: Floats, matrix: Matrix, coef: Floats, intercept: Any) -> Floats:
    """Return finite margins that keep the classes of exact margins, and their probabilities.

    A margin that float32 cannot hold becomes float32's largest number. In a row of several
    margins, each becomes its distance from the row's largest.

    Parameters
    ----------
    z, matrix, coef, intercept
        As for `exact_margins`.
    """
    if _is_finite(z):
        return z
    rows, wide = _wide_margins(z, matrix, coef, intercept)
    if wide.ndim == 2:
        wide -= wide.max(axis=1, keepdims=True)
    z[rows] = np.clip(wide, -_MOST, _MOST)
    return z


def _is_finite(z: Floats) -> bool:
    return bool(np.isfinite(z.min()) and np.isfinite(z.max()))  # NaN is in both


def _wide_margins(z: Floats, matrix: Matrix, coef: Floats, intercept: Any) -> tuple[Any, Doubles]:
    """Return the rows without a finite margin, and their margins in float64."""
    rows = np.flatnonzero(~np.isfinite(z).reshape(len(z), -1).all(axis=1))
    values = matrix.take(rows).user_form().astype(np.float64)
    return rows, values @ coef.T.astype(np.float64) + intercept


def mean_loss(problem: Problem, coef: Floats, intercept: Any, *, isa: str, threads: int) -> float:
    """Return the weighted mean loss of a problem's rows.

    Margins that float32 cannot hold count as its largest number.
    """
    targets, weights = problem.targets, problem.weights
    n_classes = problem.n_classes
    z = margins(problem.rows(), coef, intercept, n_classes, isa=isa, threads=threads)
    comparable_margins(unpadded(z, n_classes), problem.matrix, coef, intercept)
    return problem.loss.total(z, targets, weights, n_classes) / len(z)


def r_squared(values: npt.NDArray[Any], truth: Doubles, weights: Doubles | None) -> float:
    """Return R^2: the share of the truth's variance that the values explain.

    Raises
    ------
    InvalidDataError
        When all true values are equal.
    """
    residual = np.average((truth - values) ** 2, weights=weights)
    spread = np.average((truth - np.average(truth, weights=weights)) ** 2, weights=weights)
    if spread == 0:
        raise InvalidDataError("R^2 is not defined: all targets are equal")
    return float(1.0 - residual / spread)


def auc(scores: npt.NDArray[Any], positive: npt.NDArray[np.bool_], weights: Any = None) -> float:
    """Return the area under the ROC curve: how often a positive row scores higher.

    Parameters
    ----------
    scores : array (n_rows,)
        Finite.
    positive : bool array (n_rows,)
    weights : array (n_rows,), optional
        At least 0.

    Returns
    -------
    float
        The share of pairs of a positive and a negative row in which the positive
        one scores higher; ties count one half. NaN when a class has no rows.

    References
    ----------
    Mann and Whitney 1947, doi:10.1214/aoms/1177730491.

    Examples
    --------
    >>> auc(np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, False, True, True]))
    0.875
    """
    weight = np.ones(len(scores))
    if weights is not None:
        weight = largest_to_one(np.asarray(weights, np.float64))
    _, place = np.unique(scores, return_inverse=True)
    ups = np.bincount(place, np.where(positive, weight, 0.0))
    downs = np.bincount(place, np.where(positive, 0.0, weight))
    below = np.cumsum(downs) - downs
    pairs = float(ups.sum() * downs.sum())
    return float((ups * (below + 0.5 * downs)).sum()) / pairs if pairs else math.nan
