# SPDX-License-Identifier: BSD-3-Clause
"""The rows to train on and the rows to measure on: read, checked, split."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hybridtrain.arguments import plain
from hybridtrain.data import Matrix, canonical_rows
from hybridtrain.errors import InvalidDataError, InvalidSettingError
from hybridtrain.files import read_data
from hybridtrain.models import Linear
from hybridtrain.row_weights import rows_that_count, tiny_text
from hybridtrain.targets import classes_of, labels_of, real_targets, vector


class Labelled(NamedTuple):
    """Checked rows of which all count.

    Attributes
    ----------
    matrix : Matrix
    y : array (n_rows,)
        As the user gave it.
    weight : array (n_rows,) or None
        Sample weights.
    absent : tuple
        Labels that only rows of weight 0 had, which were left out.
    warnings : tuple of str
        What the user should know of the weights.
    """

    matrix: Matrix
    y: npt.NDArray[Any]
    weight: npt.NDArray[Any] | None
    absent: tuple[Any, ...] = ()
    warnings: tuple[str, ...] = ()


def hold_out(
    model: Linear, data: Any, validation: Any, *, seed: int, threads: int
) -> tuple[Labelled, Labelled | None]:
    """Return checked rows to train on, and those to measure on.

    Rows of weight 0 are left out first, so that nothing is taken from them: not the
    split, nor any fact.

    Parameters
    ----------
    model : Linear
        Its class weights count.
    data : (X, y) or (X, y, sample_weight) or path
    validation : the same, or float, or None
        A share of the rows in 0 .. 1, which are drawn at random; the rest keep
        their order. Both parts are copies.
    seed : int
    threads : int
        For the check.

    Returns
    -------
    trained : Labelled
    held_out : Labelled or None

    Raises
    ------
    InvalidDataError
        When the data cannot be used.
    InvalidSettingError
        When the share leaves no rows on a side.
    OSError
        When a file does not exist or cannot be read.
    """
    rows = _counting(model, _unpack(data, "data", threads), "data")
    if validation is None:
        return rows, None
    if isinstance(validation, tuple | str | os.PathLike):
        measured = _unpack(validation, "validation", threads, rows.matrix)
        return rows, _counting(model, measured, "validation")
    trained, held_out = _split(rows.matrix, rows.y, rows.weight, plain(validation), seed)
    return trained._replace(absent=rows.absent, warnings=rows.warnings), held_out


def read_labelled(
    path: str | os.PathLike[str], n_features: int | None = None, *, zero_based: bool = False
) -> tuple[Any, npt.NDArray[Any]]:
    """Read a file or directory that must have labels; see `read_data`.

    Raises
    ------
    InvalidDataError
        When it has none, or is broken.
    OSError
        When it does not exist or cannot be read.
    """
    X, y = read_data(path, n_features=n_features, zero_based=zero_based)
    if y is None:
        raise InvalidDataError(
            f"{os.fspath(path)} has no labels; put them beside it (NAME.y.npy for NAME.npz, "
            "y.npy in a directory)"
        )
    return X, y


def _unpack(data: Any, name: str, threads: int, like: Matrix | None = None) -> Labelled:
    """Read and check data; its features are those of `like`."""
    if isinstance(data, Labelled):
        return data
    n_features = None if like is None else like.n_features
    if isinstance(data, str | os.PathLike):
        X, y = read_labelled(data, n_features)
        try:
            return _unpack((X, y), name, threads, like)
        except InvalidDataError as error:
            path = os.fspath(data)
            raise InvalidDataError(f"{'' if path in str(error) else path + ': '}{error}") from error
    if not isinstance(data, tuple) or len(data) not in (2, 3):
        raise InvalidDataError(
            f"{name} must be a tuple (X, y) or (X, y, sample_weight) or a path, "
            f"got {type(data).__name__}"
            + (f" of length {len(data)}" if isinstance(data, tuple) else "")
        )
    names = None if like is None else like.names
    matrix = canonical_rows(
        data[0], threads=threads, n_features=n_features, names=names, warns=like is None
    )
    y = vector(data[1], matrix.n_rows, "y")
    weight = data[2] if len(data) == 3 else None
    if weight is not None:
        weight = vector(weight, matrix.n_rows, "sample_weight")
    return Labelled(matrix, y, weight)


def _counting(model: Linear, rows: Labelled, name: str) -> Labelled:
    """Return the rows that have a weight above 0; their targets are checked with the others'."""
    matrix, y, weight = rows[:3]
    n_rows = matrix.n_rows
    counts, n_tiny = rows_that_count(y, weight, model.class_weight, n_rows, name)
    if counts is None:
        return rows
    absent: tuple[Any, ...] = ()
    if model.is_classifier:
        labels = labels_of(y, n_rows)
        absent = tuple(np.setdiff1d(classes_of(labels), classes_of(labels[counts])).tolist())
    else:
        real_targets(y, n_rows)
    taken = matrix.take(counts)
    left_out = f"X: {n_rows - taken.n_rows:,} rows of weight 0 left out"
    warnings = rows.warnings
    if n_tiny:
        warnings += (tiny_text(n_tiny),)
    return Labelled(
        replace(taken, copied=(*taken.copied, left_out)),
        y[counts],
        None if weight is None else weight[counts],
        absent,
        warnings,
    )


def _split(matrix: Matrix, y: Any, weight: Any, share: Any, seed: int) -> tuple[Labelled, Labelled]:
    """Hold out a random share of the rows; the rest keep their order."""
    n_rows = matrix.n_rows
    is_number = isinstance(share, int | float) and not isinstance(share, bool)
    n_valid = round(n_rows * share) if is_number and math.isfinite(share) else 0
    if not 0 < n_valid < n_rows:
        raise InvalidSettingError(
            "validation must be a tuple of data, a path or a share of the rows that leaves rows on "
            f"both sides (0 < share < 1, {n_rows} rows), got {share!r}"
        )
    is_valid = np.zeros(n_rows, np.bool_)
    is_valid[np.random.default_rng(seed).permutation(n_rows)[:n_valid]] = True

    def part(mask: npt.NDArray[np.bool_]) -> Labelled:
        rows = matrix.take(mask)
        copied = (*rows.copied, "X: rows split from the validation rows")
        of_rows = None if weight is None else weight[mask]
        return Labelled(replace(rows, copied=copied), y[mask], of_rows)

    return part(~is_valid), part(is_valid)
