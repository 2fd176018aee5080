# SPDX-License-Identifier: BSD-3-Clause
"""The rows that a share holds out: classes in proportion, none without a row to train on."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference.problems import Problem

import hybridtrain as ht
from hybridtrain.data.labelled import draw_groups, hold_out

MODEL = ht.Linear()


def _split(y: Any, share: float, *weight: Any, **settings: Any) -> tuple[Any, Any]:
    """Return the labels to train on and those held out; X holds the rows' numbers."""
    X = np.arange(len(y), dtype=np.float32)[:, None] + 1
    settings = {"seed": 0, "threads": 1} | settings
    rows, held_out = hold_out(settings.pop("model", MODEL), (X, y, *weight), share, **settings)
    assert held_out is not None
    numbers = [part[0].values for part in (rows, held_out)]
    counting = X if not weight else X[weight[0] > 0]
    assert sorted(np.concatenate(numbers)) == counting.ravel().tolist()
    for part, of_part in zip((rows, held_out), numbers, strict=True):
        assert of_part.tolist() == sorted(of_part)
        assert part[1].tolist() == np.asarray(y)[of_part.astype(int) - 1].tolist()
    return rows, held_out


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=9),
    st.floats(0.01, 0.99),
    st.integers(0, 2**64 - 1),
)
def test_each_group_keeps_a_row_and_gives_its_share(
    sizes: list[int], share: float, seed: int
) -> None:
    groups = np.random.default_rng(1).permutation(np.repeat(np.arange(len(sizes)), sizes))
    n_chosen = round(len(groups) * share)
    if not 0 < n_chosen < len(groups):
        return
    chosen = draw_groups(groups, n_chosen, seed)
    assert len(set(chosen.tolist())) == len(chosen)
    assert len(chosen) == min(n_chosen, len(groups) - (len(sizes) if len(sizes) > 1 else 0))
    counts = np.bincount(groups[chosen], minlength=len(sizes))
    quotas = n_chosen * np.array(sizes) / len(groups)
    if len(sizes) > 1:
        assert (counts < sizes).all()
        if (quotas <= np.array(sizes) - 1).all():
            assert (np.abs(counts - quotas) < 1).all()
    assert draw_groups(groups, n_chosen, seed).tolist() == chosen.tolist()


def test_one_group_is_drawn_as_a_permutation_begins() -> None:
    drawn = draw_groups(np.zeros(50, np.intp), 20, 7)
    assert drawn.tolist() == np.random.default_rng(7).permutation(50)[:20].tolist()


def test_the_rows_of_each_group_depend_on_the_seed() -> None:
    groups = np.arange(100) % 2
    drawn = {tuple(sorted(draw_groups(groups, 10, seed))) for seed in range(20)}
    assert len(drawn) == 20


def test_equal_remainders_are_drawn_at_random() -> None:
    groups = np.repeat(np.arange(50), 2)
    seen = {int(k) for seed in range(40) for k in groups[draw_groups(groups, 5, seed)]}
    assert len(seen) > 40, "not the first groups alone"


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", ["int", "bool", "text", "object", "list", "negative"])
def test_a_rare_class_is_held_out_in_proportion(kind: str, seed: int) -> None:
    rare = np.arange(100) < 2
    labels: dict[str, Any] = {
        "int": rare.astype(int),
        "bool": rare,
        "text": np.where(rare, "yes", "no"),
        "object": np.where(rare, "yes", "no").astype(object),
        "list": rare.tolist(),
        "negative": np.where(rare, 1, -1),
    }
    rows, held_out = _split(labels[kind], 0.5, seed=seed)
    positive = np.asarray(labels[kind])[0]
    assert len(held_out[1]) == 50
    assert (rows[1] == positive).sum() == 1
    assert (held_out[1] == positive).sum() == 1


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("seed", range(4))
def test_many_rare_classes_are_all_trained_on(share: float, seed: int) -> None:
    y = np.concatenate([np.arange(60), np.arange(40), [70] * 20])
    rows, held_out = _split(y, share, seed=seed, model=ht.Linear(loss="softmax"))
    assert set(rows[1]) == set(y)
    assert len(held_out[1]) == min(round(120 * share), 120 - 61)


