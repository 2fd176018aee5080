# SPDX-License-Identifier: BSD-3-Clause
"""svmlight text: read plain and compressed; broken lines are named."""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.problems import Problem
from scipy import sparse

import hybridtrain as ht

TEXT = b"""\
# two classes
+1 1:0.5 3:2  # the first row

-1 qid:4 2:1e-3
-1
1\t2:-1 4:1
"""
X = sparse.csr_matrix(
    np.array([[0.5, 0, 2, 0], [0, 1e-3, 0, 0], [0, 0, 0, 0], [0, -1, 0, 1]], np.float32)
)
Y = [1.0, -1.0, -1.0, 1.0]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[bytes], Path]:
    """Write text to a file and return its path."""

    def to(text: bytes) -> Path:
        (tmp_path / "data.svm").write_bytes(text)
        return tmp_path / "data.svm"

    return to


Write = Callable[[bytes], Path]


def _refusal(path: Path, **settings: Any) -> str:
    with pytest.raises(ht.InvalidDataError) as caught:
        ht.read_data(path, **settings)
    return str(caught.value)


def _is_x(found: Any, expected: Any = X) -> bool:
    return found.shape == expected.shape and (found != expected).nnz == 0


@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, bz2.compress, lzma.compress], ids=["plain", "gz", "bz2", "xz"]
)
def test_plain_and_compressed_text_is_read_whatever_its_name(
    pack: Callable[[bytes], bytes], write: Write
) -> None:
    found, y = ht.read_data(write(pack(TEXT)))
    assert _is_x(found)
    assert (found.dtype, found.indices.dtype) == (np.float32, np.int32)
    assert y.tolist() == Y


def test_lines_may_end_as_on_windows_and_the_last_may_not_end(write: Write) -> None:
    found, y = ht.read_data(write(TEXT.replace(b"\n", b"\r\n").rstrip()))
    assert _is_x(found)
    assert y.tolist() == Y


def test_a_path_trains_as_its_rows_do_without_a_copy(problem: Problem, write: Write) -> None:
    lines = [
        f"{label:d} " + " ".join(f"{i + 1}:{float(v)!r}" for i, v in zip(*pairs, strict=True))
        for label, pairs in zip(
            problem.labels,
            ((row.indices, row.data) for row in (problem.X[i] for i in range(400))),
            strict=True,
        )
    ]
    path = write("\n".join(lines).encode())
    rows = problem.X[:, :59]  # no row holds the last feature
    by_path = ht.train(ht.Linear(), path, validation=path, workers=1, epochs=2)
    by_rows = ht.train(ht.Linear(), (rows, problem.labels), workers=1, epochs=2)
    assert by_path.settings["copied"] == []
    np.testing.assert_array_equal(by_path.params["coef"], by_rows.params["coef"])


def test_rows_are_filled_up_to_the_features_asked_for(write: Write) -> None:
    found, _ = ht.read_data(write(TEXT), n_features=6)
    assert found.shape == (4, 6)
    assert _is_x(found[:, :4])


def test_a_feature_beyond_those_asked_for_is_refused_with_its_line(write: Write) -> None:
    says = _refusal(write(TEXT), n_features=3)
    assert "data.svm, line 6 has an index beyond 3, the last of 3 features" in says
    assert "read all files with ht.read_data(path, n_features=...)" in says


def test_a_validation_file_has_the_features_of_the_training_file(tmp_path: Path) -> None:
    (tmp_path / "train.svm").write_bytes(TEXT)
    (tmp_path / "few.svm").write_bytes(b"1 1:1\n-1 2:1\n")
    (tmp_path / "many.svm").write_bytes(b"1 1:1\n-1 5:1\n")
    ht.train(
        ht.Linear(), tmp_path / "train.svm", validation=tmp_path / "few.svm", workers=1, epochs=1
    )
    with pytest.raises(ht.InvalidDataError, match=r"many\.svm, line 2 has an index beyond 4"):
        ht.train(ht.Linear(), tmp_path / "train.svm", validation=tmp_path / "many.svm", workers=1)


def test_indices_that_count_from_0_are_refused_until_said(write: Write) -> None:
    path = write(b"1 1:1\n-1 0:2 3:1\n")
    says = _refusal(path)
    assert "line 2 has the index 0, but indices count from 1" in says
    assert "ht.read_data(path, zero_based=True)" in says
    found, _ = ht.read_data(path, zero_based=True)
    assert found.toarray().tolist() == [[0, 1, 0, 0], [2, 0, 0, 1]]
    assert "index beyond 2, the last of 3" in _refusal(path, zero_based=True, n_features=3)


