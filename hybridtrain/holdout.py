# SPDX-License-Identifier: BSD-3-Clause
"""The rows to train on and the rows to measure on: read, checked, split."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain.arguments import plain, shown
from hybridtrain.class_weights import weights_of_classes
from hybridtrain.data import (
    Matrix,
    canonical_rows,
    class_targets,
    real_targets,
    sample_weights,
)
from hybridtrain.errors import InvalidDataError, InvalidSettingError
from hybridtrain.files import read_data
from hybridtrain.models import Linear
from hybridtrain.problem import of_validation

Labelled = tuple[Matrix, Any, Any]  # y as the user gave it; sample_weight or None


def hold_out(
    data: Any,
    validation: Any,
    *,
    model: Linear,
    classes: npt.NDArray[Any] | None = None,
    seed: int,
    threads: int,
) -> tuple[Labelled, Labelled | None]:
    """Return checked rows to train on, and those to measure on.

    Parameters
    ----------
    data : (X, y) or (X, y, sample_weight) or path
    validation : the same, or float, or None
        A share of the rows in 0 .. 1, which are drawn at random; the rest keep
        their order. Both parts are copies. Classes are held out in proportion, but
        one row of each is trained on. Rows of weight 0 are not held out, and
        do not count among those that the share is of.
    model : Linear
    classes : array (n_classes,), optional
        The classes to expect; None: those found.
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
    rows = _unpack(data, "data", threads)
    if validation is None:
        return rows, None
    if isinstance(validation, tuple | str | os.PathLike):
        try:
            return rows, _unpack(validation, "validation", threads, rows[0].n_features)
        except InvalidDataError as error:
            raise of_validation(error) from error
    return _split(*rows, plain(validation), model=model, classes=classes, seed=seed)


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


def _unpack(data: Any, name: str, threads: int, n_features: int | None = None) -> Labelled:
    if isinstance(data, str | os.PathLike):
        X, y = read_labelled(data, n_features)
        try:
            return _unpack((X, y), name, threads, n_features)
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


def _split(
    matrix: Matrix,
    y: Any,
    weight: Any,
    share: Any,
    *,
    model: Linear,
    classes: npt.NDArray[Any] | None,
    seed: int,
) -> tuple[Labelled, Labelled]:
    """Hold out a random share of the rows; the rest keep their order.

    What the whole of the data can be refused for is refused here, so that no
    message speaks of a part.
    """
    n_rows = matrix.n_rows
    groups, counts = _groups(y, weight, n_rows, model, classes)
    rows = np.arange(n_rows) if counts is None else np.flatnonzero(counts)
    is_number = isinstance(share, int | float) and not isinstance(share, bool)
    n_valid = round(len(rows) * share) if is_number and 0 < share < 1 else 0
    if not 0 < n_valid < len(rows):
        raise InvalidSettingError(
            "validation must be a tuple of data, a path or a share of the rows that leaves rows on "
            f"both sides (0 < share < 1, {len(rows)} rows), got {shown(share)}"
        )
    chosen = draw_groups(groups[rows], n_valid, seed)
    if len(chosen) == 0:
        raise InvalidSettingError(
            f"validation must leave rows on both sides, but each of the {len(rows)} rows is the "
            "only one of its class and is trained on; more rows are needed to hold some out"
        )
    y = np.asarray(y)
    weight = None if weight is None else np.asarray(weight)
    is_valid = np.zeros(n_rows, np.bool_)
    is_valid[rows[chosen]] = True

    def part(mask: npt.NDArray[np.bool_]) -> Labelled:
        rows = matrix.take(mask)
        copied = (*rows.copied, "X: rows split from the validation rows")
        return replace(rows, copied=copied), y[mask], None if weight is None else weight[mask]

    return part(~is_valid), part(is_valid)


def _groups(
    y: Any, weight: Any, n_rows: int, model: Linear, classes: npt.NDArray[Any] | None
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_] | None]:
    """Return the class of each row, 0 for regression, and which rows count; None: all."""
    counts: npt.NDArray[np.bool_] | None = None
    if weight is not None:
        sample_weights(weight, n_rows)
        counts = np.asarray(weight) > 0
    if not model.is_classifier:
        real_targets(y, n_rows)
        return np.zeros(n_rows, np.intp), counts
    targets, labels = class_targets(y, n_rows, classes, loss=model.loss)
    groups = (targets if model.loss == "softmax" else targets > 0).astype(np.intp)
    if isinstance(model.class_weight, Mapping):
        of_classes = weights_of_classes(model.class_weight, labels, groups, None)
        if not of_classes.all():
            weighty = of_classes[groups] > 0
            counts = weighty if counts is None else counts & weighty
    return groups, counts


def draw_groups(groups: npt.NDArray[np.intp], n_chosen: int, seed: int) -> npt.NDArray[np.intp]:
    """Draw rows at random, of each group in proportion and never all.

    Parameters
    ----------
    groups : int array (n_rows,)
        The group of each row, 0 .. 65,535.
    n_chosen : int
        In 1 .. n_rows - 1.
    seed : int
        Equal seeds draw equal rows.

    Returns
    -------
    int array (n_chosen,)
        Fewer where one row of each group is all that is left. A group gets
        ``n_chosen n_of_group / n_rows``, rounded down; what is then left goes to the
        largest remainders, among equal ones at random.

    Notes
    -----
    One group: the rows that ``default_rng(seed).permutation(n_rows)`` begins with.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(groups))
    sizes = np.bincount(groups)
    if len(sizes) == 1:
        return order[:n_chosen]
    parts, remainders = np.divmod(n_chosen * sizes, len(groups))
    room = np.maximum(sizes - 1, 0)
    parts = np.minimum(parts, room)
    by_remainder = generator.permutation(len(sizes))
    by_remainder = by_remainder[np.argsort(-remainders[by_remainder], kind="stable")]
    while (left := n_chosen - int(parts.sum())) > 0:
        takers = [k for k in by_remainder if parts[k] < room[k]][:left]
        if not takers:
            break
        parts[takers] += 1
    # NumPy sorts 16 bits by radix, ten times as fast as more.
    by_group = order[np.argsort(groups.astype(np.uint16)[order], kind="stable")]
    first = np.cumsum(sizes) - sizes
    return np.concatenate([by_group[k : k + part] for k, part in zip(first, parts, strict=True)])
