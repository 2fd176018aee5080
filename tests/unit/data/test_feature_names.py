# SPDX-License-Identifier: BSD-3-Clause
"""Columns with names are matched by name: train, validate, predict, continue, save."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import hybridtrain as ht
from hybridtrain.data.pandas_frames import feature_names
from hybridtrain.sklearn import LinearClassifier

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(RNG.normal(size=(500, 4)), columns=list("abcd"))
Y = 3 * FRAME["a"] - 2 * FRAME["b"] + 0.1 * RNG.normal(size=500)
NAMES = ("a", "b", "c", "d")
TURNED = FRAME[list("dbca")]


def _sparse(frame: Any) -> Any:
    return frame.astype(pd.SparseDtype(float, 0.0))


def _mixed(frame: Any) -> Any:
    return frame.assign(b=pd.arrays.SparseArray(frame["b"], fill_value=0.0))


KINDS: dict[str, Callable[[Any], Any]] = {
    "dense": lambda frame: frame,
    "sparse": _sparse,
    "mixed": _mixed,
    "nullable": lambda frame: frame.astype("Float64"),
}


def _train(X: Any, **settings: Any) -> ht.Result:
    return ht.train(ht.Linear(loss="squared"), (X, Y), workers=1, **{"epochs": 5, **settings})


@pytest.mark.filterwarnings("ignore:X is a frame with sparse columns")
@pytest.mark.parametrize("kind", KINDS)
def test_columns_in_another_order_are_put_in_order(kind: str) -> None:
    result = _train(KINDS[kind](FRAME))
    assert result.feature_names == NAMES
    turned = KINDS[kind](TURNED)
    assert result.predict(turned).tolist() == result.predict(KINDS[kind](FRAME)).tolist()
    assert result.score(turned, Y) > 0.9
    found = _train(KINDS[kind](FRAME), validation=(turned, Y))
    expected = _train(KINDS[kind](FRAME), validation=(KINDS[kind](FRAME), Y))
    assert found.history[-1].validation_loss == expected.history[-1].validation_loss


def _calls(result: ht.Result, X: Any) -> list[Callable[[], Any]]:
    return [
        lambda: result.predict(X),
        lambda: result.decision_function(X),
        lambda: result.score(X, Y),
        lambda: _train(FRAME, validation=(X, Y)),
        lambda: _train(X, init=result),
    ]


OTHERS: dict[str, tuple[Any, str]] = {
    "renamed": (FRAME.rename(columns={"c": "x"}), "got 1 missing: 'c' and 1 unknown: 'x'"),
    "fewer": (FRAME[["a", "d"]], "got 2 missing: 'b', 'c'$"),
    "more": (FRAME.assign(e=1.0, f=2.0), "got 2 unknown: 'e', 'f'$"),
    "other case": (FRAME.rename(columns=str.upper), "got 4 missing: .* and 4 unknown: 'A'"),
    "twice": (FRAME.rename(columns={"c": "a"}), "got 'a' more than once"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_missing_and_unknown_columns_are_refused_by_name(kind: str) -> None:
    X, says = OTHERS[kind]
    for call in _calls(_train(FRAME), X):
        with pytest.raises(ht.InvalidDataError, match=says):
            call()


def test_of_many_unknown_columns_the_first_are_named() -> None:
    X = FRAME.assign(**{f"x{k}": 1.0 for k in range(20)})
    with pytest.raises(ht.InvalidDataError, match=r"got 20 unknown: .*'x4' and 15 more"):
        _train(FRAME).predict(X)


def test_without_names_on_a_side_position_counts() -> None:
    named, bare = _train(FRAME), _train(FRAME.to_numpy())
    assert bare.feature_names is None
    assert named.predict(FRAME.to_numpy()).tolist() == named.predict(FRAME).tolist()
    assert bare.predict(TURNED).tolist() == bare.predict(TURNED.to_numpy()).tolist()
    numbered = pd.DataFrame(FRAME.to_numpy())
    assert named.predict(numbered).tolist() == named.predict(FRAME).tolist()
    with pytest.raises(ht.InvalidDataError, match="X must have 4 features"):
        named.predict(numbered[[0, 1]])


def test_a_run_goes_on_with_columns_in_another_order() -> None:
    first = _train(FRAME, epochs=1)
    found = _train(TURNED, epochs=1, init=first, optimizer=ht.SGD(lr=1e-30))
    assert found.feature_names == tuple("dbca")
    assert found.coef_frame().loc[list(NAMES)].equals(first.coef_frame())
    on_array = _train(FRAME.to_numpy(), epochs=1, init=first)
    assert on_array.feature_names == NAMES


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        (range(4), None),
        (np.arange(4), None),
        ([0.0, 1.0, 2.0, 3.0], ("0.0", "1.0", "2.0", "3.0")),
        ([3, 2, 1, 0], ("3", "2", "1", "0")),
        (["a", 1, ("x", 2), None], ("a", "1", "('x', 2)", "None")),
        (pd.MultiIndex.from_product([["u", "v"], ["x", "y"]]), None),
    ],
)
def test_names_of_other_types_are_kept_as_text(columns: Any, names: Any) -> None:
    frame = FRAME.set_axis(columns, axis=1)
    if isinstance(columns, pd.MultiIndex):
        names = tuple(map(str, columns))
    assert feature_names(frame) == names
    assert _train(frame).feature_names == names


def test_a_frame_with_a_name_twice_is_trained_and_predicted_as_it_stands() -> None:
    twice = FRAME.set_axis(["a", "b", "a", "d"], axis=1)
    result = _train(twice)
    assert len(result.predict(twice)) == 500
    with pytest.raises(ht.InvalidDataError, match="got 'a' more than once"):
        result.predict(twice.iloc[:, ::-1])


@pytest.mark.parametrize(
    "X", [FRAME, FRAME.to_numpy(), FRAME.set_axis(["é", "", "x y", "日"], axis=1)]
)
def test_names_are_saved(X: Any, tmp_path: Path) -> None:
    result = _train(X)
    result.save(tmp_path / "model.npz")
    loaded = ht.load(tmp_path / "model.npz")
    assert loaded.feature_names == result.feature_names
    assert loaded.predict(X).tolist() == result.predict(X).tolist()


def test_a_file_without_names_is_of_a_model_without_names(tmp_path: Path) -> None:
    _train(FRAME).save(tmp_path / "new.npz")
    with np.load(tmp_path / "new.npz") as file:
        arrays = {name: file[name] for name in file.files if name != "feature_names"}
    np.savez(tmp_path / "old.npz", **arrays)
    assert ht.load(tmp_path / "old.npz").feature_names is None


@pytest.mark.parametrize("names", [np.array(["a", "b"]), np.arange(4), np.array([list("abcd")])])
def test_names_of_a_file_that_are_not_those_of_its_features_are_refused(
    names: Any, tmp_path: Path
) -> None:
    _train(FRAME).save(tmp_path / "new.npz")
    with np.load(tmp_path / "new.npz") as file:
        arrays = {**file, "feature_names": names}
    np.savez(tmp_path / "wrong.npz", **arrays)
    with pytest.raises(ht.InvalidDataError, match="'feature_names' of 4 texts"):
        ht.load(tmp_path / "wrong.npz")


def test_coefficients_stand_under_their_names() -> None:
    result = _train(FRAME)
    frame = result.coef_frame()
    assert frame.index.tolist() == list(NAMES)
    assert frame.columns.tolist() == ["coef"]
    assert frame["coef"].tolist() == result.params["coef"].tolist()
    assert frame.attrs["intercept"] == result.params["intercept"]
    assert _train(FRAME.to_numpy()).coef_frame().index.tolist() == [0, 1, 2, 3]


def test_coefficients_of_classes_stand_in_columns() -> None:
    y = np.array(["red", "green", "blue"])[np.arange(500) % 3]
    result = ht.train(ht.Linear(loss="softmax"), (FRAME, y), workers=1)
    frame = result.coef_frame()
    assert frame.shape == (4, 3)
    assert frame.columns.tolist() == ["blue", "green", "red"]
    assert frame["red"].tolist() == result.params["coef"][2].tolist()
    assert list(frame.attrs["intercept"]) == ["blue", "green", "red"]
    two = ht.train(ht.Linear(), (FRAME, Y > 0), workers=1)
    assert two.coef_frame().columns.tolist() == ["coef"]


def test_without_pandas_there_is_no_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    result = _train(FRAME)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ht.MissingPackageError, match="pip install pandas"):
        result.coef_frame()


def test_comparisons_keep_the_names() -> None:
    comparison = ht.compare(
        ht.Linear(loss="squared"),
        (FRAME, Y),
        validation=(TURNED, Y),
        strategies=["sync"],
        workers=1,
        repeats=1,
    )
    assert comparison.runs[0].result.feature_names == NAMES
    assert comparison.runs[0].score > 0.9


def test_the_estimators_keep_the_names_of_scikit_learn() -> None:
    classifier = LinearClassifier(epochs=3, random_state=0).fit(FRAME, Y > 0)
    assert classifier.result_.feature_names == tuple(classifier.feature_names_in_) == NAMES
    assert classifier.result_.score(TURNED, Y > 0) == classifier.score(FRAME, Y > 0)
    with pytest.raises(ValueError, match="feature names"):
        classifier.predict(TURNED)
    classifier.partial_fit(FRAME, Y > 0)
    assert classifier.result_.feature_names == NAMES
    assert LinearClassifier(epochs=3).fit(FRAME.to_numpy(), Y > 0).result_.feature_names is None
