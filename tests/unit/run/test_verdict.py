# SPDX-License-Identifier: BSD-3-Clause
"""A finished run that ends above where it began is refused; others are handed over."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.problems import Problem, planted

import hybridtrain as ht

STRATEGIES = ["hybrid", "hogwild", "sync"]


@pytest.fixture(scope="module")
def tall() -> Problem:
    return planted(5, 900, 21, longest=20)


def _refusal(problem: Problem, **settings: Any) -> ht.DivergedError:
    noise = np.random.default_rng(0).random(900) < 0.5  # there is nothing to learn
    with pytest.raises(ht.DivergedError) as caught:
        ht.train(ht.Linear(), (problem.X, noise), **{"workers": 2, "epochs": 3, **settings})
    return caught.value


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_rate_that_is_too_large_is_named_with_what_the_loss_did(
    strategy: str, tall: Problem
) -> None:
    error = _refusal(tall, strategy=strategy, optimizer=ht.SGD(lr=500, schedule="constant"))
    text = str(error)
    assert text.startswith("the loss rose from 0.69")
    assert " (at the start) to " in text
    assert " in epoch 3 at learning rate 500; try a smaller lr" in text
    assert (error.epoch, error.lr) == (3, 500)
    assert error.what.startswith("rose from 0.69")
    assert len(error.result.history) == 3
    assert np.isfinite(error.result.params["coef"]).all()


def test_a_row_that_is_much_longer_than_the_others_is_named(tall: Problem) -> None:
    X = tall.X.toarray()
    X[123] *= 100
    noise = np.random.default_rng(0).random(900) < 0.5
    with pytest.raises(ht.DivergedError, match=r"row 123 of X has .* times the mean squared norm"):
        ht.train(ht.Linear(), (X, noise), optimizer=ht.SGD(lr=500, schedule="constant"))


def test_a_run_that_starts_from_wrong_parameters_may_end_above_the_constant_model(
    tall: Problem,
) -> None:
    init = {"coef": np.full(21, -3.0), "intercept": 0.0}
    optimizer = ht.SGD(lr=1e-6)
    result = ht.train(ht.Linear(), (tall.X, tall.labels), init=init, optimizer=optimizer, epochs=1)
    assert result.history[-1].loss > np.log(2)


def test_a_penalty_that_pulls_the_parameters_back_is_no_rise(tall: Problem) -> None:
    best = ht.train(ht.Linear(), (tall.X, tall.labels), epochs=20)
    model = ht.Linear(l2=10.0)
    result = ht.train(model, (tall.X, tall.labels), init=best, epochs=5)
    assert result.history[-1].loss > best.history[-1].loss * 1.1


def test_the_noise_of_a_constant_rate_is_no_rise_and_a_wrecked_model_is() -> None:
    gen = np.random.default_rng(4)
    X = gen.standard_normal((2000, 20))
    y = X @ gen.standard_normal(20) + 0.3 * gen.standard_normal(2000)
    model = ht.Linear(loss="squared")
    best = ht.train(model, (X, y), epochs=20)
    noisy = ht.SGD(lr=0.02, schedule="constant")
    result = ht.train(model, (X, y), init=best, optimizer=noisy, workers=1, epochs=5)
    assert np.mean((result.predict(X) - y) ** 2) > np.mean((best.predict(X) - y) ** 2) * 1.1
    wild = ht.SGD(lr=1.0, schedule="constant")
    with pytest.raises(ht.DivergedError, match="at the start"):
        ht.train(model, (X, y), init=best, optimizer=wild, strategy="sync", batch_size=8)


def test_a_run_that_ends_early_is_not_judged(tall: Problem) -> None:
    noise = np.random.default_rng(0).random(900) < 0.5
    optimizer = ht.SGD(lr=500, schedule="constant")
    result = ht.train(
        ht.Linear(), (tall.X, noise), optimizer=optimizer, callbacks=[lambda record: True]
    )
    assert result.settings["stopped"] == "callback"


def test_an_interrupt_of_the_verdict_loses_no_result(
    tall: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hybridtrain.training.require_descent", interrupted)
    with pytest.raises(ht.TrainingInterrupted, match="when the run was over") as caught:
        ht.train(ht.Linear(), (tall.X, tall.labels), epochs=3)
    assert len(caught.value.result.history) == 3


def test_chance_on_few_rows_is_no_rise() -> None:
    X, y = np.ones((40, 1), np.float32), np.arange(40) % 2
    optimizer = ht.SGD(lr=20, schedule="constant")
    assert ht.train(ht.Linear(fit_intercept=False), (X, y), optimizer=optimizer, epochs=1)
