# SPDX-License-Identifier: BSD-3-Clause
"""A run on nodes that has a time: the driver's clock ends it, at the same step everywhere."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from support.node_runs import ROWS, SETTINGS, bits, data, model, node_pids

import hybridtrain as ht


def _train(**more: Any) -> ht.Result:
    given = {**SETTINGS, "epochs": 1_000_000, "timeout": 6.0, "progress": False, **more}
    return ht.train(model("logistic"), data("logistic"), **given)


@pytest.fixture(scope="module")
def seconds() -> float:
    """Return a time that leaves some for many epochs, however busy the machine is."""
    began = time.perf_counter()
    _train(nodes=2, epochs=1)
    return 3 + 3 * (time.perf_counter() - began)


def _require_timed(result: ht.Result) -> None:
    assert result.settings["stopped"] == "seconds"
    assert all(record.trained + record.dropped == ROWS for record in result.ledger)
    assert not any(record.dropped for record in result.ledger[:-1])
    rates = [record.lr for record in result.history]
    assert rates[0] == max(rates)
    assert rates[-1] < rates[0] / 2


def test_the_time_is_filled_with_epochs_whose_rate_falls(seconds: float) -> None:
    began = time.perf_counter()
    result = _train(nodes=2, seconds=seconds)
    assert time.perf_counter() - began < 2 * seconds
    _require_timed(result)
    assert {report.steps for report in result.nodes} == {
        sum(-(-record.trained // SETTINGS["batch_size"]) for record in result.ledger)
    }


def test_with_time_enough_the_bits_are_those_of_a_run_without() -> None:
    given = {"epochs": 4, "validation": 0.2}
    result = _train(nodes=2, seconds=1000.0, **given)
    assert bits(result) == bits(_train(seconds=1000.0, **given))
    assert result.settings["stopped"] is None


def test_a_node_that_comes_to_a_timed_run_has_the_rates_of_the_others(seconds: float) -> None:
    """Else the run would fail: the nodes would end with different parameters."""
    killed = []

    def strike(record: ht.EpochRecord) -> None:
        if record.epoch == 2:
            killed.append(node_pids()[0])
            os.kill(killed[0], signal.SIGKILL)

    result = _train(nodes=2, seconds=2 * seconds, callbacks=[strike])
    _require_timed(result)
    assert len(killed) == 1
    [lost] = [report for report in result.nodes if report.ended != "finished"]
    names = [report.name for report in result.nodes if report.ended == "finished"]
    assert sorted(names) == ["a", "b"]
    [came] = [r for r in result.nodes if r.name == lost.name and r is not lost]
    assert came.steps > 0


def test_a_timed_run_that_is_resumed_goes_on_where_its_rate_was(
    seconds: float, tmp_path: Path
) -> None:
    def interrupt(record: ht.EpochRecord) -> None:
        if record.epoch == 8:
            raise KeyboardInterrupt

    with pytest.raises(ht.TrainingInterrupted) as caught:
        _train(nodes=2, seconds=2 * seconds, checkpoint=tmp_path, callbacks=[interrupt])
    before = caught.value.result.history
    result = _train(nodes=2, seconds=seconds, checkpoint=tmp_path, resume=True)
    _require_timed(result)
    assert [(r.lr, r.loss) for r in result.history[:8]] == [(r.lr, r.loss) for r in before]
    assert result.history[8].lr > before[7].lr / 2


def test_without_time_a_few_steps_are_trained() -> None:
    result = _train(nodes=2, seconds=1e-6)
    assert 0 < sum(record.trained for record in result.ledger) < 10 * ROWS
    assert result.settings["stopped"] == "seconds"


def test_an_interrupt_comes_before_the_time() -> None:
    def interrupt(record: ht.EpochRecord) -> None:
        if record.epoch == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(ht.TrainingInterrupted) as caught:
        _train(nodes=2, seconds=60.0, callbacks=[interrupt])
    assert caught.value.result.settings["stopped"] == "interrupted"
