# SPDX-License-Identifier: BSD-3-Clause
"""Streams on nodes of one machine: every row once in each epoch, whatever becomes of the nodes."""

from __future__ import annotations

import functools
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.node_runs import EPOCHS_OF_DRIVER, ROWS, bits, data, model, node_pids

import hybridtrain as ht
from hybridtrain.run.checkpoint import newest

SETTINGS: dict[str, Any] = {"strategy": "hybrid", "workers": 1, "epochs": 4, "progress": False}
MANY = 200  # epochs: until a callback ends the run
LONG, BITS = 300_000, 9  # rows of 2**9 classes: an epoch is longer than a job's glance at the clock
SILENT = {"timeout": 3.0}  # a node is left out after a third


@pytest.fixture(autouse=True)
def _leaves_nothing() -> Iterator[None]:
    threads = threading.active_count()
    yield
    assert node_pids() == []
    assert threading.active_count() == threads


@functools.cache
def _alone(kind: str = "logistic", **more: Any) -> ht.Result:
    return ht.train(model(kind), data(kind), **{**SETTINGS, **more})


def _train(kind: str = "logistic", **more: Any) -> ht.Result:
    return ht.train(model(kind), data(kind), **{**SETTINGS, "timeout": 6.0, **more})


def _require_whole(result: ht.Result, rows: int = ROWS) -> None:
    """Require that every row was trained once in each epoch, and that the parameters are sound."""
    assert [record.trained for record in result.ledger] == [rows] * len(result.history)
    assert [record.dropped for record in result.ledger] == [0] * len(result.history)
    assert np.isfinite(result.params["coef"]).all()


# ---- what is learned ----


@pytest.mark.parametrize(
    ("kind", "strategy", "optimizer", "backend"),
    [
        ("logistic", "hybrid", "sgd", "processes"),
        ("logistic", "async(staleness=1)", "adagrad", "threads"),
        ("logistic", "hogwild", "ftrl", "threads"),
        ("softmax", "hybrid", "adam", "threads"),
        ("softmax", "hybrid", "sgd(momentum=0.9)", "threads"),
    ],
)
def test_one_node_with_one_worker_has_the_bits_of_one_machine(
    kind: str, strategy: str, optimizer: str, backend: str
) -> None:
    given = {"strategy": strategy, "optimizer": optimizer}
    result = _train(kind, nodes=1, backend=backend, **given)
    alone = _alone(kind, **given)
    assert bits(result) == bits(alone)
    assert [(r.epoch, r.rows, r.lr) for r in result.history] == [
        (r.epoch, r.rows, r.lr) for r in alone.history
    ]
    losses = [record.loss for record in alone.history]
    assert [r.loss for r in result.history] == pytest.approx(losses, rel=1e-12)  # summed in parts
    assert result.ledger == alone.ledger


@pytest.mark.parametrize(
    ("kind", "strategy", "optimizer", "size", "backend"),
    [
        ("logistic", "hybrid", "adagrad", (2, 2), "processes"),
        ("logistic", "hybrid", "ftrl", (3, 1), "threads"),
        ("logistic", "async(staleness=1)", "sgd", (2, 1), "threads"),
        ("logistic", "hogwild", "adagrad", (2, 1), "threads"),
        ("logistic", "hierarchical(groups=2,between='async')", "ftrl", (2, 3), "threads"),
        ("logistic", "hierarchical(groups=2)", "sgd", (2, 4), "processes"),
        ("softmax", "async(staleness=1)", "adam", (3, 1), "threads"),
        ("softmax", "hybrid", "sgd(momentum=0.9)", (2, 2), "threads"),
        ("softmax", "hogwild", "sgd", (2, 1), "processes"),
    ],
)
def test_nodes_learn_what_one_machine_learns(
    kind: str, strategy: str, optimizer: str, size: tuple[int, int], backend: str
) -> None:
    nodes, workers = size
    given = {"strategy": strategy, "optimizer": optimizer, "validation": 0.2}
    result = _train(kind, nodes=nodes, workers=workers, backend=backend, **given)
    is_in_groups = strategy.startswith("hierarchical")
    alone = _alone(kind, **given, **({"workers": workers} if is_in_groups else {}))
    n_train = alone.ledger[0].trained
    _require_whole(result, n_train)
    before, after = result.history[0].validation_loss, result.history[-1].validation_loss
    best, at_first = alone.history[-1].validation_loss, float(np.log(3 if kind == "softmax" else 2))
    assert None not in (before, after, best)
    assert abs(after - best) < 0.15 * (at_first - best)  # of what there is to learn
    assert sorted((r.name, r.ended, r.workers) for r in result.nodes) == [
        (name, "finished", workers) for name in "abc"[:nodes]
    ]
    assert sum(report.rows for report in result.nodes) == n_train * len(result.history)
    assert len({report.steps for report in result.nodes}) == 1  # all merge together
    assert all(report.computing > 0 for report in result.nodes if report.rows)
    assert len(result.settings["nodes"]["lines"]) == 1


