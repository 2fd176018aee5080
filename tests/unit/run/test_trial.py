# SPDX-License-Identifier: BSD-3-Clause
"""Trials of the automatic rate: what they choose, what they cost, and what ends them."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy import sparse

import hybridtrain as ht
from hybridtrain._core.stream import Stream
from hybridtrain._core.sync import SyncRun
from hybridtrain.run import trial
from hybridtrain.run.trial import _halved, _search

STRATEGIES = ["hybrid", "hogwild", "local_sgd(replicas=3)", "sync"]


def _search_over(losses: dict[float, float], *, is_long: bool) -> float:
    def loss_of(factor: float, likely: Sequence[float]) -> float:
        assert factor not in likely
        return losses[factor]

    return _search(loss_of, start=1.0, is_long=is_long)


@pytest.mark.parametrize("is_long", [False, True])
@pytest.mark.parametrize(
    ("losses", "factor"),
    [
        ({1: 0.5, 4: 0.6, 0.25: 0.7}, 1),
        ({1: 0.5, 4: 0.4, 16: 0.6, 2: 0.45}, 2),
        ({1: 0.5, 4: 0.4, 16: 0.3, 64: 0.2, 8: 0.24}, 8),
        ({1: 0.5, 4: 0.4, 16: 0.6, 2: 0.9}, 4),
        ({1: 0.05, 4: 0.004, 16: 1e-7, 2: 0.006}, 2),
        ({1: 0.98, 4: 0.981, 0.25: 0.981}, 1),
        ({1: math.inf, 4: math.inf, 0.25: 0.4, 0.0625: 0.5, 0.5: math.inf}, 0.25),
        (dict.fromkeys([1, 4, 0.25, 0.0625, 0.015625], math.inf), 1),
    ],
    ids=[
        "the formula",
        "half way",
        "no further than 64",
        "half way is worse",
        "separable",
        "little is gained at all",
        "diverged",
        "all diverged",
    ],
)
def test_the_factor_lies_half_way_to_the_best(
    losses: dict[float, float], factor: float, is_long: bool
) -> None:
    assert _search_over(losses, is_long=is_long) == factor


@pytest.mark.parametrize(
    ("losses", "short", "long"),
    [
        ({1: 0.5, 4: 0.6, 0.25: 0.36, 0.0625: 0.3, 0.015625: 0.35}, 0.25, 0.0625),
        ({1: 0.5, 4: 0.499, 0.25: 0.509, 0.0625: 0.511}, 1, 0.25),
    ],
    ids=["better", "alike"],
)
def test_a_long_run_takes_a_smaller_factor_that_is_as_good(
    losses: dict[float, float], short: float, long: float
) -> None:
    assert _search_over(losses, is_long=False) == short
    assert _search_over(losses, is_long=True) == long


@pytest.mark.parametrize(
    ("loss", "half", "expected"),
    [
        (0.5, 0.4, 0.125),
        (0.5, 0.509, 0.125),
        (0.5, 0.511, 0.25),
        (math.inf, 0.7, 0.125),
        (math.inf, math.inf, 0.25),
        (1.1, 1.1, 0.125),
    ],
)
def test_a_long_run_takes_half_of_a_factor_if_that_is_as_good(
    loss: float, half: float, expected: float
) -> None:
    losses = {0.25: loss, 0.125: half}
    assert _halved(lambda factor, _: losses[factor], 0.25, start=1.0) == expected


@pytest.mark.parametrize("optimizer", ["sgd", "adagrad"])
def test_half_of_a_factor_is_tried_where_steps_do_not_shrink(
    optimizer: str, texts: tuple[Any, Any]
) -> None:
    X, y = texts[0], texts[0][:, :300].sum(axis=1).A1 > texts[0][:, 300:900].sum(axis=1).A1
    trials = ht.train(ht.Linear(), (X, y), optimizer=optimizer, epochs=1).settings["lr_trials"]
    assert trials["factor"] <= 1.0
    assert (f"{trials['factor'] / 2:g}" in trials["losses"]) == (optimizer == "sgd")


def _texts(n_rows: int = 12_000) -> tuple[Any, Any]:
    """Return rows of 40 words, each of length 1, and a rare class of certain words."""
    rng = np.random.default_rng(0)
    n_words, each = 4000, 40
    words = np.sort((n_words * rng.random((n_rows, each)) ** 3).astype(np.int32), axis=1)
    rows = sparse.csr_matrix(
        (
            np.full(n_rows * each, each**-0.5, np.float32),
            words.ravel(),
            np.arange(0, n_rows * each + 1, each),
        ),
        (n_rows, n_words),
    )
    rows.sum_duplicates()
    score = rows @ rng.normal(size=n_words)
    return rows, score > np.quantile(score, 0.96)


@pytest.fixture(scope="module")
def texts() -> tuple[Any, Any]:
    return _texts()


@pytest.mark.parametrize("strategy", ["hybrid", "hogwild"])
def test_a_rare_class_is_learned_at_more_than_the_formula(
    strategy: str, texts: tuple[Any, Any]
) -> None:
    X, y = texts
    train, test = (X[:9000], y[:9000]), (X[9000:], y[9000:])

    def loss(lr: Any) -> tuple[float, dict[str, Any]]:
        result = ht.train(
            ht.Linear(), train, strategy=strategy, optimizer=ht.SGD(lr=lr), workers=1, epochs=1
        )
        margins = result.decision_function(test[0])
        return float(np.logaddexp(0, np.where(test[1], -margins, margins)).mean()), result.settings

    fitted, settings = loss("auto")
    by_formula, of_formula = loss("formula")
    assert settings["lr_trials"]["factor"] > 1
    assert settings["lr"] == of_formula["lr"] * settings["lr_trials"]["factor"]
    assert of_formula["lr_trials"] == {}
    assert fitted < by_formula


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_equal_data_give_equal_rates_for_any_workers(strategy: str, texts: tuple[Any, Any]) -> None:
    def settings(workers: int) -> dict[str, Any]:
        found = ht.train(ht.Linear(), texts, strategy=strategy, workers=workers, epochs=1).settings
        return {"lr": found["lr"], "losses": found["lr_trials"]["losses"]}

    assert settings(1) == settings(1) == settings(3)


def test_trials_cost_less_than_an_epoch(texts: tuple[Any, Any]) -> None:
    X, y = sparse.vstack([texts[0]] * 4, format="csr"), np.tile(texts[1], 4)
    trials = ht.train(ht.Linear(), (X, y), epochs=1).settings["lr_trials"]
    assert 0 < trials["rows"] < len(y)
    assert trials["rows"] == len(trials["losses"]) * (len(y) // 16)


def test_large_batches_do_not_make_the_sample_large() -> None:
    X, y = np.ones((300_000, 1), np.float32), np.arange(300_000) % 2
    result = ht.train(ht.Linear(), (X, y), strategy="sync", batch_size=150_000, epochs=1)
    trials = result.settings["lr_trials"]
    assert trials["rows"] == 32_768 * len(trials["losses"])


def test_rates_that_diverge_are_not_chosen() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 5)) + 10.0  # four rows in flight go the same way
    y = X @ np.arange(5.0)
    result = ht.train(ht.Linear(loss="squared"), (X, y), workers=1, epochs=20, scale=None)
    trials = result.settings["lr_trials"]
    assert None in trials["losses"].values()
    assert trials["factor"] < 1
    assert result.score(X, y) > 0.3


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_average_has_the_rate_of_its_iterates(strategy: str, texts: tuple[Any, Any]) -> None:
    results = [
        ht.train(ht.Linear(), texts, strategy=strategy, workers=1, optimizer=optimizer, epochs=2)
        for optimizer in (ht.SGD(), ht.SGD(average=True))
    ]
    assert results[0].settings["lr"] == results[1].settings["lr"]


def test_too_few_rows_have_no_trials() -> None:
    X, y = np.eye(3, dtype=np.float32), [0.0, 1.0, 2.0]
    result = ht.train(ht.Linear(loss="squared"), (X, y), workers=1)
    assert result.settings["lr_trials"] == {}


def test_a_schedule_beyond_float32_ends_no_run(texts: tuple[Any, Any]) -> None:
    X, y = texts
    tiny = X * np.float32(2.0**-61)
    settings = ht.train(ht.Linear(), (tiny, y), workers=1, epochs=1).settings
    assert np.isfinite(np.float32(settings["lr"]))


@pytest.mark.parametrize("strategy", ["hybrid", "sync"])
@pytest.mark.parametrize("where", ["start", "join"])
def test_an_interrupt_ends_the_trials_and_leaves_nothing(
    where: str, strategy: str, texts: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    really = getattr(threading.Thread, where)
    fired: list[str] = []
    closed: list[Any] = []

    def interrupted(self: threading.Thread, *args: Any) -> None:
        really(self, *args)
        if self.name.startswith("hybridtrain-") and not fired:
            fired.append(self.name)
            raise KeyboardInterrupt

    class Watched(trial.Workers):  # type: ignore[name-defined, misc]
        def __init__(self, run: Stream | SyncRun, n_workers: int, name: str) -> None:
            super().__init__(run, n_workers, name)
            closed.append(run)

    monkeypatch.setattr(threading.Thread, where, interrupted)
    monkeypatch.setattr(trial, "Workers", Watched)
    with pytest.raises(KeyboardInterrupt) as caught:
        ht.train(ht.Linear(), texts, strategy=strategy, workers=2)
    assert fired
    assert not isinstance(caught.value, ht.TrainingInterrupted)
    assert not [t for t in threading.enumerate() if t.name.startswith("hybridtrain-")]
    for run in closed:
        with pytest.raises(ValueError, match="closed"):
            run.epoch_report()
