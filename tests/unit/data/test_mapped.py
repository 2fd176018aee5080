# SPDX-License-Identifier: BSD-3-Clause
"""Rows of mapped files that something changes while they are read: named, and never followed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.problems import Problem, planted
from scipy import sparse

import hybridtrain as ht
from hybridtrain.data.arrays import is_mapped
from hybridtrain.data.matrix import canonical_rows

IN_PLACE = [
    "hogwild",
    "hogwild(exact=True)",
    "hybrid(hot=1.0)",
    "hybrid(hot=0)",
    "local_sgd(replicas=3)",
    "sync",
]
COPIED = "hybrid(hot=5)"  # renumbers, so the rows are a copy
BEYOND = 2**31 - 1
_STRETCH_SECONDS = 1e-3  # of each state of a file that changes all the time


@pytest.fixture
def folder(problem: Problem, tmp_path: Path) -> Path:
    """Return a CSR directory of the planted problem."""
    ht.save_directory(tmp_path / "rows", problem.X, problem.labels)
    return tmp_path / "rows"


def _indices(folder: Path) -> Any:
    """Map the indices as another process would, to write to them."""
    return np.load(folder / "indices.npy", mmap_mode="r+")


def _train(data: Any, **settings: Any) -> ht.Result:
    settings = {"workers": 1, "epochs": 3, "progress": False, **settings}
    return ht.train(ht.Linear(l2=1e-3), data, **settings)


def _breaks_after_an_epoch(folder: Path, value: int) -> Any:
    def change(record: Any) -> None:
        if record.epoch == 1:
            _indices(folder)[7] = value

    return change


@pytest.mark.parametrize(
    ("strategy", "workers"), [*((name, 1) for name in [*IN_PLACE, COPIED]), ("sync", 2)]
)
def test_mapped_rows_train_as_rows_in_memory(
    folder: Path, problem: Problem, strategy: str, workers: int
) -> None:
    mapped = _train(str(folder), strategy=strategy, workers=workers)
    other = _train((problem.X, problem.labels), strategy=strategy, workers=workers)
    np.testing.assert_array_equal(mapped.params["coef"], other.params["coef"])
    assert mapped.history[-1].loss == other.history[-1].loss


@pytest.mark.parametrize("strategy", [*IN_PLACE, COPIED])
def test_mapped_rows_without_elements_train(tmp_path: Path, strategy: str) -> None:
    y = np.arange(60) % 3 == 0
    ht.save_directory(tmp_path / "rows", sparse.csr_matrix((60, 4), dtype=np.float32), y)
    rows = ht.read_data(tmp_path / "rows")
    assert is_mapped(rows[0].indices)
    result = _train(rows, strategy=strategy, validation=rows)
    assert not result.params["coef"].any()
    assert result.params["intercept"] < 0
    assert result.score(*rows) == 2 / 3


@pytest.mark.parametrize("optimizer", ["sgd", "sgd(average=True)", "adagrad", "ftrl"])
def test_every_optimizer_trains_on_mapped_rows(
    folder: Path, problem: Problem, optimizer: str
) -> None:
    mapped = _train(str(folder), strategy="hogwild", optimizer=optimizer)
    other = _train((problem.X, problem.labels), strategy="hogwild", optimizer=optimizer)
    np.testing.assert_array_equal(mapped.params["coef"], other.params["coef"])


def test_softmax_with_weights_trains_on_mapped_rows(folder: Path, problem: Problem) -> None:
    y = np.arange(problem.X.shape[0]) % 3
    weight = 1.0 + np.arange(problem.X.shape[0]) % 2
    X, _ = ht.read_data(folder)
    for strategy in IN_PLACE:
        found = [
            ht.train(ht.Linear(loss="softmax"), (rows, y, weight), strategy=strategy, workers=1)
            for rows in (X, problem.X)
        ]
        np.testing.assert_array_equal(found[0].params["coef"], found[1].params["coef"])


@pytest.mark.parametrize("strategy", IN_PLACE)
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("value", [BEYOND, 60, -1])
def test_an_index_that_changes_during_the_run_ends_it_by_name(
    folder: Path, strategy: str, workers: int, value: int
) -> None:
    with pytest.raises(ht.DataChangedError, match=r"rows of X changed in epoch 2") as caught:
        _train(
            str(folder),
            strategy=strategy,
            workers=workers,
            callbacks=[_breaks_after_an_epoch(folder, value)],
        )
    result = caught.value.result
    assert result is not None
    assert [record.epoch for record in result.history] == [1]
    assert result.settings["stopped"] == "changed"
    assert result.ledger[-1].reason == "changed"
    assert all(record.trained + record.dropped == 400 for record in result.ledger)
    assert np.isfinite(result.params["coef"]).all()


def test_rows_that_were_renumbered_are_a_copy(folder: Path) -> None:
    change = _breaks_after_an_epoch(folder, BEYOND)
    result = _train(str(folder), strategy=COPIED, callbacks=[change])
    assert len(result.history) == 3


def test_an_index_that_changes_to_another_feature_trains_on(folder: Path) -> None:
    change = _breaks_after_an_epoch(folder, 3)
    assert len(_train(str(folder), strategy="hogwild", callbacks=[change]).history) == 3


def test_every_reader_of_mapped_rows_names_the_change(folder: Path, problem: Problem) -> None:
    X, y = ht.read_data(folder)
    matrix = canonical_rows(X, threads=2)
    assert matrix.mapped
    _indices(folder)[7] = BEYOND
    rows = matrix.rows(problem.labels.astype(np.float32))
    n = matrix.n_features
    with pytest.raises(ht.DataChangedError):
        rows.count(0, 400, True, np.zeros(n), np.zeros(n))
    with pytest.raises(ht.DataChangedError):
        rows.raise_largest(0, 400, np.zeros(n, np.float32))
    with pytest.raises(ht.DataChangedError):
        rows.margins(np.zeros(n + 1, np.float32), 1, 0, 0, 400, np.empty(400, np.float32))
    with pytest.raises(ht.DataChangedError):
        matrix.take(np.arange(400))
    assert y is not None


def test_pointers_that_change_are_not_followed(folder: Path) -> None:
    X, y = ht.read_data(folder)
    matrix = canonical_rows(X, threads=2)
    before = matrix.take(np.arange(400)).n_elements
    pointers = np.load(folder / "indptr.npy", mmap_mode="r+")
    pointers[:] = 2**40
    assert matrix.take(np.arange(400)).n_elements == before
    assert y is not None


def test_whether_an_array_is_mapped_is_seen_through_views(folder: Path) -> None:
    mapped = np.load(folder / "indices.npy", mmap_mode="r")
    assert is_mapped(mapped)
    assert is_mapped(np.asarray(mapped)[3:10])
    assert is_mapped(np.frombuffer(memoryview(mapped), np.int32))
    assert not is_mapped(mapped.copy())
    assert not is_mapped(np.array(mapped))


@contextmanager
def _changing(folder: Path) -> Iterator[None]:
    """Write wrong indices and right ones in turn, as fast as it goes, until the end."""
    indices = _indices(folder)
    right = indices.copy()
    wrong = right.copy()
    wrong[::97] = BEYOND
    over = threading.Event()

    def change() -> None:
        while not over.is_set():
            indices[:] = wrong
            time.sleep(_STRETCH_SECONDS)
            indices[:] = right
            time.sleep(_STRETCH_SECONDS)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        indices[:] = right


@pytest.mark.parametrize("strategy", [*IN_PLACE, COPIED])
def test_a_file_that_changes_all_the_time_is_never_followed(strategy: str, tmp_path: Path) -> None:
    problem = planted(3, 4000, 60, longest=30)
    ht.save_directory(tmp_path / "rows", problem.X, problem.labels)
    outcomes = set()
    with _changing(tmp_path / "rows"):
        for seed in range(200):
            if seed >= 20 and "refused" in outcomes:
                break
            try:
                result = _train(
                    str(tmp_path / "rows"), strategy=strategy, workers=2, seed=seed, validation=0.1
                )
                assert np.isfinite(result.params["coef"]).all()
                outcomes.add("trained")
            except ht.InvalidDataError:
                outcomes.add("refused")
    assert "refused" in outcomes  # so it did change
