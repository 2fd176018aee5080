# SPDX-License-Identifier: BSD-3-Clause
"""What is given for y and sample_weight and is no vector: our error, with the argument's name."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from reference.problems import Problem
from scipy import sparse

import hybridtrain as ht

VALUES = [k % 2 for k in range(400)]
NO_VECTORS: dict[str, Callable[[], Any]] = {
    "ragged": lambda: [[1, 2] if k % 2 else [1] for k in VALUES],
    "nested": lambda: [[k] for k in VALUES],
    "a set": lambda: set(range(400)),
    "a generator": lambda: (k for k in VALUES),
    "a map": lambda: map(float, VALUES),
    "a dict": lambda: dict(enumerate(VALUES)),
    "a dict's values": lambda: dict(enumerate(VALUES)).values(),
    "a number": lambda: 1.0,
    "an array of no dimension": lambda: np.array(1.0),
    "text": lambda: "01" * 200,
    "None": lambda: None,
    "an object": object,
    "a column": lambda: np.array(VALUES)[:, None],
    "a frame": lambda: pd.DataFrame({"y": VALUES}),
    "a sparse matrix": lambda: sparse.csr_matrix(VALUES),
    "three dimensions": lambda: np.zeros((400, 1, 1)),
    "too few": lambda: VALUES[1:],
}


@pytest.mark.parametrize("validation", [None, 0.2])
@pytest.mark.parametrize("kind", NO_VECTORS)
def test_what_is_no_vector_is_refused_by_name(kind: str, validation: Any, problem: Problem) -> None:
    settings = {"workers": 1, "validation": validation}
    for loss in ("logistic", "squared"):
        model = ht.Linear(loss=loss)  # type: ignore[arg-type]  # a name of a loss
        with pytest.raises(ht.InvalidDataError, match=r"^y must"):
            ht.train(model, (problem.X, NO_VECTORS[kind]()), **settings)
    if kind == "None":
        return  # no weights
    data = (problem.X, problem.labels, NO_VECTORS[kind]())
    with pytest.raises(ht.InvalidDataError, match=r"^sample_weight must"):
        ht.train(ht.Linear(), data, **settings)
    result = ht.train(ht.Linear(), data[:2], workers=1, epochs=1)
    with pytest.raises(ht.InvalidDataError, match=r"^sample_weight must"):
        result.score(problem.X, problem.labels, NO_VECTORS[kind]())


NO_NUMBERS: dict[str, Any] = {
    "text": np.array(VALUES).astype(str),
    "numbers as objects": np.array(VALUES, dtype=object),
    "decimals": np.array([Decimal(k) for k in VALUES]),
    "huge ints": [2**70 + k for k in VALUES],
    "complex": np.array(VALUES) + 1j,
    "dates": np.array(VALUES).astype("M8[D]"),
    "categories": pd.Series(VALUES).astype(str).astype("category"),
    "pairs": np.array([(k, k) for k in VALUES], dtype="i4,i4"),
}


@pytest.mark.parametrize("kind", NO_NUMBERS)
def test_what_are_no_numbers_are_refused_by_name(kind: str, problem: Problem) -> None:
    with pytest.raises(ht.InvalidDataError, match=r"^y must hold real numbers"):
        ht.train(ht.Linear(loss="squared"), (problem.X, NO_NUMBERS[kind]), workers=1)
    with pytest.raises(ht.InvalidDataError, match=r"^sample_weight must hold real numbers"):
        ht.train(ht.Linear(), (problem.X, problem.labels, NO_NUMBERS[kind]), workers=1)


@pytest.mark.parametrize("kind", ["numbers as objects", "decimals", "huge ints", "complex", "text"])
def test_labels_that_can_be_sorted_are_labels(kind: str, problem: Problem) -> None:
    result = ht.train(ht.Linear(), (problem.X, NO_NUMBERS[kind]), workers=1, epochs=1)
    assert result.classes is not None
    assert len(result.classes) == 2


def test_labels_that_cannot_be_sorted_are_refused(problem: Problem) -> None:
    for pair in (({}, {1: 2}), (object(), object()), ("a", 1), (b"a", "a"), (1j, "b")):
        y = np.empty(400, object)
        y[:] = [pair[k] for k in VALUES]
        with pytest.raises(ht.InvalidDataError, match="the labels in y cannot be sorted"):
            ht.train(ht.Linear(), (problem.X, y), workers=1)


def test_the_index_of_a_series_is_no_matter(problem: Problem) -> None:
    y = pd.Series(problem.labels, index=np.arange(400)[::-1])
    found = ht.train(ht.Linear(), (problem.X, y), workers=1)
    same = ht.train(ht.Linear(), (problem.X, problem.labels), workers=1)
    assert found.params["coef"].tolist() == same.params["coef"].tolist()


@pytest.mark.parametrize(
    "X",
    [
        [[1, 2], [3]],
        np.array([[1, "a"]] * 400, dtype=object),
        np.ones((400, 2), dtype=object),
        np.ones((400, 2)) * 1j,
        np.ones((400, 2), "M8[s]"),
        np.zeros((400, 2, 2)),
        np.array(3.0),
        np.zeros(400, dtype="f4,f4"),
        {"a": [1, 2]},
        iter([[1.0]]),
        pd.Series(VALUES),
        np.ma.masked_array(np.ones((400, 2)), False),
    ],
    ids=lambda X: type(X).__name__,
)
def test_what_is_no_matrix_of_real_numbers_is_refused_by_name(X: Any, problem: Problem) -> None:
    with pytest.raises(ht.InvalidDataError, match=r"^X must"):
        ht.train(ht.Linear(), (X, problem.labels), workers=1)
    with pytest.raises(ht.InvalidDataError, match=r"^X must"):
        ht.train(ht.Linear(), (problem.X, problem.labels), workers=1, epochs=1).predict(X)
