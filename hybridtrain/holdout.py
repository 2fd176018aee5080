# SPDX-License-Identifier: BSD-3-Clause
"""The rows to train on and the rows to measure on, read and checked once for many runs."""

from __future__ import annotations

import math
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain.data import canonical_rows
from hybridtrain.errors import InvalidDataError, InvalidSettingError
from hybridtrain.machine import usable_cores

Data = tuple[Any, ...]


def hold_out(
    data: Data | str | PathLike[str], validation: Any, seed: int
) -> tuple[Data, tuple[Any, Any, Any]]:
    """Read, check and split the rows once for all runs.

    Returns
    -------
    trained : (X, y) or (X, y, sample_weight)
    held_out : (X, y, sample_weight or None)

    Raises
    ------
    InvalidDataError, InvalidSettingError
        As `compare`.
    """
    if isinstance(data, str | PathLike):
        data = read_labelled(data)
    X, y, weight = _three(data, "data")
    X = _in_place(X)
    if isinstance(validation, str | PathLike):
        validation = read_labelled(validation, X.shape[1])
    if isinstance(validation, tuple):
        X_valid, y_valid, valid_weight = _three(validation, "validation")
        return _packed(X, y, weight), (_in_place(X_valid), np.asarray(y_valid), valid_weight)
    is_valid = _drawn(X.shape[0], validation, seed)
    y, weight = _column(y, "y", X), _column(weight, "sample_weight", X)
    assert y is not None

    def part(mask: npt.NDArray[np.bool_]) -> tuple[Any, Any, Any]:
        return X[mask], y[mask], None if weight is None else weight[mask]

    return _packed(*part(~is_valid)), part(is_valid)


def read_labelled(path: str | PathLike[str], n_features: int | None = None) -> tuple[Any, Any]:
    """Read a file that must have labels.

    Raises
    ------
    InvalidDataError
        When the file cannot be used, or has no labels.
    OSError
        When it cannot be read.
    """
    from hybridtrain.files import read_data  # noqa: PLC0415 - most calls have arrays

    X, y = read_data(path, n_features=n_features)
    if y is None:
        raise InvalidDataError(f"{path} has no labels: there is nothing to learn from it")
    return X, y


def _three(data: Any, name: str) -> tuple[Any, Any, Any]:
    if not isinstance(data, tuple) or len(data) not in (2, 3):
        raise InvalidDataError(
            f"{name} must be a tuple (X, y) or (X, y, sample_weight), or the path of a file, "
            f"got {type(data).__name__}"
        )
    return data[0], data[1], data[2] if len(data) == 3 else None


def _packed(X: Any, y: Any, weight: Any) -> Data:
    return (X, y) if weight is None else (X, y, weight)


def _in_place(X: Any) -> Any:
    """Return a sparse matrix in the form that `train` reads without copying it."""
    from scipy import sparse  # noqa: PLC0415 - costs 0.1 s at import

    if not sparse.issparse(X):
        if getattr(X, "ndim", None) != 2:
            X = np.asarray(X)
        return X
    csr = canonical_rows(X, threads=usable_cores())
    if not csr.copied:
        return X
    values = np.ones(len(csr.indices), np.float32) if csr.values is None else csr.values
    return sparse.csr_matrix(
        (values, csr.indices, csr.pointers), shape=(csr.n_rows, csr.n_features), copy=False
    )


def _column(values: Any, name: str, X: Any) -> npt.NDArray[Any] | None:
    if values is None:
        return None
    column = np.asarray(values)
    if column.shape != (X.shape[0],):
        raise InvalidDataError(
            f"{name} must have {X.shape[0]} values, one for each row of X, got shape {column.shape}"
        )
    return column


def _drawn(n_rows: int, share: Any, seed: int) -> npt.NDArray[np.bool_]:
    is_number = isinstance(share, int | float) and not isinstance(share, bool)
    n_valid = round(n_rows * share) if is_number and math.isfinite(share) else 0
    if not 0 < n_valid < n_rows:
        raise InvalidSettingError(
            "validation must be data or a share of the rows that leaves rows on both sides "
            f"(0 < share < 1, {n_rows} rows), got {share!r}"
        )
    is_valid = np.zeros(n_rows, np.bool_)
    is_valid[np.random.default_rng(seed).permutation(n_rows)[:n_valid]] = True
    return is_valid
