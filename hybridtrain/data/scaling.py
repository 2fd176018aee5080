# SPDX-License-Identifier: BSD-3-Clause
"""Coordinates in which columns are alike: rows measured from a centre, in units of their spread."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain.data.arrays import Doubles, Floats
from hybridtrain.data.exact_rows import ExactRows
from hybridtrain.data.matrix import Matrix
from hybridtrain.parallel import over_ranges


@dataclass(frozen=True, slots=True)
class Scaling:
    """Hold the coordinates that a run trains in: ``(x - centre) / scale``, ``y - target``.

    Margins are the same in both coordinates: with the coefficients ``v`` and the intercept
    ``b`` of a run, those of the user are ``v / scale`` and
    ``b + target - (v / scale) @ centre``.

    Attributes
    ----------
    centre : float64 array (n_features,) or None
        None: rows are measured from 0.
    scale : float64 array (n_features,) or None
        Greater than 0; None: all are 1.
    target : float
        Subtracted from targets that are numbers.
    reason : str
        Why these coordinates were chosen.
    """

    centre: Doubles | None = None
    scale: Doubles | None = None
    target: float = 0.0
    reason: str = ""

    @property
    def n_features(self) -> int | None:
        """The number of columns that it is for; None: any."""
        of_columns = self.scale if self.centre is None else self.centre
        return None if of_columns is None else len(of_columns)

    @property
    def is_shifted(self) -> bool:
        """Whether rows or targets are measured from elsewhere than 0."""
        return self.centre is not None or self.target != 0.0

    def summary(self) -> dict[str, Any]:
        """Return what was done, for the settings of a result."""
        centre = 0 if self.centre is None else int(np.count_nonzero(self.centre))
        scaled = 0 if self.scale is None else int(np.count_nonzero(self.scale != 1.0))
        return {
            "centred": centre,
            "scaled": scaled,
            "target_centred": self.target != 0.0,
            "reason": self.reason,
        }

    def of_columns(self, kept: npt.NDArray[np.intp]) -> Scaling:
        """Return the coordinates of some columns."""
        centre, scale = (
            None if of_all is None else of_all[kept] for of_all in (self.centre, self.scale)
        )
        return replace(self, centre=centre, scale=scale)

    def at_centre(self, coef: Floats, intercept: Any) -> Any:
        """Return the margins of a row at the centre, in float64."""
        if self.centre is None:
            return intercept
        return intercept + np.einsum("...j,j", coef.astype(np.float64), self.centre)

    def to_trained(self, coef: Floats, intercept: Any) -> tuple[Floats, Any]:
        """Return a run's parameters for the user's.

        Parameters
        ----------
        coef : float32 array (n_features,), or (n_classes, n_features)
        intercept : float, or float64 array (n_classes,)
        """
        intercept = self.at_centre(coef, intercept) - self.target
        return coef if self.scale is None else (coef * self.scale).astype(np.float32), intercept

    def to_user(self, coef: Floats, intercept: Any) -> tuple[Floats, Any]:
        """Return the user's parameters for a run's; a shifted intercept is in float64."""
        if self.scale is not None:
            coef = (coef / self.scale).astype(np.float32)
        if not self.is_shifted:
            return coef, intercept
        # From the coefficients as rounded, so that the margins are right.
        shift = self.target - self.at_centre(coef, 0.0)
        return coef, intercept + shift if np.ndim(intercept) else float(intercept + shift)

    def rows(self, matrix: Matrix, *, threads: int) -> Matrix:
        """Return the rows in these coordinates, computed in float64 and rounded once.

        Parameters
        ----------
        matrix : Matrix
            Dense rows that are a copy of the user's own are overwritten: the matrix must not
            be used again.
        threads : int
        """
        if self.centre is None and self.scale is None:
            return matrix
        if matrix.exact is not None:
            return self._dense(matrix, matrix.exact, threads)
        if self.centre is None:
            return self._sparse(matrix)
        return self._dense(matrix, ExactRows(matrix.user_form().toarray()), threads)

    def _dense(self, matrix: Matrix, exact: ExactRows, threads: int) -> Matrix:
        values = matrix.values
        if values is None or not exact.is_converted:
            values = np.empty(exact.n_rows * exact.n_features, np.float32)
        table = values.reshape(exact.n_rows, exact.n_features)

        def convert(first: int, last: int) -> None:
            for at in range(first, last, exact.block_rows):
                until = min(at + exact.block_rows, last)
                block = exact.read(at, until)
                if self.centre is not None:
                    block -= self.centre
                if self.scale is not None:
                    block /= self.scale
                table[at:until] = block

        over_ranges(convert, exact.n_rows, threads)
        done = "X: columns centred and scaled" if self.centre is not None else "X: columns scaled"
        return replace(
            matrix,
            pointers=None,
            indices=None,
            values=values,
            exact=exact,
            lost="" if self.centre is not None else matrix.lost,
            mapped=False,
            copied=(*matrix.copied, done),
        )

    def _sparse(self, matrix: Matrix) -> Matrix:
        if matrix.mapped:  # indices that may change are not computed with
            matrix = matrix.take(np.arange(matrix.n_rows))
        assert self.scale is not None
        assert matrix.indices is not None
        values = (1.0 / self.scale).astype(np.float32)[matrix.indices]
        if matrix.values is not None:
            values *= matrix.values
        return replace(matrix, values=values, copied=(*matrix.copied, "X: columns scaled"))
