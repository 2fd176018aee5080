# SPDX-License-Identifier: BSD-3-Clause
"""What is chosen from model, data and machine, as `result.settings` tells it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from reference.problems import Problem, planted

import hybridtrain as ht
from hybridtrain._core.rows import isas
from hybridtrain.plan import costs


def _train(problem: Problem, *, model: ht.Linear | None = None, **settings: Any) -> ht.Result:
    settings = {"workers": 1, "epochs": 2, **settings}
    return ht.train(model or ht.Linear(), (problem.X, problem.labels), **settings)


def _settings(problem: Problem, **settings: Any) -> dict[str, Any]:
    return _train(problem, **settings).settings


def test_an_instruction_set_that_the_machine_lacks_is_refused(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYBRIDTRAIN_ISA", "mmx")
    with pytest.raises(ht.InvalidSettingError) as caught:
        _train(problem)
    assert f"HYBRIDTRAIN_ISA must be one of {', '.join(isas())}" in str(caught.value)
    assert "got 'mmx'" in str(caught.value)


@pytest.mark.parametrize("unset", [True, False])
def test_the_best_instruction_set_is_the_default(
    unset: bool, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYBRIDTRAIN_ISA", "")
    if unset:
        monkeypatch.delenv("HYBRIDTRAIN_ISA")
    assert _settings(problem)["isa"] == isas()[-1]


def test_a_model_that_fits_the_cache_is_hot_as_a_whole(problem: Problem) -> None:
    result = _train(problem)
    assert result.settings["hot"] == 60
    assert result.settings["copied"] == []
    assert result.staleness_in_place is None


HOT_NBYTES = {  # an entry of the replica and its base
    ("sgd", 0.0): 4 + 4,
    ("sgd", 0.1): 8 + 4,
    ("adagrad", 0.0): 8 + 8,
    ("adagrad", 0.1): 16 + 8,
}


@pytest.mark.parametrize(("optimizer", "l2"), HOT_NBYTES)
def test_of_a_larger_model_half_the_cache_is_filled(
    optimizer: str, l2: float, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(costs, "second_level_cache_nbytes", lambda: 480)
    result = _train(problem, model=ht.Linear(l2=l2), optimizer=optimizer)
    assert result.settings["hot"] == 240 // HOT_NBYTES[optimizer, l2]
    assert result.settings["copied"] == ["rows renumbered by frequency"]
    assert result.staleness_in_place is not None


@pytest.mark.parametrize(
    ("hot", "features"),
    [(0, 0), (0.0, 0), (1, 1), (7, 7), (0.25, 15), (59, 59), (60, 60), (1.0, 60), (10**9, 60)],
)
def test_hot_is_a_number_or_a_share_of_the_features(
    hot: float, features: int, problem: Problem
) -> None:
    settings = _settings(problem, strategy=ht.Hybrid(hot=hot))
    assert settings["hot"] == features
    assert ("every" in settings) == (features > 0)
    assert settings["copied"] == (["rows renumbered by frequency"] if 0 < features < 60 else [])


def test_renumbering_leaves_the_users_arrays_and_order_alone(problem: Problem) -> None:
    X = problem.X[:, ::-1].tocsr()  # the frequent features are the last
    X.sort_indices()
    before = X.copy()
    mirrored = _train(replace(problem, X=X), strategy=ht.Hybrid(hot=10), epochs=20)
    assert (before != X).nnz == 0
    assert mirrored.params["coef"][0] == 0  # the feature that no row holds
    assert mirrored.score(X, problem.labels) > 0.95
    straight = _train(problem, strategy=ht.Hybrid(hot=10), epochs=20)
    assert mirrored.params["coef"][::-1] == pytest.approx(straight.params["coef"], abs=0.05)


def test_rows_sorted_by_class_count_as_clustered_and_shuffled_ones_do_not(
    problem: Problem,
) -> None:
    assert _settings(problem)["clustered"] is False
    order = np.argsort(problem.labels, kind="stable")
    in_order = replace(problem, X=problem.X[order], labels=problem.labels[order])
    assert _settings(in_order)["clustered"] is True


@pytest.mark.parametrize("optimizer", ["sgd", "adagrad"])
def test_rows_sorted_by_class_are_learned_as_well_as_shuffled_ones(optimizer: str) -> None:
    problem = planted(5, 6000, 50, longest=20)
    order = np.argsort(problem.labels, kind="stable")
    in_order = replace(problem, X=problem.X[order], labels=problem.labels[order])
    losses = [
        ht.train(
            ht.Linear(l2=1e-4),
            (p.X, p.labels),
            workers=1,
            optimizer=optimizer,
            validation=(problem.X, problem.labels),
        )
        .history[-1]
        .validation_loss
        for p in (problem, in_order)
    ]
    assert losses[0] is not None
    assert losses[1] is not None
    assert losses[1] < 1.2 * losses[0]


def test_one_worker_exchanges_only_when_told(problem: Problem) -> None:
    assert _settings(problem)["every"] is None
    assert _settings(problem, strategy=ht.Hybrid(every=7))["every"] == [7]


def test_the_period_of_several_workers_is_told_for_each() -> None:
    problem = planted(5, 6400, 50, longest=20)
    fixed = _settings(problem, strategy=ht.Hybrid(every=50), workers=2)
    assert fixed["every"] == [50, 50]
    chosen = _settings(problem, workers=2)
    assert len(chosen["every"]) == 2
    assert all(1 <= every <= 6400 // 2 // 32 for every in chosen["every"])


def test_settings_tell_what_was_asked_and_what_was_chosen(problem: Problem) -> None:
    settings = _settings(problem, strategy="hybrid(hot=9)", optimizer=ht.SGD(lr=0.25), workers=2)
    assert settings["strategy"] == "Hybrid(hot=9, every='auto', compress=None)"
    assert settings["optimizer"] == repr(ht.SGD(lr=0.25))
    assert settings["lr"] == 0.25
    assert settings["workers"] == 2
    assert settings["batch_size"] == 1
    assert settings["exchange_seconds"] > 0


@pytest.mark.parametrize("strategy", ["hybrid(hot=9)", "hybrid", "hogwild"])
@pytest.mark.parametrize("features", [1023, 1024, 1025, 3000])
def test_models_of_any_number_of_blocks_learn(strategy: str, features: int) -> None:
    problem = planted(6, 500, features, longest=40)
    for optimizer in ("sgd", "adagrad"):
        model = ht.Linear(l2=1e-5)
        result = _train(
            problem, model=model, strategy=strategy, optimizer=optimizer, workers=2, epochs=20
        )
        assert result.score(problem.X, problem.labels) > 0.9
