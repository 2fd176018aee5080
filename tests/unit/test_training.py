# SPDX-License-Identifier: BSD-3-Clause
"""The arguments of `train`: what each does, and how bad ones are refused."""

from __future__ import annotations

import re
import sys
from typing import Any

import numpy as np
import pytest
from reference.problems import Problem, planted

import hybridtrain as ht

STRATEGIES = ["hybrid", "hybrid(hot=9)", "hybrid(hot=0)", "hogwild", "hogwild(exact=True)"]


def _train(problem: Problem, **settings: Any) -> ht.Result:
    model = settings.pop("model", ht.Linear())
    y = problem.labels if model.is_classifier else problem.values
    return ht.train(model, (problem.X, y), **{"workers": 1, **settings})


def _refusal(problem: Problem, **settings: Any) -> str:
    with pytest.raises(ht.InvalidSettingError) as caught:
        _train(problem, **settings)
    return str(caught.value)


@pytest.mark.parametrize("name", ["workers", "epochs"])
@pytest.mark.parametrize("value", [0, -1])
def test_a_number_below_one_is_refused(name: str, value: int, problem: Problem) -> None:
    assert _refusal(problem, **{name: value}) == f"{name} must be >= 1, got {value}"


@pytest.mark.parametrize("name", ["workers", "epochs", "seed"])
@pytest.mark.parametrize("value", [1.0, "1", True, [1], 1j])
def test_what_is_no_int_is_refused(name: str, value: Any, problem: Problem) -> None:
    least = 0 if name == "seed" else 1
    assert _refusal(problem, **{name: value}) == f"{name} must be an int >= {least}, got {value!r}"


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_outside_64_bits_is_refused(seed: int, problem: Problem) -> None:
    text = _refusal(problem, seed=seed)
    assert text.startswith("seed must be")
    assert text.endswith(f"got {seed}")


@pytest.mark.parametrize("batch_size", [0, 2, 64, "1"])
def test_a_batch_size_other_than_one_is_refused_with_the_reason(
    batch_size: Any, problem: Problem
) -> None:
    text = _refusal(problem, batch_size=batch_size, strategy="hogwild")
    assert "batch_size must be 1 (or None) with Hogwild, which steps on one row at a time" in text
    assert text.endswith(f"got {batch_size!r}")


@pytest.mark.parametrize("data", [None, [], (), (1,), (1, 2, 3, 4), b"file.svm"])
def test_data_that_is_no_pair_or_triple_is_refused(data: Any) -> None:
    with pytest.raises(ht.InvalidDataError) as caught:
        ht.train(ht.Linear(), data)
    text = str(caught.value)
    assert "data must be a tuple (X, y) or (X, y, sample_weight) or a path" in text
    assert f"got {type(data).__name__}" in text
    assert ("of length" in text) == isinstance(data, tuple)


@pytest.mark.parametrize("data", [(), (1,), (1, 2, 3, 4)])
def test_validation_data_that_is_no_pair_or_triple_is_refused(data: Any, problem: Problem) -> None:
    with pytest.raises(ht.InvalidDataError) as caught:
        _train(problem, validation=data)
    assert "validation must be a tuple (X, y) or (X, y, sample_weight)" in str(caught.value)
    assert f"got tuple of length {len(data)}" in str(caught.value)


def test_numpy_ints_are_ints(problem: Problem) -> None:
    result = _train(problem, workers=np.int64(1), epochs=np.int32(2), seed=np.uint64(2**64 - 1))
    assert len(result.history) == 2
    assert result.seed == 2**64 - 1


