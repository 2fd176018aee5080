# SPDX-License-Identifier: BSD-3-Clause
"""One run: ledger, history, staleness, reports, divergence, progress."""

from __future__ import annotations

import io
import logging
import sys
from typing import Any

import numpy as np
import pytest
from reference.problems import Problem, planted
from scipy import sparse

import hybridtrain as ht
from hybridtrain.plan.round import RoundPlan
from hybridtrain.plan.stream import StreamPlan

STRATEGIES = ["hybrid", "hybrid(hot=9)", "hybrid(hot=0)", "hogwild", "hogwild(exact=True)"]


def _train(problem: Problem, **settings: Any) -> ht.Result:
    return ht.train(ht.Linear(), (problem.X, problem.labels), **{"workers": 1, **settings})


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_row_is_trained_once_in_every_epoch(
    strategy: str, workers: int, problem: Problem
) -> None:
    result = _train(problem, strategy=strategy, workers=workers, epochs=4)
    assert [record.epoch for record in result.ledger] == [1, 2, 3, 4]
    for record in result.ledger:
        assert (record.trained, record.repeated, record.dropped) == (400, 0, 0)
        assert record.reason == ""


def test_history_tells_of_each_epoch(problem: Problem) -> None:
    optimizer = ht.SGD(lr=0.2, schedule="linear")
    result = _train(problem, epochs=6, optimizer=optimizer)
    assert [record.epoch for record in result.history] == [1, 2, 3, 4, 5, 6]
    assert [record.rows for record in result.history] == [400] * 6
    assert [r.lr for r in result.history] == pytest.approx([0.2 * (1 - k / 6) for k in range(6)])
    assert all(record.seconds > 0 for record in result.history)
    assert all(record.validation_loss is None for record in result.history)
    assert result.history[-1].loss < result.history[0].loss


def test_the_loss_of_a_row_is_taken_before_its_step() -> None:
    problem = planted(0, 1, 5, longest=4)
    model = ht.Linear(loss="squared", fit_intercept=False)
    result = ht.train(model, (problem.X, [4.0]), workers=1, epochs=1)
    assert result.history[0].loss == 8.0


@pytest.mark.parametrize("workers", [1, 2])
def test_the_loss_is_weighted(workers: int, problem: Problem) -> None:
    weight = np.where(problem.labels, 3.0, 1.0)
    data = (problem.X, np.where(problem.labels, 2.0, 0.0), weight)
    optimizer = ht.SGD(lr=1e-12)
    model = ht.Linear(loss="squared", fit_intercept=False)
    result = ht.train(model, data, workers=workers, epochs=1, optimizer=optimizer)
    assert result.history[0].loss == pytest.approx(2 * np.average(problem.labels, weights=weight))


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_reports_of_the_workers_add_up(workers: int, problem: Problem) -> None:
    result = _train(problem, workers=workers, epochs=3)
    assert [report.worker for report in result.workers] == list(range(workers))
    assert sum(report.rows for report in result.workers) == 3 * 400
    for report in result.workers:
        assert report.ended == "finished"
        assert min(report.computing, report.merging, report.waiting, report.skipped) >= 0
        assert report.merges >= 3
    assert sum(report.computing for report in result.workers) > 0


