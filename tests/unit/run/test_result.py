# SPDX-License-Identifier: BSD-3-Clause
"""Results: predictions, scores, storage."""

from __future__ import annotations

import pickle
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.problems import Problem
from scipy import sparse

import hybridtrain as ht

STRATEGIES = ["hybrid", "hybrid(hot=9)", "hogwild"]


def _train(problem: Problem, loss: Any = "logistic", **settings: Any) -> ht.Result:
    y = settings.pop("y", problem.labels if loss == "logistic" else problem.values)
    data = (problem.X, y)
    model = ht.Linear(loss=loss, delta=0.5 if loss == "huber" else 1.0)
    return ht.train(model, data, **{"workers": 1, "epochs": 20, **settings})


def _same(a: ht.Result, b: ht.Result) -> None:
    """Compare two results field by field."""
    for field in fields(ht.Result):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if field.name == "params":
            assert x["coef"].dtype == y["coef"].dtype
            assert np.array_equal(x["coef"], y["coef"])
            assert x["intercept"] == y["intercept"]
        elif field.name == "classes" and x is not None:
            assert x.dtype == y.dtype
            assert x.tolist() == y.tolist()
        else:
            assert x == y, field.name


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_margins_are_those_of_the_parameters(strategy: str, problem: Problem) -> None:
    result = _train(problem, strategy=strategy)
    expected = problem.X.astype(np.float64) @ result.params["coef"] + result.params["intercept"]
    found = result.decision_function(problem.X)
    assert found.dtype == np.float32
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert np.array_equal(result.predict(problem.X), found > 0)


def test_probabilities_add_up_to_one_and_agree_with_the_labels(problem: Problem) -> None:
    result = _train(problem)
    proba = result.predict_proba(problem.X)
    assert proba.shape == (400, 2)
    assert proba.dtype == np.float32
    assert proba.sum(axis=1) == pytest.approx(np.ones(400), abs=1e-6)
    z = result.decision_function(problem.X).astype(np.float64)
    assert proba[:, 1] == pytest.approx(1 / (1 + np.exp(-z)), abs=1e-6)
    assert np.array_equal(proba[:, 1] > 0.5, result.predict(problem.X))


def test_small_probabilities_of_both_classes_keep_their_digits(problem: Problem) -> None:
    init = {"coef": np.zeros(60), "intercept": 30.0}
    for sign in (1, -1):
        init["intercept"] = 30.0 * sign
        result = _train(problem, init=init, optimizer=ht.SGD(lr=1e-30))
        small = result.predict_proba(problem.X[:1])[0, 0 if sign == 1 else 1]
        assert small == pytest.approx(np.exp(-30), rel=1e-5)


def test_the_score_of_a_classifier_is_its_accuracy(problem: Problem) -> None:
    result = _train(problem)
    right = result.predict(problem.X) == problem.labels
    weight = np.linspace(1, 2, 400)
    assert result.score(problem.X, problem.labels) == pytest.approx(right.mean())
    weighted = result.score(problem.X, problem.labels, weight)
    assert weighted == pytest.approx(np.average(right, weights=weight))


def test_the_score_of_a_regression_is_r_squared(problem: Problem) -> None:
    result = _train(problem, "squared")
    y, z = problem.values.astype(np.float64), result.predict(problem.X)
    weight = np.linspace(1, 2, 400)
    for given in (None, weight):
        mean = np.average(y, weights=given)
        expected = 1 - np.average((y - z) ** 2, weights=given) / np.average(
            (y - mean) ** 2, weights=given
        )
        assert result.score(problem.X, y, given) == pytest.approx(expected)
    assert 0.9 < result.score(problem.X, y) <= 1


def test_a_score_without_spread_or_with_an_unknown_class_is_refused(problem: Problem) -> None:
    with pytest.raises(ht.InvalidDataError, match="all targets are equal"):
        _train(problem, "squared").score(problem.X, np.ones(400))
    with pytest.raises(ht.InvalidDataError, match=r"y holds the class .*2.*; .*trained on \[False"):
        _train(problem).score(problem.X, np.full(400, 2))


def test_a_score_of_one_class_alone_is_fine(problem: Problem) -> None:
    assert 0 <= _train(problem).score(problem.X, np.ones(400, np.bool_)) <= 1


def test_a_regression_has_neither_classes_nor_probabilities(problem: Problem) -> None:
    result = _train(problem, "squared")
    assert result.classes is None
    assert result.predict(problem.X).dtype == np.float32
    with pytest.raises(
        ht.InvalidSettingError, match=r"needs logistic or softmax loss.* squared loss: use predict$"
    ):
        result.predict_proba(problem.X)


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge"])
def test_a_hinge_has_margins_and_labels_but_no_probabilities(loss: str, problem: Problem) -> None:
    result = _train(problem, loss, y=np.where(problem.labels, "spam", "ham"))
    z = result.decision_function(problem.X)
    assert result.predict(problem.X).tolist() == np.where(z > 0, "spam", "ham").tolist()
    assert result.score(problem.X, np.where(problem.labels, "spam", "ham")) > 0.9
    text = f"needs logistic or softmax loss.* {loss} loss: use predict or decision_function$"
    with pytest.raises(ht.InvalidSettingError, match=text):
        result.predict_proba(problem.X)


