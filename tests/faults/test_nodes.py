# SPDX-License-Identifier: BSD-3-Clause
"""Nodes on one machine: the bits of one, whatever becomes of the others; nothing is left behind."""

from __future__ import annotations

import functools
import logging
import os
import re
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
import pandas as pd
import pytest
from support.node_runs import (
    EPOCHS_OF_DRIVER,
    ROWS,
    SETTINGS,
    bits,
    data,
    model,
    node_pids,
)

import hybridtrain as ht


def _open_files() -> set[str]:
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # that of the listing itself
            found.add(os.readlink(f"/proc/self/fd/{fd}"))
    return {name for name in found if not name.startswith("/proc/")}


REPLICAS = {"strategy": "local_sgd(every=2, replicas=3)", "batch_size": 24}
CHANGING = {"strategy": "local_sgd(every='adacomm', replicas=2)", "batch_size": 8}


@pytest.fixture(autouse=True)
def _leaves_nothing() -> Iterator[None]:
    files, threads = _open_files(), threading.active_count()
    yield
    assert node_pids() == []
    assert threading.active_count() == threads
    assert _open_files() <= files


@functools.cache
def _alone(kind: str = "logistic", **more: Any) -> ht.Result:
    return ht.train(model(kind), data(kind), **{**SETTINGS, **more}, progress=False)


def _train(kind: str = "logistic", **more: Any) -> ht.Result:
    given = {**SETTINGS, "timeout": 6.0, "progress": False, **more}
    return ht.train(model(kind), data(kind), **given)