def test_a_class_of_one_row_is_trained_on_and_the_loss_is_defined(problem: Problem) -> None:
    for seed in range(10):
        y = np.arange(400) == 17
        result = ht.train(MODEL, (problem.X, y), validation=0.9, seed=seed, workers=1)
        assert result.classes is not None
        assert np.isfinite([record.validation_loss for record in result.history]).all()
    y = np.arange(400).clip(0, 5)
    for class_weight in (None, "balanced", {k: k for k in range(6)}):
        model = ht.Linear(loss="softmax", class_weight=class_weight)
        result = ht.train(model, (problem.X, y), validation=0.3, patience=2, workers=1)
        assert np.isfinite([record.validation_loss for record in result.history]).all()


def test_a_share_that_leaves_nothing_to_hold_out_is_refused_in_the_users_words() -> None:
    message = "each of the 6 rows is the only one of its class"
    with pytest.raises(ht.InvalidSettingError, match=message):
        _split(np.arange(6), 0.5, model=ht.Linear(loss="softmax"))


@pytest.mark.parametrize("validation", [0.5, 0.01])
def test_data_that_cannot_be_trained_on_is_refused_as_a_whole(
    validation: float, problem: Problem
) -> None:
    nan = np.where(np.arange(400) == 5, np.nan, 1.0)
    for model, y, weight, message in (
        (MODEL, np.ones(400, int), np.ones(400), "must hold two classes.*found 1: 1"),
        (MODEL, np.arange(400) % 3, np.ones(400), "two classes.*found 3: 0, 1, 2"),
        (MODEL, nan, np.ones(400), r"NaN.*\(400,\)"),
        (MODEL, problem.labels, nan, r"sample_weight must be finite"),
        (MODEL, problem.labels, -np.ones(400), r"sample_weight must be .* >= 0"),
        (MODEL, problem.labels, np.zeros(400), r"sample_weight must be .* not all zero"),
        (ht.Linear(loss="squared"), nan, np.ones(400), r"NaN.*\(400,\)"),
        (ht.Linear(loss="squared"), problem.labels.astype(str), np.ones(400), r"\(400,\)"),
    ):
        with pytest.raises(ht.InvalidDataError, match=message):
            ht.train(model, (problem.X, y, weight), validation=validation)


def test_rows_of_weight_zero_are_not_held_out() -> None:
    y, weight = np.arange(100) % 2, (np.arange(100) < 40) * 1.0
    _, held_out = _split(y, 0.5, weight)
    assert len(held_out[1]) == 20
    assert (held_out[2] > 0).all()
    _, without = _split(y[:40], 0.5)
    assert held_out[0].values.tolist() == without[0].values.tolist()


def test_numbers_are_drawn_without_regard_to_their_values() -> None:
    y = np.array([0.0, 1.0] * 20)
    _, held_out = _split(y, 0.25, model=ht.Linear(loss="squared"))
    drawn = np.sort(np.random.default_rng(0).permutation(40)[:10])
    assert held_out[1].tolist() == y[drawn].tolist()


def test_compare_holds_out_as_train_does(problem: Problem) -> None:
    y = np.arange(400) < 3
    comparison = ht.compare(
        MODEL, (problem.X, y), strategies=["sync"], workers=1, repeats=1, validation=0.4
    )
    result = ht.train(MODEL, (problem.X, y), strategy="sync", workers=1, validation=0.4)
    assert comparison.runs[0].losses == tuple(r.validation_loss for r in result.history)
    assert np.isfinite(comparison.runs[0].score), "both classes are held out"


def test_a_million_labels_are_split_quickly() -> None:
    groups = np.random.default_rng(0).integers(0, 1000, 1_000_000)
    started = time.process_time()
    chosen = draw_groups(groups, 100_000, 0)
    assert time.process_time() - started < 2
    assert len(chosen) == 100_000
