# SPDX-License-Identifier: BSD-3-Clause
"""Rows and targets brought into coordinates in which steps reach every column alike.

With a mean squared norm R of the rows, steps of SGD can be about 1 / R, and a column of
variance v is learned after some R / v rows that hold it: the number of columns, where
columns are alike and have mean 0, and millions where a few columns are much larger than the
others or far from 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hybridtrain._core.optimizer import OPTIMIZERS, intercept_rate
from hybridtrain.data.arrays import Doubles, is_mapped
from hybridtrain.data.columns import Columns, all_columns, sampled_columns
from hybridtrain.data.labelled import Labelled, of_validation
from hybridtrain.data.matrix import Matrix
from hybridtrain.data.rounding import coarse_text, lost_in_targets
from hybridtrain.data.scaling import Scaling
from hybridtrain.data.targets import real_targets
from hybridtrain.errors import InvalidDataError, InvalidSettingError
from hybridtrain.machine import available_memory

if TYPE_CHECKING:
    from hybridtrain.models.linear import Linear

_MOST_ROWS = 4.0  # to learn a usual column, over those where columns are alike
_MOST_OFFSET = 1e3  # of targets, in standard deviations
_LEAST_SCALE, _MOST_SCALE = 1e-15, 1e15  # so that float32 holds coefficients and penalties
_MOST_MEMORY = 0.5  # of what is free, for a copy of the rows


def standardised(
    model: Linear,
    rows: Labelled,
    held_out: Labelled | None,
    scale: Scaling | str | None,
    *,
    allows_sparse: bool,
    threads: int,
) -> tuple[Labelled, Labelled | None]:
    """Return rows and targets in the coordinates to train in.

    Parameters
    ----------
    model : Linear
    rows : Labelled
        To train on; they alone decide.
    held_out : Labelled or None
        To measure on.
    scale : "auto" or Scaling or None
        "auto": new coordinates where columns differ much, or where float32 cannot hold what
        varies; a Scaling: these coordinates; None: the user's.
    allows_sparse : bool
        Whether a run can train on scaled columns of sparse rows.
    threads : int

    Returns
    -------
    rows, held_out : Labelled
        The same ones, where nothing is to be done or was done before. Dense rows that were
        copied to float32 are overwritten.

    Raises
    ------
    InvalidDataError
        When targets are not numbers and the model needs numbers.
    InvalidSettingError
        When the coordinates are for another number of columns.
    """
    if scale is None or rows.scaling is not None:
        return rows, held_out
    numbers = None if model.is_classifier else real_targets(rows.y, rows.matrix.n_rows)[1]
    keeps_columns = not rows.matrix.is_dense and not allows_sparse
    if isinstance(scale, Scaling):
        _require_columns(scale, rows.matrix.n_features)
        chosen = scale if _fits(scale, model, rows.matrix, keeps_columns) else None
    else:
        columns = None if keeps_columns else _unlike_columns(rows.matrix, model, threads)
        chosen = _chosen(model, rows.matrix, columns, numbers)
        rows = rows._replace(warnings=rows.warnings + _lost_before(rows.matrix, columns))
    if chosen is None:
        return rows, held_out
    rows = _in_coordinates(rows, chosen, threads)
    if held_out is None:
        return rows, None
    try:
        return rows, _in_coordinates(held_out, chosen, threads)
    except InvalidDataError as error:
        raise of_validation(error) from error


def _require_columns(scaling: Scaling, n_features: int) -> None:
    if scaling.n_features not in (None, n_features):
        raise InvalidSettingError(
            f"scale must be for the {n_features} features of X, got coordinates for "
            f"{scaling.n_features}"
        )


def _fits(scaling: Scaling, model: Linear, matrix: Matrix, keeps_columns: bool) -> bool:
    """Whether coordinates that were chosen for other rows and another model can be used."""
    if scaling.target != 0.0 and not model.loss_object.is_shift_invariant:
        return False
    if scaling.scale is not None and keeps_columns:
        return False
    centres = scaling.centre is not None
    return (model.fit_intercept or not scaling.is_shifted) and (matrix.is_dense or not centres)


def _in_coordinates(rows: Labelled, scaling: Scaling, threads: int) -> Labelled:
    y = rows.y
    if scaling.target != 0.0:
        y = real_targets(y, rows.matrix.n_rows)[1].astype(np.float64) - scaling.target
    matrix = scaling.rows(rows.matrix, threads=threads)
    return rows._replace(matrix=matrix, y=y, scaling=scaling)


def _centres(matrix: Matrix, model: Linear) -> bool:
    """Whether columns can be measured from their means: the intercept makes up for it."""
    return matrix.is_dense and model.fit_intercept


def _unlike_columns(matrix: Matrix, model: Linear, threads: int) -> Columns | None:
    """Return the facts of all columns, if they should be made alike and can be; else None."""
    centres = _centres(matrix, model)
    if not _has_room(matrix):
        return None
    slow = intercept_rate(OPTIMIZERS["sgd"], matrix.is_dense) if model.fit_intercept else 0.0
    if not (centres and matrix.lost) and not _differ(sampled_columns(matrix), centres, slow):
        return None
    return all_columns(matrix, threads=threads)


def _chosen(
    model: Linear, matrix: Matrix, columns: Columns | None, numbers: npt.NDArray[Any] | None
) -> Scaling | None:
    """Return the coordinates to train in; None: the user's own."""
    reasons, centre, scale, target = [], None, None, 0.0
    centres = _centres(matrix, model)
    if columns is not None:
        is_lost = centres and matrix.lost
        reasons.append(
            "float32 cannot hold how columns vary"
            if is_lost
            else "columns differ in scale or offset"
        )
        centre = columns.mean if centres else None
        scale = _scales(columns, centres)
    is_shifted = model.fit_intercept and model.loss_object.is_shift_invariant
    if numbers is not None and is_shifted and (target := _distant_mean(numbers)):
        reasons.append("y is far from 0")
    return Scaling(centre, scale, target, "; ".join(reasons)) if reasons else None