def _kill_one(number: int, seconds: float, fired: list[int]) -> threading.Thread:
    """Send a signal to a node, some time from now."""

    def kill() -> None:
        time.sleep(seconds)
        pid = node_pids()[0]
        os.kill(pid, number)
        fired.append(pid)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("kind", "nodes", "workers", "backend"),
    [
        ("logistic", 1, 1, "threads"),
        ("logistic", 2, 2, "threads"),
        ("logistic", 3, 1, "processes"),
        ("softmax", 2, 1, "threads"),
    ],
)
def test_any_number_of_nodes_and_workers_has_the_bits_of_one(
    kind: str, nodes: int, workers: int, backend: str
) -> None:
    result = _train(kind, nodes=nodes, workers=workers, backend=backend)
    alone = _alone(kind)
    assert bits(result) == bits(alone)
    losses = [(record.epoch, record.loss, record.rows, record.lr) for record in alone.history]
    assert [(r.epoch, r.loss, r.rows, r.lr) for r in result.history] == losses
    assert result.ledger == alone.ledger
    assert len(result.settings["nodes"]["lines"]) == 1
    steps = SETTINGS["epochs"] * -(-ROWS // SETTINGS["batch_size"])
    assert sorted((r.name, r.ended, r.workers, r.steps) for r in result.nodes) == [
        (name, "finished", workers, steps) for name in "abc"[:nodes]
    ]
    assert sum(report.rows for report in result.nodes) == SETTINGS["epochs"] * ROWS
    assert alone.nodes == ()


@pytest.mark.parametrize(
    ("kind", "more", "nodes", "workers", "backend"),
    [
        ("logistic", {**REPLICAS, "optimizer": "adagrad"}, 3, 1, "processes"),
        ("logistic", {"strategy": "local_sgd(replicas=1)", "optimizer": "ftrl"}, 2, 2, "threads"),
        ("softmax", {"strategy": "local_sgd(replicas=2, outer='slowmo')"}, 3, 2, "threads"),
        ("softmax", CHANGING, 2, 1, "threads"),
    ],
)
def test_replicas_on_any_number_of_nodes_have_the_bits_of_one(
    kind: str, more: dict[str, Any], nodes: int, workers: int, backend: str
) -> None:
    result = _train(kind, nodes=nodes, workers=workers, backend=backend, **more)
    alone = _alone(kind, **more)
    assert bits(result) == bits(alone)
    losses = [(record.loss, record.staleness) for record in alone.history]
    assert [(record.loss, record.staleness) for record in result.history] == losses
    for name in ("refused_steps", "every", "replicas"):
        assert result.settings[name] == alone.settings[name]
    assert sum(report.rows for report in result.nodes) >= SETTINGS["epochs"] * ROWS


def test_replicas_are_as_many_as_all_nodes_have_workers_unless_they_are_given() -> None:
    result = _train(nodes=3, workers=2, epochs=2, strategy="local_sgd")
    assert result.settings["replicas"] == 6
    assert "replicas=6" in result.settings["strategy"]
    assert bits(result) == bits(_alone(epochs=2, strategy="local_sgd(replicas=6)"))


def test_one_group_of_workers_on_each_node_has_the_bits_of_its_inner_strategy() -> None:
    strategy = ht.Hierarchical(within="sync", groups=1)
    assert bits(_train(nodes=2, workers=2, strategy=strategy)) == bits(_alone())


def test_a_result_says_what_each_node_has_sent_and_how_long_it_took(tmp_path: Path) -> None:
    began = time.perf_counter()
    result = _train(nodes=2)
    seconds = time.perf_counter() - began
    assert len({(report.incarnation, report.address) for report in result.nodes}) == 2
    for report in result.nodes:
        assert report.address.startswith("tcp://127.0.0.1:")
        assert report.bytes_per_step > 96 * 3  # an account or outcome, sums, a total
        assert report.bytes_received > 96 * 3 * report.steps
        assert report.bytes_again == 0
        assert min(report.computing, report.merging, report.waiting) > 0
        assert report.computing + report.waiting < seconds
    result.save(tmp_path / "saved")
    assert ht.load(tmp_path / "saved.npz").nodes == result.nodes


@pytest.mark.parametrize(("number", "more"), [(signal.SIGKILL, REPLICAS), (signal.SIGSEGV, {})])
def test_the_others_go_on_with_the_same_bits_when_a_node_dies(
    number: int, more: dict[str, Any]
) -> None:
    fired: list[int] = []
    threads: list[threading.Thread] = []

    def strike(record: ht.EpochRecord) -> None:
        if record.epoch == 1:
            threads.append(_kill_one(number, 0.01, fired))

    result = _train(nodes=3, callbacks=[strike], epochs=40, **more)
    threads[0].join()
    assert len(fired) == 1
    assert bits(result) == bits(_alone(epochs=40, **more))
    line = result.settings["nodes"]["lines"][1]
    left = re.fullmatch(
        rf"2 nodes; node (.) left: killed \(signal {number}\); "
        r"its rows go to (.), (.); step [\d,]+ again",
        line,
    )
    assert left is not None
    assert sorted(left.groups()) == ["a", "b", "c"]
    assert [record.trained for record in result.ledger] == [ROWS] * 40
    assert [report.ended for report in result.nodes if report.ended != "finished"] == [
        f"killed (signal {number})"
    ]
    most = ROWS * (40 + result.settings["refused_steps"])  # a refused step's rows count as well
    assert 0 < sum(report.rows for report in result.nodes) <= most


@pytest.mark.parametrize("more", [{}, REPLICAS])
def test_the_others_go_on_without_a_node_that_is_stopped(more: dict[str, Any]) -> None:
    fired: list[int] = []
    threads: list[threading.Thread] = []

    def strike(record: ht.EpochRecord) -> None:
        if record.epoch == 1:
            threads.append(_kill_one(signal.SIGSTOP, 0.01, fired))

    result = _train(nodes=2, callbacks=[strike], epochs=40, timeout=4.5, **more)
    threads[0].join()
    assert len(fired) == 1
    assert bits(result) == bits(_alone(epochs=40, **more))
    assert "left: silent" in result.settings["nodes"]["lines"][1]


def test_users_hear_who_is_waited_for_when_a_step_takes_long(
    capfd: pytest.CaptureFixture[str],
) -> None:
    errors = ""

    def strike(record: ht.EpochRecord) -> None:
        nonlocal errors
        if record.epoch == 1:
            os.kill(node_pids()[0], signal.SIGSTOP)
            threading.Thread(target=wake).start()

    def wake() -> None:
        nonlocal errors
        end = time.monotonic() + 30
        while "waiting for" not in errors and time.monotonic() < end:
            time.sleep(0.1)
            errors += capfd.readouterr().err
        os.kill(node_pids()[0], signal.SIGCONT)

    result = _train(nodes=2, callbacks=[strike], timeout=60, progress=None)
    why = r"\((silent for \d+ s|still at its rows)\)"  # the latter if this process was late itself
    assert re.search(rf"step \d+ takes \d+ s: waiting for [ab] {why}", errors)
    assert len(result.settings["nodes"]["lines"]) == 1
    assert bits(result) == bits(_alone())


@pytest.mark.parametrize(("number", "more"), [(signal.SIGKILL, CHANGING), (signal.SIGSTOP, {})])
def test_a_node_comes_to_a_run_in_the_place_of_one_that_is_gone(
    number: int, more: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A dead one's process is started again; one that wakes up late ends, and is, too."""
    caplog.set_level(logging.INFO, "hybridtrain.nodes.driving")
    struck: list[int] = []

    def strike(record: ht.EpochRecord) -> None:
        if record.epoch == 1:
            struck.append(node_pids()[0])
            os.kill(struck[0], number)
        if "left: silent" in caplog.text:
            with suppress(ProcessLookupError):  # it has woken up, and ended
                os.kill(struck[0], signal.SIGCONT)
        if "came" not in caplog.text:
            time.sleep(0.1)

    more = {**more, "epochs": EPOCHS_OF_DRIVER}
    result = _train(nodes=2, callbacks=[strike], timeout=4.5, **more)
    assert "; node " in caplog.text
    assert "came; step" in caplog.text
    assert bits(result) == bits(_alone(**more))
    assert [r.loss for r in result.history] == [r.loss for r in _alone(**more).history]


def test_a_run_without_a_node_says_what_became_of_each() -> None:
    def strike(record: ht.EpochRecord) -> None:
        for pid in node_pids():
            os.kill(pid, signal.SIGKILL)

    with pytest.raises(ht.NodesLostError, match="killed") as caught:
        _train(nodes=2, callbacks=[strike])
    assert sorted(word.partition(":")[0] for word in caught.value.nodes) == ["a", "b"]


def test_a_signal_ends_the_run_with_what_was_trained() -> None:
    def interrupt(record: ht.EpochRecord) -> None:
        if record.epoch == 2:
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()

    with pytest.raises(ht.TrainingInterrupted) as caught:
        _train(nodes=2, callbacks=[interrupt], epochs=100_000)
    result = caught.value.result
    assert sum(report.rows for report in result.nodes) == sum(r.trained for r in result.ledger)
    assert len(result.settings["nodes"]["lines"]) == 1
    last = result.ledger[-1]
    assert last.epoch >= 2
    assert last.trained + last.dropped == ROWS
    assert np.isfinite(result.params["coef"]).all()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_callback_can_end_the_run_and_what_it_raises_is_raised() -> None:
    result = _train(nodes=2, callbacks=[lambda record: record.epoch == 2])
    assert len(result.history) == 2
    assert result.settings["stopped"] == "callback"

    def fail(record: ht.EpochRecord) -> None:
        raise LookupError("of the user's")

    with pytest.raises(LookupError, match="of the user's"):
        _train(nodes=2, callbacks=[fail])


def test_validation_and_patience_work_as_on_one_node() -> None:
    more = {"validation": 0.2, "patience": 1, "epochs": 12}
    result, alone = _train(nodes=2, **more), _alone(**more)
    assert bits(result) == bits(alone)
    assert [r.validation_loss for r in result.history] == [r.validation_loss for r in alone.history]
    assert result.settings["best_epoch"] == alone.settings["best_epoch"]


def test_frames_keep_their_names() -> None:
    X, y = data("softmax")
    frame = pd.DataFrame(X, columns=[f"column {k}" for k in range(X.shape[1])])
    result = ht.train(model("softmax"), (frame, y), nodes=2, progress=False, **SETTINGS)
    assert result.feature_names == tuple(frame.columns)
    assert bits(result) == bits(_alone("softmax"))


def test_what_a_node_raises_is_raised_here() -> None:
    X, y = data("softmax")
    broken = X.copy()
    broken[7, 3] = np.nan
    with pytest.raises(ht.InvalidDataError, match="row 7"):
        ht.train(model("softmax"), (broken, y), nodes=2, progress=False, **SETTINGS)
    with pytest.raises(OSError, match=r"[Nn]o such file"):
        ht.train(model("softmax"), "missing.npz", nodes=1, progress=False, **SETTINGS)
    with pytest.raises(ht.DivergedError) as expected:
        _alone(optimizer=ht.SGD(lr=1e30))
    with pytest.raises(ht.DivergedError) as caught:
        _train(nodes=2, optimizer=ht.SGD(lr=1e30))
    assert str(caught.value) == str(expected.value)
    assert bits(caught.value.result) == bits(expected.value.result)


@pytest.mark.parametrize(
    "wrong",
    [
        {"nodes": 0},
        {"nodes": True},
        {"nodes": "two"},
        {"nodes": 1.5},
        {"nodes": 1000},
        {"nodes": 2, "strategy": ht.Switch(("sync(exact=False)", 1), ("hybrid", None))},
        {"nodes": 2, "strategy": "sync(exact=False)"},
        {"nodes": 2, "strategy": "local_sgd(every='auto', replicas=2)"},
        {"nodes": 2, "record": "run.htr"},
        {"nodes": 2, "resume": True},
        {"nodes": 2, "workers": 0},
    ],
)
def test_settings_that_do_not_go_with_nodes_are_refused_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises(ht.InvalidSettingError):
        _train(**wrong)


def test_what_a_part_of_a_switch_has_for_one_machine_is_named() -> None:
    strategy = ht.Switch(("sync(exact=False)", 1), ("hybrid", None))
    with pytest.raises(ht.InvalidSettingError, match="leave them out, or leave nodes out"):
        _train(nodes=2, strategy=strategy, batch_size=None)


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.startswith("hybridtrain.nodes")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "msgspec", None)
    with pytest.raises(ht.MissingPackageError, match=r"pip install 'hybridtrain\[nodes\]'"):
        _train(nodes=2)
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "hybridtrain.engines.ray_engine", raising=False)
    with pytest.raises(ht.MissingPackageError, match=r"pip install 'hybridtrain\[ray\]'"):
        _train(nodes="ray")


def test_a_run_is_saved_by_whichever_node_is_first_and_goes_on_with_the_same_bits(
    tmp_path: Path,
) -> None:
    """A node dies; the other goes on saving; the driver is ended; another run goes on."""
    folder = tmp_path / "run"
    script = Path(__file__).parents[1] / "support" / "node_runs.py"
    done = subprocess.run(
        [sys.executable, str(script), str(folder)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 128 + signal.SIGTERM, done.stderr
    assert any(folder.iterdir())
    result = _train(nodes=2, epochs=EPOCHS_OF_DRIVER, checkpoint=folder, resume=True)
    assert result.settings["resumed"] is not None
    assert bits(result) == bits(_alone(epochs=EPOCHS_OF_DRIVER))
    assert [record.trained for record in result.ledger] == [ROWS] * EPOCHS_OF_DRIVER
