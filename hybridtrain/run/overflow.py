# SPDX-License-Identifier: BSD-3-Clause
"""Margins of rows whose sums float32 cannot hold: infinite, or NaN where two are subtracted."""

from __future__ import annotations

from typing import Any

import numpy as np

from hybridtrain.data.matrix import Doubles, Floats, Matrix
from hybridtrain.errors import InvalidDataError

_MOST = float(np.finfo(np.float32).max)


def exact_margins(z: Floats, matrix: Matrix, coef: Floats, intercept: Any) -> Floats:
    """Return margins in which those that overflowed on the way are right.

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
    """Return finite margins that choose the same classes, with the same probabilities.

    What float32 cannot hold becomes its largest number, or with several margins
    their distance from the largest of the row.

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