HARMLESS = {
    "a byte order mark": b"\xef\xbb\xbf" + TEXT,
    "a byte order mark before a row": b"\xef\xbb\xbf" + TEXT.partition(b"\n")[2],
    "spaces after colons": TEXT.replace(b"3:2 ", b"3: 2 ").replace(b"2:1e", b"2:  1e"),
    "a tab after a colon": TEXT.replace(b"1:0.5", b"1:\t.5"),
    "ends of lines of Windows": TEXT.replace(b"\n", b"\r\n"),
    "spaces before and after": TEXT.replace(b"\n", b"  \t\n  "),
    "tabs": TEXT.replace(b" ", b"\t"),
    "empty lines": TEXT.replace(b"\n", b"\n\n \n"),
    "comments with anything": TEXT.replace(b"# the first row", b"# a_1 3: x_ \xff ## :"),
    "signs": TEXT.replace(b" 1:0.5", b" +1:+0.5"),
    "zeros in front": TEXT.replace(b" 1:0.5", b" 01:00.5"),
}


@pytest.mark.parametrize("form", HARMLESS)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gz"])
def test_a_harmless_form_is_read_as_the_plain_one(
    form: str, pack: Callable[[bytes], bytes], write: Write
) -> None:
    found, y = ht.read_data(write(pack(HARMLESS[form])))
    assert _is_x(found)
    assert y.tolist() == Y


def test_a_faulty_first_row_after_a_byte_order_mark_is_named(write: Write) -> None:
    assert "line 1 has '2:x'" in _refusal(write(b"\xef\xbb\xbf1 2:x\n"))
    assert "line 1 has a value that is NaN" in _refusal(write(b"\xef\xbb\xbf1 2:nan\n1 2:1\n"))
    assert "line 2 has '\\ufeff1'" in _refusal(write(b"1 2:1\n\xef\xbb\xbf1 2:1\n"))


