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
_GROUPS = 32  # of rows, whose means tell how far chance carries the mean of all
_LEAST_ROWS = 64
_NOTABLE = 0.02  # of the loss at the start
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
    problem = plan.problem
    end = problem.to_trained(result.params["coef"], result.params["intercept"])
    rose = _rise(problem, start, end, isa=plan.choices["isa"])
    if not rose:
        return
    lr, epoch = float(plan.choices["lr"]), result.history[-1].epoch
    raise DivergedError(
        f"the loss {rose}, after epoch {epoch}, at learning rate {lr:.6g}{_long_rows(problem)}; "
        "try a smaller lr, or scale the features; .result holds the last parameters",
        what=rose,
        result=result,
        epoch=epoch,
        lr=lr,
    )


def _rise(problem: Problem, start: Parameters, end: Parameters, *, isa: str) -> str:
    """Return how the objective rose from the start to the end; empty if chance explains it."""
    n_rows = min(problem.matrix.n_rows, _MOST_ROWS)
    if n_rows < _LEAST_ROWS:
        return ""
    ids = np.linspace(0, problem.matrix.n_rows - 1, n_rows).astype(np.intp)
    groups = [problem.take(ids[k::_GROUPS]) for k in range(_GROUPS)]

    def losses(parameters: Parameters) -> Any:
        return np.array([mean_loss(group, *parameters, isa=isa, threads=1) for group in groups])

    penalty = problem.penalty(*end) - problem.penalty(*start)
    before, after = losses(start), losses(end)
    rises = after - before + penalty
    error = rises.std() / _GROUPS**0.5
    if not rises.mean() > max(_ERRORS * error, _NOTABLE * before.mean()):
        return ""
    return (
        f"rose from {before.mean():.6g} to {(after + penalty).mean():.6g}, above that of the "
        "parameters that the run began with"
    )


def _long_rows(problem: Problem) -> str:
    """Name the longest row, if it is many times as long as the mean one."""
    norm2 = squared_norms(problem.rows(), threads=1).astype(np.float64)
    longest = int(norm2.argmax())
    times = norm2[longest] / norm2.mean() if norm2.mean() > 0 else 0.0
    if times < _LONG:
        return ""
    return f"; row {longest} of X has {times:.3g} times the mean squared norm of a row"