def test_prediction_takes_any_form(problem: Problem) -> None:
    result = _train(problem)
    expected = result.decision_function(problem.X)
    for X in (problem.X.tocsc(), problem.X.astype(np.float64), sparse.coo_array(problem.X)):
        assert np.array_equal(result.decision_function(X), expected)
    dense = problem.X.toarray()
    for X in (dense, np.asfortranarray(dense), dense.astype(np.float64)):
        np.testing.assert_allclose(result.decision_function(X), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("loss", ["logistic", "squared", "huber"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_saved_result_comes_back_equal_in_everything(
    strategy: str, loss: str, workers: int, problem: Problem, tmp_path: Path
) -> None:
    result = _train(problem, loss, strategy=strategy, workers=workers, validation=0.1)
    result.save(tmp_path / "model.npz")
    loaded = ht.load(tmp_path / "model.npz")
    _same(loaded, result)
    assert np.array_equal(loaded.predict(problem.X), result.predict(problem.X))


NUMPY_STRATEGIES = [
    ht.Hybrid(hot=np.int64(9), every=np.int32(64)),
    ht.Hybrid(hot=np.float32(0.5)),
    ht.Hogwild(exact=np.True_),
    ht.Sync(exact=np.False_),
    ht.Sync(),
]


@pytest.mark.parametrize("strategy", NUMPY_STRATEGIES, ids=repr)
def test_a_result_of_numpy_scalars_is_saved(
    strategy: Any, problem: Problem, tmp_path: Path
) -> None:
    size = 1 if not isinstance(strategy, ht.Sync) else 64
    model = ht.Linear(l1=np.float32(1e-6), l2=np.float64(1e-6), fit_intercept=np.True_)
    schedule = ht.InverseScaling(power=np.float32(0.5), epochs=np.int64(2))
    result = ht.train(
        model,
        (problem.X, problem.labels),
        strategy=strategy,
        optimizer=ht.SGD(lr=np.float32(0.5), schedule=schedule),
        workers=np.int64(1),
        epochs=np.int16(2),
        batch_size=np.int64(size),
        seed=np.uint64(2**64 - 1),
        validation=np.float32(0.25),
        seconds=np.float64(100),
        patience=np.int8(3),
    )
    assert "np." not in repr((result.settings, result.model, result.seed))
    result.save(tmp_path / "model.npz")
    _same(ht.load(tmp_path / "model.npz"), result)


LABELS = [
    ("a", "b"),
    (b"a", b"b"),
    (-3, 7),
    (0.5, 0.25),
    (np.datetime64("2019-01-01"), np.datetime64("2020-01-01")),
]


@pytest.mark.parametrize("labels", LABELS, ids=str)
def test_saved_labels_keep_their_type(labels: Any, problem: Problem, tmp_path: Path) -> None:
    result = _train(problem, y=np.where(problem.labels, labels[0], labels[1]))
    result.save(str(tmp_path / "model.npz"))
    _same(ht.load(str(tmp_path / "model.npz")), result)


def test_saved_labels_of_object_text_come_back_as_text(problem: Problem, tmp_path: Path) -> None:
    result = _train(problem, y=np.where(problem.labels, "spam", "ham").astype(object))
    result.save(tmp_path / "model")
    loaded = ht.load(tmp_path / "model.npz")
    assert loaded.classes is not None
    assert loaded.classes.tolist() == ["ham", "spam"]
    assert loaded.predict(problem.X).tolist() == result.predict(problem.X).tolist()


def test_labels_of_other_objects_are_not_saved(problem: Problem, tmp_path: Path) -> None:
    y = np.empty(2, object)
    y[:] = [(1,), (0,)]
    result = _train(problem, y=y[problem.labels.astype(int)])
    with pytest.raises(ht.InvalidDataError, match="labels must be text or numbers to be saved"):
        result.save(tmp_path / "model.npz")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_unpickled_from_a_file(problem: Problem, tmp_path: Path) -> None:
    _train(problem).save(tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz", allow_pickle=False) as file:
        assert all(file[name].dtype != object for name in file.files)


def _text(path: Path) -> None:
    path.write_text("no archive")


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _archive(path: Path) -> None:
    np.savez(path, a=np.ones(3))


def _array(path: Path) -> None:
    np.save(path, np.ones(3))


def _pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"coef": 1}))


def _other_format(path: Path) -> None:
    np.savez(path, coef=np.ones(3), story=np.array('{"format": "hybridtrain-result-0"}'))


@pytest.mark.parametrize("write", [_text, _empty, _archive, _array, _pickle, _other_format])
def test_a_foreign_or_damaged_file_is_refused_by_name(write: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    write(path)
    path = path if path.exists() else tmp_path / "model.npz.npy"
    with pytest.raises(ht.InvalidDataError) as caught:
        ht.load(path)
    assert f"{path} is not a file that Result.save of this version wrote" in str(caught.value)


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ht.load(tmp_path / "nothing.npz")


def test_a_folder_that_is_not_there_is_an_os_error(problem: Problem, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        _train(problem).save(tmp_path / "nowhere" / "model.npz")


@pytest.mark.parametrize("loss", ["logistic", "squared"])
def test_a_result_can_be_pickled(loss: str, problem: Problem) -> None:
    result = _train(problem, loss, workers=2)
    copy = pickle.loads(pickle.dumps(result))
    _same(copy, result)
    assert np.array_equal(copy.predict(problem.X), result.predict(problem.X))
