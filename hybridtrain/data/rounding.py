# SPDX-License-Identifier: BSD-3-Clause
"""Losses by rounding to float32: columns and targets whose variation disappears."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain.data.arrays import Doubles

SAMPLED_ROWS = 1024
_SAMPLED_ELEMENTS = 1 << 14
_NOTICEABLE = 1e-3  # rounding steps in a standard deviation
_STEPS = 12.0**0.5  # steps in the standard deviation of a rounding error
_COARSE = 4.0  # steps; a column of float32 that varies by fewer has few values
_NOISE = 1e-12  # variation beside the size that float64 itself does not compute
_LEAST_ELEMENTS = 30  # of a sparse column in the sample: of fewer, some are alike by chance
_SAMPLED_TARGETS = 1 << 16
_MOST_NAMED, _MOST_LOST = 3, 1000


def sampled(n_rows: int, elements: float) -> npt.NDArray[np.intp]:
    """Return the rows of a fixed sample, spread evenly; `elements` is the mean of a row."""
    most = min(SAMPLED_ROWS, max(int(_SAMPLED_ELEMENTS / max(elements, 1.0)), 32), n_rows)
    return np.unique(np.linspace(0, n_rows - 1, most).astype(np.intp))


def sampled_elements(
    pointers: npt.NDArray[np.int64], indices: npt.NDArray[Any], values: npt.NDArray[Any]
) -> tuple[int, npt.NDArray[Any], npt.NDArray[Any]]:
    """Return how many rows the sample of sparse rows has, their columns and their values."""
    n_rows = len(pointers) - 1
    ids = sampled(n_rows, len(indices) / n_rows)
    counts = pointers[ids + 1] - pointers[ids]
    ends = np.cumsum(counts)
    elements = np.arange(ends[-1]) + np.repeat(pointers[ids] - (ends - counts), counts)
    return len(ids), indices[elements], values[elements]


def is_narrowed(dtype: np.dtype[Any]) -> bool:
    """Whether float32 cannot hold all values of a type."""
    return not np.can_cast(dtype, np.float32)


def lost_in_dense(rows: npt.NDArray[Any]) -> dict[int, str]:
    """Return what rounding loses of each column of dense rows, of those where it matters.

    Parameters
    ----------
    rows : array (n_rows, n_features)
        Of real numbers; a sample will do.

    Returns
    -------
    dict of column to text
    """
    if not is_narrowed(rows.dtype):
        return {}
    doubles = rows.astype(np.float64)
    with np.errstate(all="ignore"):
        errors = doubles - doubles.astype(np.float32)
        spread = doubles.std(axis=0)
        is_lost = _is_lost(errors.std(axis=0), spread, np.abs(doubles).max(axis=0))
    return {k: _loss(doubles[:, k]) for k in np.flatnonzero(is_lost).tolist()}


def lost_in_sparse(indices: npt.NDArray[Any], values: npt.NDArray[Any]) -> dict[int, str]:
    """Return what rounding loses of each column of sparse rows, of those where it matters.

    Parameters
    ----------
    indices : int array (n_elements,)
        Columns of the elements; a sample will do.
    values : array (n_elements,)

    Returns
    -------
    dict of column to text
    """
    if not is_narrowed(values.dtype) or not len(values):
        return {}
    doubles = values.astype(np.float64)
    with np.errstate(all="ignore"):
        errors = doubles - doubles.astype(np.float32)
    if not errors.any():
        return {}
    columns, places = np.unique(indices, return_inverse=True)
    counts = np.bincount(places)

    def deviation(numbers: Doubles) -> tuple[Doubles, Doubles]:
        mean = np.bincount(places, numbers) / counts
        return mean, np.sqrt(np.bincount(places, (numbers - mean[places]) ** 2) / counts)

    with np.errstate(all="ignore"):
        mean, spread = deviation(doubles)
        is_lost = _is_lost(deviation(errors)[1], spread, np.abs(mean) + spread)
    is_lost &= counts >= _LEAST_ELEMENTS
    return {
        int(columns[k]): _loss(doubles[places == k]) for k in np.flatnonzero(is_lost)[:_MOST_LOST]
    }


def lost_in_targets(numbers: npt.NDArray[Any]) -> str | None:
    """Return a text on what rounding loses of the targets, None where that does not matter.

    Parameters
    ----------
    numbers : array (n_rows,)
        As the user gave them.
    """
    some = numbers[:: max(1, len(numbers) // _SAMPLED_TARGETS)]
    lost = lost_in_dense(some[:, None]).get(0)
    return lost and (
        f"rounding y to float32 loses what varies: y {lost}. Subtract its mean before, and add it "
        "to the predictions"
    )


def lost_text(lost: dict[int, str], names: tuple[str, ...] | None) -> str:
    """Say what rounding loses of the columns of X, and what to do."""
    return (
        f"rounding X to float32 loses what varies: {_named(lost, names)}. Subtract the mean of "
        "such columns before (sklearn.preprocessing.StandardScaler)"
    )


def coarse_text(
    mean: Doubles, deviation: Doubles, names: tuple[str, ...] | None
) -> tuple[str, ...]:
    """Return a text on columns of float32 that vary by a few of its steps; none: no text.

    They were rounded before they came here, and no scale brings back what was lost.

    Parameters
    ----------
    mean, deviation : float64 array (n_features,)
    names : tuple of str or None
    """
    with np.errstate(over="ignore"):
        step = np.spacing(np.abs(mean).astype(np.float32)).astype(np.float64)
    is_coarse = (deviation > _NOISE * np.abs(mean)) & (deviation < _COARSE * step)
    coarse = {
        int(k): f"varies by {deviation[k]:.3g} around {mean[k]:.6g}, with steps of {step[k]:.3g}"
        for k in np.flatnonzero(is_coarse)[:_MOST_LOST]
    }
    if not coarse:
        return ()
    return (
        f"X is float32, which has lost what varies: {_named(coarse, names)}. Pass float64, or "
        "subtract the mean of such columns before they are rounded",
    )


def _named(lost: dict[int, str], names: tuple[str, ...] | None) -> str:
    shown = [
        f"column {k}{'' if names is None else f' ({names[k]!r})'} {text}"
        for k, text in list(lost.items())[:_MOST_NAMED]
    ]
    more = f"; and {len(lost) - _MOST_NAMED} more columns" if len(lost) > _MOST_NAMED else ""
    return "; ".join(shown) + more


def _is_lost(error: Any, spread: Any, size: Any) -> Any:
    return (spread > _NOISE * size) & (_STEPS * error > _NOTICEABLE * spread)


def _loss(column: Doubles) -> str:
    low, high = float(column.min()), float(column.max())
    step = float(np.spacing(np.float32(max(abs(low), abs(high)))))
    rounded = column.astype(np.float32)
    as_float32 = f"it has steps of {step:.3g}"
    if rounded.min() == rounded.max():
        as_float32 = "it is constant"
    return f"varies by {high - low:.3g} around {(low + high) / 2:.6g}, as float32 {as_float32}"
