# SPDX-License-Identifier: BSD-3-Clause
"""Sparse matrices whose arrays are wrong in one way: refused by name, never read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.problems import Problem
from scipy import sparse

import hybridtrain as ht
from hybridtrain.data.matrix import canonical_rows
from hybridtrain.data.sparse_arrays import compressed, require_bounds, sound_csr
from hybridtrain.sklearn import LinearClassifier

REFUSALS = ht.InvalidDataError, ht.OutOfMemoryError
FORMATS = ["csr", "csc", "coo", "bsr", "dia", "lil", "dok"]
DENSE = np.array([[0, 1, 2, 0], [3, 0, 0, 4], [0, 5, 0, 0], [6, 0, 0, 7]], np.float32)


def _make(form: str, kind: str = "matrix", dense: Any = DENSE) -> Any:
    return getattr(sparse, f"{form}_{kind}")(sparse.coo_matrix(dense))


def _refusal(X: Any) -> str:
    """Return the error of X; every door refuses it."""
    with pytest.raises(REFUSALS) as caught:
        canonical_rows(X, threads=1)
    y = np.arange(4) % 2
    for call in (
        lambda: ht.train(ht.Linear(), (X, y), workers=1),
        lambda: sound_csr(X),
        lambda: LinearClassifier().fit(X, y),
    ):
        with pytest.raises(REFUSALS):
            call()
    return str(caught.value)


@pytest.mark.parametrize("kind", ["matrix", "array"])
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "uint16", "bool", ">f8", "f2"])
def test_every_format_gives_the_rows_of_the_dense_matrix(form: str, kind: str, dtype: str) -> None:
    X = _make(form, kind)
    if dtype not in ("f2", ">f8"):
        X = X.astype(dtype)
    elif form not in ("lil", "dok"):
        X.data = X.data.astype(dtype)  # SciPy has no loops for it
    expected = DENSE.astype(dtype).astype(np.float32)
    assert canonical_rows(X, threads=1).user_form().toarray().tolist() == expected.tolist()
    rows = compressed(X)
    require_bounds(rows)
    assert rows.pointers[-1] == len(rows.indices) == len(rows.values)


@pytest.mark.parametrize("form", FORMATS)
def test_a_matrix_without_elements_is_sound(form: str) -> None:
    X = _make(form, dense=np.zeros((3, 5)))
    assert canonical_rows(X, threads=1).n_elements == 0


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    "strategy", ["hybrid", "hybrid(hot=1)", "hybrid(hot=0)", "hogwild", "sync"]
)
def test_a_matrix_without_elements_trains(strategy: str, workers: int, fit_intercept: bool) -> None:
    X = sparse.csr_matrix((2, 2), dtype=np.float32)
    model = ht.Linear(fit_intercept=fit_intercept)
    result = ht.train(
        model, (X, [0, 1]), strategy=strategy, workers=workers, epochs=3, progress=False
    )
    assert result.params["coef"].tolist() == [0, 0]
    assert [record.trained for record in result.ledger] == [2] * 3


def test_diagonals_outside_the_matrix_and_zeros_within_it_are_no_elements() -> None:
    data = np.arange(12.0).reshape(3, 4)
    X = sparse.dia_matrix((data, [-9, 0, 3]), shape=(4, 3))
    assert canonical_rows(X, threads=1).user_form().toarray().tolist() == X.toarray().tolist()


def _set(**arrays: Any) -> Callable[[Any], None]:
    def change(X: Any) -> None:
        for name, array in arrays.items():
            setattr(X, name, array(getattr(X, name)) if callable(array) else array)

    return change


def _at(position: Any, value: Any, dtype: Any = None) -> Callable[[Any], Any]:
    def change(array: Any) -> Any:
        array = array.astype(dtype or array.dtype)
        array[position] = value
        return array

    return change


def _lists(name: str, row: int, value: Any) -> Callable[[Any], None]:
    def change(X: Any) -> None:
        getattr(X, name)[row] = value

    return change


FLOAT = lambda array: array.astype(np.float64)  # noqa: E731
TWO = lambda array: array[None]  # noqa: E731
LONGER = lambda array: np.append(array, array[-1:])  # noqa: E731
SHORTER = lambda array: array[:-1]  # noqa: E731
LIST = lambda array: array.tolist()  # noqa: E731
MASKED = np.ma.masked_array
OBJECT = lambda array: array.astype(object)  # noqa: E731
MINUS = _at(1, -1)
HUGE = _at(1, 2**62, np.int64)
WRAPS = _at(1, 2**64 - 1, np.uint64)
FAR = _at(1, 50_000_000)

COMPRESSED = {
    **{
        f"{name} {how}": _set(**{name: change})
        for name in ("indptr", "indices")
        for how, change in {
            "of floats": FLOAT,
            "of two dimensions": TWO,
            "a list": LIST,
            "masked": MASKED,
            "of objects": OBJECT,
            "negative": MINUS,
            "huge": HUGE,
            "wrapping": WRAPS,
            "far away": FAR,
            "none": None,
        }.items()
    },
    "indptr too long": _set(indptr=LONGER),
    "indptr too short": _set(indptr=SHORTER),
    "indptr past the end": _set(indptr=_at(-1, 1000)),
    "indptr falls": _set(indptr=_at(2, 0)),
    "indptr starts below 0": _set(indptr=_at(0, -1)),
    "indices too short": _set(indices=SHORTER),
    "data too short": _set(data=SHORTER),
    "data masked": _set(data=MASKED),
    "data of objects": _set(data=OBJECT),
    "data complex": _set(data=lambda array: array.astype(complex)),
    "data none": _set(data=None),
    "shape of one": _set(_shape=(4,)),
    "shape of text": _set(_shape=("4", "4")),
    "shape larger": _set(_shape=(2**40, 4)),
    "shape negative": _set(_shape=(-4, 4)),
    "shape smaller": _set(_shape=(3, 3)),
}
COORDINATES = {
    f"{name} {how}": (name, change)
    for name in ("row", "col")
    for how, change in {
        "of floats": FLOAT,
        "of two dimensions": TWO,
        "a list": LIST,
        "too short": SHORTER,
        "negative": MINUS,
        "huge": HUGE,
        "wrapping": WRAPS,
    }.items()
}
LISTS = {
    "columns out of range": _lists("rows", 1, [0, 4]),
    "negative columns": _lists("rows", 1, [-1, 3]),
    "columns of floats": _lists("rows", 1, [0.0, 3.0]),
    "huge columns": _lists("rows", 1, [0, 2**70]),
    "fewer columns": _lists("rows", 1, [0]),
    "fewer values": _lists("data", 1, [1.0]),
    "no list": _lists("rows", 1, None),
    "text": _lists("data", 1, ["a", "b"]),
    "nested values": _lists("data", 1, [[1.0], [2.0]]),
    "fewer rows": _set(rows=SHORTER),
    "no arrays": _set(rows=LIST),
}
DIAGONALS = {
    "offsets of floats": _set(offsets=FLOAT),
    "offsets too short": _set(offsets=SHORTER),
    "offsets twice": _set(offsets=_at(1, -3)),
    "data of one dimension": _set(data=np.ravel),
    "data of objects": _set(data=OBJECT),
}
KEYS = {
    "out of range": (0, 4),
    "negative": (-1, 0),
    "of floats": (0.5, 1),
    "of three": (0, 1, 2),
    "no pair": 7,
    "huge": (0, 2**70),
}


@pytest.mark.parametrize("kind", ["matrix", "array"])
@pytest.mark.parametrize("form", ["csr", "csc", "bsr"])
@pytest.mark.parametrize("fault", COMPRESSED)
def test_compressed_arrays_that_are_wrong_are_refused(form: str, kind: str, fault: str) -> None:
    X = _make(form, kind)
    COMPRESSED[fault](X)
    text = _refusal(X)
    assert text.startswith("X")
    if fault.startswith(("ind", "shape smaller")):
        assert "ind" in text or "shape" in text


@pytest.mark.parametrize("fault", COORDINATES)
def test_coordinates_that_are_wrong_are_refused(fault: str) -> None:
    X = _make("coo")
    name, change = COORDINATES[fault]
    coords = {"row": X.row, "col": X.col}
    coords[name] = change(coords[name])
    X.coords = (coords["row"], coords["col"])
    assert name in _refusal(X)


@pytest.mark.parametrize("fault", LISTS)
def test_lists_that_are_wrong_are_refused(fault: str) -> None:
    X = _make("lil")
    LISTS[fault](X)
    assert "X" in _refusal(X)


@pytest.mark.parametrize("fault", DIAGONALS)
def test_diagonals_that_are_wrong_are_refused(fault: str) -> None:
    X = _make("dia")
    DIAGONALS[fault](X)
    assert "X" in _refusal(X)


@pytest.mark.parametrize("fault", KEYS)
def test_keys_that_are_wrong_are_refused(fault: str) -> None:
    X = _make("dok")
    X._dict[KEYS[fault]] = np.float32(1)
    assert "X" in _refusal(X)


def test_blocks_that_do_not_divide_the_shape_are_refused() -> None:
    X = sparse.bsr_matrix(DENSE, blocksize=(2, 2))
    X.data = np.ones((len(X.data), 3, 2), np.float32)
    assert "blocks that divide the shape (4, 4), got blocks of 3 x 2" in _refusal(X)


@pytest.mark.parametrize(
    ("form", "position", "says"),
    [
        ("csr", 3, "X, row 1: a column index is negative or >= the number of features: found 9"),
        ("csc", 3, "X, column 1: a row index is negative or >= the number of rows: found 9"),
        ("bsr", 1, "X, block row 0: a column index is negative or >= the number of features"),
    ],
)
def test_the_place_and_what_was_found_are_named(form: str, position: int, says: str) -> None:
    X = _make(form)
    X.indices[position] = 9
    assert says in _refusal(X)


def test_duplicates_are_checked_before_they_are_summed() -> None:
    """The first fault is the duplicate; a later index must not reach SciPy."""
    X = _make("csr")
    X.indices[1] = X.indices[0]
    X.indices[-1] = 50_000_000
    assert "X, row 3" in _refusal(X)
    assert "found 50000000" in _refusal(X)


def test_flags_of_order_that_are_stale_are_not_trusted(tmp_path: Path) -> None:
    X = _make("csr")
    assert X.has_canonical_format
    X.indices[:2] = X.indices[1::-1]
    X.data[:2] = X.data[1::-1]
    ht.save_directory(tmp_path / "rows", X)
    saved, _ = ht.read_data(tmp_path / "rows")
    assert saved.indices.tolist() == _make("csr").indices.tolist()
    assert canonical_rows(X, threads=1).user_form().toarray().tolist() == DENSE.tolist()


def test_elements_before_the_first_row_and_after_the_last_are_not_read() -> None:
    for form in ("csr", "csc", "bsr"):
        X = _make(form)
        X.indices = np.concatenate([[9], X.indices, [9]])
        X.data = np.concatenate([X.data[:1] * np.nan, X.data, X.data[:1] * np.nan])
        X.indptr = X.indptr + 1
        rows = canonical_rows(X, threads=1)
        assert rows.user_form().toarray().tolist() == DENSE.tolist()
        assert rows.take(np.array([1, 3])).user_form().toarray().tolist() == DENSE[[1, 3]].tolist()


def test_pointers_that_only_claim_to_be_many_are_refused_before_memory_is_taken() -> None:
    X = sparse.csr_matrix(np.eye(4, dtype=np.float32))
    X.indptr = np.broadcast_to(np.zeros(1, np.int32), (1 << 44,))
    with pytest.raises(ht.InvalidDataError, match=f"found {1 << 44} numbers in X.indptr"):
        compressed(X)


def test_arrays_in_any_layout_are_read() -> None:
    X = _make("csc")
    X.indices = X.indices.astype(">i4")[::-1].copy()[::-1]
    X.indptr = np.repeat(X.indptr, 2)[::2]
    X.data = X.data.astype(">f8")
    for array in (X.indices, X.indptr, X.data):
        array.flags.writeable = False
    assert canonical_rows(X, threads=1).user_form().toarray().tolist() == DENSE.tolist()


@pytest.mark.parametrize("kind", ["matrix", "array"])
@pytest.mark.parametrize("form", ["csr", "csc", "bsr", "coo", "dia"])
def test_an_archive_of_any_format_is_read_as_csr(form: str, kind: str, tmp_path: Path) -> None:
    sparse.save_npz(tmp_path / "rows.npz", _make(form, kind))
    X, _ = ht.read_data(tmp_path / "rows.npz")
    assert type(X).__name__ == f"csr_{kind}"
    assert X.toarray().tolist() == DENSE.tolist()


MEMBERS = {
    **dict.fromkeys(("csr", "csc", "bsr"), ("indptr", "indices", "shape", "data")),
    "coo": ("row", "col", "shape", "data"),
    "dia": ("offsets", "shape", "data"),
}


@pytest.mark.parametrize(
    ("form", "member"), [(form, member) for form in MEMBERS for member in MEMBERS[form]]
)
def test_an_archive_from_a_stranger_is_checked(form: str, member: str, tmp_path: Path) -> None:
    sparse.save_npz(tmp_path / "rows.npz", _make(form))
    with np.load(tmp_path / "rows.npz") as file:
        arrays = dict(file)
    for value in (-7, 10**6, 0.5, np.nan):
        array = arrays[member]
        changed = array.astype(np.result_type(array, type(value)))
        changed.flat[1] = value
        np.savez(tmp_path / "wrong.npz", **{**arrays, member: changed})
        try:
            X, _ = ht.read_data(tmp_path / "wrong.npz")
            found = canonical_rows(X, threads=1).user_form().toarray()
        except REFUSALS:
            continue
        if member == "data":
            assert np.isfinite(found).all()
        elif member == "offsets":  # a diagonal outside the matrix has no element
            assert np.isin(found, DENSE).all()
        else:
            assert (member, value) == ("shape", 10**6)  # more columns
            assert np.array_equal(found[:, :4], DENSE)


def test_predict_and_save_refuse_what_train_refuses(problem: Problem, tmp_path: Path) -> None:
    result = ht.train(ht.Linear(), (problem.X, problem.labels), workers=1, epochs=1)
    X = problem.X.tocsc()
    X.indices[5] = 50_000_000
    calls = [result.predict, result.decision_function, result.predict_proba]
    calls.append(lambda X: ht.save_directory(tmp_path / "rows", X))
    for call in calls:
        with pytest.raises(ht.InvalidDataError, match="a row index is negative or >= the number"):
            call(X)
    assert not (tmp_path / "rows").exists()
