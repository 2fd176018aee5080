# SPDX-License-Identifier: BSD-3-Clause
"""The rows to train on and the rows to measure on: read, checked, split."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hybridtrain.arguments import plain, shown
from hybridtrain.data.files import FileRows, read_data, reading_of
from hybridtrain.data.matrix import Matrix, canonical_rows
from hybridtrain.data.row_weights import rows_that_count, tiny_text
from hybridtrain.data.scaling import Scaling
from hybridtrain.data.targets import (
    class_targets,
    classes_of,
    labels_of,
    numbers_of,
    real_targets,
    vector,
)
from hybridtrain.errors import InvalidDataError, InvalidSettingError

if TYPE_CHECKING:
    from hybridtrain.models.linear import Linear


class Labelled(NamedTuple):
    """Hold checked rows, all of a weight above 0.

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
        Texts about the weights, for the user.
    scaling : Scaling or None
        The coordinates of `matrix` and `y`; None: the user's own.
    """

    matrix: Matrix
    y: npt.NDArray[Any]
    weight: npt.NDArray[Any] | None
    absent: tuple[Any, ...] = ()
    warnings: tuple[str, ...] = ()
    scaling: Scaling | None = None


def hold_out(
    model: Linear,
    data: Any,
    validation: Any,
    *,
    classes: npt.NDArray[Any] | None = None,
    seed: int,
    threads: int,
) -> tuple[Labelled, Labelled | None]:
    """Return checked rows to train on, and those to measure on.

    Rows of weight 0 are left out first, so that neither the split nor any fact depends on
    them.

    Parameters
    ----------
    model : Linear
        Its class weights count.
    data : (X, y) or (X, y, sample_weight) or path
    validation : the same, or float, or None
        A share of the rows in 0 .. 1, which are drawn at random; the rest keep
        their order. Both parts are copies. Classes are held out in proportion, but
        one row of each is trained on.
    classes : array (n_classes,), optional
        The classes to expect; None: those found.
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
    data = read_rows(data)
    rows = _counting(model, _unpack(data, "data", threads), "data")
    if validation is None:
        return rows, None
    n_features = rows.matrix.n_features
    try:
        validation = read_rows(validation, n_features, **as_read(reading_of(data)))
        if isinstance(validation, tuple):
            measured = _unpack(validation, "validation", threads, rows.matrix)
            return rows, _counting(model, measured, "validation")
    except InvalidDataError as error:
        raise of_validation(error) from error
    return _split(rows, plain(validation), model=model, classes=classes, seed=seed)


def of_validation(error: InvalidDataError) -> InvalidDataError:
    """Return the error with a message that names the validation data."""
    text = str(error)
    return type(error)(text if "validation" in text else f"validation: {text}")


def read_rows(data: Any, n_features: int | None = None, **reading: Any) -> Any:
    """Return data, read if they are a path: these rows must have labels."""
    if not isinstance(data, str | os.PathLike):
        return data
    return require_labels(read_data(data, n_features=n_features, **reading))


def as_read(reading: dict[str, Any] | None) -> dict[str, Any]:
    """Return the arguments with which `read_data` reads another file as this one was read."""
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


def _unpack(data: Any, name: str, threads: int, like: Matrix | None = None) -> Labelled:
    """Read and check data; its features are those of `like`."""
    if isinstance(data, Labelled):
        return data
    n_features = None if like is None else like.n_features
    if isinstance(data, FileRows):
        try:
            return _unpack(tuple(data), name, threads, like)
        except InvalidDataError as error:
            prefix = "" if data.name in str(error) else f"{data.name}: "
            raise type(error)(f"{prefix}{error}") from error
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


def _split(
    rows: Labelled,
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
    matrix, y, weight = rows[:3]
    n_rows = matrix.n_rows
    groups = _groups(y, n_rows, model, classes)
    is_number = isinstance(share, int | float) and not isinstance(share, bool)
    n_valid = round(n_rows * share) if is_number and 0 < share < 1 else 0
    if not 0 < n_valid < n_rows:
        raise InvalidSettingError(
            "validation must be a tuple of data, a path or a share of the rows that leaves rows on "
            f"both sides (0 < share < 1, {n_rows} rows), got {shown(share)}"
        )
    chosen = draw_groups(groups, n_valid, seed)
    if len(chosen) == 0:
        raise InvalidSettingError(
            f"validation must leave rows on both sides, but each of the {n_rows} rows is the "
            "only one of its class and is trained on; more rows are needed to hold some out"
        )
    is_valid = np.zeros(n_rows, np.bool_)
    is_valid[chosen] = True

    def part(mask: npt.NDArray[np.bool_]) -> Labelled:
        taken = matrix.take(mask)
        copied = (*taken.copied, "X: rows split from the validation rows")
        of_rows = None if weight is None else weight[mask]
        return rows._replace(matrix=replace(taken, copied=copied), y=y[mask], weight=of_rows)

    return part(~is_valid), part(is_valid)


def _groups(
    y: Any, n_rows: int, model: Linear, classes: npt.NDArray[Any] | None
) -> npt.NDArray[np.intp]:
    """Return the class of each row, 0 for regression."""
    if not model.is_classifier:
        real_targets(y, n_rows)
        return np.zeros(n_rows, np.intp)
    targets, _ = class_targets(y, n_rows, classes, loss=model.loss_object)
    return numbers_of(targets, model.loss_object)


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
        Fewer if only one row of each group is left. A group gets
        ``n_chosen n_of_group / n_rows``, rounded down. The rest goes to the largest
        remainders; equal remainders are drawn at random.

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
