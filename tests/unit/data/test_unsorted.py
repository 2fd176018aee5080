# SPDX-License-Identifier: BSD-3-Clause
"""Rows whose columns stand in any order, as text has them: read in place; duplicates are summed."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.problems import Problem, planted, unsorted
from scipy import sparse

import hybridtrain as ht
from hybridtrain.data.matrix import canonical_rows

SUMMED = "X: indices sorted, duplicates summed"
_STRETCH_SECONDS = 1e-4  # of each state of a file that changes all the time
STRATEGIES = [
    "hybrid",
    "hybrid(hot=9)",
    "hybrid(hot=0)",
    "hogwild",
    "local_sgd(replicas=3)",
    "sync",
]


def _train(X: Any, y: Any, **settings: Any) -> ht.Result:
    settings = {"workers": 1, "epochs": 3, "progress": False, **settings}
    return ht.train(ht.Linear(l2=1e-3), (X, y), **settings)


def _params(result: ht.Result) -> Any:
    return np.append(result.params["coef"], result.params["intercept"])


def _as(X: Any, values: Any, indices: Any) -> Any:
    """Return a CSR matrix with arrays of these types; SciPy itself would choose others."""
    changed = X.copy()
    changed.data, changed.indices = X.data.astype(values), X.indices.astype(indices)
    return changed


def _halves(X: Any) -> Any:
    """Return the rows with each element in two halves, in any order."""
    arrays = np.repeat(X.data / 2, 2), np.repeat(X.indices, 2), 2 * X.indptr
    return unsorted(sparse.csr_matrix(arrays, shape=X.shape))


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_unsorted_rows_train_in_place_and_as_sorted_ones(
    strategy: str, workers: int, problem: Problem
) -> None:
    X = unsorted(problem.X)
    assert not X.has_sorted_indices
    before = X.copy()
    result = _train(X, problem.labels, strategy=strategy, workers=workers)
    assert not any(text.startswith("X: ") for text in result.settings["copied"])
    assert np.array_equal(X.indices, before.indices)
    assert np.array_equal(X.data, before.data)
    if workers == 1 or strategy == "sync":  # else chance decides more than rounding does
        same = _train(problem.X, problem.labels, strategy=strategy, workers=workers)
        np.testing.assert_allclose(_params(result), _params(same), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("values", ["f4", "f8", ">f8", "i1"])
@pytest.mark.parametrize("indices", ["i4", "i8", ">i4"])
def test_unsorted_rows_of_other_types_are_cast_and_not_sorted(
    values: str, indices: str, problem: Problem
) -> None:
    X = _as(unsorted(problem.X), values, indices)
    matrix = canonical_rows(X, threads=2)
    assert matrix.indices is not None
    assert matrix.values is not None
    assert np.array_equal(matrix.indices, X.indices)
    assert np.array_equal(matrix.values, X.data.astype(np.float32))
    assert len(matrix.copied) == (values != "f4") + (indices != "i4")


@pytest.mark.parametrize("form", ["csc", "coo", "bsr"])
def test_rows_of_other_formats_become_sorted(form: str, problem: Problem) -> None:
    X = (
        sparse.bsr_matrix(problem.X, blocksize=(2, 3))
        if form == "bsr"
        else problem.X.asformat(form)
    )
    if form == "coo":
        order = np.random.default_rng(0).permutation(X.nnz)
        X = sparse.coo_matrix((X.data[order], (X.row[order], X.col[order])), shape=X.shape)
    else:
        ends = zip(X.indptr[:-1], X.indptr[1:], strict=True)
        order = np.concatenate([np.arange(first, end)[::-1] for first, end in ends])
        X.data, X.indices = X.data[order], X.indices[order]
    matrix = canonical_rows(X, threads=1)
    assert matrix.copied == (f"X: {form} to csr",)
    assert matrix.user_form().has_sorted_indices
    assert np.array_equal(matrix.user_form().toarray(), problem.X.toarray())


def test_sync_has_the_same_bits_for_any_workers_on_unsorted_rows(problem: Problem) -> None:
    X = unsorted(problem.X)
    one, three = (_train(X, problem.labels, strategy="sync", workers=n) for n in (1, 3))
    assert np.array_equal(_params(one), _params(three))


@pytest.mark.parametrize("values", ["f4", "f8"])
@pytest.mark.parametrize("indices", ["i4", "i8"])
@pytest.mark.parametrize("workers", [1, 3])
def test_duplicates_give_the_bits_of_their_sum(
    workers: int, indices: str, values: str, problem: Problem
) -> None:
    X = _as(_halves(problem.X), values, indices)
    result = _train(X, problem.labels, strategy="sync", workers=workers)
    same = _train(problem.X, problem.labels, strategy="sync", workers=workers)
    assert SUMMED in result.settings["copied"]
    assert np.array_equal(_params(result), _params(same))
    assert np.array_equal(result.decision_function(X), same.decision_function(problem.X))


@pytest.mark.parametrize("threads", [1, 2])
def test_one_duplicate_is_found_in_any_row_at_any_distance(threads: int, problem: Problem) -> None:
    X = unsorted(problem.X)
    lengths = np.diff(X.indptr)
    for row in np.flatnonzero(lengths > 1)[::20]:
        for first, second in ((0, 1), (0, -1), (-2, -1)):
            twice = X.copy()
            elements = np.arange(X.indptr[row], X.indptr[row + 1])
            twice.indices[elements[second]] = twice.indices[elements[first]]
            matrix = canonical_rows(twice, threads=threads)
            assert matrix.copied == (SUMMED,)
            assert matrix.n_elements == X.nnz - 1
            np.testing.assert_allclose(matrix.user_form().toarray(), twice.toarray(), rtol=1e-6)


def test_values_of_duplicates_are_summed_before_they_are_rounded() -> None:
    X = sparse.csr_matrix((np.array([1e9, 2, 1 - 1e9]), [1, 0, 1], [0, 3]), shape=(1, 2))
    assert canonical_rows(X, threads=1).user_form().toarray().tolist() == [[2, 1]]


def test_unsorted_rows_that_are_very_wide_or_empty_are_checked() -> None:
    n_features = (1 << 29) - 2
    indices = np.array([n_features - 1, 0, 77, 5, 5, n_features - 1], np.int32)
    for pointers, copied in (([0, 0, 3, 4, 4, 6], ()), ([0, 0, 3, 3, 5, 6], (SUMMED,))):
        arrays = np.ones(6, np.float32), indices, np.array(pointers, np.int32)
        X = sparse.csr_matrix(arrays, shape=(5, n_features))
        assert canonical_rows(X, threads=2).copied == copied


@pytest.mark.parametrize("workers", [1, 2])
def test_faults_of_unsorted_rows_are_named(workers: int, problem: Problem) -> None:
    row = int(np.flatnonzero(np.diff(problem.X.indptr) > 3)[-1])
    for name, value, says in (
        ("indices", 60, f"X, row {row}: a column index is negative or >= the number of features"),
        ("indices", -1, f"X, row {row}: a column index is negative or >= the number of features"),
        ("data", np.nan, f"X, row {row}: a value is NaN or infinite"),
    ):
        X = unsorted(problem.X)
        getattr(X, name)[X.indptr[row] + 2] = value
        with pytest.raises(ht.InvalidDataError, match=says):
            _train(X, problem.labels, workers=workers)


def test_predictions_of_unsorted_rows_are_those_of_sorted_ones(problem: Problem) -> None:
    result, X = _train(problem.X, problem.labels), unsorted(problem.X)
    found, expected = result.decision_function(X), result.decision_function(problem.X)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert result.score(X, problem.labels) == result.score(problem.X, problem.labels)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a CSR directory of unsorted rows, as another program may write it."""
    problem = planted(3, 4000, 60, longest=30)
    ht.save_directory(tmp_path / "rows", problem.X, problem.labels)
    X = unsorted(problem.X)
    np.save(tmp_path / "rows" / "indices.npy", X.indices)
    np.save(tmp_path / "rows" / "data.npy", X.data)
    return tmp_path / "rows"


