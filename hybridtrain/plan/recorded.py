# SPDX-License-Identifier: BSD-3-Clause
"""The plan of a recorded run, as its record has it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hybridtrain.plan.base import Settings
from hybridtrain.plan.problem import Problem
from hybridtrain.plan.stream import StreamPlan, plan_stream


def constants_of(plan: StreamPlan) -> dict[str, Any]:
    """Return what a record must hold of a plan: another machine may choose otherwise."""
    return {
        "optimizer": plan.choices["optimizer"],
        "lr": float(plan.choices["lr"]),
        "rows_in_flight": plan.rows_in_flight,
        "every": plan.every,
        "adds": plan.adds,
        "compensates": plan.compensates,
        "staleness": plan.staleness,
    }


def plan_recorded(problem: Problem, settings: Settings, constants: dict[str, Any]) -> StreamPlan:
    """Return the plan of a run whose features were all hot, with its workers in the settings.

    `every` does not matter to a replay, whose record says when workers merged; 1 stands for a
    number that was measured, so that the number of workers is not chosen again.
    """
    plan = plan_stream(
        problem,
        settings,
        rows_in_flight=constants["rows_in_flight"],
        exact=False,
        hot=1.0,
        every=constants["every"] or 1,
        adds=constants["adds"],
        compensates=constants["compensates"],
        staleness=constants["staleness"],
    )
    choices = {**plan.choices, "optimizer": constants["optimizer"]}  # with its schedule
    return replace(plan, choices=choices).at_rate(constants["lr"])