# ---- nodes that die, stop and come ----


@pytest.mark.parametrize(
    ("strategy", "workers", "backend"),
    [
        ("hybrid", 1, "threads"),
        ("async(staleness=1)", 1, "processes"),
        ("hierarchical(groups=2)", 3, "processes"),
    ],
)
def test_rows_of_a_killed_node_go_to_the_others_and_it_comes_again(
    strategy: str, workers: int, backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hybridtrain.nodes.driving")
    struck: list[int] = []

    def strike(record: ht.EpochRecord) -> bool:
        if record.epoch == 2:
            struck.append(node_pids()[0])
            os.kill(struck[0], signal.SIGKILL)
        time.sleep(0.02)
        return "came" in caplog.text

    given = {"strategy": strategy, "workers": workers, "backend": backend}
    result = _train(nodes=2, callbacks=[strike], epochs=10 * MANY, **given)
    assert len(struck) == 1
    assert result.settings["stopped"] == "callback"
    assert re.search(r"left: killed \(signal 9\); its rows go to", caplog.text)
    _require_whole(result)
    assert sorted(report.name for report in result.nodes) in (["a", "a", "b"], ["a", "b", "b"])
    assert [r.ended for r in result.nodes if r.ended != "finished"] == ["killed (signal 9)"]


def test_a_node_may_be_killed_in_the_middle_of_an_epoch() -> None:
    """At many times within epochs; the others train what is in nobody's values."""
    struck: list[int] = []
    threads: list[threading.Thread] = []
    is_over = threading.Event()

    def strike() -> None:
        for k in range(6):
            if is_over.wait(0.3 + 0.013 * k):
                return
            for pid in node_pids()[1:2]:
                struck.append(pid)
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def begin(record: ht.EpochRecord) -> bool:
        if record.epoch == 1:
            threads.append(threading.Thread(target=strike))
            threads[0].start()
        return record.epoch > 1 and not threads[0].is_alive()

    try:
        result = _train(nodes=3, callbacks=[begin], epochs=100 * MANY)
    finally:
        is_over.set()
        threads[0].join()
    assert len(struck) >= 3
    _require_whole(result)
    assert sum(report.ended == "killed (signal 9)" for report in result.nodes) >= 1


def test_a_node_that_is_stopped_for_long_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hybridtrain.nodes.driving")
    struck: list[int] = []

    def strike(record: ht.EpochRecord) -> bool:
        if record.epoch == 2:
            struck.append(node_pids()[0])
            os.kill(struck[0], signal.SIGSTOP)
        return "left: silent" in caplog.text

    result = _train(nodes=2, callbacks=[strike], epochs=MANY, **SILENT)
    assert len(struck) == 1
    assert result.settings["stopped"] == "callback"
    _require_whole(result)


def test_a_node_that_is_stopped_for_a_moment_stays() -> None:
    woken: list[float] = []
    told: list[float] = []  # when, of each epoch

    def strike(record: ht.EpochRecord) -> None:
        told.append(time.monotonic())
        if record.epoch == 2:
            pid = node_pids()[0]
            os.kill(pid, signal.SIGSTOP)

            def wake() -> None:
                woken.append(time.monotonic())
                os.kill(pid, signal.SIGCONT)

            threading.Timer(0.5, wake).start()

    result = _train(nodes=2, callbacks=[strike], epochs=6, timeout=30.0)
    assert len(woken) == 1
    assert len(result.settings["nodes"]["lines"]) == 1
    _require_whole(result)
    assert told[1] < woken[0] < told[2]  # it was waited for


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(word) for word in (task / "children").read_text().split()]
    return found


