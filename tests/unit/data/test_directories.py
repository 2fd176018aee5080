# SPDX-License-Identifier: BSD-3-Clause
"""Directories of .npy files: mapped, not copied, and refused by name where they are broken."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.problems import Problem
from scipy import sparse
from support.files import claim_shape, have_same_bits, is_equal, refusal, train_on

import hybridtrain as ht


@pytest.fixture
def folder(problem: Problem, tmp_path: Path) -> Path:
    """Return a CSR directory of the planted problem."""
    ht.save_directory(tmp_path / "rows", problem.X, problem.labels)
    return tmp_path / "rows"


def test_a_saved_directory_comes_back(folder: Path, problem: Problem) -> None:
    X, y = ht.read_data(folder)
    assert is_equal(X, problem.X)
    np.testing.assert_array_equal(y, problem.labels)


def test_a_directory_is_mapped_and_training_on_it_copies_nothing(
    folder: Path, problem: Problem
) -> None:
    X, _ = ht.read_data(folder)
    for array in (X.data, X.indices, X.indptr):
        assert isinstance(array, np.memmap)
        assert array.mode == "r"
    result = train_on(folder)
    assert result.settings["copied"] == []
    assert have_same_bits(result, train_on((problem.X, problem.labels)))


@pytest.mark.parametrize("strategy", ["hogwild", "sync", "hybrid(hot=0)"])
def test_strategies_without_hot_features_never_copy_mapped_rows(
    strategy: str, tmp_path: Path
) -> None:
    """200,000 features: more than the replicas of hot ones may have."""
    columns = np.arange(3000) * 7919 % 200_000
    columns = np.sort(columns.reshape(300, 10)).ravel()
    X = sparse.csr_matrix((np.ones(3000), columns, np.arange(0, 3001, 10)), shape=(300, 200_000))
    ht.save_directory(tmp_path / "wide", X, np.arange(300) % 2)
    copied = train_on(tmp_path / "wide", strategy=strategy).settings["copied"]
    assert copied == []


def test_a_dense_directory_is_mapped(tmp_path: Path) -> None:
    rows = np.arange(12, dtype=np.float64).reshape(4, 3)
    ht.save_directory(tmp_path / "dense", rows, ["a", "b", "a", "b"])
    X, y = ht.read_data(tmp_path / "dense", n_features=3)
    assert isinstance(X, np.memmap)
    assert X.dtype == np.float32
    np.testing.assert_array_equal(X, rows)
    assert y.tolist() == ["a", "b", "a", "b"]


def test_a_directory_of_a_shape_unknown_has_the_columns_that_its_rows_use(folder: Path) -> None:
    (folder / "shape.npy").unlink()
    assert ht.read_data(folder)[0].shape == (400, 59)  # no row holds the last
    assert ht.read_data(folder, n_features=70)[0].shape == (400, 70)
    assert "must have 58 features, got 59" in refusal(folder, n_features=58)


def test_a_directory_without_labels_can_be_read_but_not_trained_on(folder: Path) -> None:
    (folder / "y.npy").unlink()
    assert ht.read_data(folder)[1] is None
    with pytest.raises(ht.InvalidDataError, match=r"rows has no labels.*y\.npy"):
        train_on(folder)


def test_saving_puts_rows_in_order_and_leaves_the_users_matrix_alone(tmp_path: Path) -> None:
    X = sparse.csr_matrix(([1.0, 2.0, 3.0], [2, 0, 2], [0, 3]), shape=(1, 4))
    ht.save_directory(tmp_path / "new", X)
    assert X.indices.tolist() == [2, 0, 2]
    saved, _ = ht.read_data(tmp_path / "new")
    assert saved.indices.tolist() == [0, 2]
    assert saved.data.tolist() == [2.0, 4.0]
    assert [a.dtype.name for a in (saved.data, saved.indices, saved.indptr)] == [
        "float32",
        "int32",
        "int64",
    ]


def test_a_directory_that_holds_files_is_not_written_over(folder: Path, problem: Problem) -> None:
    before = (folder / "data.npy").read_bytes()
    with pytest.raises(ht.InvalidDataError, match="must be a new or empty directory"):
        ht.save_directory(folder, problem.X[:10])
    assert (folder / "data.npy").read_bytes() == before


@pytest.mark.parametrize(
    ("X", "y", "says"),
    [
        (np.ones(3), None, r"a matrix of real numbers, got float64 of shape \(3,\)"),
        (np.ones((2, 2), complex), None, "real numbers, got complex128"),
        (np.ones((2, 2)), [1, 2, 3], r"y must hold 2 numbers or texts.*shape \(3,\)"),
        (np.ones((2, 2)), [1, {}], "y must hold 2 numbers or texts.*got object"),
    ],
)
def test_what_cannot_be_saved_is_refused_before_anything_is_written(
    X: Any, y: Any, says: str, tmp_path: Path
) -> None:
    with pytest.raises(ht.InvalidDataError, match=says):
        ht.save_directory(tmp_path / "new", X, y)
    assert not (tmp_path / "new").exists()


def _write(name: str, array: Any) -> Callable[[Path], None]:
    return lambda folder: np.save(folder / name, array)


def _cut(folder: Path) -> None:
    data = (folder / "data.npy").read_bytes()
    (folder / "data.npy").write_bytes(data[: len(data) // 2])


BROKEN_DIRECTORIES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a part is missing": (lambda f: (f / "indptr.npy").unlink(), "must hold either X.npy"),
    "dense and sparse": (_write("X.npy", np.ones((2, 2))), "must hold either X.npy"),
    "cut short": (_cut, "data.npy is no whole .npy file"),
    "not of NumPy": (lambda f: (f / "indptr.npy").write_text("1 2 3") and None, "indptr.npy is no"),
    "objects": (_write("y.npy", np.array([{}] * 400)), "y.npy is no whole .npy file of numbers"),
    "labels too few": (_write("y.npy", np.ones(399)), "y.npy must hold 400 labels"),
    "labels as a matrix": (_write("y.npy", np.ones((400, 1))), "y.npy must hold one array of 1"),
    "indices as floats": (_write("indices.npy", np.ones(9)), "indices.npy must hold integers"),
    "values as text": (_write("data.npy", np.array(["a"])), "data.npy must hold real numbers"),
    "pointers too far": (_write("indptr.npy", np.array([0, 10**6])), "the last 1000000"),
    "no pointers": (_write("indptr.npy", np.zeros(0, int)), "got 0 numbers"),
    "another shape": (_write("shape.npy", np.array([3, 3])), r"shape.npy must hold .* \(3, 3\)"),
    "a shape of floats": (_write("shape.npy", np.array([400, 3], "f2")), r"as integers .* float16"),
    "a complex shape": (_write("shape.npy", np.array([400, 3], "c8")), r"complex64 \(\(400\+0j"),
    "a shape below 0": (_write("shape.npy", np.array([400, -3])), r"integers >= 1.*\(400, -3\)"),
    "no columns": (_write("shape.npy", np.array([400, 0])), r"integers >= 1.*\(400, 0\)"),
    "more columns than numbers": (
        _write("shape.npy", np.array([400, 1 << 63], np.uint64)),
        r"uint64 \(400, 9223372036854775808\)",
    ),
    "a shape of many": (_write("shape.npy", np.arange(9999)), r"shape.npy must .*\.\.\."),
}


@pytest.mark.parametrize("fault", BROKEN_DIRECTORIES)
def test_a_broken_directory_is_refused_with_the_name_of_the_file(fault: str, folder: Path) -> None:
    spoil, says = BROKEN_DIRECTORIES[fault]
    spoil(folder)
    with pytest.raises(ht.InvalidDataError, match=says) as caught:
        ht.read_data(folder)
    assert str(folder) in str(caught.value)


def test_a_wrong_index_inside_is_refused_with_path_and_row(folder: Path) -> None:
    indices = np.load(folder / "indices.npy")
    indices[-1] = 60
    np.save(folder / "indices.npy", indices)
    with pytest.raises(ht.InvalidDataError, match=r"rows: X, row 399: a column index"):
        train_on(folder)


@pytest.mark.parametrize("name", ["data.npy", "indices.npy", "indptr.npy", "y.npy", "shape.npy"])
@pytest.mark.parametrize("shape", ["(1099511627776,)", "(-1,)", f"({1 << 62},)"])
def test_a_file_that_claims_a_huge_shape_is_refused(name: str, shape: str, folder: Path) -> None:
    claim_shape(folder / name, shape, "<i4")
    assert f"{name} is no whole .npy file" in refusal(folder)


def test_mapped_rows_may_have_more_than_memory(tmp_path: Path) -> None:
    """A sparse file of 2 TB: what is mapped is not read until it is used."""
    n = 1 << 38
    folder = tmp_path / "huge"
    folder.mkdir()
    with contextlib.suppress(OSError):
        for name, dtype in (("data.npy", np.float32), ("indices.npy", np.int32)):
            header = np.lib.format.header_data_from_array_1_0(np.zeros(0, dtype))
            with (folder / name).open("wb") as file:
                np.lib.format.write_array_header_1_0(file, {**header, "shape": (n,)})
                os.truncate(file.fileno(), file.tell() + 4 * n)
    if not (folder / "indices.npy").exists() or (folder / "indices.npy").stat().st_size < 4 * n:
        pytest.skip("the file system holds no files of 1 TB")
    np.save(folder / "indptr.npy", np.array([0, n]))
    np.save(folder / "shape.npy", np.array([1, 5]))
    X, y = ht.read_data(folder)
    assert (X.nnz, X.data[n // 2], y) == (n, 0, None)
