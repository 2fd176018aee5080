# SPDX-License-Identifier: BSD-3-Clause
"""Class weights: what they are, where they enter, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference.problems import Problem

import hybridtrain as ht
from hybridtrain.data.row_weights import weights_of_rows
from hybridtrain.models.class_weights import from_json, to_json, weights_of_classes

STRATEGIES = ["hybrid", "hogwild", "local_sgd(replicas=3)", "sync"]


def _train(problem: Problem, class_weight: Any, *weight: Any, **settings: Any) -> ht.Result:
    model = ht.Linear(class_weight=class_weight)
    data = (problem.X, settings.pop("y", problem.labels), *weight)
    return ht.train(model, data, **{"workers": 1, "epochs": 3, **settings})


def _parameters(result: ht.Result) -> list[float]:
    return [*result.params["coef"].tolist(), result.params["intercept"]]


def test_balanced_weights_are_those_of_their_formula() -> None:
    classes, numbers = np.array(["a", "b", "c"]), np.array([0, 1, 1, 2, 2, 2])
    found = weights_of_classes("balanced", classes, numbers, None)
    assert found == pytest.approx([6 / 3, 6 / 6, 6 / 9])
    weight = np.array([4, 1, 1, 1, 0, 1])
    found = weights_of_classes("balanced", classes, numbers, weight)
    assert found == pytest.approx([8 / 12, 8 / 6, 8 / 6])


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(0.01, 100)), min_size=1))
def test_balanced_classes_count_the_same_and_the_sum_of_weights_stays(
    rows: list[tuple[int, float]],
) -> None:
    classes, numbers = np.unique([row[0] for row in rows], return_inverse=True)
    weight = np.array([row[1] for row in rows])
    of_classes = weights_of_classes("balanced", classes, numbers, weight)
    products = weights_of_rows(of_classes, numbers, weight, "data")
    sums = np.bincount(numbers, products)
    assert sums == pytest.approx([weight.sum() / len(classes)] * len(classes))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_class_weights_are_sample_weights(strategy: str, problem: Problem) -> None:
    by_class = np.where(problem.labels, 3.0, 0.5)
    weighted = _train(problem, {True: 3.0, False: 0.5}, strategy=strategy)
    assert _parameters(weighted) == _parameters(_train(problem, None, by_class, strategy=strategy))
    assert _parameters(weighted) != _parameters(_train(problem, None, strategy=strategy))
    assert weighted.history[0].loss == pytest.approx(
        _train(problem, None, by_class, strategy=strategy).history[0].loss
    )


def test_class_weights_multiply_sample_weights(problem: Problem) -> None:
    weight = np.arange(400) % 4
    both = _train(problem, {True: 4, False: 1}, weight, epochs=2)
    product = _train(problem, None, weight * np.where(problem.labels, 4, 1), epochs=2)
    assert _parameters(both) == pytest.approx(_parameters(product), rel=1e-5, abs=1e-6)


def test_the_first_intercept_of_balanced_classes_is_zero(problem: Problem) -> None:
    rare = np.arange(400) < 20
    result = _train(problem, "balanced", y=rare, epochs=1, optimizer=ht.SGD(lr=1e-12))
    assert result.params["intercept"] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("class_weight", ["balanced", {True: 4.0, False: 1.0}])
def test_the_validation_loss_has_the_weights_of_the_training_classes(
    class_weight: Any, problem: Problem
) -> None:
    y = problem.values > np.quantile(problem.values, 0.8)
    chosen = np.concatenate([np.flatnonzero(y)[:40], np.flatnonzero(~y)[:40]])
    X, truth = problem.X[chosen], y[chosen]  # balanced by itself
    settings: dict[str, Any] = {"y": y, "epochs": 1}

    def valid_loss(class_weight: Any, *weight: Any, of_valid: Any = None) -> float:
        valid = (X, truth) if of_valid is None else (X, truth, of_valid)
        result = _train(problem, class_weight, *weight, validation=valid, **settings)
        assert result.history[-1].validation_loss is not None
        return result.history[-1].validation_loss

    loss = valid_loss(class_weight)
    by_hand = valid_loss(None, np.where(y, 4, 1), of_valid=np.where(truth, 4, 1))
    assert loss == pytest.approx(by_hand, rel=1e-5)
    assert loss != pytest.approx(valid_loss(None, np.where(y, 4, 1)), rel=1e-3)


def test_the_score_knows_no_class_weights(problem: Problem) -> None:
    result = _train(problem, {True: 9, False: 1})
    hits = result.predict(problem.X) == problem.labels
    assert result.score(problem.X, problem.labels) == pytest.approx(hits.mean())


LABELS = [
    (np.array([False, True]), {False: 1, True: 2}),
    (np.array([0, 1]), {0: 1.5, 1: 2}),
    (np.array([-1, 1], np.int8), {np.int64(-1): np.float32(1), np.int64(1): np.int64(2)}),
    (np.array([0.5, 1.5]), {0.5: 1, 1.5: 2.25}),
    (np.array(["no", "yes"]), {"no": 1, "yes": 2}),
    (np.array(["1", "2"]), {np.str_("1"): 1, np.str_("2"): 2}),
    (np.array(["no", "yes"], object), {"no": 1, "yes": 2}),
]


@pytest.mark.parametrize(("classes", "class_weight"), LABELS)
def test_labels_of_any_type_have_weights_and_keep_them_in_a_file(
    classes: Any, class_weight: Any, problem: Problem, tmp_path: Path
) -> None:
    result = _train(problem, class_weight, y=classes[problem.labels.astype(int)], epochs=1)
    assert _parameters(result) != _parameters(_train(problem, None, epochs=1))
    result.save(tmp_path / "a.npz")
    model = ht.load(tmp_path / "a.npz").model
    assert model == result.model
    kept = model.class_weight
    assert isinstance(kept, dict)
    assert list(kept.items()) == list(class_weight.items())
    plain = [getattr(label, "item", lambda label=label: label)() for label in class_weight]
    assert [type(label) for label in kept] == [type(label) for label in plain]


@given(
    st.dictionaries(
        st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
        st.one_of(st.integers(0, 9), st.floats(0, 1e9)),
    )
)
def test_weights_survive_json(weights: dict[Any, float]) -> None:
    back = from_json(json.loads(json.dumps(to_json(weights))))
    assert back == weights
    assert [type(label) for label in back] == [type(label) for label in weights]


def test_balanced_and_none_are_kept_in_a_file(problem: Problem, tmp_path: Path) -> None:
    for class_weight in ("balanced", None):
        result = _train(problem, class_weight, epochs=1)
        result.save(tmp_path / "a.npz")
        assert ht.load(tmp_path / "a.npz").model.class_weight == class_weight


@pytest.mark.parametrize(
    ("class_weight", "message"),
    [
        ("Balanced", "None, \"balanced\" or a dict of label to weight, got 'Balanced'"),
        (2.0, 'None, "balanced" or a dict of label to weight, got 2.0'),
        ([1, 2], "a dict of label to weight, got [1, 2]"),
        ({}, "a dict of label to weight, got {}"),
        ({0: 1, 1: -1}, "class_weight must hold finite numbers >= 0, got -1 for 1"),
        ({0: 1, 1: float("nan")}, "finite numbers >= 0, got nan for 1"),
        ({0: float("inf"), 1: 1}, "finite numbers >= 0, got inf for 0"),
        ({0: "1", 1: 1}, "finite numbers >= 0, got '1' for 0"),
        ({0: True, 1: 1}, "finite numbers >= 0, got True for 0"),
        ({0: 0, 1: 0.0}, "class_weight must be above 0 for at least one class, got {0: 0, 1: 0.0}"),
    ],
)
def test_weights_out_of_range_are_refused(class_weight: Any, message: str) -> None:
    with pytest.raises(ht.InvalidSettingError) as caught:
        ht.Linear(class_weight=class_weight)
    assert message in str(caught.value)


def test_class_weights_are_refused_for_regression() -> None:
    with pytest.raises(ht.InvalidSettingError, match="class_weight needs classes, squared loss"):
        ht.Linear(loss="squared", class_weight="balanced")


def test_missing_and_unknown_labels_are_named(problem: Problem) -> None:
    with pytest.raises(ht.InvalidSettingError, match="got none for False: True"):
        _train(problem, {True: 1})
    with pytest.raises(ht.InvalidSettingError, match="the classes in y, False, True; got 'x'"):
        _train(problem, {True: 1, False: 1, "x": 2})


def test_rows_without_any_weight_are_refused(problem: Problem) -> None:
    y = problem.labels
    with pytest.raises(ht.InvalidDataError, match=r"must hold two classes .* found 1: False"):
        _train(problem, "balanced", (~y).astype(float))
    with pytest.raises(ht.InvalidDataError, match=r"some rows of data .* got the sum 0\.0 for"):
        _train(problem, {True: 1, False: 0}, (~y).astype(float))
    three = np.arange(400) % 3
    data, last = (problem.X, three), three == 2
    model = ht.Linear(loss="softmax", class_weight={0: 1, 1: 1, 2: 0})
    with pytest.raises(ht.InvalidDataError, match=r"some rows of validation .* got the sum 0\.0"):
        ht.train(model, data, workers=1, validation=(problem.X[last], three[last]))


def test_labels_that_json_lacks_are_not_saved(problem: Problem, tmp_path: Path) -> None:
    days = np.array(["2020-01-01", "2020-01-02"], "datetime64[D]")
    result = _train(problem, {days[0]: 1, days[1]: 2}, y=days[problem.labels.astype(int)])
    with pytest.raises(ht.InvalidDataError, match=r"text or numbers to be saved, got datetime"):
        result.save(tmp_path / "a.npz")


def test_a_model_keeps_its_weights_when_the_users_dict_changes() -> None:
    given_weights = {0: 1.0, 1: 2.0}
    model = ht.Linear(class_weight=given_weights)
    given_weights[0] = 5.0
    assert model.class_weight == {0: 1.0, 1: 2.0}
    assert model == ht.Linear(class_weight={0: 1.0, 1: 2.0})
    assert hash(model) == hash(ht.Linear(class_weight={0: 1.0, 1: 2.0}))
