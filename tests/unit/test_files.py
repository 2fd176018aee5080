# SPDX-License-Identifier: BSD-3-Clause
"""Files: what is read as it is, what is mapped, and what is refused by name."""

from __future__ import annotations

import contextlib
import os
import threading
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.problems import Problem
from scipy import sparse

import hybridtrain as ht


def _same(a: ht.Result, b: ht.Result) -> bool:
    return np.array_equal(a.params["coef"], b.params["coef"]) and (
        a.params["intercept"] == b.params["intercept"]
    )


def _train(data: Any, **settings: Any) -> ht.Result:
    return ht.train(ht.Linear(l2=1e-3), data, workers=1, epochs=2, **settings)


def _refusal(path: Path, **settings: Any) -> str:
    with pytest.raises(ht.InvalidDataError) as caught:
        ht.read_data(path, **settings)
    return str(caught.value)


def _equal(X: Any, expected: Any) -> bool:
    return X.shape == expected.shape and (expected != X).nnz == 0


# Directories: mapped, not copied.


@pytest.fixture
def folder(problem: Problem, tmp_path: Path) -> Path:
    """Return a CSR directory of the planted problem."""
    ht.save_directory(tmp_path / "rows", problem.X, problem.labels)
    return tmp_path / "rows"


def test_a_saved_directory_comes_back(folder: Path, problem: Problem) -> None:
    X, y = ht.read_data(folder)
    assert _equal(X, problem.X)
    np.testing.assert_array_equal(y, problem.labels)


def test_a_directory_is_mapped_and_training_on_it_copies_nothing(
    folder: Path, problem: Problem
) -> None:
    X, _ = ht.read_data(folder)
    for array in (X.data, X.indices, X.indptr):
        assert isinstance(array, np.memmap)
        assert array.mode == "r"
    result = _train(folder)
    assert result.settings["copied"] == []
    assert _same(result, _train((problem.X, problem.labels)))


@pytest.mark.parametrize("strategy", ["hogwild", "sync", "hybrid(hot=0)"])
def test_strategies_without_hot_features_never_copy_mapped_rows(
    strategy: str, tmp_path: Path
) -> None:
    """200,000 features: more than the replicas of hot ones may have."""
    columns = np.arange(3000) * 7919 % 200_000
    columns = np.sort(columns.reshape(300, 10)).ravel()
    X = sparse.csr_matrix((np.ones(3000), columns, np.arange(0, 3001, 10)), shape=(300, 200_000))
    ht.save_directory(tmp_path / "wide", X, np.arange(300) % 2)
    copied = _train(tmp_path / "wide", strategy=strategy).settings["copied"]
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
    assert "must have 58 features, got 59" in _refusal(folder, n_features=58)


def test_a_directory_without_labels_can_be_read_but_not_trained_on(folder: Path) -> None:
    (folder / "y.npy").unlink()
    assert ht.read_data(folder)[1] is None
    with pytest.raises(ht.InvalidDataError, match=r"rows has no labels.*y\.npy"):
        _train(folder)


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
        _train(folder)


# SciPy's .npz with labels beside it.


def test_an_npz_has_its_labels_beside_it(problem: Problem, tmp_path: Path) -> None:
    sparse.save_npz(tmp_path / "train.v1.npz", problem.X)
    assert ht.read_data(tmp_path / "train.v1.npz")[1] is None
    np.save(tmp_path / "train.v1.y.npy", problem.labels)
    X, y = ht.read_data(tmp_path / "train.v1.npz")
    assert _equal(X, problem.X)
    np.testing.assert_array_equal(y, problem.labels)
    np.save(tmp_path / "other.npy", ~problem.labels)
    _, y = ht.read_data(tmp_path / "train.v1.npz", labels=tmp_path / "other.npy")
    np.testing.assert_array_equal(y, ~problem.labels)


def test_training_on_an_npz_equals_training_on_its_arrays(problem: Problem, tmp_path: Path) -> None:
    sparse.save_npz(tmp_path / "a.npz", problem.X)
    np.save(tmp_path / "a.y.npy", problem.labels)
    by_path = _train(str(tmp_path / "a.npz"), validation=tmp_path / "a.npz")
    data = (problem.X, problem.labels)
    assert _same(by_path, _train(data))
    assert by_path.history[-1].validation_loss == (
        _train(data, validation=data).history[-1].validation_loss
    )


def test_an_npz_of_other_things_or_cut_short_is_refused_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=np.ones(3))
    assert f"{tmp_path / 'a.npz'} is no whole file of scipy.sparse" in _refusal(tmp_path / "a.npz")
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:50])
    assert "is no whole file of scipy.sparse.save_npz" in _refusal(tmp_path / "a.npz")


def test_a_number_of_features_that_does_not_match_is_refused(
    problem: Problem, tmp_path: Path
) -> None:
    sparse.save_npz(tmp_path / "a.npz", problem.X)
    assert ht.read_data(tmp_path / "a.npz", n_features=60)[0].shape == (400, 60)
    for n_features in (59, 61):
        says = _refusal(tmp_path / "a.npz", n_features=n_features)
        assert f"a.npz must have {n_features} features, got 60" in says


def test_columns_beyond_those_asked_for_can_be_left_out(problem: Problem, tmp_path: Path) -> None:
    sparse.save_npz(tmp_path / "a.npz", problem.X)
    ht.save_directory(tmp_path / "rows", problem.X)
    for path in (tmp_path / "a.npz", tmp_path / "rows"):
        rows = ht.read_data(path, n_features=50, unknown="ignore")
        assert _equal(rows[0], problem.X[:, :50])
        beyond = problem.X[:, 50:]
        assert rows.unknown.elements == beyond.nnz
        assert rows.unknown.rows == (np.diff(beyond.indptr) > 0).sum()
        assert rows.unknown.largest == 58
        assert 'leave the others out use unknown="ignore"' in _refusal(path, n_features=50)
        assert "must have 61 features, got 60" in _refusal(path, n_features=61, unknown="ignore")