def test_mapped_unsorted_rows_are_read_in_place(folder: Path) -> None:
    X, y = ht.read_data(folder)
    matrix = canonical_rows(X, threads=2)
    assert matrix.mapped
    assert matrix.copied == ()
    in_memory = sparse.csr_matrix((X.data.copy(), X.indices.copy(), X.indptr), shape=X.shape)
    for strategy in ("hybrid", "sync"):
        mapped = _train(X, y, strategy=strategy)
        assert np.array_equal(_params(mapped), _params(_train(in_memory, y, strategy=strategy)))


def test_mapped_unsorted_rows_that_change_while_they_are_checked_are_never_followed(
    folder: Path,
) -> None:
    X, _ = ht.read_data(folder)
    written = np.load(folder / "indices.npy", mmap_mode="r+")
    right, over = written.copy(), threading.Event()

    def change() -> None:
        while not over.is_set():
            written[::97] = np.int32(2**31 - 1)
            time.sleep(_STRETCH_SECONDS)
            written[:] = right
            time.sleep(_STRETCH_SECONDS)

    thread = threading.Thread(target=change)
    thread.start()
    outcomes = set()
    try:
        for k in range(5000):
            if k >= 300 and len(outcomes) > 1:
                break
            try:
                outcomes.add(canonical_rows(X, threads=2).copied)
            except ht.InvalidDataError:
                outcomes.add(("refused",))
    finally:
        over.set()
        thread.join()
    assert len(outcomes) > 1  # so it did change