def test_by_default_all_usable_cores_work(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    # By its name: the package's attribute of that name is the function.
    monkeypatch.setattr(sys.modules["hybridtrain.settings"], "usable_cores", lambda: 3)
    assert len(_train(problem, workers=None).workers) == 3


def _coef(problem: Problem, **settings: Any) -> list[float]:
    found: list[float] = _train(problem, **settings).params["coef"].tolist()
    return found


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_worker_and_one_seed_give_the_same_bits_again(strategy: str, problem: Problem) -> None:
    first = _coef(problem, strategy=strategy, seed=7)
    assert first == _coef(problem, strategy=strategy, seed=7)
    assert first != _coef(problem, strategy=strategy, seed=8)


def test_epochs_have_different_orders_of_rows(problem: Problem) -> None:
    """Two epochs of equal rates are not one epoch twice."""
    constant = ht.SGD(lr=0.1, schedule="constant")
    once = _train(problem, epochs=1, optimizer=constant)
    again = _train(problem, epochs=1, optimizer=constant, init=once)
    both = _train(problem, epochs=2, optimizer=constant)
    assert again.params["coef"].tolist() != both.params["coef"].tolist()


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("optimizer", ["sgd", "adagrad"])
def test_training_starts_from_the_given_parameters(
    strategy: str, workers: int, optimizer: str, problem: Problem
) -> None:
    coef = np.random.default_rng(0).uniform(1, 2, 60).astype(np.float32)
    kind = ht.SGD if optimizer == "sgd" else ht.AdaGrad
    result = _train(
        problem,
        init={"coef": coef, "intercept": 0.5},
        optimizer=kind(lr=1e-30),  # too small to move anything
        strategy=strategy,
        workers=workers,
    )
    assert result.params["coef"] == pytest.approx(coef, rel=1e-5)
    assert result.params["intercept"] == pytest.approx(0.5, rel=1e-4)
    if optimizer == "sgd":
        assert result.params["coef"].tolist() == coef.tolist()


def test_a_result_can_be_trained_further_and_stays_as_it_is(problem: Problem) -> None:
    first = _train(problem)
    before = first.params["coef"].copy()
    second = _train(problem, init=first)
    same = _train(problem, init=dict(first.params))
    assert second.params["coef"].tolist() == same.params["coef"].tolist()
    assert second.history[0].loss < first.history[0].loss
    assert np.array_equal(first.params["coef"], before)


def test_an_initial_intercept_may_be_missing(problem: Problem) -> None:
    init = {"coef": np.zeros(60)}
    assert _coef(problem, init=init) == _coef(problem)


@pytest.mark.parametrize("init", [1, "zeros", [0.0] * 60, {}, {"intercept": 1.0}])
def test_initial_parameters_of_another_form_are_refused(init: Any, problem: Problem) -> None:
    text = _refusal(problem, init=init)
    assert 'init must be a Result or a dict with "coef" and "intercept"' in text
    assert f"got {type(init).__name__}" in text


@pytest.mark.parametrize("shape", [59, 61, 0, (60, 1), (1, 60), ()])
def test_initial_parameters_of_another_shape_are_refused(shape: Any, problem: Problem) -> None:
    text = _refusal(problem, init={"coef": np.zeros(shape)})
    assert text == f'init["coef"] must have shape (60,), got shape {np.zeros(shape).shape}'


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_initial_parameters_that_are_not_finite_are_refused(bad: float, problem: Problem) -> None:
    coef = np.zeros(60)
    coef[5] = bad
    text = _refusal(problem, init={"coef": coef})
    assert text == f'init["coef"] must be finite as float32, got {bad} at 5'
    text = _refusal(problem, init={"coef": np.zeros(60), "intercept": bad})
    assert text == f'init["intercept"] must be finite as float32, got {bad}'


def test_initial_parameters_that_float32_cannot_hold_are_refused(problem: Problem) -> None:
    text = _refusal(problem, init={"coef": np.full(60, -1e39)})
    assert text == 'init["coef"] must be finite as float32, got -inf at 0'


@pytest.mark.parametrize("bad", ["ab", [["a"] * 60], [[1], [1, 2]], {}])
def test_initial_parameters_that_are_no_numbers_are_refused(bad: Any, problem: Problem) -> None:
    assert _refusal(problem, init={"coef": bad}).startswith('init["coef"] must hold numbers: ')
    text = _refusal(problem, init={"coef": np.zeros(60), "intercept": [1.0, 2.0]})
    assert text == 'init["intercept"] must be one number, got shape (2,)'


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("optimizer", ["sgd", "adagrad"])
@pytest.mark.parametrize("size", [1e16, 3e38])
def test_huge_targets_are_refused_as_such(
    strategy: str, optimizer: str, size: float, problem: Problem
) -> None:
    model, y = ht.Linear(loss="squared"), np.where(problem.labels, size, 0.0)
    settings: dict[str, Any] = {"strategy": strategy, "optimizer": optimizer}
    message = f"y must be at most 1e+15 in absolute value, .* found {size:.3g}: scale y"
    with pytest.raises(ht.InvalidDataError, match=re.escape(message).replace(r"\.\*", ".*")):
        ht.train(model, (problem.X, -y), **settings)
    with pytest.raises(ht.InvalidDataError, match=re.escape(message).replace(r"\.\*", ".*")):
        ht.train(model, (problem.X, problem.values), validation=(problem.X, y), **settings)
    data = (problem.X, np.where(problem.labels, 1e15, 0.0))
    assert ht.train(model, data, epochs=20, workers=1, **settings).score(*data) > 0.3


def test_an_initial_intercept_needs_a_model_with_one(problem: Problem) -> None:
    model = ht.Linear(fit_intercept=False)
    init = {"coef": np.zeros(60), "intercept": 1.0}
    assert _refusal(problem, model=model, init=init) == (
        "init has an intercept, but fit_intercept is False"
    )


def test_a_result_of_other_classes_is_refused(problem: Problem) -> None:
    first = _train(problem)
    with pytest.raises(
        ht.InvalidDataError, match=r"y holds the class .*'a'.*; the model was trained on"
    ):
        ht.train(ht.Linear(), (problem.X, np.where(problem.labels, "a", "b")), init=first)
    regression = _train(problem, model=ht.Linear(loss="squared"))
    with pytest.raises(ht.InvalidDataError, match="init was trained on the classes None"):
        _train(problem, init=regression)


@pytest.mark.parametrize("loss", ["logistic", "softmax"])
def test_a_run_that_goes_on_may_see_fewer_classes(loss: Any, problem: Problem) -> None:
    model = ht.Linear(loss=loss)
    labels = np.where(problem.labels, "b", "a")
    first = ht.train(model, (problem.X, labels), epochs=2, workers=1)
    only = labels == "a"
    second = ht.train(model, (problem.X[only], labels[only]), epochs=2, workers=1, init=first)
    known = {**first.params, "classes": ["a", "b"]}
    same = ht.train(model, (problem.X[only], labels[only]), epochs=2, workers=1, init=known)
    assert second.classes is not None
    assert second.classes.tolist() == ["a", "b"]
    assert second.params["coef"].tolist() == same.params["coef"].tolist()
    of_a = [result.predict_proba(problem.X)[:, 0].mean() for result in (first, second)]
    assert of_a[1] > of_a[0]


@pytest.mark.parametrize(("share", "n_valid"), [(0.1, 40), (0.5, 200), (0.9975, 399)])
def test_a_share_of_the_rows_is_held_out(share: float, n_valid: int, problem: Problem) -> None:
    model = ht.Linear(loss="squared")
    result = _train(problem, model=model, validation=share)
    assert [record.trained for record in result.ledger] == [400 - n_valid] * 5
    assert "X: rows split from the validation rows" in result.settings["copied"]
    assert all(record.validation_loss is not None for record in result.history)


@pytest.mark.parametrize(
    "share", [0, 0.0, 1, 1.0, -0.1, 1.5, 0.001, 0.9999, float("nan"), True, b"x"]
)
def test_a_share_that_leaves_no_rows_on_one_side_is_refused(share: Any, problem: Problem) -> None:
    text = _refusal(problem, validation=share)
    assert "rows on both sides (0 < share < 1, 400 rows)" in text
    assert text.endswith(f"got {share!r}")


def test_held_out_rows_are_not_trained_on(problem: Problem) -> None:
    """A feature that only held-out rows hold keeps its coefficient of 0."""
    X = problem.X.toarray()
    X[:, 59] = np.arange(400) < 3
    from scipy import sparse  # noqa: PLC0415 - for this test alone

    seeds = range(12)
    zero = []
    for seed in seeds:
        data = (sparse.csr_matrix(X), problem.labels)
        result = ht.train(ht.Linear(), data, workers=1, validation=0.5, seed=seed)
        zero.append(result.params["coef"][59] == 0)
    assert any(zero), "three rows are held out together in one of eight splits"
    assert not all(zero), "the split depends on the seed"


def _loss(result: ht.Result, X: Any, y: Any, weight: Any = None) -> float:
    z = X.astype(np.float64) @ result.params["coef"] + result.params["intercept"]
    return float(np.average(np.logaddexp(0, np.where(y, -z, z)), weights=weight))


def test_the_validation_loss_is_that_of_the_parameters_after_the_epoch(problem: Problem) -> None:
    other = planted(3, 150, 60, longest=30)
    weight = np.linspace(1, 3, 150)
    for validation in ((other.X, other.labels), (other.X, other.labels, weight)):
        for strategy in STRATEGIES:
            result = _train(problem, strategy=strategy, validation=validation)
            found = result.history[-1].validation_loss
            assert found == pytest.approx(_loss(result, *validation), rel=1e-5)


def test_validation_does_not_change_the_training(problem: Problem) -> None:
    other = planted(3, 150, 60, longest=30)
    assert _coef(problem, validation=(other.X, other.labels)) == _coef(problem)


def test_validation_data_is_checked_like_training_data(problem: Problem) -> None:
    other = planted(3, 150, 59, longest=30)
    with pytest.raises(ht.InvalidDataError, match=r"X must have 60 features, got .*\(150, 59\)"):
        _train(problem, validation=(other.X, other.labels))
    with pytest.raises(ht.InvalidDataError, match=r"y holds the class .*2.*; the model"):
        _train(problem, validation=(problem.X, np.arange(400) % 3))
    with pytest.raises(ht.InvalidDataError, match="y must be one-dimensional"):
        _train(problem, validation=(problem.X, problem.labels[1:]))


@pytest.mark.parametrize("name", ["y", "sample_weight"])
def test_lengths_are_compared_before_rows_are_held_out(name: str, problem: Problem) -> None:
    vectors = {"y": problem.labels, "sample_weight": np.ones(400)}
    vectors[name] = vectors[name][1:]
    with pytest.raises(ht.InvalidDataError, match=f"{name} must .* one value for each of the 400"):
        ht.train(ht.Linear(), (problem.X, *vectors.values()), validation=0.1)


PLANTED = planted(8, 6000, 100, longest=20, noise=0.5)


@pytest.mark.parametrize("optimizer", ["sgd", "adagrad"])
@pytest.mark.parametrize(
    "strategy", ["hybrid", "hybrid(hot=20)", "hybrid(every=50)", "hogwild", "hogwild(exact=True)"]
)
@pytest.mark.parametrize("workers", [2, 4])
def test_several_workers_reach_nearly_the_loss_of_one(
    optimizer: str, strategy: str, workers: int
) -> None:
    def final(n_workers: int) -> float:
        model = ht.Linear(l2=1e-4)
        found = _train(
            PLANTED, model=model, strategy=strategy, optimizer=optimizer, workers=n_workers
        )
        return _loss(found, PLANTED.X, PLANTED.labels)

    start = np.log(2)
    one = final(1)
    assert one < 0.5 * start
    assert final(workers) < one + 0.1 * (start - one)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_run_starts_from_the_best_intercept_without_features(
    weighted: bool, problem: Problem
) -> None:
    weight = np.where(problem.labels, 3.0, 1.0) if weighted else np.ones(400)
    share = np.average(problem.labels, weights=weight)
    still = ht.SGD(lr=1e-12)
    for model, y, expected in (
        (ht.Linear(), problem.labels, np.log(share / (1 - share))),
        (ht.Linear(loss="squared"), 2.0 * problem.labels, 2 * share),
        (ht.Linear(fit_intercept=False), problem.labels, 0.0),
    ):
        result = ht.train(model, (problem.X, y, weight), workers=1, epochs=1, optimizer=still)
        assert result.params["intercept"] == pytest.approx(expected, abs=1e-5)
