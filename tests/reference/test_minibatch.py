# SPDX-License-Identifier: BSD-3-Clause
"""Sync with one worker is plain minibatch descent, bit for bit, on each instruction set."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from reference import minibatch
from reference.loss import OWN
from reference.problems import planted

import hybridtrain as ht
from hybridtrain._core.loss import LOSSES
from hybridtrain._core.rows import isas
from hybridtrain.plan.rates import LRS_PER_EPOCH

N_ROWS, N_FEATURES, EPOCHS, SEED = 331, 75, 2, 11
N_DENSE_ROWS = 1200  # for batches of tasks of several rows


@dataclass(frozen=True)
class Case:
    """One arithmetic."""

    loss: str
    optimizer: str
    l1: float
    l2: float
    intercept: bool
    weighted: bool
    ones: bool
    exact: bool
    batch_size: int
    dense: bool = False


def _compare(case: Case, names: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    n_rows = N_DENSE_ROWS if case.dense else N_ROWS
    problem = planted(3, n_rows, N_FEATURES, longest=40, ones=case.ones)
    X = problem.X.toarray() if case.dense else problem.X
    own = OWN.get(case.loss, {})
    model = ht.Linear(loss=case.loss, l1=case.l1, l2=case.l2, fit_intercept=case.intercept, **own)
    y: Any = problem.labels if model.is_classifier else problem.values
    y = np.abs(y) if case.loss == "poisson" else y
    targets = np.where(y, 1, -1).astype(np.float32) if model.is_classifier else y
    weight = np.random.default_rng(2).uniform(0.5, 2, n_rows).astype(np.float32)
    scaled = (weight.astype(np.float64) / weight.astype(np.float64).mean()).astype(np.float32)
    kind = ht.SGD if case.optimizer == "sgd" else ht.AdaGrad
    lr, size = (0.01, 0.1) if case.loss == "poisson" else (0.25, 1.0)  # means are not too large
    init = {"coef": np.linspace(-size, size, N_FEATURES).astype(np.float32), "intercept": 0.0}
    expected = None
    for name in names:
        monkeypatch.setenv("HYBRIDTRAIN_ISA", name)
        try:
            result = ht.train(
                model,
                (X, y, weight) if case.weighted else (X, y),
                strategy=ht.Sync(exact=case.exact),
                optimizer=kind(lr=lr, schedule=ht.Constant()),
                workers=1,
                epochs=EPOCHS,
                batch_size=case.batch_size,
                seed=SEED,
                init=init,
            )
        except ht.DivergedError as error:  # the rate is too large for some of the losses
            result = error.result
        assert result.settings["isa"] == name
        assert result.settings["refused_steps"] == 0
        if expected is None:
            task_rows = result.settings["task_rows"]
            weights = scaled if case.weighted else None
            largest = max(float(np.abs(problem.X.data).max()), float(case.intercept))
            run = minibatch.Run(
                loss=case.loss,
                optimizer=case.optimizer,
                lrs=np.full(EPOCHS * LRS_PER_EPOCH, lr, np.float32),
                lrs_per_epoch=LRS_PER_EPOCH,
                task_rows=task_rows,
                batch_tasks=case.batch_size // task_rows,
                seed=SEED,
                l1=case.l1,
                l2=case.l2,
                intercept=case.intercept,
                exact=case.exact,
                bound=2.0 ** np.ceil(np.log2(1.0 if weights is None else weights.max())),
                largest_value=largest,
                parameter=model.loss_object.parameter(targets),
            )
            expected = minibatch.train(X, targets, weights, run, (init["coef"], 0.0))
        coef, intercept, losses = expected
        assert not np.array_equal(coef, init["coef"])
        assert np.array_equal(result.params["coef"].view(np.uint32), coef.view(np.uint32)), case
        assert np.float32(result.params["intercept"]) == intercept
        assert [r.loss for r in result.history] == pytest.approx(losses, rel=2e-6, abs=1e-7)


@pytest.mark.parametrize("optimizer", ["sgd", "adagrad"])
def test_plain_sums_equal_the_reference(optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    penalties = ((0.0, 0.0), (0.0, 0.01), (0.002, 0.01))
    flags = itertools.product(LOSSES, penalties, (True, False))
    for i, (loss, (l1, l2), intercept) in enumerate(flags):
        case = Case(loss, optimizer, l1, l2, intercept, i % 2 == 0, i % 3 == 0, False, 64)
        _compare(case, isas(), monkeypatch)


@pytest.mark.parametrize("optimizer", ["sgd", "adagrad"])
@pytest.mark.parametrize(
    ("loss", "batch_size"), [("logistic", 1), ("hinge", 7), ("logistic", 96), ("hinge", 331)]
)
def test_exact_sums_equal_integers(
    optimizer: str, loss: str, batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    weighted, ones = batch_size == 96, batch_size == 7
    case = Case(loss, optimizer, 0.0, 0.01, True, weighted, ones, True, batch_size)
    _compare(case, isas(), monkeypatch)


@pytest.mark.parametrize("optimizer", ["sgd", "adagrad"])
@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(
    ("loss", "batch_size"), [("logistic", 1), ("hinge", 7), ("squared", 96), ("hinge", 640)]
)
def test_dense_rows_are_summed_by_task(
    optimizer: str, exact: bool, loss: str, batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    weighted, intercept = batch_size == 96, batch_size != 7
    penalty = (0.0, 0.01) if weighted else (0.0, 0.0)
    case = Case(loss, optimizer, *penalty, intercept, weighted, False, exact, batch_size, True)
    _compare(case, isas(), monkeypatch)