def test_dense_columns_beyond_those_asked_for_are_refused(tmp_path: Path) -> None:
    ht.save_directory(tmp_path / "dense", np.ones((4, 3)))
    assert "got 3" in _refusal(tmp_path / "dense", n_features=2, unknown="ignore")


# Headers that claim more than the file holds.


def _claim(file: Path, shape: str, dtype: str = "<f4", content: bytes = bytes(16)) -> None:
    header = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    start = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little")
    file.write_bytes(start + header + content)


@pytest.mark.parametrize("name", ["data.npy", "indices.npy", "indptr.npy", "y.npy", "shape.npy"])
@pytest.mark.parametrize("shape", ["(1099511627776,)", "(-1,)", f"({1 << 62},)"])
def test_a_file_that_claims_a_huge_shape_is_refused(name: str, shape: str, folder: Path) -> None:
    _claim(folder / name, shape, "<i4")
    assert f"{name} is no whole .npy file" in _refusal(folder)


def _packed(path: Path, **members: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)


def test_a_packed_archive_beyond_the_bound_or_with_a_false_shape_is_refused(
    problem: Problem, tmp_path: Path
) -> None:
    path = tmp_path / "a.npz"
    sparse.save_npz(path, problem.X)
    assert ht.read_data(path, max_bytes=1 << 20)[0].shape == (400, 60)
    assert "bytes when unpacked; at most" in _refusal(path, max_bytes=10_000)
    with zipfile.ZipFile(path) as archive:
        members = {name.removesuffix(".npy"): archive.read(name) for name in archive.namelist()}
    _claim(tmp_path / "data.npy", "(1099511627776,)")
    members["data"] = (tmp_path / "data.npy").read_bytes()
    _packed(path, **members)
    tracemalloc.start()
    assert "data must have 4398046511104 bytes for its shape" in _refusal(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize("form", ["csr", "csc", "coo"])
def test_an_archive_with_changed_bytes_is_read_or_refused(
    form: str, problem: Problem, tmp_path: Path
) -> None:
    path = tmp_path / "a.npz"
    sparse.save_npz(path, problem.X[:30].asformat(form), compressed=form == "csc")
    whole = path.read_bytes()
    rng = np.random.default_rng(2)
    refused = 0
    for place in [*rng.integers(0, len(whole), 150), *rng.integers(1, 700, 150) * -1]:
        changed = bytearray(whole)
        changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        try:
            ht.read_data(path, n_features=40, unknown="ignore")
        except ht.InvalidDataError as error:
            refused += str(path) in str(error)
    assert refused > 100


@pytest.mark.parametrize("form", ["dok", "lil", "x", ""])
def test_an_archive_of_a_format_that_scipy_does_not_save_is_refused(
    form: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "rows.npz", format=form, shape=(3, 3), data=np.ones(3))
    with pytest.raises(ht.InvalidDataError, match="its format is none of csr, csc, bsr, dia, coo"):
        ht.read_data(tmp_path / "rows.npz")


def test_labels_are_counted_before_memory_is_taken_for_the_rows(tmp_path: Path) -> None:
    matrix = sparse.coo_matrix((np.ones(2), ([0, 1], [0, 1])), shape=(20_000_000, 2))
    sparse.save_npz(tmp_path / "rows.npz", matrix)
    np.save(tmp_path / "rows.y.npy", np.arange(2))
    tracemalloc.start()
    with pytest.raises(ht.InvalidDataError, match="must hold 20000000 labels"):
        ht.read_data(tmp_path / "rows.npz")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 << 20


def test_a_device_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "rows.npz").symlink_to("/dev/zero")
    with pytest.raises(ht.InvalidDataError, match=r"rows\.npz is no whole .* a pipe or a device"):
        ht.read_data(tmp_path / "rows.npz")


def test_an_archive_through_a_pipe_is_refused(tmp_path: Path, problem: Problem) -> None:
    sparse.save_npz(tmp_path / "a.npz", problem.X)
    content = (tmp_path / "a.npz").read_bytes()
    os.mkfifo(tmp_path / "pipe.npz")
    writer = threading.Thread(target=lambda: _ignore_end((tmp_path / "pipe.npz"), content))
    writer.start()
    assert "it is a pipe" in _refusal(tmp_path / "pipe.npz")
    writer.join(10)


def _ignore_end(pipe: Path, content: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):
        pipe.write_bytes(content)


# Whatever else.


@pytest.mark.parametrize("name", ["no.svm", "no.npz", "no/such/folder"])
def test_a_file_that_is_not_there_is_the_systems_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=name):
        ht.read_data(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=name):
        _train(tmp_path / name)


def test_named_labels_that_are_not_there_are_the_systems_error(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.npy"):
        ht.read_data(folder, labels=folder / "none.npy")


@pytest.mark.parametrize(
    ("name", "says"),
    [("a.npy", "put X.npy and y.npy into a directory"), ("a.csv", "read it with pandas")],
)
def test_another_format_is_refused_with_what_to_do(name: str, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("1,2\n")
    assert says in _refusal(tmp_path / name)


def test_labels_beside_svmlight_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.svm").write_text("1 1:1\n")
    with pytest.raises(ht.InvalidSettingError, match="must hold its labels itself"):
        ht.read_data(tmp_path / "a.svm", labels="y.npy")


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
