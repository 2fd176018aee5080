# SPDX-License-Identifier: BSD-3-Clause
"""Every form of rows, loss, optimizer and strategy that go together; the rest is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from reference.problems import Problem, planted
from scipy import optimize, sparse, special
from sklearn.linear_model import LogisticRegression

import hybridtrain as ht
from hybridtrain._core.rows import isas

STRATEGIES = ["hybrid", "hybrid(every=7)", "hogwild", "hogwild(exact=True)", "sync"]
SPARSE_OPTIMIZERS = [ht.SGD(), ht.SGD(average=True), ht.AdaGrad(), ht.FTRL()]
DENSE_OPTIMIZERS = [ht.SGD(momentum=0.9), ht.Adam()]
OPTIMIZERS = [*SPARSE_OPTIMIZERS, *DENSE_OPTIMIZERS]
L2 = 0.02


@pytest.fixture(scope="module")
def tall() -> Problem:
    return planted(5, 900, 21, longest=20)


def _classes(problem: Problem) -> npt.NDArray[np.intp]:
    return np.digitize(problem.values, np.quantile(problem.values, [0.3, 0.7]))


def _optimum(X: Any, y: npt.NDArray[np.intp], n_classes: int) -> float:
    """Return the least regularised softmax loss, by another method."""
    dense = X.toarray() if sparse.issparse(X) else X
    features = np.hstack([dense.astype(np.float64), np.ones((len(y), 1))])

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


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("form", ["sparse", "dense"])
def test_softmax_reaches_the_optimum_or_is_refused_with_what_to_use(
    form: str, strategy: str, optimizer: Any, workers: int, tall: Problem
) -> None:
    X = tall.X if form == "sparse" else tall.X.toarray()
    y = _classes(tall)
    settings: dict[str, Any] = {"strategy": strategy, "optimizer": optimizer, "workers": workers}
    model = ht.Linear(loss="softmax", l2=L2)
    goes = strategy == "sync" or optimizer in SPARSE_OPTIMIZERS
    goes = goes or (form == "dense" and strategy.startswith("hybrid"))
    if not goes:
        with pytest.raises(ht.InvalidSettingError, match=r"AdaGrad\(\) or ht.FTRL\(\)"):
            ht.train(model, (X, y), epochs=1, **settings)
        return
    result = ht.train(model, (X, y), epochs=60, **settings)
    assert result.params["coef"].shape == (3, 21)
    assert result.params["intercept"].shape == (3,)
    best = _optimum(X, y, 3)
    assert best - 1e-5 < _objective(result, X, y) < 1.03 * best


@pytest.mark.parametrize("optimizer", [ht.AdaGrad(lr=0.1), ht.FTRL(lr=0.1)], ids=repr)
@pytest.mark.parametrize("strategy", ["hybrid", "hogwild", "sync"])
@pytest.mark.parametrize("loss", ["logistic", "softmax", "squared", "huber", "hinge"])
def test_dense_rows_have_the_bits_of_the_same_rows_as_csr(
    loss: Any, strategy: str, optimizer: Any, tall: Problem
) -> None:
    dense = tall.X.toarray()
    dense[dense == 0] = 0.125  # or CSR leaves them out, and the penalty with them
    y = tall.values if loss in ("squared", "huber") else tall.labels
    bits = []
    for X in (dense, sparse.csr_matrix(dense)):
        model = ht.Linear(loss=loss, l2=L2)
        settings: dict[str, Any] = {"strategy": strategy, "optimizer": optimizer, "workers": 1}
        settings["batch_size"] = 64 if strategy == "sync" else None
        result = ht.train(model, (X, y), epochs=2, **settings)
        bits.append(result.params["coef"].view(np.uint32))
    assert np.array_equal(*bits)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize("loss", ["logistic", "softmax"])
@pytest.mark.parametrize("form", ["sparse", "dense"])
def test_sync_has_the_same_bits_for_any_workers_and_instruction_set(
    form: str, loss: Any, optimizer: Any, tall: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    X = tall.X if form == "sparse" else tall.X.toarray()
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


def test_softmax_of_two_classes_is_logistic(tall: Problem) -> None:
    two = ht.train(ht.Linear(loss="softmax", l2=L2), (tall.X, tall.labels), epochs=100)
    one = ht.train(ht.Linear(l2=L2 / 2), (tall.X, tall.labels), epochs=100)
    difference = two.predict_proba(tall.X) - one.predict_proba(tall.X)
    assert np.abs(difference).max() < 0.01
    assert two.classes is not None
    assert two.classes.tolist() == [False, True]


@pytest.mark.parametrize("strategy", ["hybrid", "hogwild", "sync"])
def test_an_average_is_nearer_to_the_optimum_than_what_it_averages(
    strategy: str, tall: Problem
) -> None:
    y = _classes(tall)
    best = _optimum(tall.X, y, 3)
    found = []
    for optimizer in (ht.SGD(schedule="constant"), ht.SGD(average=True)):
        model = ht.Linear(loss="softmax", l2=L2)
        settings: dict[str, Any] = {"strategy": strategy, "optimizer": optimizer, "workers": 1}
        result = ht.train(model, (tall.X, y), epochs=30, **settings)
        found.append(_objective(result, tall.X, y) - best)
    assert found[1] < 0.7 * found[0]


def test_ftrl_finds_the_zeros_of_the_optimum_under_l1(tall: Problem) -> None:
    l1, n_rows = 0.03, tall.X.shape[0]
    peer = LogisticRegression(
        C=1 / (l1 * n_rows), l1_ratio=1.0, solver="saga", tol=1e-4, max_iter=10_000, random_state=0
    )
    best = peer.fit(tall.X, tall.labels).coef_[0]
    assert 2 < (best == 0).sum() < 19
    model = ht.Linear(l1=l1)
    result = ht.train(model, (tall.X, tall.labels), optimizer="ftrl", workers=1, epochs=100)
    found = result.params["coef"]
    assert np.array_equal(found == 0, best == 0)
    assert np.abs(found - best).max() < 0.02


def test_a_saved_softmax_comes_back(tall: Problem, tmp_path: Any) -> None:
    names = np.array(["low", "middle", "high"])[_classes(tall)]
    result = ht.train(ht.Linear(loss="softmax"), (tall.X, names), workers=1)
    result.save(tmp_path / "model.npz")
    loaded = ht.load(tmp_path / "model.npz")
    assert loaded.classes is not None
    assert loaded.classes.tolist() == ["high", "low", "middle"]
    assert np.array_equal(loaded.predict(tall.X), result.predict(tall.X))
    again = ht.train(ht.Linear(loss="softmax"), (tall.X, names), workers=1, init=loaded)
    assert again.history[-1].loss < result.history[-1].loss
