# SPDX-License-Identifier: BSD-3-Clause
"""The state of a run that another strategy goes on with after an epoch.

The parameters and their average mean the same to every strategy. The rest of the state does not:
gradients are of rows in the stream and means over a batch in the round, steps are counted in rows
and in batches, and the rates differ. docs/strategies/switch.md has the rule of each array and the
reason.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from hybridtrain._core.optimizer import contents
from hybridtrain._core.state import average_weight
from hybridtrain.data.arrays import Doubles, Floats
from hybridtrain.plan.base import Plan, Run, run_constants
from hybridtrain.plan.local import NO_LOSS
from hybridtrain.plan.penalties import l1_factor
from hybridtrain.run.snapshot import Snapshot, take

_ROUND = "batches"  # among the numbers of the round alone


def carried(saved: Snapshot, old: Plan, w: Floats, run: Run, new: Plan) -> Snapshot:
    """Return the state that a run of another plan goes on from.

    Parameters
    ----------
    saved : Snapshot
        Of a run of the old plan, whose workers rest after an epoch.
    old : Plan
    w : float32 array (n_features + 1, n_outputs)
        The last iterate of that run, in the user's order.
    run : Run
        Of the new plan, just opened.
    new : Plan

    Returns
    -------
    Snapshot
        `saved` itself if both plans are the same one. A square may be too large for float32 in
        the units of the new plan: then it is infinite.
    """
    if new is old:
        return saved
    with np.errstate(over="ignore"):
        return _converted(saved, old, w, run, new)


def _converted(saved: Snapshot, old: Plan, w: Floats, run: Run, new: Plan) -> Snapshot:
    blank = take(run, new, saved.identity, saved.job, None)
    assert blank is not None
    numbers = _numbers(blank.numbers, new, saved.numbers["epoch"])
    values: dict[str, Any] = dict(zip(_names(old, saved.numbers), saved.arrays, strict=False))
    shrink = old.rows_a_gradient / new.rows_a_gradient
    slower = old.choices["lr"] / new.choices["lr"]
    factors = {
        "sum of squares": shrink**2,
        "mean of squares": shrink,
        "velocity": slower,
        "mean": slower * math.sqrt(shrink),
    }
    for name in factors.keys() & values.keys():
        values[name] = values[name] * np.float32(factors[name])
    if "mean" in values:
        constants = new.optimizer.constants()
        for name, decay in (("mean", "decay1"), ("mean of squares", "decay2")):
            kept = [
                constants[decay] ** _n_gradients(plan, each)
                for plan, each in ((new, numbers), (old, saved.numbers))
            ]
            values[name] = values[name] * np.float32((1.0 - kept[0]) / (1.0 - kept[1]))
    if "z" in values:
        values["w"] = w
        if shrink != 1.0 or slower != 1.0:
            values["z"] = _z(values, shrink, new, _n_gradients(new, numbers))
    names = _names(new, numbers)[: len(blank.arrays)]
    none = np.zeros_like(w)  # an outer velocity begins with its strategy
    arrays = np.stack([values.get(name, none) for name in names]).astype(np.float32, copy=False)
    return replace(blank, numbers=numbers, arrays=arrays, done=np.ones_like(blank.done))


def _names(plan: Plan, numbers: dict[str, Any]) -> tuple[str, ...]:
    """Return what the arrays of a snapshot hold; the average is there if the run takes one."""
    names = contents(plan.optimizer.number)
    if _ROUND in numbers and names[0] == "z":  # the round keeps the w that it was computed to
        names = ("w", *names)
    return (*names, *["outer velocity"] * plan.has_outer, "average")


def _n_gradients(plan: Plan, numbers: dict[str, Any]) -> int:
    """Return how many gradients the state holds, one after the other."""
    return int(numbers[_ROUND if _ROUND in numbers else "rows"]) * plan.gradients_a_step


def _numbers(blank: dict[str, Any], plan: Plan, epochs: int) -> dict[str, Any]:
    """Return the numbers of a run that has trained whole epochs."""
    steps = epochs * plan.steps_per_epoch
    if _ROUND in blank:
        return {**blank, "epoch": epochs, _ROUND: steps, "last_loss": NO_LOSS}
    numbers = {**blank, "epoch": epochs, "rows": steps}
    each = run_constants(plan.problem, plan.optimizer)["averages_per_epoch"]
    if each:
        weight = average_weight(each * epochs)
        numbers["average_last"] = each * epochs
        # Each worker averages all hot coordinates, and its own part of the others.
        numbers |= {"hot_weight": weight * plan.workers, "cold_weight": weight}
    return numbers


def _z(values: dict[str, Any], shrink: float, plan: Plan, n_steps: int) -> Doubles:
    """Return the z of a dual optimizer for the same w: w is its function (ht_optimizer.h)."""
    model, beta = plan.problem.model, float(plan.optimizer.constants()["beta"])
    factor = l1_factor(plan.problem, plan.optimizer)
    c1 = np.ones(len(values["w"])) if factor is None else factor.astype(np.float64)
    c1[0] = 0.0  # the intercept has no penalty
    most = c1[:, None] * model.l1 * n_steps
    w, z = values["w"].astype(np.float64), values["z"].astype(np.float64)
    root = np.sqrt(values["sum of squares"].astype(np.float64))
    slope = (beta + root) / float(plan.choices["lr"]) + c1[:, None] ** 2 * model.l2 * n_steps
    within = np.clip(z * shrink, -most, most)
    beyond: Doubles = -(w * slope + np.sign(w) * most)
    return np.where(w == 0.0, within, beyond)
