# SPDX-License-Identifier: BSD-3-Clause
"""Matrices: what is read in place, what is copied and named, what is refused and how."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from reference.problems import Problem
from scipy import sparse

import hybridtrain as ht
from hybridtrain.data.matrix import canonical_rows
from hybridtrain.parallel import over_ranges


def _train(X: Any, y: Any, workers: int = 1, **settings: Any) -> ht.Result:
    return ht.train(ht.Linear(l2=1e-3), (X, y), workers=workers, epochs=2, **settings)


def _refusal(X: Any, n_rows: int = 400, workers: int = 1) -> str:
    """Return the text of the error that X gives."""
    y = np.arange(n_rows) % 2
    with pytest.raises(ht.InvalidDataError) as caught:
        _train(X, y, workers)
    return str(caught.value)


def _same(a: ht.Result, b: ht.Result) -> bool:
    return np.array_equal(a.params["coef"], b.params["coef"]) and (
        a.params["intercept"] == b.params["intercept"]
    )


def test_float32_csr_with_int32_indices_is_read_in_place(problem: Problem) -> None:
    assert _train(problem.X, problem.labels).settings["copied"] == []
    assert _train(sparse.csr_array(problem.X), problem.labels).settings["copied"] == []


def test_no_copy_of_the_rows_is_made_when_everything_is_hot() -> None:
    X = sparse.random(4000, 800, density=0.25, format="csr", dtype=np.float32, random_state=0)
    y = np.arange(4000) % 2
    nbytes = X.data.nbytes + X.indices.nbytes
    optimizer = ht.SGD(lr=0.1)  # else trials copy a sample
    _train(X, y, optimizer=optimizer)  # what is imported on first use is not counted
    tracemalloc.start()
    try:
        result = _train(X, y, optimizer=optimizer)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert result.settings["copied"] == []
    assert nbytes > 3_000_000
    assert peak < nbytes / 5


def test_a_copy_would_have_been_seen() -> None:
    X = sparse.random(4000, 800, density=0.25, format="csr", dtype=np.float32, random_state=0)
    y = np.arange(4000) % 2
    tracemalloc.start()
    try:
        result = _train(X, y, strategy=ht.Hybrid(hot=100))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert result.settings["copied"] == ["rows renumbered by frequency"]
    assert peak > X.data.nbytes


FORMS: dict[str, tuple[Callable[[Any], Any], list[str]]] = {
    "csc": (lambda X: X.tocsc(), ["X: csc to csr"]),
    "coo": (lambda X: X.tocoo(), ["X: coo to csr"]),
    "lil": (lambda X: X.tolil(), ["X: lil to csr"]),
    "float64": (lambda X: X.astype(np.float64), ["values: float64 to float32"]),
    "csc of float64": (
        lambda X: X.tocsc().astype(np.float64),
        ["X: csc to csr", "values: float64 to float32"],
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_another_form_gives_the_same_bits_and_its_copy_is_named(
    form: str, problem: Problem
) -> None:
    change, copied = FORMS[form]
    result = _train(change(problem.X), problem.labels)
    assert result.settings["copied"] == copied
    assert _same(result, _train(problem.X, problem.labels))


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int64", "float64"])
def test_ones_of_any_real_type_give_the_same_bits(dtype: str, ones_problem: Problem) -> None:
    result = _train(ones_problem.X.astype(dtype), ones_problem.labels)
    assert result.settings["copied"] == [f"values: {dtype} to float32"]
    assert _same(result, _train(ones_problem.X, ones_problem.labels))


def test_indices_of_64_bits_are_copied_and_named(problem: Problem) -> None:
    X = problem.X.copy()
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    result = _train(X, problem.labels)
    assert result.settings["copied"] == ["indices: int64 to int32"]
    assert _same(result, _train(problem.X, problem.labels))


def test_row_pointers_of_64_bits_alone_need_no_copy(problem: Problem) -> None:
    X = problem.X.copy()
    X.indptr = X.indptr.astype(np.int64)
    assert _train(X, problem.labels).settings["copied"] == []


def test_read_only_arrays_are_fine(problem: Problem) -> None:
    X, y, weight = problem.X.copy(), problem.labels.copy(), np.linspace(1, 2, 400)
    for array in (X.data, X.indices, X.indptr, y, weight):
        array.flags.writeable = False
    result = ht.train(ht.Linear(), (X, y, weight), workers=1)
    assert result.settings["copied"] == []


def test_arrays_with_gaps_give_the_same_bits(problem: Problem) -> None:
    X = problem.X.copy()
    X.data, X.indices = np.repeat(X.data, 2)[::2], np.repeat(X.indices, 3)[::3]
    y = np.repeat(problem.labels, 2)[::2]
    weight = np.linspace(1, 2, 800).astype(np.float32)[::2]
    assert not X.data.flags.c_contiguous
    found = ht.train(ht.Linear(), (X, y, weight), workers=1)
    same = ht.train(ht.Linear(), (problem.X, problem.labels, weight.copy()), workers=1)
    assert len(found.settings["copied"]) == 2
    assert _same(found, same)


def test_elements_behind_the_last_row_are_not_read(problem: Problem) -> None:
    X = problem.X.copy()
    X.data = np.append(X.data, np.float32(np.nan))
    X.indices = np.append(X.indices, np.int32(-1))
    assert _same(_train(X, problem.labels), _train(problem.X, problem.labels))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_row_with_a_value_that_is_not_finite_is_named(
    bad: float, workers: int, problem: Problem
) -> None:
    X = problem.X.copy()
    row = int(np.searchsorted(X.indptr, len(X.data) - 5, side="right")) - 1
    X.data[len(X.data) - 5] = bad
    text = _refusal(X, workers=workers)
    assert f"X, row {row}: a value is NaN or infinite" in text
    assert "(400, 60) float32" in text


def test_a_value_that_is_not_finite_is_found_among_ones(ones_problem: Problem) -> None:
    X = ones_problem.X.astype(np.float64)
    X.data[0] = np.nan
    assert "a value is NaN or infinite" in _refusal(X)


@pytest.mark.parametrize("index_type", [np.int32, np.int64])
@pytest.mark.parametrize("index", [-1, 60, 2**31 - 1])
def test_an_index_outside_the_features_is_refused(
    index: int, index_type: Any, problem: Problem
) -> None:
    X = problem.X.copy()
    X.indices = X.indices.astype(index_type)
    X.indices[X.indptr[17 + 1] - 1] = index
    text = _refusal(X)
    assert "a column index is negative or >= the number of features" in text
    assert "(400, 60)" in text
    assert ("row 17" if index_type is np.int32 else str(index)) in text


@pytest.mark.parametrize("index", [2**32, 2**32 + 5, -(2**32), 2**63 - 1])
def test_an_index_that_would_wrap_around_to_a_valid_one_is_refused(
    index: int, problem: Problem
) -> None:
    X = problem.X.copy()
    X.indices = X.indices.astype(np.int64)
    X.indices[3] = index
    text = _refusal(X)
    assert "a column index is negative or >= the number of features" in text
    assert str(index) in text


def _with_pointers(X: Any, change: Callable[[Any], Any]) -> Any:
    X = X.copy()
    X.indptr = change(X.indptr.copy())
    return X


def _set(position: int, value: int) -> Callable[[Any], Any]:
    def change(pointers: Any) -> Any:
        pointers[position] = value
        return pointers

    return change


BROKEN_POINTERS: dict[str, Callable[[Any], Any]] = {
    "decreasing": lambda pointers: np.where(np.arange(401) == 201, pointers[200] - 1, pointers),
    "one too many": lambda pointers: np.append(pointers, pointers[-1]),
    "one too few": lambda pointers: pointers[:-1],
    "past the elements": _set(-1, 10**6),
    "far outside in the middle": _set(100, 10**9),
    "negative first": _set(0, -1),
    "negative in the middle": _set(100, -(10**6)),
    "negative last": _set(-1, -1),
}


@pytest.mark.parametrize("kind", BROKEN_POINTERS)
@pytest.mark.parametrize("workers", [1, 2])
def test_broken_row_pointers_are_refused(kind: str, workers: int, problem: Problem) -> None:
    text = _refusal(_with_pointers(problem.X, BROKEN_POINTERS[kind]), workers=workers)
    assert "indptr decreases, or points outside the arrays" in text
    assert "(400, 60)" in text
    assert "row " in text


def test_a_list_is_refused_with_what_to_do(problem: Problem) -> None:
    text = _refusal(problem.X.toarray().tolist())
    assert "X must be a SciPy sparse matrix, a two-dimensional NumPy array" in text
    assert "got builtins list" in text
    assert "numpy.asarray(X)" in text


@pytest.mark.parametrize(
    ("X", "found"),
    [
        ([["a", "b"]] * 400, "builtins list"),
        (None, "builtins NoneType"),
        (pd.Series(np.ones(400)), "pandas Series (400,)"),
        (np.array([["a"]] * 400), "numpy ndarray (400, 1) <U1"),
    ],
)
def test_what_is_no_matrix_is_refused_by_type(X: Any, found: str) -> None:
    assert found in _refusal(X)


@pytest.mark.parametrize("dtype", ["complex64", "complex128", "O", "U4"])
def test_values_that_are_not_real_numbers_are_refused(dtype: str, problem: Problem) -> None:
    X = problem.X.copy()
    X.data = X.data.astype(dtype)
    text = _refusal(X)
    assert "X must hold real numbers" in text
    assert f"(400, 60) {np.dtype(dtype)}" in text


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
def test_an_empty_matrix_is_refused(shape: tuple[int, int]) -> None:
    text = _refusal(sparse.csr_matrix(shape, dtype=np.float32), n_rows=shape[0])
    assert "at least one row" in text
    assert str(shape) in text


def test_a_one_dimensional_sparse_array_is_refused() -> None:
    assert "(5,)" in _refusal(sparse.coo_array(np.ones(5, np.float32)), n_rows=5)


def test_too_many_features_are_refused() -> None:
    X = sparse.csr_matrix((2, 2**30), dtype=np.float32)
    assert str(2**30) in _refusal(X, n_rows=2)


@pytest.mark.parametrize("call", ["predict", "decision_function", "predict_proba"])
def test_another_number_of_features_than_trained_is_refused(call: str, problem: Problem) -> None:
    result = _train(problem.X, problem.labels)
    with pytest.raises(ht.InvalidDataError, match=r"X must have 60 features, got .*\(400, 59\)"):
        getattr(result, call)(problem.X[:, :59])


def test_rows_without_any_element_train_the_intercept_alone() -> None:
    X = sparse.csr_matrix((100, 3), dtype=np.float32)
    y = np.arange(100) % 4 == 0
    result = ht.train(ht.Linear(), (X, y), workers=1, epochs=20, optimizer="adagrad")
    assert result.params["coef"].tolist() == [0, 0, 0]
    assert 1 / (1 + np.exp(-result.params["intercept"])) == pytest.approx(0.25, abs=0.1)


def test_one_row_and_one_feature_are_enough_for_regression() -> None:
    X = sparse.csr_matrix(np.array([[2.0]], np.float32))
    result = ht.train(ht.Linear(loss="squared"), (X, [3.0]), workers=1, epochs=50)
    assert np.isfinite(result.params["coef"]).all()
    assert result.ledger[-1].trained == 1


def test_dense_rows_in_c_order_are_read_in_place_and_others_copied(problem: Problem) -> None:
    dense = problem.X.toarray()
    assert canonical_rows(dense, threads=1).copied == ()
    assert np.shares_memory(canonical_rows(dense, threads=1).values, dense)
    forms = {
        "X: to C order": np.asfortranarray(dense),
        "X: float64 to float32": dense.astype(np.float64),
        "X: int8 to float32": (dense * 10).astype(np.int8),
    }
    for note, X in forms.items():
        matrix = canonical_rows(X, threads=1)
        assert matrix.copied == (note,)
        assert np.array_equal(matrix.user_form(), X.astype(np.float32))


def test_one_dimension_and_masks_are_refused_with_what_to_do() -> None:
    assert "two-dimensional" in _refusal(np.zeros(400))
    assert "X.reshape(-1, 1)" in _refusal(np.zeros(400))
    assert "X.filled(0)" in _refusal(np.ma.masked_equal(np.zeros((400, 2)), 0))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
def test_a_dense_value_that_is_not_finite_is_named_with_its_row(
    bad: float, problem: Problem
) -> None:
    X = problem.X.toarray().astype(np.float64)
    X[123, 7] = bad
    assert "X, row 123: a value is NaN or infinite" in _refusal(X)


@pytest.mark.parametrize("form", ["sorted", "dense"])
def test_sound_float32_rows_are_passed_over_once(
    form: str, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = []

    def counted(work: Any, n: int, threads: int, ranges: int | None = None) -> list[Any]:
        passes.append(work)
        return over_ranges(work, n, threads, ranges)

    monkeypatch.setattr("hybridtrain.data.matrix.over_ranges", counted)
    canonical_rows(problem.X if form == "sorted" else problem.X.toarray(), threads=2, warns=True)
    assert len(passes) == 1
