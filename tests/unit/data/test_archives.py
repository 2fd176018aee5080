# SPDX-License-Identifier: BSD-3-Clause
"""Archives of SciPy's save_npz, with labels beside them: whole, within a bound, or refused."""

from __future__ import annotations

import contextlib
import os
import threading
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from reference.problems import Problem
from scipy import sparse
from support.files import claim_shape, have_same_bits, is_equal, refusal, train_on

import hybridtrain as ht


def test_an_npz_has_its_labels_beside_it(problem: Problem, tmp_path: Path) -> None:
    sparse.save_npz(tmp_path / "train.v1.npz", problem.X)
    assert ht.read_data(tmp_path / "train.v1.npz")[1] is None
    np.save(tmp_path / "train.v1.y.npy", problem.labels)
    X, y = ht.read_data(tmp_path / "train.v1.npz")
    assert is_equal(X, problem.X)
    np.testing.assert_array_equal(y, problem.labels)
    np.save(tmp_path / "other.npy", ~problem.labels)
    _, y = ht.read_data(tmp_path / "train.v1.npz", labels=tmp_path / "other.npy")
    np.testing.assert_array_equal(y, ~problem.labels)


def test_training_on_an_npz_equals_training_on_its_arrays(problem: Problem, tmp_path: Path) -> None:
    sparse.save_npz(tmp_path / "a.npz", problem.X)
    np.save(tmp_path / "a.y.npy", problem.labels)
    by_path = train_on(str(tmp_path / "a.npz"), validation=tmp_path / "a.npz")
    data = (problem.X, problem.labels)
    assert have_same_bits(by_path, train_on(data))
    assert by_path.history[-1].validation_loss == (
        train_on(data, validation=data).history[-1].validation_loss
    )


def test_an_npz_of_other_things_or_cut_short_is_refused_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=np.ones(3))
    assert f"{tmp_path / 'a.npz'} is no whole file of scipy.sparse" in refusal(tmp_path / "a.npz")
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:50])
    assert "is no whole file of scipy.sparse.save_npz" in refusal(tmp_path / "a.npz")


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
    assert "bytes when unpacked; at most" in refusal(path, max_bytes=10_000)
    with zipfile.ZipFile(path) as archive:
        members = {name.removesuffix(".npy"): archive.read(name) for name in archive.namelist()}
    claim_shape(tmp_path / "data.npy", "(1099511627776,)")
    members["data"] = (tmp_path / "data.npy").read_bytes()
    _packed(path, **members)
    tracemalloc.start()
    assert "data must have 4398046511104 bytes for its shape" in refusal(path)
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
    assert "it is a pipe" in refusal(tmp_path / "pipe.npz")
    writer.join(10)


def _ignore_end(pipe: Path, content: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):
        pipe.write_bytes(content)