def test_a_worker_process_of_a_node_is_replaced() -> None:
    struck: list[int] = []

    def strike(record: ht.EpochRecord) -> bool:
        if 2 <= record.epoch <= 4:
            struck.append(_children(node_pids()[0])[0])
            with suppress(ProcessLookupError):
                os.kill(struck[-1], signal.SIGKILL)
        return record.epoch == 8

    result = _train(
        nodes=2, workers=2, backend="processes", callbacks=[strike], epochs=MANY, timeout=30.0
    )
    assert len(struck) == 3
    assert len(set(struck)) >= 2
    _require_whole(result)
    assert len(result.settings["nodes"]["lines"]) == 1  # the node stays


def test_a_run_without_a_node_says_what_became_of_each() -> None:
    def strike(record: ht.EpochRecord) -> None:
        for pid in node_pids():
            os.kill(pid, signal.SIGKILL)

    with pytest.raises(ht.NodesLostError, match="killed") as caught:
        _train(nodes=2, callbacks=[strike], epochs=MANY)
    assert sorted(word.partition(":")[0] for word in caught.value.nodes) == ["a", "b"]


# ---- early ends ----


def test_an_interrupted_run_is_saved_and_goes_on_with_other_nodes(tmp_path: Path) -> None:
    folder = tmp_path / "run"

    def interrupt(record: ht.EpochRecord) -> None:
        if record.epoch == 3:
            threading.Timer(0.03, os.kill, (os.getpid(), signal.SIGINT)).start()

    with pytest.raises(ht.TrainingInterrupted) as caught:
        _train(nodes=2, callbacks=[interrupt], epochs=10 * MANY, checkpoint=folder)
    result = caught.value.result
    last = result.ledger[-1]
    assert last.epoch >= 3
    assert last.trained + last.dropped == ROWS
    assert sum(r.rows for r in result.nodes) >= sum(r.trained for r in result.ledger)
    assert np.isfinite(result.params["coef"]).all()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def stop(record: ht.EpochRecord) -> bool:
        return record.epoch == last.epoch + 2

    more = _train(nodes=3, callbacks=[stop], epochs=10 * MANY, checkpoint=folder, resume=True)
    assert more.settings["resumed"] is not None
    assert more.history[-1].epoch == last.epoch + 2
    _require_whole(more)


