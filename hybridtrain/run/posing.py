# SPDX-License-Identifier: BSD-3-Clause
"""From what a user gives to the problem of a run, and where the run starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hybridtrain.data.labelled import hold_out, read_rows
from hybridtrain.data.scaling import Scaling
from hybridtrain.data.standardised import standardised
from hybridtrain.errors import needing_memory
from hybridtrain.models.linear import Linear
from hybridtrain.plan.base import Settings
from hybridtrain.plan.penalties import allows_scaled_sparse
from hybridtrain.plan.problem import Problem, learn
from hybridtrain.run.initial import Initial, common_reading, initial_parameters, named_as
from hybridtrain.run.snapshot import Parameters


@dataclass(frozen=True, slots=True)
class Posed:
    """Hold the problem of a run.

    Attributes
    ----------
    problem, held_out : Problem
        The rows to train and to measure on; the latter may be None.
    start : (coef, intercept)
        The parameters to start from, in the coordinates of the problem.
    reading : dict or None
        How the file of the data was read.
    """

    problem: Problem
    held_out: Problem | None
    start: Parameters
    reading: dict[str, Any] | None


def pose(
    model: Linear,
    data: Any,
    settings: Settings,
    *,
    validation: Any,
    init: Any,
    initial: Initial | None,
    scale: str | Scaling | None,
) -> Posed:
    """Read and check the rows, and scale them if they need it.

    Parameters
    ----------
    model, data, validation, init, scale
        As for `train`.
    settings : Settings
    initial : Initial or None
        What `init` has.

    Raises
    ------
    InvalidDataError, InvalidSettingError, OutOfMemoryError, OSError
        As `train`.
    """
    classes = None if initial is None else initial.classes
    with needing_memory("checking the rows"):
        data = read_rows(data)
        reading = common_reading(data, init)
        rows, held_out = hold_out(
            model,
            data,
            validation,
            classes=classes,
            seed=settings.seed,
            threads=settings.workers,
        )
        rows, held_out = standardised(
            model,
            rows,
            held_out,
            scale,
            allows_sparse=allows_scaled_sparse(model, settings.optimizer),
            threads=settings.workers,
        )
        problem, measured = learn(model, rows, held_out, classes)
        problem = named_as(initial, problem)
        return Posed(problem, measured, initial_parameters(initial, problem), reading)
