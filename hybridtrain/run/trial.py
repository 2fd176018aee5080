# SPDX-License-Identifier: BSD-3-Clause
"""Trials: a few short runs on a sample of the rows choose the factor of an automatic rate.

A closed form gives the rate at which no row is overshot (plan/rates.py). How much more, or
less, is best depends on how the classes, the values and the rare features lie: a few times
more for text and rare classes, half as much where columns are correlated. A trial trains one
pass over a part of the sample, with the schedule of the run, and is judged by the loss of the
rest of the sample. Everything is counted in rows, so that equal data give equal rates.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hybridtrain.data.arrays import Floats
from hybridtrain.errors import InvalidSettingError
from hybridtrain.interrupts import Interrupts
from hybridtrain.machine import usable_cores
from hybridtrain.plan.base import Plan, Run, Settings
from hybridtrain.plan.problem import Problem
from hybridtrain.run.evaluate import mean_loss
from hybridtrain.run.threads import Workers

_SHARE = 1.0 / 16.0  # of the rows, in a trial
_MOST_SHARE = 1.0 / 4.0  # where batches are large
_LEAST_ROWS, _MOST_ROWS = 2048, 8192
_MOST_OF_BATCHES = 32_768  # rows; a sample is copied, however large the batches are
_HELD_OUT = 0.25  # of the sample
_LEAST_BATCHES = 16  # in a trial
_STEP = 4.0  # between factors that are tried
_MOST, _LEAST = 64.0, 1.0 / 64.0
_NEAR = 1.25  # of the smallest loss: a factor that may be chosen
_NOTABLE = 0.005  # of the loss at the start
_LONG = 4  # times the rows of a trial, in an epoch
_ALIKE = 0.02  # of what the best trial has gained on the loss at the start
_USUAL_EPOCHS, _LEAST_OF_LENGTH = 5, 0.5
_GLANCE_SECONDS = 0.2

Parameters = tuple[Floats, Any]  # coef and intercept


def fitted_rate(
    problem: Problem,
    settings: Settings,
    plan: Plan,
    planner: Callable[[Problem, Settings], Plan],
    start: Parameters,
) -> tuple[float, dict[str, Any]]:
    """Return the factor of the automatic rate with the smallest loss, and what it took.

    Parameters
    ----------
    problem : Problem
    settings : Settings
    plan : Plan
        The plan with the automatic rate itself; its batch size is used.
    planner : function
        Plans a trial.
    start : (coef, intercept)
        The parameters that the run starts from.

    Returns
    -------
    factor : float
        For SGD less in a run of more than 5 epochs.
    costs : dict
        For the settings of the result: the "factor", the "losses" by factor (None: diverged),
        the "rows" of all trials and their "seconds". Empty if there are too few rows.
    """
    started = time.perf_counter()
    batch_size = int(plan.choices["batch_size"])
    sample = _sample(problem, start, batch_size)
    if sample is None:
        return 1.0, {}
    n_rows = sample.trained.matrix.n_rows
    batch = None
    if batch_size > 1:
        batch = max(min(batch_size, n_rows // _LEAST_BATCHES), 1)
    optimizer = settings.optimizer
    if "average" in optimizer.__dataclass_fields__:  # it hides how noisy high rates are
        optimizer = replace(optimizer, average=False)
    own = replace(
        settings,
        optimizer=optimizer,
        workers=1,
        epochs=1,
        batch_size=batch,
        is_timed=False,
        backend="threads",
        is_node=False,
    )
    single = planner(sample.trained, own)
    threads = min(settings.workers, usable_cores())
    tried: dict[float, float] = {}
    losses: dict[float, float] = {}  # of those that the choice needs, on any number of threads

    def objective(parameters: Parameters) -> float:
        loss = mean_loss(sample.held_out, *parameters, isa=settings.isa, threads=1)
        return loss + sample.held_out.penalty(*parameters)

    def loss_of(factor: float, likely: Sequence[float] = ()) -> float:
        if factor not in tried:
            factors = [factor, *(f for f in likely if f not in tried)][:threads]
            for each, trained in zip(factors, _trained(single, factors, sample.start), strict=True):
                tried[each] = math.inf if trained is None else objective(trained)
        losses[factor] = tried[factor]
        return losses[factor]

    is_long = problem.matrix.n_rows >= _LONG * n_rows
    before = objective(sample.start)
    factor = _search(loss_of, start=before, is_long=is_long)
    if not settings.optimizer.is_adaptive:  # the steps of others become smaller by themselves
        if is_long and factor <= 1.0:
            factor = _halved(loss_of, factor, start=before)
        factor *= _of_length(plan.rates.epochs)
    return factor, {
        "factor": factor,
        "losses": {f"{factor:g}": _finite(loss) for factor, loss in sorted(losses.items())},
        "rows": n_rows * len(losses),
        "seconds": time.perf_counter() - started,
    }


def _of_length(epochs: int) -> float:
    """Return the factor of a run's length: a long run comes as far with smaller steps.

    The best rate falls with the number of steps, but slowly: on eleven sets, half of the
    best rate for 5 epochs was as good or better for 20, and no less was.
    """
    return max(math.sqrt(min(_USUAL_EPOCHS / epochs, 1.0)), _LEAST_OF_LENGTH)


def _finite(loss: float) -> float | None:
    return loss if math.isfinite(loss) else None


@dataclass(frozen=True, slots=True)
class _Sample:
    """Hold the rows of the trials, the rows that judge them, and where the trials start."""

    trained: Problem
    held_out: Problem
    start: Parameters


def _sample(problem: Problem, start: Parameters, batch_size: int) -> _Sample | None:
    """Draw a fixed sample; None if there are too few rows or elements."""
    n_rows = problem.matrix.n_rows
    n_trained = min(max(int(n_rows * _SHARE), _LEAST_ROWS), _MOST_ROWS)
    of_batches = min(_LEAST_BATCHES * batch_size, int(n_rows * _MOST_SHARE), _MOST_OF_BATCHES)
    n_trained = max(n_trained, of_batches)
    n_sampled = min(int(n_trained / (1.0 - _HELD_OUT)), n_rows)
    n_held = int(n_sampled * _HELD_OUT)
    if n_held < 1:
        return None
    ids = np.unique(np.linspace(0, n_rows - 1, n_sampled).astype(np.intp))
    drawn = problem.take(np.random.default_rng(0).permutation(ids))
    if drawn.matrix.n_elements == 0:
        return None
    if problem.matrix.n_features > drawn.matrix.n_elements:  # most columns are empty here
        matrix, kept = drawn.matrix.held_columns()
        scaling = drawn.scaling and drawn.scaling.of_columns(kept)
        drawn = replace(drawn, matrix=matrix, scaling=scaling)
        start = start[0][..., kept], start[1]
    return _Sample(drawn.take(slice(n_held, None)), drawn.take(slice(n_held)), start)


def _search(
    loss_of: Callable[[float, Sequence[float]], float], *, start: float, is_long: bool
) -> float:
    """Return 1, or a larger or smaller factor with the smallest loss.

    The closed form is right for most data, and a short trial on few rows is not quite the run:
    each errs by a few times. The factor is half way, in powers of two, to the one with the
    smallest loss, unless half way is much worse in a trial. It must be notably better than the
    closed form: where classes can be told apart without an error, ever larger steps lower a
    loss that is almost 0. In a long run a smaller factor need only be as good, and is taken
    whole: an epoch has more rows than a trial, and so needs smaller steps, and large ones make
    the first epochs noisy.

    Parameters
    ----------
    loss_of : function
        Returns the loss of a factor; is told, too, which factors may be asked for next.
    start : float
        The loss before any step.
    is_long : bool
        Whether an epoch of the run has several times the rows of a trial.
    """
    best, notable = 1.0, _NOTABLE * start
    while best * _STEP <= _MOST:
        likely = best, math.sqrt(best), best / _STEP
        if loss_of(best * _STEP, likely) >= loss_of(best, ()) - notable:
            break
        best *= _STEP
    least = loss_of(best, ())
    while best <= 1.0 and best / _STEP >= _LEAST:
        loss = loss_of(best / _STEP, (best / _STEP**2,))
        most = least - notable
        if is_long:
            least = min(loss, least)
            most = least + _ALIKE * max(start - least, 0.0)
        if loss >= most and math.isfinite(least):
            break
        least = min(loss, least)
        best /= _STEP
    if not math.isfinite(least):
        return 1.0
    if is_long and best < 1.0:
        return best
    middle = math.sqrt(best)
    return middle if loss_of(middle, ()) <= _NEAR * least + notable else best


def _halved(
    loss_of: Callable[[float, Sequence[float]], float], factor: float, *, start: float
) -> float:
    """Return half of a long run's factor if that is as good, as `_search` says it; or the factor.

    A search in steps of 4 errs by up to 2, and large steps cost one worker more than several,
    whose means are less noisy.
    """
    loss = loss_of(factor, ())
    half = loss_of(factor / 2.0, ())
    is_as_good = math.isfinite(half) and half <= loss + _ALIKE * max(start - loss, 0.0)
    return factor / 2.0 if is_as_good else factor


def _trained(single: Plan, factors: Sequence[float], start: Parameters) -> list[Parameters | None]:
    """Train one epoch at each multiple of a plan's rate, side by side with one worker each.

    Returns
    -------
    list
        The parameters; None where they diverged.
    """
    lr, results = float(single.choices["lr"]), dict.fromkeys(factors)
    with Interrupts() as interrupts, ExitStack() as stack:
        runs = {}
        for factor in factors:
            try:
                plan = single.at_rate(lr * factor)
            except InvalidSettingError:  # the rate is out of the range of float32
                continue
            runs[factor] = stack.enter_context(_training(plan, start))
        for factor, run in runs.items():
            while not run.await_rest(_GLANCE_SECONDS):
                interrupts.check()
            parameters = np.empty(run.n_parameters, np.float32)
            run.store(parameters)
            if not run.epoch_report()["diverged"] and np.isfinite(parameters).all():
                results[factor] = single.from_trained(parameters)
    interrupts.check()
    return list(results.values())


@contextmanager
def _training(plan: Plan, start: Parameters) -> Iterator[Run]:
    """Let a worker train the first epoch; it has left when the context ends."""
    run = plan.open()
    workers = Workers(run, 1, "hybridtrain-trial")
    try:
        run.load(plan.to_trained(*start))
        workers.start()
        run.set_rates(1, plan.rates.of_epoch(1))
        run.begin(1)
        yield run
    finally:
        run.stop_epoch()
        try:
            workers.leave()
        finally:
            run.close()