def test_a_driver_is_ended_and_another_number_of_nodes_goes_on(tmp_path: Path) -> None:
    """A node dies; the other goes on saving; the driver is ended; another run goes on."""
    folder = tmp_path / "run"
    script = Path(__file__).parents[1] / "support" / "node_runs.py"
    done = subprocess.run(
        [sys.executable, str(script), str(folder), "threads", "", "hybrid"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 128 + signal.SIGTERM, done.stderr
    assert any(folder.iterdir())
    result = _train(nodes=1, epochs=EPOCHS_OF_DRIVER, checkpoint=folder, resume=True)
    assert result.settings["resumed"] is not None
    assert len(result.history) == EPOCHS_OF_DRIVER
    _require_whole(result)


def test_a_run_that_was_saved_in_the_middle_of_an_epoch_goes_on_there(tmp_path: Path) -> None:
    folder, kept = tmp_path / "run", tmp_path / "kept"
    rng = np.random.default_rng(0)
    X = rng.standard_normal((LONG, 30)).astype(np.float32)
    y = (X[:, :BITS] > 0) @ (1 << np.arange(BITS))
    is_kept = threading.Event()

    def keep() -> None:
        """Copy a checkpoint of a part of an epoch: until the copy is one, and no later one."""
        while not is_kept.wait(0.005):
            with suppress(ht.CheckpointError, OSError):
                shutil.rmtree(kept, ignore_errors=True)
                shutil.copytree(folder, kept)
                saved = newest(kept)[1]
                if saved.numbers["epoch"] > 3 and 0 < saved.done.sum() < len(saved.done):
                    is_kept.set()

    def train(n_nodes: int, **more: Any) -> ht.Result:
        given = {**SETTINGS, "epochs": 10 * MANY, "timeout": 30.0, **more}
        return ht.train(ht.Linear(loss="softmax"), (X, y), nodes=n_nodes, **given)

    thread = threading.Thread(target=keep)
    thread.start()
    try:
        checkpoint = ht.Checkpoint(folder, every_seconds=0.01)
        train(2, callbacks=[lambda record: is_kept.is_set()], checkpoint=checkpoint)
    finally:
        is_kept.set()
        thread.join()
    saved = newest(kept)[1]
    epoch, n_done = int(saved.numbers["epoch"]), int(saved.done.sum())
    assert 0 < n_done < len(saved.done)
    stop = [lambda record: record.epoch == epoch + 1]
    result = train(3, callbacks=stop, checkpoint=kept, resume=True)
    assert result.settings["resumed"] is not None
    _require_whole(result, LONG)
    # Nodes have trained the chunks that were left of the epoch, and the next one.
    n_rows = n_done * LONG / len(saved.done)
    assert sum(r.rows for r in result.nodes) == pytest.approx(2 * LONG - n_rows, abs=512)
    # The loss is that of the rows whose chunks are marked: of all nodes.
    before = result.history[epoch - 2].loss
    assert 0.5 * before < saved.numbers["loss"] / n_rows < 1.3 * before


def test_a_callback_can_end_the_run_and_what_it_raises_is_raised() -> None:
    result = _train(nodes=2, callbacks=[lambda record: record.epoch == 2], epochs=MANY)
    assert len(result.history) == 2
    assert result.settings["stopped"] == "callback"
    _require_whole(result)

    def fail(record: ht.EpochRecord) -> None:
        raise LookupError("of the user's")

    with pytest.raises(LookupError, match="of the user's"):
        _train(nodes=2, callbacks=[fail], epochs=MANY)


def test_the_time_of_a_run_is_filled() -> None:
    began = time.perf_counter()
    result = _train(nodes=2, seconds=4.0, epochs=None)
    assert time.perf_counter() - began < 20.0
    assert result.settings["stopped"] == "seconds"
    assert all(record.trained + record.dropped == ROWS for record in result.ledger)
    assert not any(record.dropped for record in result.ledger[:-1])
    assert result.history[-1].lr < result.history[0].lr


def test_without_time_a_few_rows_are_trained() -> None:
    result = _train(nodes=2, seconds=1e-6)
    assert result.settings["stopped"] == "seconds"
    assert 0 < sum(record.trained for record in result.ledger) < 4 * ROWS
    assert np.isfinite(result.params["coef"]).all()


def test_a_rate_that_is_too_large_is_named_as_on_one_machine() -> None:
    with pytest.raises(ht.DivergedError) as expected:
        _alone(optimizer=ht.SGD(lr=1e30))
    with pytest.raises(ht.DivergedError) as caught:
        _train(nodes=2, optimizer=ht.SGD(lr=1e30))
    loss = re.compile(r"to \S+ in")  # how far it has risen differs from run to run
    assert loss.sub("", str(caught.value)) == loss.sub("", str(expected.value))
    assert loss.search(str(caught.value))
