# SPDX-License-Identifier: BSD-3-Clause
"""pandas frames: numeric columns become rows, others are named."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import hybridtrain as ht
from hybridtrain.data.pandas_frames import frame_rows, is_frame


def test_numeric_and_bool_columns_become_float32_rows_in_c_order() -> None:
    frame = pd.DataFrame(
        {
            "a": [1, 2, 3],
            "b": [True, False, True],
            "c": np.array([0.5, 1.5, 2.5], np.float32),
            "d": pd.array([4, 5, 6], dtype="Int64"),
            "e": pd.array([True, True, False], dtype="boolean"),
        }
    )
    rows = frame_rows(frame)
    assert (rows.dtype, rows.flags.c_contiguous) == (np.float32, True)
    assert rows.tolist() == [[1, 1, 0.5, 4, 1], [2, 0, 1.5, 5, 1], [3, 1, 2.5, 6, 0]]


def test_a_frame_of_one_type_is_in_c_order_too() -> None:
    rows = frame_rows(pd.DataFrame(np.ones((5, 3), np.float32)))
    assert rows.flags.c_contiguous


def test_sparse_columns_stay_sparse() -> None:
    frame = pd.get_dummies(pd.Series(list("abca")), sparse=True, dtype="float32")
    rows = frame_rows(frame)
    assert sparse.issparse(rows)
    assert rows.toarray().tolist() == frame.to_numpy().tolist()


def test_sparse_columns_are_trained_on() -> None:
    letters = pd.Series(list("abca" * 20))
    frame = pd.get_dummies(letters, sparse=True, dtype="float32")
    result = ht.train(ht.Linear(), (frame, letters == "a"), workers=1)
    assert result.settings["copied"] == ["X: pandas DataFrame to float32 rows"]
    assert result.score(frame, letters == "a") == 1


@pytest.mark.parametrize(
    ("column", "dtype"),
    [
        (["x", "y"], "str|object"),
        (pd.to_datetime(["2013-01-01", "2013-01-02"]), r"datetime64"),
        (pd.Categorical([1, 2]), "category"),
        ([1j, 2j], "complex128"),
        ([[1], [2]], "object"),
    ],
    ids=["text", "dates", "categories", "complex", "lists"],
)
def test_a_column_of_another_type_is_refused_by_name(column: Any, dtype: str) -> None:
    frame = pd.DataFrame({"fine": [1, 2], "other": column})
    with pytest.raises(ht.InvalidDataError, match=rf"got 'other' \(.*({dtype}).*get_dummies"):
        frame_rows(frame)


def test_of_many_such_columns_the_first_are_named() -> None:
    frame = pd.DataFrame({f"c{i}": ["x"] for i in range(8)})
    with pytest.raises(ht.InvalidDataError, match=r"'c4' \(.*\) and 3 more"):
        frame_rows(frame)


@pytest.mark.parametrize("values", [[1.0, np.nan, np.nan], pd.array([1, None, None], "Int64")])
def test_missing_values_are_refused_with_their_column(values: Any) -> None:
    frame = pd.DataFrame({"fine": [1, 2, 3], "gaps": values})
    with pytest.raises(ht.InvalidDataError, match="got 2 in column 'gaps'"):
        frame_rows(frame)


def test_other_things_are_no_frames_and_pandas_is_not_needed_to_tell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frame = pd.DataFrame({"a": [1]})
    assert is_frame(frame)
    assert not any(map(is_frame, ([1], np.ones((2, 2)), frame.a, sparse.eye(2))))
    monkeypatch.delitem(sys.modules, "pandas")
    assert not is_frame(frame)
    assert "pandas" not in sys.modules


def test_a_frame_can_be_saved(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": [True, False]})
    ht.save_directory(tmp_path / "new", frame, pd.Series(["x", "y"]))
    X, y = ht.read_data(tmp_path / "new")
    assert X.tolist() == [[1, 1], [2, 0]]
    assert y.tolist() == ["x", "y"]


# Sparse columns beside dense ones.


def _dummies(n_rows: int, n_values: int, dtype: str = "bool") -> tuple[Any, Any]:
    codes = np.random.default_rng(0).integers(0, n_values, n_rows)
    frame = pd.get_dummies(pd.Series(codes), sparse=True, dtype=dtype)
    return frame.set_axis([f"c{k}" for k in range(frame.shape[1])], axis=1), codes


BESIDE: dict[str, Any] = {
    "sparse ints": lambda n: pd.arrays.SparseArray(np.arange(n) % 3),
    "sparse floats": lambda n: pd.arrays.SparseArray(np.arange(n) % 3 / 2, fill_value=0.0),
    "sparse with another fill value": lambda n: pd.arrays.SparseArray(
        np.where(np.arange(n) % 50, 7, 0), fill_value=7
    ),
    "sparse of NaN's fill value": lambda n: pd.arrays.SparseArray(np.arange(n) % 3 / 2),
    "dense floats": lambda n: np.random.default_rng(1).normal(size=n),
    "dense ints": lambda n: np.arange(n) % 5,
    "dense bools": lambda n: np.arange(n) % 5 == 0,
    "nullable ints": lambda n: pd.array(np.arange(n) % 5, "Int64"),
    "nullable bools": lambda n: pd.array(np.arange(n) % 5 == 0, "boolean"),
}


@pytest.mark.parametrize("kind", BESIDE)
@pytest.mark.parametrize("dtype", ["bool", "float32", "int8"])
def test_sparse_columns_of_mixed_types_and_dense_ones_become_one_csr(dtype: str, kind: str) -> None:
    frame, codes = _dummies(600, 40, dtype)
    frame.insert(3, "other", BESIDE[kind](600))
    rows = frame_rows(frame)
    assert sparse.issparse(rows)
    assert rows.format == "csr"
    expected = np.column_stack([np.asarray(frame[name], np.float32) for name in frame])
    assert rows.toarray().astype(np.float32).tolist() == expected.tolist()
    result = ht.train(ht.Linear(), (frame, codes % 2), workers=1, epochs=2)
    same = ht.train(ht.Linear(), (sparse.csr_matrix(expected), codes % 2), workers=1, epochs=2)
    assert result.params["coef"].tolist() == same.params["coef"].tolist()
    assert result.settings["warnings"] == []


def test_a_frame_that_takes_less_memory_dense_is_held_so_and_says_it() -> None:
    frame, codes = _dummies(600, 4)
    frame["age"], frame["size"] = np.arange(600) / 600 + 1, np.arange(600) / 6 + 1
    frame["age"] /= 2
    frame["size"] /= 100
    with pytest.warns(ht.DataWarning, match=r"sparse columns, but is held dense, 0\.0 MB"):
        result = ht.train(ht.Linear(), (frame, codes % 2), workers=1)
    assert len(result.settings["warnings"]) == 1
    dense = frame.to_numpy(dtype=np.float32)
    same = ht.train(ht.Linear(), (dense, codes % 2), workers=1)
    assert result.params["coef"].tolist() == same.params["coef"].tolist()