def _lost_before(matrix: Matrix, columns: Columns | None) -> tuple[str, ...]:
    """Return a text on columns that were rounded away before they came here."""
    if columns is None or matrix.exact is None or matrix.exact.is_converted:
        return ()
    return coarse_text(columns.mean, np.sqrt(columns.variance), matrix.names)


def _spread2(columns: Columns, centres: bool) -> Doubles:
    """Return the square of each column's spread over the rows that hold it; 0: it is constant.

    The spread is that from the mean, or from 0 where columns stay where they are. A rare
    column, such as a dummy of one row in a thousand, is so measured by its elements: in
    units of its deviation over all rows, these would be larger than all else in their rows.
    """
    square = columns.variance if centres else columns.mean_square
    held = np.maximum(columns.held, 1.0) / columns.n_rows
    return np.where(square > 0, square / held, 0.0)


def _differ(columns: Columns, centres: bool, intercept: float) -> bool:
    """Whether the usual column takes many more rows to learn than columns that are alike.

    The intercept counts as a column of ones, at its own rate: beside it, columns of values
    that are all small are learned as slowly as beside a column that is large.
    """
    spread2 = _spread2(columns, centres)
    varies = spread2 > 0
    if not varies.any():
        return False
    norm2 = float(columns.mean_square.sum()) + intercept
    alike = float(columns.held[varies].sum()) / columns.n_rows + intercept
    return float(np.median(norm2 / spread2[varies])) > _MOST_ROWS * alike


def _scales(columns: Columns, centres: bool) -> Doubles:
    """Return the spread of each column, to the digits of float32; 1 for one that is constant."""
    scale = np.sqrt(_spread2(columns, centres))
    scale = np.where(scale > 0, np.clip(scale, _LEAST_SCALE, _MOST_SCALE), 1.0)
    return scale.astype(np.float32).astype(np.float64)


def _distant_mean(numbers: npt.NDArray[Any]) -> float:
    """Return the mean of targets that are far from 0 beside how they vary, else 0."""
    doubles = numbers.astype(np.float64)
    mean, deviation = float(doubles.mean()), float(doubles.std())
    is_distant = deviation > 0 and abs(mean) > _MOST_OFFSET * deviation
    return mean if is_distant or lost_in_targets(numbers) else 0.0


def _has_room(matrix: Matrix) -> bool:
    """Whether the rows can be held in other coordinates."""
    if matrix.exact is not None and matrix.exact.is_converted:
        return True  # in the memory of the copy
    if matrix.mapped or is_mapped(matrix.values):
        return False
    available = available_memory()
    return available is None or 4 * matrix.n_elements <= _MOST_MEMORY * available
