# SPDX-License-Identifier: BSD-3-Clause
"""The fall of the rate to 0 once patience has ended."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
import pytest
from reference.problems import Problem, planted

import hybridtrain as ht
from hybridtrain.run.cooling import Cooling
from hybridtrain.run.progress import Progress

STRATEGIES = ["hybrid", "hogwild", "sync"]
FALL = 16  # epochs, at least
# Labels at random: at a constant rate, the validation loss goes up and down.
NOISY = ht.SGD(lr=0.3, schedule="constant")


@pytest.fixture(scope="module")
def noisy() -> Problem:
    return planted(5, 2000, 40, longest=30, noise=3.0)


def _train(problem: Problem, **settings: Any) -> ht.Result:
    given = {"optimizer": NOISY, "validation": 0.3, "epochs": 60, "workers": 1, **settings}
    return ht.train(ht.Linear(), (problem.X, problem.labels), **given)


def _losses(result: ht.Result) -> list[float]:
    return [record.validation_loss or math.nan for record in result.history]


def _trips(losses: list[float], patience: int) -> int:
    """Return after how many epochs patience ends."""
    for epoch in range(1, len(losses) + 1):
        if epoch - (1 + int(np.argmin(losses[:epoch]))) >= patience:
            return epoch
    raise AssertionError("patience has not ended")


def test_a_fall_goes_from_the_last_rate_to_0() -> None:
    cooling = Cooling(begins=10, share=0.5)
    assert cooling.ends == 10 + FALL
    factors = [cooling.factor(t, 26) for t in (0, 10, 18, 24)]
    assert factors == pytest.approx([0.5, 0.5, 0.25, 0.0625])
    assert Cooling(begins=100, share=0.5).ends == 120  # a fifth of the epochs so far
    assert Cooling(begins=10, share=0.02).is_needed
    assert not Cooling(begins=10, share=0.01).is_needed


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("patience", [1, 3])
def test_the_rate_falls_to_0_before_patience_ends_a_run(
    strategy: str, patience: int, noisy: Problem
) -> None:
    result = _train(noisy, strategy=strategy, patience=patience)
    begins = _trips(_losses(result), patience)
    n_epochs = Cooling(begins=begins, share=1.0).ends
    assert len(result.history) == n_epochs < 60
    expected = [1.0] * begins + [1 - k / (n_epochs - begins) for k in range(n_epochs - begins)]
    assert [record.lr for record in result.history] == pytest.approx(0.3 * np.array(expected))
    assert result.settings["stopped"] == "patience"
    assert {report.ended for report in result.workers} == {"patience"}
    assert all(record.dropped == 0 for record in result.ledger)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("schedule", ["linear", "constant"])
def test_a_run_that_patience_ends_is_as_good_as_the_whole_run(
    strategy: str, workers: int, schedule: str, noisy: Problem
) -> None:
    settings = {"strategy": strategy, "workers": workers}
    optimizer = ht.SGD(lr=0.3, schedule=schedule)
    early = _train(noisy, optimizer=optimizer, patience=3, **settings)
    whole = _train(noisy, optimizer=ht.SGD(lr=0.3), **settings)
    assert len(early.history) < 60
    best = early.settings["best_epoch"]
    assert _losses(early)[best - 1] < 1.03 * _losses(whole)[-1]


def test_a_fall_has_the_same_bits_for_any_workers(noisy: Problem) -> None:
    coefs = [
        _train(noisy, strategy="sync", workers=workers, patience=2).params["coef"].tolist()
        for workers in (1, 2, 3)
    ]
    assert coefs[0] == coefs[1] == coefs[2]


def test_a_fall_ends_with_the_run(noisy: Problem) -> None:
    begins = _trips(_losses(_train(noisy, patience=2)), 2)
    result = _train(noisy, patience=2, epochs=begins + 4)
    lrs = [record.lr for record in result.history]
    assert lrs == pytest.approx([0.3] * (begins + 1) + [0.3 * k / 4 for k in (3, 2, 1)])
    assert result.settings["stopped"] is None


@pytest.mark.parametrize(
    "optimizer", [ht.FTRL(lr=1.0), ht.SGD(lr=0.3, schedule=ht.Exponential(decay=1e-3))], ids=repr
)
def test_a_rate_that_is_near_0_or_may_not_change_needs_no_fall(
    optimizer: Any, noisy: Problem
) -> None:
    result = _train(noisy, optimizer=optimizer, patience=2)
    assert len(result.history) == _trips(_losses(result), 2)
    assert result.settings["stopped"] == "patience"


def test_a_callback_ends_a_fall_at_once(noisy: Problem) -> None:
    fell = []

    def stop(record: ht.EpochRecord) -> bool:
        fell.append(record.lr < 0.29)
        return fell[-1]

    result = _train(noisy, patience=1, callbacks=[stop])
    assert fell.count(True) == 1
    assert result.settings["stopped"] == "callback"


def test_a_fall_is_told(noisy: Problem, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="hybridtrain"):
        result = _train(noisy, patience=1)
    n_epochs = len(result.history)
    assert f"patience has ended: the rate falls to 0 until epoch {n_epochs}" in caplog.messages
    assert caplog.messages[-1].startswith(f"epoch {n_epochs}/{n_epochs}: ")


def test_the_progress_shows_where_a_fall_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("hybridtrain.run.progress._QUIET_SECONDS", -1.0)
    record = ht.EpochRecord(epoch=9, seconds=1.0, rows=5, lr=0.1, loss=0.5, validation_loss=0.4)
    progress = Progress(None, 60)
    progress.end_at(12)
    progress.tick(record)
    assert capsys.readouterr().err.startswith("epoch 9/12: ")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_fall_within_a_time_ends_as_planned(strategy: str, noisy: Problem) -> None:
    result = _train(noisy, strategy=strategy, patience=1, seconds=60.0, epochs=1000)
    begins = _trips(_losses(result), 1)
    assert len(result.history) == Cooling(begins=begins, share=1.0).ends
    assert result.history[-1].lr == pytest.approx(0.3 / FALL)
    assert result.settings["stopped"] == "patience"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_best_epoch_is_the_last_of_those_that_are_as_good(
    strategy: str, noisy: Problem
) -> None:
    result = _train(noisy, strategy=strategy, patience=3)
    losses = np.array(_losses(result))
    best = 1 + int(np.flatnonzero(losses <= 1.005 * losses.min())[-1])
    assert result.settings["best_epoch"] == best
    stop = _train(noisy, strategy=strategy, patience=3, callbacks=[lambda r: r.epoch == best])
    assert stop.params["coef"].tolist() == result.params["coef"].tolist()
