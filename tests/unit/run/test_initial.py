# SPDX-License-Identifier: BSD-3-Clause
"""Parameters to start from: their classes in any order, and what is refused."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from reference.problems import Problem

import hybridtrain as ht
from hybridtrain.data.classes import sorted_classes

STRATEGIES = ["hybrid", "hogwild", "sync"]
NAMES = np.array(["ash", "beech", "cedar"])


def _three(problem: Problem) -> Any:
    return NAMES[np.digitize(problem.values, np.quantile(problem.values, [0.3, 0.6]))]


def _train(problem: Problem, loss: Any, y: Any, **settings: Any) -> ht.Result:
    model = ht.Linear(loss=loss)
    return ht.train(model, (problem.X, y), **{"workers": 1, "epochs": 3, **settings})


def _refusal(problem: Problem, loss: Any, y: Any, init: Any) -> str:
    with pytest.raises((ht.InvalidSettingError, ht.InvalidDataError)) as caught:
        _train(problem, loss, y, init=init)
    return str(caught.value)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("order", [[2, 0, 1], [1, 0, 2], [2, 1, 0]])
def test_rows_of_softmax_belong_to_the_classes_beside_them(
    strategy: str, order: list[int], problem: Problem
) -> None:
    y = _three(problem)
    first = _train(problem, "softmax", y)
    init = {
        "coef": first.params["coef"][order],
        "intercept": first.params["intercept"][order],
        "classes": NAMES[order].tolist(),
    }
    assert init["coef"].tolist() != first.params["coef"].tolist()
    again = _train(problem, "softmax", y, init=init, strategy=strategy)
    same = _train(problem, "softmax", y, init=first, strategy=strategy)
    assert again.params["coef"].tolist() == same.params["coef"].tolist()
    assert again.params["intercept"].tolist() == same.params["intercept"].tolist()
    assert again.classes is not None
    assert again.classes.tolist() == NAMES.tolist()
    assert min(record.loss for record in again.history) > 0


@pytest.mark.parametrize("loss", ["logistic", "hinge", "squared_hinge"])
@pytest.mark.parametrize("classes", [("a", "b"), (-1, 1), (False, True), (0.5, 2.0)])
def test_two_classes_in_reverse_have_the_opposite_margin(
    loss: str, classes: Any, problem: Problem
) -> None:
    y = np.array(classes)[problem.labels.astype(int)]
    first = _train(problem, loss, y)
    reverse = {
        "coef": -first.params["coef"],
        "intercept": -first.params["intercept"],
        "classes": classes[::-1],
    }
    again = _train(problem, loss, y, init=reverse)
    same = _train(problem, loss, y, init=first)
    assert again.params["coef"].tolist() == same.params["coef"].tolist()
    assert again.params["intercept"] == same.params["intercept"]


def test_a_result_whose_classes_are_in_another_order_is_read_by_them(problem: Problem) -> None:
    y = _three(problem)
    first = _train(problem, "softmax", y)
    params = {name: array[::-1] for name, array in first.params.items()}
    turned = ht.Result(
        **{
            name: getattr(first, name)
            for name in first.__dataclass_fields__
            if name not in ("params", "classes")
        },
        params=params,
        classes=NAMES[::-1],
    )
    assert turned.predict(problem.X).tolist() == first.predict(problem.X).tolist()
    assert turned.score(problem.X, y) == first.score(problem.X, y)
    again = _train(problem, "softmax", y, init=turned)
    same = _train(problem, "softmax", y, init=first)
    assert again.params["coef"].tolist() == same.params["coef"].tolist()


def test_class_weights_may_name_classes_that_only_the_parameters_know(problem: Problem) -> None:
    y = _three(problem)
    first = _train(problem, "softmax", y)
    known = y != "cedar"
    data = (problem.X[known], y[known])
    for class_weight in ({"ash": 1, "beech": 2, "cedar": 3}, "balanced"):
        model = ht.Linear(loss="softmax", class_weight=class_weight)
        again = ht.train(model, data, init=first, workers=1, epochs=1)
        assert again.classes is not None
        assert again.classes.tolist() == NAMES.tolist()
        assert np.isfinite(again.history[-1].loss)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["ash", "beech", "ash"], "must name each class once, got 'ash' twice"),
        (["ash", "beech"], 'init["coef"] must have a row for each of the 2 classes'),
        (
            ["ash", "beech", "cedar", "elm"],
            "the 4 classes ['ash', 'beech', 'cedar', 'elm'], got shape",
        ),
        (["ash"], "must be 2 to 1024 classes for softmax loss, got 1"),
        (["ash", "beech", "elm"], "y holds the class 'cedar'"),
        (["ash", "beech", None], "must not hold missing values, got None at 2"),
        (["ash", "beech", 3], "must be labels of one type, got numbers and text"),
        ([1.0, np.nan, 2.0], "must not hold missing values, got np.float64(nan) at 1"),
        ([0, 1, 2], "y must hold numbers, got text"),
        (["0", "1", "2"], "y holds the class 'ash'"),
        ([], 'init["classes"] must be one list of labels, got []'),
        ([["ash"], ["beech"], ["cedar"]], "must be one list of labels"),
        ([["ash"], ["beech", "cedar"]], "must be one list of labels"),
        ("ash", "must be one list of labels, got 'ash'"),
        (3, "must be one list of labels, got 3"),
    ],
)
def test_classes_that_do_not_fit_are_refused(classes: Any, message: str, problem: Problem) -> None:
    init = {"coef": np.zeros((3, 60)), "intercept": np.zeros(3), "classes": classes}
    assert message in _refusal(problem, "softmax", _three(problem), init)


def test_numbers_and_text_that_look_alike_are_not_the_same_classes(problem: Problem) -> None:
    y = problem.labels.astype(int)
    init = {"coef": np.zeros(60), "classes": ["0", "1"]}
    assert "y must hold text, got numbers" in _refusal(problem, "logistic", y, init)
    trained = _train(problem, "logistic", y)
    with pytest.raises(ht.InvalidDataError, match="y must hold numbers, got text"):
        trained.score(problem.X, y.astype(str))
    with pytest.raises(ht.InvalidDataError, match="y must hold numbers, got text"):
        _train(problem, "logistic", y, validation=(problem.X, y.astype(str).astype(object)))
    assert trained.score(problem.X, problem.labels) > 0.5  # True is 1


@pytest.mark.parametrize("classes", [[0], [0, 1, 2]])
def test_losses_of_two_classes_need_two(classes: Any, problem: Problem) -> None:
    init = {"coef": np.zeros(60), "classes": classes}
    text = _refusal(problem, "logistic", problem.labels, init)
    assert f'init["classes"] must be two classes for logistic loss, got {len(classes)}' in text


def test_parameters_of_another_kind_of_loss_are_refused(problem: Problem) -> None:
    y = problem.labels
    for first, then in (("logistic", "softmax"), ("softmax", "hinge")):
        text = _refusal(problem, then, y, _train(problem, first, y))
        assert f"init was trained with {first} loss, and the model has {then} loss" in text
    _train(problem, "hinge", y, init=_train(problem, "logistic", y))
    _train(problem, "huber", problem.values, init=_train(problem, "squared", problem.values))
    text = _refusal(problem, "squared", problem.values, _train(problem, "logistic", y))
    assert "squared loss is of numbers" in text
    init = {"coef": np.zeros(60), "classes": [0, 1]}
    assert "is for losses of classes" in _refusal(problem, "squared", problem.values, init)


def test_keys_that_nothing_reads_are_refused(problem: Problem) -> None:
    init = {"coef": np.zeros(60), "bias": 1.0}
    text = _refusal(problem, "logistic", problem.labels, init)
    assert text == "init must have the keys coef, intercept, classes, got 'bias'"


@pytest.mark.parametrize("name", ["coef", "intercept"])
@pytest.mark.parametrize("bad", ["1.0", 1j, None, {"a": 1}, [[1.0], [1.0, 2.0]], 10**400])
def test_parameters_that_are_no_numbers_are_refused(name: str, bad: Any, problem: Problem) -> None:
    init = {"coef": np.zeros(60), name: bad}
    text = _refusal(problem, "logistic", problem.labels, init)
    assert text.startswith(f'init["{name}"] must')


def test_classes_are_sorted_with_their_places() -> None:
    for given in ([3, 1, 2], np.array([3, 1, 2]), (3.0, 1.0, 2.0), ["c", "a", "b"]):
        classes, order = sorted_classes(given, "classes")
        assert order.tolist() == [1, 2, 0]
        assert classes.tolist() == sorted(np.asarray(given).tolist())
    message = "labels that can be sorted"
    with pytest.raises(ht.InvalidSettingError, match=re.escape(message)):
        sorted_classes(np.array([1j, {"a": 1}, {}], object)[1:], "classes")
