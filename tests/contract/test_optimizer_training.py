# SPDX-License-Identifier: BSD-3-Clause
"""What training with every optimizer promises: bits, the optimum, penalties, rates."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from reference import dense
from reference.problems import Problem, planted
from scipy import optimize, sparse, special
from support.optimizers import ALL, STRATEGIES, averages, every_optimizer, goes, going, has

import hybridtrain as ht
from hybridtrain._core import optimizer as core
from hybridtrain._core.rows import isas
from hybridtrain.data.scaling import Scaling
from hybridtrain.optimizers.base import Optimizer

L2 = 0.02
CORE_NAMES = {number: name for name, number in core.OPTIMIZERS.items()}

both_forms = pytest.mark.parametrize("form", ["sparse", "dense"])


@pytest.fixture(scope="module")
def tall() -> Problem:
    """Rows of few features, for which the optimum is found soon."""
    return _tall()


def _tall() -> Problem:
    return planted(5, 900, 21, longest=20)


def _rows(problem: Problem, form: str) -> Any:
    return problem.X if form == "sparse" else problem.X.toarray()


def _strategy_of(optimizer: Optimizer) -> str:
    """Return a strategy that every kind of rows goes with."""
    return "sync" if optimizer.needs_dense_steps else "hybrid"


def _steady(optimizer: Optimizer, lr: float) -> Optimizer:
    """Return the optimizer at a constant rate."""
    schedule = {"schedule": "constant"} if has(optimizer, "schedule") else {}
    return dataclasses.replace(optimizer, lr=lr, **schedule)


def _bits(values: Any) -> npt.NDArray[np.uint32]:
    return np.asarray(values, np.float32).view(np.uint32)


# ---- bits


@pytest.mark.parametrize(
    ("form", "strategy", "optimizer"),
    going(
        ["dense"],
        ["hybrid", "hogwild", "hogwild(exact=True)"],
        [optimizer for optimizer in ALL if not averages(optimizer)],
    ),
)
def test_one_worker_on_dense_rows_equals_the_reference_bit_for_bit(
    form: str, strategy: str, optimizer: Optimizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    del form
    is_hot = strategy == "hybrid"
    rng = np.random.default_rng(4)
    given = rng.standard_normal((70, 21)).astype(np.float32)
    given[:, 5] = 0.0
    values = (given @ rng.standard_normal(21)).astype(np.float32)
    penalties = [(0.0, 0.0), (0.0, 0.02), (0.01, 0.02)]
    scales = [None, 0.3 + 0.4 * (np.arange(21) % 5)]
    for name, (l1, l2), intercept, scale in itertools.product(
        ("logistic", "squared"), penalties, (True, False), scales
    ):
        X = given if scale is None else (given / scale).astype(np.float32)
        model = ht.Linear(loss=name, l1=l1, l2=l2, fit_intercept=intercept)  # type: ignore[arg-type]
        run = dense.Run(
            loss=name,
            optimizer=CORE_NAMES[optimizer.number],
            constants=optimizer.constants(),
            lr=0.01,
            l1=l1,
            l2=l2,
            intercept=intercept,
            is_hot=is_hot,
            rows_in_flight=4 if is_hot else 1,
            epochs=3,
            seed=11,
            l1_factor=None if scale is None else (1 / scale).astype(np.float32),
        )
        y = np.where(values > 0, 1, -1).astype(np.float32) if model.is_classifier else values
        coef, at = dense.train(X, y, run)
        assert np.any(coef)
        for isa in isas():
            monkeypatch.setenv("HYBRIDTRAIN_ISA", isa)
            result = ht.train(
                model,
                (given, y),
                strategy=strategy,
                optimizer=_steady(optimizer, 0.01),
                workers=1,
                epochs=3,
                seed=11,
                init={"coef": np.zeros(21)},
                scale=None if scale is None else Scaling(scale=scale),
            )
            expected = coef if scale is None else (coef / scale).astype(np.float32)
            assert np.array_equal(_bits(result.params["coef"]), _bits(expected)), run
            assert _bits(result.params["intercept"]) == _bits(at), run


@pytest.mark.parametrize(
    ("form", "strategy", "optimizer"),
    going(["sparse"], ["hybrid", "hogwild", "sync(exact=False)"], ALL),
)
@pytest.mark.parametrize("loss", ["logistic", "softmax", "squared", "huber", "hinge"])
def test_dense_rows_have_the_bits_of_the_same_rows_as_csr(
    loss: Any, form: str, strategy: str, optimizer: Optimizer, tall: Problem
) -> None:
    del form
    rows = tall.X.toarray()
    rows[rows == 0] = 0.125  # or CSR leaves them out, and the penalty with them
    y = tall.values if loss in ("squared", "huber") else tall.labels
    bits = []
    for X in (rows, sparse.csr_matrix(rows)):
        result = ht.train(
            # The intercept of dense rows may have another rate.
            ht.Linear(loss=loss, l2=L2, fit_intercept=False),
            (X, y),
            strategy=strategy,
            optimizer=_steady(optimizer, 0.01),
            batch_size=32 if strategy.startswith("sync") else None,  # tasks of one row each
            workers=1,
            epochs=2,
        )
        bits.append(_bits(result.params["coef"]))
    assert np.array_equal(*bits)


@every_optimizer
@pytest.mark.parametrize("loss", ["logistic", "softmax"])
@both_forms
def test_sync_has_the_same_bits_for_any_workers_and_instruction_set(
    form: str, loss: Any, optimizer: Optimizer, tall: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    X = _rows(tall, form)
    y = _classes(tall) if loss == "softmax" else tall.labels
    found = set()
    for isa in isas():
        monkeypatch.setenv("HYBRIDTRAIN_ISA", isa)
        for workers in (1, 2, 5):
            result = ht.train(
                ht.Linear(loss=loss, l1=1e-3, l2=L2),
                (X, y),
                strategy="sync",
                optimizer=optimizer,
                workers=workers,
                epochs=3,
            )
            found.add(result.params["coef"].tobytes())
    assert len(found) == 1


# ---- what it learns


def _classes(problem: Problem) -> npt.NDArray[np.intp]:
    return np.digitize(problem.values, np.quantile(problem.values, [0.3, 0.7]))


def _optimum(X: Any, y: npt.NDArray[np.intp], n_classes: int) -> float:
    """Return the least regularised softmax loss, by another method."""
    table = X.toarray() if sparse.issparse(X) else X
    features = np.hstack([table.astype(np.float64), np.ones((len(y), 1))])

    def objective(flat: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        w = flat.reshape(n_classes, -1)
        log_p = special.log_softmax(features @ w.T, axis=1)
        residual = np.exp(log_p)
        residual[np.arange(len(y)), y] -= 1
        gradient = residual.T @ features / len(y)
        gradient[:, :-1] += L2 * w[:, :-1]
        loss = -log_p[np.arange(len(y)), y].mean() + L2 / 2 * (w[:, :-1] ** 2).sum()
        return float(loss), gradient.ravel()

    start = np.zeros(n_classes * features.shape[1])
    return float(optimize.minimize(objective, start, jac=True, method="L-BFGS-B").fun)


def _objective(result: ht.Result, X: Any, y: npt.NDArray[np.intp]) -> float:
    log_p = np.log(result.predict_proba(X).astype(np.float64))
    penalty = L2 / 2 * (result.params["coef"].astype(np.float64) ** 2).sum()
    return float(-log_p[np.arange(len(y)), y].mean() + penalty)


@functools.cache
def _optimum_of_tall() -> float:
    tall = _tall()
    return _optimum(tall.X, _classes(tall), 3)


@pytest.mark.parametrize("workers", [1, 3])
@every_optimizer
@pytest.mark.parametrize("strategy", STRATEGIES)
@both_forms
def test_it_reaches_the_optimum_or_is_refused_with_what_to_use(
    form: str, strategy: str, optimizer: Optimizer, workers: int, tall: Problem
) -> None:
    X, y = _rows(tall, form), _classes(tall)
    settings: dict[str, Any] = {"strategy": strategy, "optimizer": optimizer, "workers": workers}
    model = ht.Linear(loss="softmax", l2=L2)
    if not goes(optimizer, strategy, form):
        with pytest.raises(ht.InvalidSettingError, match=r"AdaGrad\(\) or ht.FTRL\(\)") as caught:
            ht.train(model, (X, y), epochs=1, **settings)
        assert f"{optimizer!r} changes every parameter in every step" in str(caught.value)
        return
    result = ht.train(model, (X, y), epochs=60, **settings)
    assert result.settings["optimizer"] == repr(optimizer)
    assert result.params["coef"].shape == (3, 21)
    assert result.params["intercept"].shape == (3,)
    best = _optimum_of_tall()
    assert best - 1e-5 < _objective(result, X, y) < 1.03 * best


@pytest.mark.parametrize(
    ("form", "strategy", "optimizer"), going(["sparse", "dense"], STRATEGIES, ALL)
)
def test_training_lowers_the_loss(
    form: str, strategy: str, optimizer: Optimizer, tall: Problem
) -> None:
    data = (_rows(tall, form), tall.values)
    settings: dict[str, Any] = {"strategy": strategy, "optimizer": optimizer, "workers": 2}
    history = ht.train(ht.Linear(loss="squared"), data, epochs=8, **settings).history
    assert history[-1].loss < 0.5 * history[0].loss


def _above_optimum(problem: Problem, strategy: str, workers: int, optimizer: Any) -> list[float]:
    """Return the objective above the optimum without the average, and with it."""
    y = _classes(problem)
    best = _optimum(problem.X, y, 3)
    found = []
    for average in (False, True):
        result = ht.train(
            ht.Linear(loss="softmax", l2=L2),
            (problem.X, y),
            strategy=strategy,
            optimizer=dataclasses.replace(optimizer, average=average),
            workers=workers,
            epochs=30,
        )
        found.append(_objective(result, problem.X, y) - best)
    return found


@pytest.mark.parametrize("optimizer", [o for o in ALL if averages(o)], ids=repr)
@pytest.mark.parametrize("strategy", ["hybrid", "hogwild", "sync"])  # replicas are a mean already
def test_at_a_constant_rate_an_average_is_nearer_to_the_optimum(
    strategy: str, optimizer: Any, tall: Problem
) -> None:
    constant = dataclasses.replace(optimizer, schedule="constant")
    last, mean = _above_optimum(tall, strategy, 1, constant)
    assert mean < 0.7 * last


@pytest.mark.parametrize("optimizer", [o for o in ALL if averages(o)], ids=repr)
@pytest.mark.parametrize("strategy", ["hybrid", "hogwild", "local_sgd(replicas=3)", "sync"])
@pytest.mark.parametrize("workers", [1, 2])
def test_an_average_is_never_worse_than_the_last_iterate(
    strategy: str, workers: int, optimizer: Any, tall: Problem
) -> None:
    last, mean = _above_optimum(tall, strategy, workers, optimizer)
    assert mean < last + 1e-3


@pytest.mark.parametrize("strategy", ["hybrid", "hogwild", "local_sgd(replicas=3)", "sync"])
def test_with_l1_the_result_is_the_last_iterate(strategy: str, tall: Problem) -> None:
    coefs = [
        ht.train(
            ht.Linear(l1=0.01),
            (tall.X, tall.labels),
            strategy=strategy,
            optimizer=ht.SGD(average=average),
            workers=1,
        ).params["coef"]
        for average in (False, True)
    ]
    assert coefs[0].tolist() == coefs[1].tolist()


@every_optimizer
@both_forms
def test_penalties_shrink_the_parameters(form: str, optimizer: Optimizer, tall: Problem) -> None:
    sizes, zeros = [], []
    for penalties in ({}, {"l2": 0.3}, {"l1": 0.1}):
        result = ht.train(
            ht.Linear(**penalties),
            (_rows(tall, form), tall.labels),
            strategy=_strategy_of(optimizer),
            optimizer=optimizer,
            workers=1,
            epochs=20,
        )
        coef = result.params["coef"]
        sizes.append(np.abs(coef).sum())
        zeros.append((coef == 0).sum())
    assert max(sizes[1:]) < 0.5 * sizes[0]
    assert zeros[0] <= zeros[1] < zeros[2]


@every_optimizer
@pytest.mark.parametrize("loss", ["logistic", "squared"])
@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_the_automatic_rate_learns_at_any_scale(
    optimizer: Optimizer, loss: Any, scale: float, problem: Problem
) -> None:
    X = problem.X * np.float32(scale)
    y = problem.labels if loss == "logistic" else problem.values
    settings: dict[str, Any] = {"strategy": _strategy_of(optimizer), "workers": 1, "epochs": 20}
    result = ht.train(ht.Linear(loss=loss), (X, y), optimizer=optimizer, **settings)
    assert result.score(X, y) > 0.9


@every_optimizer
def test_targets_that_are_all_zero_leave_all_at_zero(
    optimizer: Optimizer, problem: Problem
) -> None:
    settings: dict[str, Any] = {"strategy": _strategy_of(optimizer), "workers": 1}
    data = (problem.X, np.zeros(400))
    result = ht.train(ht.Linear(loss="squared"), data, optimizer=optimizer, **settings)
    assert result.settings["lr"] > 0
    assert np.all(result.params["coef"] == 0)