def test_one_worker_exchanges_each_block_after_every_period_and_epoch(problem: Problem) -> None:
    result = _train(problem, strategy=ht.Hybrid(every=7), epochs=2)
    passes = 2 * (400 // 7 + 1)
    assert result.workers[0].merges == passes
    assert result.staleness.source == "exchange"
    assert result.staleness.counts[0] == sum(result.staleness.counts) == passes
    assert result.staleness.max == result.staleness.mean == 0


def test_a_model_of_two_blocks_has_two_exchanges_a_pass() -> None:
    result = _train(planted(6, 400, 1500, longest=30), epochs=3)
    assert result.workers[0].merges == 3
    assert sum(result.staleness.counts) == 6


def test_staleness_in_place_is_sampled_in_each_epoch(problem: Problem) -> None:
    for strategy in ("hogwild", "hybrid(hot=0)"):
        result = _train(problem, strategy=strategy, epochs=5)
        assert result.staleness == result.staleness_in_place
        assert result.staleness.source == "sampled"
        assert result.staleness.counts[0] == sum(result.staleness.counts) == 5


def test_a_partly_hot_model_has_both_kinds_of_staleness(problem: Problem) -> None:
    result = _train(problem, strategy="hybrid(hot=9, every=16)", workers=2)
    assert result.staleness.source == "exchange"
    assert result.staleness_in_place is not None
    assert result.staleness_in_place.source == "sampled"
    assert sum(result.staleness_in_place.counts) > 0


def test_staleness_of_several_workers_is_within_the_rows_of_the_run() -> None:
    problem = planted(5, 8000, 50, longest=20)
    # Epochs so long that both workers are at work in the same one, also on a busy machine.
    rows = sparse.vstack([problem.X] * 25, format="csr"), np.tile(problem.labels, 25)
    given: dict[str, Any] = {"strategy": "hybrid(every=64)", "workers": 2, "epochs": 10}
    staleness = ht.train(ht.Linear(), rows, **given).staleness
    assert sum(staleness.counts) >= 10
    assert 0 < staleness.mean <= staleness.max <= 10 * rows[0].shape[0]
    assert staleness.quantile(0) <= staleness.quantile(0.5) <= staleness.quantile(1)
    assert staleness.quantile(1) == staleness.max


class _Jump:
    """A schedule that makes the run diverge in its third epoch."""

    def factor(self, epochs: float, total: int) -> float:
        del total
        return 1e41 if epochs >= 2 else 1.0


def _diverged(problem: Problem, **settings: Any) -> ht.DivergedError:
    with pytest.raises(ht.DivergedError) as caught:
        ht.train(
            ht.Linear(), (problem.X, problem.labels), **{"workers": 1, "epochs": 5, **settings}
        )
    return caught.value


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_diverging_run_says_where_and_keeps_the_last_good_epoch(
    strategy: str, workers: int, problem: Problem
) -> None:
    optimizer = ht.SGD(lr=1e-3, schedule=_Jump())
    error = _diverged(problem, optimizer=optimizer, strategy=strategy, workers=workers)
    assert error.epoch == 3
    assert error.lr == pytest.approx(1e38)
    assert "in epoch 3 at learning rate 1e+38; try a smaller lr" in str(error)
    result = error.result
    assert np.isfinite(result.params["coef"]).all()
    assert np.any(result.params["coef"])
    assert [record.epoch for record in result.history] == [1, 2]
    assert [record.trained + record.dropped for record in result.ledger] == [400] * 3
    assert (result.ledger[1].dropped, result.ledger[2].reason) == (0, "diverged")
    assert result.ledger[2].dropped > 0
    assert {report.ended for report in result.workers} == {"diverged"}
    if workers == 1:
        good = ht.train(
            ht.Linear(),
            (problem.X, problem.labels),
            optimizer=ht.SGD(lr=1e-3, schedule="constant"),
            strategy=strategy,
            workers=1,
            epochs=2,
        )
        assert np.array_equal(result.params["coef"], good.params["coef"])
        assert result.params["intercept"] == good.params["intercept"]


def test_a_run_that_diverges_at_once_keeps_its_initial_parameters(problem: Problem) -> None:
    init = {"coef": np.linspace(-1, 1, 60), "intercept": 0.5}
    error = _diverged(problem, optimizer=ht.SGD(lr=1e38), init=init)
    assert error.epoch == 1
    assert error.result.params["coef"] == pytest.approx(init["coef"])
    assert error.result.params["intercept"] == 0.5
    assert error.result.history == ()
    assert error.result.predict(problem.X).shape == (400,)


def test_regression_diverges_too(problem: Problem) -> None:
    with pytest.raises(ht.DivergedError, match="in epoch 1"):
        ht.train(
            ht.Linear(loss="squared"), (problem.X, problem.values), optimizer=ht.AdaGrad(lr=1e30)
        )


@pytest.fixture
def not_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count every run as one that lasts longer than a second."""
    monkeypatch.setattr("hybridtrain.run.progress._QUIET_SECONDS", 0.0)


@pytest.mark.usefixtures("not_quiet")
@pytest.mark.parametrize("progress", [None, True])
def test_a_long_run_prints_a_line_for_each_epoch(
    progress: bool | None, problem: Problem, capsys: pytest.CaptureFixture[str]
) -> None:
    result = _train(problem, epochs=3, progress=progress, validation=0.25)
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 3
    for line, record in zip(lines, result.history, strict=True):
        assert line.startswith(f"epoch {record.epoch}/3: ")
        assert f"loss {record.loss:.5f}, validation loss {record.validation_loss:.5f}" in line


@pytest.mark.usefixtures("not_quiet")
def test_a_long_run_is_silent_when_told(
    problem: Problem, capsys: pytest.CaptureFixture[str]
) -> None:
    _train(problem, progress=False)
    assert capsys.readouterr() == ("", "")


def test_a_short_run_is_silent(problem: Problem, capsys: pytest.CaptureFixture[str]) -> None:
    _train(problem, progress=True)
    assert capsys.readouterr() == ("", "")


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.usefixtures("not_quiet")
def test_on_a_terminal_a_long_run_shows_a_bar_and_removes_it(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    result = _train(problem, epochs=3)
    shown = terminal.getvalue()
    assert "3/3" in shown
    assert f"loss={result.history[-1].loss:.5f}" in shown
    assert shown.rpartition("\r")[2].strip() == ""


@pytest.mark.usefixtures("not_quiet")
def test_a_run_with_a_time_shows_the_seconds(
    problem: Problem, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = _train(problem, epochs=2, seconds=1000)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("epoch 2, ")
    assert f" of 1000 s: {result.history[1].seconds:.2f} s, loss " in lines[1]
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    _train(problem, epochs=2, seconds=1000)
    assert "epoch 2:   0%" in terminal.getvalue()
    assert "/1000.0 s" in terminal.getvalue()


def test_epochs_are_logged(problem: Problem, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="hybridtrain"):
        _train(problem, epochs=2)
    assert [message.split(":")[0] for message in caplog.messages] == ["epoch 1/2", "epoch 2/2"]


class _InterruptedRun:
    """A run whose epoch 1 or 3 meets Ctrl-C just before, or just after, it begins."""

    def __init__(self, run: Any, epoch: int, when: str) -> None:
        self._run, self._epoch, self._when = run, epoch, when

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run, name)

    def begin(self, epoch: int) -> None:
        if epoch == self._epoch and self._when == "before":
            raise KeyboardInterrupt
        self._run.begin(epoch)
        if epoch == self._epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize("strategy", ["hybrid", "hogwild", "sync"])
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("epoch", [1, 3])
@pytest.mark.parametrize("when", ["before", "after"])
def test_ctrl_c_while_an_epoch_begins_loses_no_row(
    *,
    strategy: str,
    workers: int,
    epoch: int,
    when: str,
    problem: Problem,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = RoundPlan if strategy == "sync" else StreamPlan
    really_open = plan.open

    def interrupted(self: Any) -> Any:
        return _InterruptedRun(really_open(self), epoch, when)

    optimizer = ht.SGD(lr=0.1)  # without trials, which open runs of their own
    settings: dict[str, Any] = {"strategy": strategy, "epochs": 4, "optimizer": optimizer}
    monkeypatch.setattr(plan, "open", interrupted)
    with pytest.raises(
        ht.TrainingInterrupted, match=f"interrupted in epoch {epoch} of 4"
    ) as caught:
        _train(problem, workers=workers, **settings)
    result = caught.value.result
    assert {report.ended for report in result.workers} == {"interrupted"}
    assert [record.epoch for record in result.ledger] == list(range(1, epoch + (when == "after")))
    trained = [record.trained for record in result.ledger]
    assert [record.trained + record.dropped for record in result.ledger] == [400] * len(trained)
    assert [record.rows for record in result.history] == [rows for rows in trained if rows]
    assert sum(report.rows for report in result.workers) == sum(trained)
    if when == "after":
        return
    if epoch == 1:
        assert not result.params["coef"].any()
    elif workers == 1:
        monkeypatch.setattr(plan, "open", really_open)
        whole = _train(problem, callbacks=[lambda r: r.epoch == 2], **settings)
        assert np.array_equal(result.params["coef"], whole.params["coef"])
