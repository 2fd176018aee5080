# SPDX-License-Identifier: BSD-3-Clause
"""The rows to train on and the rows to measure on: read, checked, split."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain.arguments import plain
from hybridtrain.data import Matrix, canonical_rows
from hybridtrain.errors import InvalidDataError, InvalidSettingError
from hybridtrain.files import read_data

Checked = tuple[Matrix, Any, Any]
"""Rows that the core can read, y, and sample weights or None, both as they were given."""


def hold_out(
    data: Any, validation: Any, seed: int, *, threads: int
) -> tuple[Checked, Checked | None]:
    """Read and check rows, and hold out some of them.

    Parameters
    ----------
    data : (X, y), (X, y, sample_weight) or path
    validation : float or (X, y) or (X, y, sample_weight) or path, or None
        Other data, or a share of the rows in 0 .. 1, drawn at random (this copies the
        rows); None: nothing is held out.
    seed : int
    threads : int

    Returns
    -------
    trained : Checked
        Its rows are in their order.
    held_out : Checked or None

    Raises
    ------
    InvalidDataError, InvalidSettingError
        When data cannot be used; when the share leaves no rows on a side.
    """
    rows = _check(data, "data", threads)
    if validation is None:
        return rows, None
    if isinstance(validation, tuple | str | os.PathLike):
        return rows, _check(validation, "validation", threads, rows[0].n_features)
    return _split(*rows, plain(validation), seed)


def read_labelled(
    path: str | os.PathLike[str], n_features: int | None = None, *, zero_based: bool = False
) -> tuple[Any, Any]:
    """Read a file or directory that must have labels; see `read_data`.

    Raises
    ------
    InvalidDataError
        When the file cannot be used, or has no labels.
    OSError
        When it cannot be read.
    """
    X, y = read_data(path, n_features=n_features, zero_based=zero_based)
    if y is None:
        raise InvalidDataError(
            f"{os.fspath(path)} has no labels: there is nothing to learn from it; put them "
            "beside it (NAME.y.npy for NAME.npz, y.npy in a directory)"
        )
    return X, y


def _check(data: Any, name: str, threads: int, n_features: int | None = None) -> Checked:
    if isinstance(data, str | os.PathLike):
        try:
            return _check(read_labelled(data, n_features), name, threads, n_features)
        except InvalidDataError as error:
            path = os.fspath(data)
            raise InvalidDataError(f"{'' if path in str(error) else path + ': '}{error}") from error
    if not isinstance(data, tuple) or len(data) not in (2, 3):
        raise InvalidDataError(
            f"{name} must be a tuple (X, y) or (X, y, sample_weight) or a path, "
            f"got {type(data).__name__}"
            + (f" of length {len(data)}" if isinstance(data, tuple) else "")
        )
    matrix = canonical_rows(data[0], threads=threads, n_features=n_features)
    return matrix, data[1], data[2] if len(data) == 3 else None


def _split(matrix: Matrix, y: Any, weight: Any, share: Any, seed: int) -> tuple[Checked, Checked]:
    n_rows = matrix.n_rows
    is_number = isinstance(share, int | float) and not isinstance(share, bool)
    n_valid = round(n_rows * share) if is_number and math.isfinite(share) else 0
    if not 0 < n_valid < n_rows:
        raise InvalidSettingError(
            "validation must be a tuple of data, a path or a share of the rows that leaves rows on "
            f"both sides (0 < share < 1, {n_rows} rows), got {share!r}"
        )
    y = np.asarray(y)
    weight = None if weight is None else np.asarray(weight)
    for name, vector in (("y", y), ("sample_weight", weight)):
        if vector is not None and vector.shape[:1] != (n_rows,):
            raise InvalidDataError(
                f"{name} must have {n_rows} values, one for each row of X, got shape {vector.shape}"
            )
    is_valid = np.zeros(n_rows, np.bool_)
    is_valid[np.random.default_rng(seed).permutation(n_rows)[:n_valid]] = True

    def part(mask: npt.NDArray[np.bool_]) -> Checked:
        rows = matrix.take(mask)
        copied = (*rows.copied, "X: rows split from the validation rows")
        return replace(rows, copied=copied), y[mask], None if weight is None else weight[mask]

    return part(~is_valid), part(is_valid)
