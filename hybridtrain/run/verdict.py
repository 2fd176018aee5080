# SPDX-License-Identifier: BSD-3-Clause
"""The verdict on a finished run: whether it ended above where it began."""

from __future__ import annotations

from typing import Any

import numpy as np

from hybridtrain.data.arrays import Floats
from hybridtrain.data.facts import squared_norms
from hybridtrain.errors import DivergedError
from hybridtrain.plan.base import Plan
from hybridtrain.plan.problem import Problem
from hybridtrain.run.evaluate import mean_loss
from hybridtrain.run.result import Result

_MOST_ROWS = 4096
_GROUPS = 16  # of rows, whose means tell how far chance carries the mean of all
_LEAST_ROWS = 64
_MOST_TARGETS = 1 << 16
_NOTABLE = 0.1  # of the loss at the start; an epoch of chance may raise it by a few percent
# The same for a start that was trained: steps that end at most at a row's own minimum keep the
# squared loss of a constant rate below twice the optimum, wherever the run began.
_NOTABLE_TRAINED = 1.0
_ERRORS = 3.0  # standard errors
_LONG = 10.0  # mean squared norms

Parameters = tuple[Floats, Any]


def require_descent(plan: Plan, start: Parameters, result: Result) -> None:
    """Refuse a finished run whose objective rose by more than chance.

    Parameters
    ----------
    plan : Plan
        A fixed sample of its rows is measured.
    start : (coef, intercept)
        What the run began with, in the coordinates of the problem.
    result : Result
        Of a run to its last epoch; one that ended early is not judged.

    Raises
    ------
    DivergedError
    """
    if result.settings["stopped"] not in {None, "patience"} or not result.history:
        return
    problem, last = plan.problem, result.history[-1]
    end = problem.to_trained(result.params["coef"], result.params["intercept"])
    penalty = problem.penalty(*end) - problem.penalty(*start)
    if last.loss + penalty <= _constant_loss(problem, start):
        return  # the rows of the last epoch have said so, each before its step
    rose = _rise(problem, start, end, penalty, isa=plan.choices["isa"])
    if not rose:
        return
    lr, epoch = float(plan.choices["lr"]), last.epoch
    raise DivergedError(
        f"the loss {rose} in epoch {epoch} at learning rate {lr:.6g}{_long_rows(problem)}; "
        "try a smaller lr, or scale the features; .result holds the last parameters",
        what=rose,
        result=result,
        epoch=epoch,
        lr=lr,
    )


def _constant_loss(problem: Problem, start: Parameters) -> float:
    """Return the mean loss of start parameters without coefficients; 0 if there are some."""
    coef, intercept = start
    if coef.any():
        return 0.0
    some = slice(None, None, max(problem.matrix.n_rows // _MOST_TARGETS, 1))
    targets, n_classes = problem.targets[some].copy(), problem.n_classes
    weights = None if problem.weights is None else problem.weights[some].copy()
    z = np.zeros((len(targets), problem.n_outputs), np.float32)
    z[:, : max(n_classes, 1)] = intercept
    margins = z if n_classes else z[:, 0].copy()
    return problem.loss.total(margins, targets, weights, n_classes) / len(targets)


def _rise(problem: Problem, start: Parameters, end: Parameters, penalty: float, *, isa: str) -> str:
    """Return how the objective rose from the start to the end; empty if chance explains it."""
    n_rows = min(problem.matrix.n_rows, _MOST_ROWS)
    if n_rows < _LEAST_ROWS:
        return ""
    ids = np.linspace(0, problem.matrix.n_rows - 1, n_rows).astype(np.intp)
    losses = np.empty((_GROUPS, 2))
    for k in range(_GROUPS):
        group = problem.take(ids[k::_GROUPS])
        losses[k] = [mean_loss(group, *each, isa=isa, threads=1) for each in (start, end)]
    before, after = losses.mean(axis=0)
    error = (losses[:, 1] - losses[:, 0]).std() / _GROUPS**0.5
    notable = _NOTABLE_TRAINED if start[0].any() else _NOTABLE
    if not after + penalty - before > max(_ERRORS * error, notable * before):
        return ""
    return f"rose from {before:.6g} (at the start) to {after + penalty:.6g}"


def _long_rows(problem: Problem) -> str:
    """Name the longest row, if it is many times as long as the mean one."""
    norm2 = squared_norms(problem.rows(), threads=1).astype(np.float64)
    longest = int(norm2.argmax())
    times = norm2[longest] / norm2.mean() if norm2.mean() > 0 else 0.0
    if times < _LONG:
        return ""
    return f"; row {longest} of X has {times:.3g} times the mean squared norm of a row"
