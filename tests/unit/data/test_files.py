# SPDX-License-Identifier: BSD-3-Clause
"""`read_data` on any path: the number of features, names that are not there, other formats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from reference.problems import Problem
from scipy import sparse
from support.files import is_equal, refusal, train_on

import hybridtrain as ht


def test_a_number_of_features_that_does_not_match_is_refused(
    problem: Problem, tmp_path: Path
) -> None:
    sparse.save_npz(tmp_path / "a.npz", problem.X)
    assert ht.read_data(tmp_path / "a.npz", n_features=60)[0].shape == (400, 60)
    for n_features in (59, 61):
        says = refusal(tmp_path / "a.npz", n_features=n_features)
        assert f"a.npz must have {n_features} features, got 60" in says


def test_columns_beyond_those_asked_for_can_be_left_out(problem: Problem, tmp_path: Path) -> None:
    sparse.save_npz(tmp_path / "a.npz", problem.X)
    ht.save_directory(tmp_path / "rows", problem.X)
    for path in (tmp_path / "a.npz", tmp_path / "rows"):
        rows = ht.read_data(path, n_features=50, unknown="ignore")
        assert is_equal(rows[0], problem.X[:, :50])
        beyond = problem.X[:, 50:]
        assert rows.unknown.elements == beyond.nnz
        assert rows.unknown.rows == (np.diff(beyond.indptr) > 0).sum()
        assert rows.unknown.largest == 58
        assert 'leave the others out use unknown="ignore"' in refusal(path, n_features=50)
        assert "must have 61 features, got 60" in refusal(path, n_features=61, unknown="ignore")


def test_dense_columns_beyond_those_asked_for_are_refused(tmp_path: Path) -> None:
    ht.save_directory(tmp_path / "dense", np.ones((4, 3)))
    assert "got 3" in refusal(tmp_path / "dense", n_features=2, unknown="ignore")


@pytest.mark.parametrize("name", ["no.svm", "no.npz", "no/such/folder"])
def test_a_file_that_is_not_there_is_the_systems_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=name):
        ht.read_data(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=name):
        train_on(tmp_path / name)


def test_named_labels_that_are_not_there_are_the_systems_error(tmp_path: Path) -> None:
    ht.save_directory(tmp_path / "rows", np.ones((4, 3)))
    with pytest.raises(FileNotFoundError, match=r"none\.npy"):
        ht.read_data(tmp_path / "rows", labels=tmp_path / "none.npy")


@pytest.mark.parametrize(
    ("name", "says"),
    [("a.npy", "put X.npy and y.npy into a directory"), ("a.csv", "read it with pandas")],
)
def test_another_format_is_refused_with_what_to_do(name: str, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("1,2\n")
    assert says in refusal(tmp_path / name)


def test_labels_beside_svmlight_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.svm").write_text("1 1:1\n")
    with pytest.raises(ht.InvalidSettingError, match="must hold its labels itself"):
        ht.read_data(tmp_path / "a.svm", labels="y.npy")
