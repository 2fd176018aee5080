# SPDX-License-Identifier: BSD-3-Clause
"""The rows to train on and the rows to measure on: read, checked, split."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain.arguments import is_finite, plain, shown
from hybridtrain.data import Matrix, canonical_rows
from hybridtrain.errors import InvalidDataError, InvalidSettingError
from hybridtrain.files import FileRows, read_data, reading_of

Labelled = tuple[Matrix, Any, Any]  # y as the user gave it; sample_weight or None


def hold_out(
    data: Any, validation: Any, *, seed: int, threads: int
) -> tuple[Labelled, Labelled | None]:
    """Return checked rows to train on, and those to measure on.

    Parameters
    ----------
    data : (X, y) or (X, y, sample_weight) or path
    validation : the same, or float, or None
        A share of the rows in 0 .. 1, which are drawn at random; the rest keep
        their order. Both parts are copies.
    seed : int
    threads : int
        For the check.

    Returns
    -------
    trained : (Matrix, y, sample_weight or None)
    held_out : the same, or None

    Raises
    ------
    InvalidDataError
        When the data cannot be used.
    InvalidSettingError
        When the share leaves no rows on a side.
    OSError
        When a file does not exist or cannot be read.
    """
    data = read_rows(data)
    rows = _unpack(data, "data", threads)
    if validation is None:
        return rows, None
    n_features = rows[0].n_features
    validation = read_rows(validation, n_features, **as_read(reading_of(data)))
    if isinstance(validation, tuple):
        return rows, _unpack(validation, "validation", threads, n_features)
    return _split(*rows, plain(validation), seed)


def read_rows(data: Any, n_features: int | None = None, **reading: Any) -> Any:
    """Return data, read if they are a path: these rows must have labels."""
    if not isinstance(data, str | os.PathLike):
        return data
    return require_labels(read_data(data, n_features=n_features, **reading))


def as_read(reading: dict[str, Any] | None) -> dict[str, Any]:
    """Return what `read_data` must be told to read another file as this one was read."""
    zero_based = (reading or {}).get("zero_based")
    return {} if zero_based is None else {"zero_based": zero_based}


def require_labels(rows: FileRows) -> FileRows:
    """Return rows of a file that have labels.

    Raises
    ------
    InvalidDataError
        When they have none.
    """
    if rows[1] is None:
        raise InvalidDataError(
            f"{rows.name} has no labels; put them beside it (NAME.y.npy for NAME.npz, "
            "y.npy in a directory)"
        )
    return rows


def _unpack(data: Any, name: str, threads: int, n_features: int | None = None) -> Labelled:
    if isinstance(data, FileRows):
        try:
            return _unpack(tuple(data), name, threads, n_features)
        except InvalidDataError as error:
            prefix = "" if data.name in str(error) else f"{data.name}: "
            raise InvalidDataError(f"{prefix}{error}") from error
    if not isinstance(data, tuple) or len(data) not in (2, 3):
        raise InvalidDataError(
            f"{name} must be a tuple (X, y) or (X, y, sample_weight) or a path, "
            f"got {type(data).__name__}"
            + (f" of length {len(data)}" if isinstance(data, tuple) else "")
        )
    matrix = canonical_rows(data[0], threads=threads, n_features=n_features)
    return matrix, data[1], data[2] if len(data) == 3 else None


def _split(matrix: Matrix, y: Any, weight: Any, share: Any, seed: int) -> tuple[Labelled, Labelled]:
    """Hold out a random share of the rows; the rest keep their order."""
    n_rows = matrix.n_rows
    is_number = isinstance(share, int | float) and not isinstance(share, bool)
    n_valid = round(n_rows * share) if is_number and is_finite(share) else 0
    if not 0 < n_valid < n_rows:
        raise InvalidSettingError(
            "validation must be a tuple of data, a path or a share of the rows that leaves rows on "
            f"both sides (0 < share < 1, {n_rows} rows), got {shown(share)}"
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

    def part(mask: npt.NDArray[np.bool_]) -> Labelled:
        rows = matrix.take(mask)
        copied = (*rows.copied, "X: rows split from the validation rows")
        return replace(rows, copied=copied), y[mask], None if weight is None else weight[mask]

    return part(~is_valid), part(is_valid)
