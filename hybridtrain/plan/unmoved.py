# SPDX-License-Identifier: BSD-3-Clause
"""Columns that a run cannot learn: the automatic rate follows the few that are much larger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain.data.arrays import Doubles
from hybridtrain.data.facts import Facts, count_rows
from hybridtrain.data.rounding import sampled, sampled_elements
from hybridtrain.machine import usable_cores
from hybridtrain.optimizers.base import Optimizer
from hybridtrain.plan.problem import Problem

_MOST_UNMOVED = 0.25  # share of the columns that vary
_MOVED, _ADAPTIVE_MOVED = 0.03, 0.3  # of the way to the optimum of a column by itself
_ENOUGH = 10.0  # ways that columns of equal size would go; fewer, and the run is just short
_NOTABLE = 0.05  # share of the mean squared norm
_MOST_NAMED = 3


def unmoved_columns(
    problem: Problem, optimizer: Optimizer, choices: Mapping[str, Any], epochs: int
) -> list[str]:
    """Return a warning if many columns' parameters hardly move, else an empty list.

    An automatic rate follows the mean norm of a row. If a few columns make up the
    norm, such as a time in seconds since 1970, the steps of all other columns are too
    small: the model learns only from the few columns.

    Parameters
    ----------
    problem : Problem
    optimizer : Optimizer
    choices : mapping
        The plan's choices; "lr" and "batch_size" are read.
    epochs : int

    Returns
    -------
    list of str
        Empty, or one text with the columns that are the cause and what to do.

    Notes
    -----
    A column is judged by how far a run can move its part of the margins. For SGD, as a
    share of what the column can explain, this is ``lr h u steps / 2``, with u the column's
    variance over the rows that hold it and h the loss's largest second derivative. For
    optimizers that divide by the gradient's size, it is the length of all steps,
    ``2 lr sqrt(steps u)``, in units of the targets. Columns are judged by a fixed
    sample of rows. On eight data sets, as they are and standardised, each warning came
    with a loss of accuracy; some losses of adaptive optimizers came without a warning.
    """
    if not isinstance(optimizer.lr, str):
        return []
    sizes, n_held = _sizes(problem)
    if not len(sizes):
        return []
    steps = epochs * -(-problem.matrix.n_rows // int(choices["batch_size"]))
    lr = float(choices["lr"])
    moved = _ADAPTIVE_MOVED if optimizer.is_adaptive else _MOVED
    is_unmoved = _reach(problem, optimizer, lr, steps, np.sqrt(sizes)) < moved
    if is_unmoved.mean() <= _MOST_UNMOVED:
        return []
    facts = count_rows(problem.rows(), intercept=False, columns=True, threads=usable_cores())
    alike = np.sqrt(facts.norm2 / facts.n_rows / max(n_held, 1.0))
    if optimizer.is_adaptive:
        alike = facts.l1 / facts.n_rows / max(n_held, 1.0)
    if _reach(problem, optimizer, lr, steps, np.array([alike]))[0] < _ENOUGH:
        return []
    causes = _causes(facts)
    if not causes:
        return []
    return [_text(causes, problem.matrix.names, int(is_unmoved.sum()), len(sizes))]


def _sizes(problem: Problem) -> tuple[Doubles, float]:
    """Return the variance of each column over rows that hold it, where it varies, of a sample.

    Returns
    -------
    sizes : float64 array
    n_held : float
        Elements other than 0 of these columns, per row.
    """
    matrix = problem.matrix
    if matrix.mapped:  # indices that may change are not computed with
        matrix = matrix.take(sampled(matrix.n_rows, matrix.n_elements / matrix.n_rows))
    assert matrix.values is not None
    if matrix.is_dense:
        table = matrix.values.reshape(matrix.n_rows, -1)
        table = table[sampled(*table.shape)].astype(np.float64)
        held, variance = (table != 0).mean(axis=0), table.var(axis=0)
    else:
        assert matrix.pointers is not None
        assert matrix.indices is not None
        n_rows, columns, values = sampled_elements(matrix.pointers, matrix.indices, matrix.values)

        def mean(numbers: npt.NDArray[Any]) -> Doubles:
            return np.bincount(columns, numbers, matrix.n_features) / n_rows

        doubles = values.astype(np.float64)
        held = mean(doubles != 0)
        variance = mean(doubles * doubles) - mean(doubles) ** 2
    varies = variance > 0
    sizes: Doubles = variance[varies] / held[varies]
    return sizes, float(held[varies].sum())


def _reach(
    problem: Problem, optimizer: Optimizer, lr: float, steps: int, deviation: Doubles
) -> Doubles:
    """Return how far columns with these deviations can move, see `unmoved_columns`."""
    path = lr * optimizer.path(steps)
    if optimizer.is_adaptive:
        return path * deviation / (problem.target_scale or 1.0)
    return path * problem.curvature * deviation**2


def _causes(facts: Facts) -> list[int]:
    """Return the columns that make up the rows' norms, the largest first."""
    assert facts.curvature is not None
    order = np.argsort(-facts.curvature, kind="stable")[:_MOST_NAMED]
    return [k for k in order.tolist() if facts.curvature[k] >= _NOTABLE * facts.norm2]


def _text(causes: list[int], names: tuple[str, ...] | None, n_unmoved: int, n_varying: int) -> str:
    shown = ", ".join(str(k) if names is None else f"{k} ({names[k]!r})" for k in causes)
    words = ("columns", "are", "them") if len(causes) > 1 else ("column", "is", "it")
    return (
        f"this run cannot learn from {n_unmoved} of {n_varying} columns of X that vary: "
        f"{words[0]} {shown} {words[1]} so much larger that the learning rate chosen by them does "
        "not move the others. Scale the columns (sklearn.preprocessing.StandardScaler; sparse: "
        f"MaxAbsScaler), or leave {words[2]} out"
    )
