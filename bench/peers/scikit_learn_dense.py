"""scikit-learn's classifiers of several classes on dense float32 rows.

LogisticRegression is softmax, C=1, which is l2 = 1 / rows, so small that the accuracy is
that without; lbfgs computes with the threads of BLAS, saga with one. tol is 0, so that
max_iter says when they stop. SGDClassifier is one classifier against the rest for each
class, on two threads (n_jobs=2): log_loss, alpha=1e-5, average=True and a constant rate
of 0.01, the best of that, 0.03 and 0.1 falling with the inverse 0.25th power of time
("invscaling"), and "optimal", averaged or not. Its rows count once for all classes.
"""

from __future__ import annotations

import time
import warnings
from typing import Any

from sklearn.linear_model import LogisticRegression, SGDClassifier

from bench import softmax
from bench.data import Dataset
from bench.harness import Sample, Side


def _side(data: Dataset, model: Any, epochs: int) -> Side:
    def run() -> Sample:
        started = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it stops at max_iter
            model.fit(data.X, data.y)
        seconds = time.perf_counter() - started
        times = {"seconds": seconds, "whole": seconds, "rate": epochs * len(data.y) / seconds}
        return softmax.measured(data, model.coef_, model.intercept_, **times)

    return run


def logistic(data: Dataset, *, solver: str, epochs: int) -> Side:
    """Return a side that fits LogisticRegression; an epoch of lbfgs is an iteration."""
    return _side(data, LogisticRegression(solver=solver, tol=0, max_iter=epochs), epochs)


def one_against_rest(data: Dataset, *, epochs: int) -> Side:
    """Return a side that fits SGDClassifier."""
    model = SGDClassifier(
        loss="log_loss",
        alpha=1e-5,
        learning_rate="constant",
        eta0=0.01,
        average=True,
        max_iter=epochs,
        tol=None,
        n_jobs=2,
        random_state=0,
    )
    return _side(data, model, epochs)
