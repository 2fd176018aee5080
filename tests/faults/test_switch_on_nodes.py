# SPDX-License-Identifier: BSD-3-Clause
"""Nodes that go from strategy to strategy: the state goes on, also to nodes that come later."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.node_runs import EPOCHS_OF_DRIVER, ROWS, SETTINGS, bits, data, model, node_pids

import hybridtrain as ht

ROUNDS = ht.Switch(("sync", 2), ("local_sgd(every=2, replicas=3)", None))
BACK = ht.Switch(("local_sgd(every=3, replicas=2)", 1), ("sync", 2), ("local_sgd(replicas=2)", 1))


@pytest.fixture(autouse=True)
def _leaves_nothing() -> Iterator[None]:
    yield
    assert node_pids() == []


def _alone(kind: str = "logistic", **more: Any) -> ht.Result:
    given = {**SETTINGS, "progress": False, **more}
    if "hybrid" in repr(given["strategy"]).lower():
        del given["batch_size"]
    return ht.train(model(kind), data(kind), **given)


def _train(kind: str = "logistic", **more: Any) -> ht.Result:
    return _alone(kind, **{"timeout": 6.0, **more})


def _parts(result: ht.Result) -> list[tuple[str, list[int]]]:
    return [(part["strategy"], part["epochs"]) for part in result.settings["parts"]]


@pytest.mark.parametrize(
    ("kind", "strategy", "optimizer", "size", "backend"),
    [
        ("logistic", ROUNDS, "sgd(momentum=0.9)", (2, 1), "threads"),
        ("logistic", BACK, "ftrl", (3, 2), "threads"),
        ("softmax", BACK, "adam", (2, 1), "processes"),
    ],
)
def test_rounds_have_the_bits_of_one_machine_in_every_part(
    kind: str, strategy: ht.Switch, optimizer: str, size: tuple[int, int], backend: str
) -> None:
    given = {"strategy": strategy, "optimizer": optimizer, "backend": backend, "batch_size": 48}
    result = _train(kind, **given, nodes=size[0], workers=size[1])
    alone = _alone(kind, **given)
    assert bits(result) == bits(alone)
    assert [r.loss for r in result.history] == [r.loss for r in alone.history]
    assert _parts(result) == _parts(alone)
    lines = result.settings["nodes"]["lines"]
    assert [line.partition("; ")[2] for line in lines] == [
        "",
        *["the next strategy begins"] * (len(strategy.given) - 1),
    ]
    assert sorted(report.ended for report in result.nodes) == ["finished"] * size[0]
    assert sum(report.rows for report in result.nodes) >= 4 * ROWS  # refused steps are done again


def test_replicas_of_a_part_are_as_many_as_all_nodes_have_workers() -> None:
    strategy = ht.Switch(("sync", 1), ("local_sgd", None))
    result = _train(strategy=strategy, nodes=2, workers=2)
    assert result.settings["replicas"] == 4
    given = ht.Switch(("sync", 1), ("local_sgd(replicas=4)", None))
    assert bits(result) == bits(_alone(strategy=given))


@pytest.mark.parametrize("words", ["sync, hybrid", "hybrid, sync, async"])
@pytest.mark.parametrize("optimizer", ["sgd", "adagrad"])
def test_one_node_with_one_worker_has_the_bits_of_one_machine(words: str, optimizer: str) -> None:
    *first, last = words.split(", ")
    strategy = ht.Switch(*((each, 1) for each in first), (last, None))
    given = {"strategy": strategy, "optimizer": optimizer}
    assert bits(_train(**given, nodes=1)) == bits(_alone(**given))


@pytest.mark.parametrize("kind", ["logistic", "softmax"])
def test_streams_go_on_from_the_bits_of_rounds_and_rounds_from_streams(kind: str) -> None:
    strategy = ht.Switch(("sync", 2), ("hybrid", 4), ("sync", None))
    result, alone = (
        run(kind, strategy=strategy, epochs=8, validation=0.2, **more)
        for run, more in ((_train, {"nodes": 2}), (_alone, {"workers": 2}))
    )
    losses, expected = ([r.validation_loss for r in each.history] for each in (result, alone))
    assert losses[:2] == expected[:2]
    assert _parts(result) == _parts(alone)
    assert None not in losses
    at_first = float(np.log(3 if kind == "softmax" else 2))
    assert abs(losses[-1] - expected[-1]) < 0.15 * (at_first - expected[-1])
    assert losses[-1] < losses[1]
    assert [record.dropped for record in result.ledger] == [0] * 8


def test_a_part_on_a_plateau_ends_at_all_nodes() -> None:
    given = {"strategy": ht.Switch(("sync", "plateau"), ("local_sgd(replicas=2)", None))}
    result, alone = _train(**given, nodes=2, epochs=40), _alone(**given, epochs=40)
    assert len(_parts(result)) == 2
    assert _parts(result) == _parts(alone)
    assert bits(result) == bits(alone)


@pytest.mark.parametrize("killed_in", [3, 40])
def test_a_node_is_killed_and_another_comes_in_the_part_in_hand(
    killed_in: int, caplog: pytest.LogCaptureFixture
) -> None:
    """One dies before the switch, or after it; who comes opens the part that the others are in."""
    caplog.set_level(logging.INFO, "hybridtrain.nodes.driving")
    strategy = ht.Switch(("sync", 30), ("local_sgd(every=2, replicas=3)", None))
    struck: list[int] = []

    def strike(record: ht.EpochRecord) -> bool:
        if record.epoch == killed_in:
            struck.append(node_pids()[0])
            os.kill(struck[0], signal.SIGKILL)
        has_come = "came; step" in caplog.text
        if struck and not has_come:
            time.sleep(0.1)
        return has_come and record.epoch > 35

    given = {"strategy": strategy, "epochs": 1000}
    result = _train(**given, nodes=2, callbacks=[strike])
    assert len(struck) == 1
    last = len(result.history)
    alone = _alone(**given, callbacks=[lambda record: record.epoch == last])
    assert bits(result) == bits(alone)
    assert [r.loss for r in result.history] == [r.loss for r in alone.history]


def test_a_node_is_killed_at_every_other_switch() -> None:
    """A death with the last epoch of a part, five times: no step is lost, nobody waits for ever."""
    parts = [("sync", 3), ("local_sgd(every=2, replicas=3)", 3)] * 5
    strategy = ht.Switch(*parts, ("sync", None))
    struck: list[int] = []

    def strike(record: ht.EpochRecord) -> None:
        if record.epoch % 6 == 3 and record.epoch < 30:
            deadline = time.monotonic() + 30.0
            while len(pids := node_pids()) < 3 and time.monotonic() < deadline:
                time.sleep(0.01)  # another process is on its way
            struck.append(pids[1 + len(struck) % 2])
            os.kill(struck[-1], signal.SIGKILL)
        time.sleep(0.05)  # so that nodes come

    given = {"strategy": strategy, "epochs": 33}
    result = _train(**given, nodes=3, callbacks=[strike])
    assert len(struck) == len(set(struck)) == 5
    assert bits(result) == bits(_alone(**given))


def test_a_signal_in_a_later_part_ends_the_run_with_what_was_trained() -> None:
    def interrupt(record: ht.EpochRecord) -> None:
        if record.epoch == 4:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(ht.TrainingInterrupted) as caught:
        _train(strategy=ROUNDS, nodes=2, epochs=1000, callbacks=[interrupt])
    result = caught.value.result
    assert len(_parts(result)) == 2
    assert np.isfinite(result.params["coef"]).all()


def test_a_run_goes_on_in_the_part_in_which_its_driver_was_ended(tmp_path: Path) -> None:
    folder, strategy = tmp_path / "run", 'switch(("sync", 20), ("local_sgd(replicas=3)", None))'
    script = Path(__file__).parents[1] / "support" / "node_runs.py"
    command = [sys.executable, str(script), str(folder), "threads", "", strategy]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 128 + signal.SIGTERM, done.stderr
    given = {"strategy": strategy, "epochs": EPOCHS_OF_DRIVER, "batch_size": None}
    result = _train(**given, nodes=2, checkpoint=folder, resume=True)
    assert result.settings["resumed"] is not None
    assert bits(result) == bits(_alone(**given))
    assert [record.trained for record in result.ledger] == [ROWS] * EPOCHS_OF_DRIVER