def test_lines_are_counted_past_blocks_of_comments(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hybridtrain.data.svmlight._BLOCK_BYTES", 1000)
    text = b"# a comment that is long enough\n" * 300 + b"1 1:1\n" * 1000
    says = _refusal(write(text + b"1 0:1\n"))
    assert "line 1301 has the index 0" in says
    assert ht.read_data(write(text))[0].shape == (1000, 1)


def test_features_beyond_those_asked_for_can_be_left_out(write: Write) -> None:
    path = write(TEXT + b"1 4:1 9:1 12:2\n")
    rows = ht.read_data(path, n_features=3, unknown="ignore")
    assert _is_x(rows[0], sparse.vstack([X[:, :3], sparse.csr_matrix((1, 3))]))
    assert rows[1].tolist() == [*Y, 1.0]
    left_out = rows.unknown
    assert (left_out.elements, left_out.rows, left_out.largest) == (4, 2, 11)
    nothing = ht.read_data(path, n_features=12, unknown="ignore").unknown
    assert (nothing.elements, nothing.rows) == (0, 0)
    assert "index beyond 2, the last of 3" in _refusal(path, n_features=3, zero_based=True)
    left_out = ht.read_data(path, n_features=3, zero_based=True, unknown="ignore").unknown
    assert (left_out.elements, left_out.largest) == (5, 12)
    with pytest.raises(ht.InvalidSettingError, match='"refuse" or "ignore", got \'drop\''):
        ht.read_data(path, unknown="drop")


def test_how_a_file_was_read_is_kept_in_the_model(tmp_path: Path) -> None:
    path = tmp_path / "zero.svm"
    path.write_bytes(b"1 0:1 2:1\n-1 1:1\n")
    rows = ht.read_data(path, zero_based=True)
    result = ht.train(ht.Linear(), rows, validation=path, workers=1)  # read alike
    assert result.settings["reading"] == {"format": "svmlight", "zero_based": True}
    result.save(tmp_path / "model")
    assert ht.load(tmp_path / "model.npz").settings["reading"] == result.settings["reading"]
    path.write_bytes(b"1 1:1 3:1\n-1 2:1\n")
    by_path = ht.train(ht.Linear(), path, workers=1)
    assert by_path.settings["reading"] == {"format": "svmlight", "zero_based": False}
    X_of_file, y = rows
    assert ht.train(ht.Linear(), (X_of_file, y), workers=1).settings["reading"] is None
    with pytest.raises(ht.InvalidDataError, match=r"indices count from 0, those of .*from 1"):
        ht.train(ht.Linear(), path, init=result, workers=1)
    more = ht.train(ht.Linear(), (X_of_file, y), init=result, workers=1)
    assert more.settings["reading"] == result.settings["reading"]


BROKEN = {
    b"1 3:1 2:1": "the index 2 after 3; the indices of a row must increase",
    b"1 2:1 2:1": "the index 2 after 2",
    b"1 a:1": "'a:1' in place of index:value",
    b"1 3:x": "'3:x' in place of index:value",
    b"1 3:": "'3:' in place of index:value",
    b"1 3": "'3' in place of index:value",
    b"1 3:1:2": "'3:1:2' in place of index:value",
    b"1_0 2:1": "'1_0' in place of the label",
    b"1 1_0:1": "'1_0:1' in place of index:value",
    b"1 2:1_0": "'2:1_0' in place of index:value",
    b"1 2: 1_0": "'2:1_0' in place of index:value",
    b"1 2:0x10": "'2:0x10' in place of index:value",
    b"1 2:1,000": "'2:1,000' in place of index:value",
    b"1 2: 3:1": "'2:3:1' in place of index:value",
    b"1 2 :3": "'2' in place of index:value",
    b"1 \xd9\xa1:1": "in place of index:value",
    b"1 1:\xd9\xa1": "in place of index:value",
    b"1 --1:1": "the index '--1', outside",
    b"1 2:1e400": "a value that is NaN, infinite or too large for float32",
    b"1 2:inf": "a value that is NaN, infinite or too large for float32",
    b"1e400 2:1": "a label that is NaN or infinite",
    b"1 " + b"9" * 5000 + b":1": "outside 1 .. 2147483647",
    b"1 2:": "'2:' in place of index:value",
    b"-1 |f 3:1": "'|f' in place of index:value",
    b"spam 3:1": "'spam' in place of the label, which must be a number",
    b"3:1 4:1": "'3:1' in place of the label",
    b"1,2 3:1": "'1,2' in place of the label",
    b"\x89PNG\xff": "in place of the label",
    b"1 -1:2": "the index '-1', outside 1 .. 2147483647",
    b"1 9999999999:1": "the index '9999999999', outside",
    b"1 99999999999999999999999:1": "the index '99999999999999999999999', outside",
    b"1 2:nan": "a value that is NaN, infinite or too large for float32",
    b"1 2:1e300": "a value that is NaN, infinite or too large for float32",
    b"nan 2:1": "a label that is NaN or infinite",
    b"1 qid: 2:1": "'qid:2:1' in place of index:value",
    b"1 qid: ": "'qid:' in place of index:value",
    b"1 qid:x 2:1": "'qid:x' in place of index:value",
    b"1 qid:5b:40": "'qid:5b:40' in place of index:value",
    b"1 qid:7\xef\xbb\xbf1 2:1": "in place of index:value",
    b"1 qid5.\x12:1": "in place of index:value",
    b"1 qid:-3 2:1 # qid": "'qid:-3' in place of index:value",
    b"1 qid:3 qid:4 2:1": "'qid:4' in place of index:value",
    b"1 qid:1_0 2:1": "'qid:1_0' in place of index:value",
}


@pytest.mark.parametrize("line", BROKEN, ids=repr)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gz"])
@pytest.mark.parametrize("n_before", [3, 2500])
def test_a_broken_line_is_named_with_its_number_and_text(
    line: bytes, pack: Callable[[bytes], bytes], n_before: int, write: Write
) -> None:
    before = b"# comment\n\n" + b"1 1:1 2:1\n" * (n_before - 2)
    path = write(pack(before + line + b"\n1 1:1\n"))
    says = _refusal(path)
    assert says.startswith(f"{path}, line {n_before + 1} has ")
    assert BROKEN[line] in says
    assert f"'{line[:2].decode('utf-8', 'replace')}" in says


def test_the_first_of_two_faults_is_named(write: Write) -> None:
    path = write(b"1 qid:1 1:1\n1 qid:x 1:1\n1 1:1 1:1\n")
    assert _refusal(path).startswith(f"{path}, line 2 has 'qid:x'")


def test_what_only_looks_like_a_wrong_qid_is_read(write: Write) -> None:
    found, y = ht.read_data(write(b"1 # qid:x\n2 qid:12#qid\n3 qid: 7 2:1\n4 qid:5\t1:1\n5 qid:1"))
    assert y.tolist() == [1, 2, 3, 4, 5]
    assert found.toarray().tolist() == [[0, 0], [0, 0], [0, 1], [1, 0], [0, 0]]


def test_a_long_line_is_shown_in_part(write: Write) -> None:
    says = _refusal(write(b"1 " + b" ".join(b"%d:1" % i for i in range(1, 500)) + b" 3:1\n"))
    assert "the index 3 after 499" in says
    assert len(says) < 400


def test_a_line_without_end_is_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hybridtrain.data.svmlight._LONGEST_LINE", 1000)
    says = _refusal(write(b"1 1:1\n" + b"1 " * 9999))
    assert "line 2 has more than 1,000 bytes" in says


@pytest.mark.parametrize("text", [b"", b"\n\n", b"# nothing\n"])
def test_a_file_without_rows_is_refused(text: bytes, write: Write) -> None:
    assert "data.svm holds no rows" in _refusal(write(text))


@pytest.mark.parametrize(
    "pack", [gzip.compress, bz2.compress, lzma.compress], ids=["gz", "bz2", "xz"]
)
def test_a_compressed_file_cut_short_or_damaged_is_refused(
    pack: Callable[[bytes], bytes], write: Write
) -> None:
    rng = np.random.default_rng(0)
    whole = pack(b"".join(b"1 %d:%d\n" % (i, i) for i in rng.integers(1, 9999, 5000)))
    assert "is compressed, but damaged or cut short" in _refusal(write(whole[: len(whole) // 2]))
    damaged = bytearray(whole)
    damaged[len(whole) // 2 : len(whole) // 2 + 50] = bytes(50)
    path = write(bytes(damaged))
    assert str(path) in _refusal(path)


def test_without_scikit_learn_the_error_says_what_to_install(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(TEXT)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ht.MissingPackageError, match=r"pip install 'hybridtrain\[files\]'"):
        ht.read_data(path)
