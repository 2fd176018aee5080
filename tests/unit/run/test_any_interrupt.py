# SPDX-License-Identifier: BSD-3-Clause
"""KeyboardInterrupt at any place of a run, as a handler of the user's may raise it."""

from __future__ import annotations

import itertools
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from reference.problems import Problem

import hybridtrain as ht
from hybridtrain._core.stream import Stream
from hybridtrain._core.sync import SyncRun
from hybridtrain.plan.round import RoundPlan
from hybridtrain.plan.stream import StreamPlan
from hybridtrain.run import job
from hybridtrain.run.checkpoint import Keeper
from hybridtrain.run.course import Course
from hybridtrain.run.epochs import Epochs
from hybridtrain.run.parts import Parts
from hybridtrain.run.progress import Progress
from hybridtrain.run.saving import Saving
from hybridtrain.run.stage import Stage

STRATEGIES = ["hybrid", "sync"]
SWITCH = 'switch(("sync", 1), ("hybrid(hot=4)", None))'
EPOCHS = 3


def _train(problem: Problem, **settings: Any) -> ht.Result:
    known: dict[str, Any] = {"workers": 2, "epochs": EPOCHS, "validation": 0.2}
    known["optimizer"] = ht.SGD(lr=0.1)  # without trials
    return ht.train(ht.Linear(), (problem.X, problem.labels), **{**known, **settings})


def _check(result: ht.Result, n_rows: int = 320) -> None:
    """Check what holds of every result: records agree, and the parameters can be used."""
    ledger = result.ledger
    assert [record.trained + record.dropped for record in ledger] == [n_rows] * len(ledger)
    assert [r.epoch for r in result.history] == [r.epoch for r in ledger if r.trained]
    assert [r.rows for r in result.history] == [r.trained for r in ledger if r.trained]
    assert sum(worker.rows for worker in result.workers) == sum(r.trained for r in ledger)
    assert np.isfinite(result.params["coef"]).all()


class _Tracer:
    """Raises KeyboardInterrupt at the nth line that the job's modules run."""

    def __init__(self, nth: int) -> None:
        self._nth, self._lines, self.has_fired, self._has_begun = nth, 0, False, False

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        name = frame.f_code.co_qualname
        self._has_begun |= name == "Workers.start"  # there is nothing to lose before
        return self._line if self._has_begun and name in _TRACED else None

    def _line(self, frame: FrameType, event: str, arg: Any) -> Any:
        self._lines += event == "line"
        if event == "line" and self._lines == self._nth:
            self.has_fired = True
            raise KeyboardInterrupt
        return self._line


_TRACED = {
    f"{kind.__name__}.{name}"
    for kind in (job.Job, Course, Epochs, Parts, Saving, Stage, Keeper)
    for name in vars(kind)
    if not name.startswith("__")
} | {"Workers.start", "Workers.leave", "await_end"}


@pytest.mark.parametrize("stride", [17, pytest.param(3, marks=pytest.mark.stress)])
@pytest.mark.parametrize(
    ("strategy", "more"),
    [*itertools.product(STRATEGIES, ["", "seconds", "checkpoint"]), (SWITCH, "checkpoint")],
)
def test_an_interrupt_at_any_line_gives_a_result(
    strategy: str, more: str, stride: int, problem: Problem, tmp_path: Path
) -> None:
    nth, fired = 1 + ["", "seconds", "checkpoint"].index(more), 0
    while True:
        tracer = _Tracer(nth)
        folder = ht.Checkpoint(tmp_path / str(nth), every_seconds=1e-6)
        given = {"seconds": 60, "checkpoint": folder}
        settings = {name: value for name, value in given.items() if name == more}
        before = sys.gettrace()
        sys.settrace(tracer)
        try:
            with pytest.raises(ht.TrainingInterrupted) as caught:
                _train(problem, strategy=strategy, **settings)
        except pytest.fail.Exception:
            assert not tracer.has_fired
            break
        finally:
            sys.settrace(before)
        _check(caught.value.result)
        assert not [t for t in threading.enumerate() if t.name.startswith("hybridtrain-")]
        fired += 1
        nth += stride
    assert fired * stride > 300


def _raise(*args: object, **settings: object) -> None:
    raise KeyboardInterrupt


def _raising_once(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that raises KeyboardInterrupt instead of its first call."""
    calls: list[object] = []

    def raising(*args: Any, **settings: Any) -> Any:
        calls.append(args)
        return function(*args, **settings) if len(calls) > 1 else _raise()

    return raising


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("where", ["join", "start"])
def test_threads_that_start_or_end_keep_their_memory(
    where: str, strategy: str, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = getattr(threading.Thread, where)
    fired: list[str] = []

    def interrupted(self: threading.Thread, *args: Any) -> None:
        if where == "start":
            really(self)
        if self.name.startswith("hybridtrain-7" if where == "start" else "hybridtrain-"):
            fired.append(self.name)
            raise KeyboardInterrupt
        if where == "join":
            really(self, *args)

    monkeypatch.setattr(threading.Thread, where, interrupted)
    for _ in range(20):
        with pytest.raises(ht.TrainingInterrupted) as caught:
            _train(problem, strategy=strategy, workers=8, validation=None)
        _check(caught.value.result, 400)
        assert len(caught.value.result.ledger) == (0 if where == "start" else EPOCHS)
    assert fired


@pytest.mark.parametrize("place", ["report", "close of the bar"])
def test_an_interrupt_of_a_finished_run_gives_the_finished_result(
    place: str, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = _train(problem, strategy="sync")
    owner, name = (RoundPlan, "report") if place == "report" else (Progress, "close")
    monkeypatch.setattr(owner, name, _raising_once(getattr(owner, name)))
    with pytest.raises(ht.TrainingInterrupted, match="when the run was over") as caught:
        _train(problem, strategy="sync")
    result = caught.value.result
    assert result.settings["stopped"] is None
    assert np.array_equal(result.params["coef"], expected.params["coef"])
    assert len(result.history) == EPOCHS


def test_an_interrupted_validation_leaves_the_epoch_in_both_records(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "mean_loss", _raise)
    with pytest.raises(ht.TrainingInterrupted) as caught:
        _train(problem, patience=2)
    result = caught.value.result
    _check(result)
    assert [record.validation_loss for record in result.history] == [None]
    assert np.any(result.params["coef"])


def test_ctrl_c_ends_a_callback_that_takes_long(problem: Problem) -> None:
    main = threading.get_ident()

    def sleep(record: ht.EpochRecord) -> None:
        threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGINT)).start()
        time.sleep(30)

    started = time.monotonic()
    with pytest.raises(ht.TrainingInterrupted, match="interrupted in epoch 1 of 3") as caught:
        _train(problem, callbacks=[sleep])
    assert time.monotonic() - started < 10
    assert len(caught.value.result.history) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("ending", [RuntimeError, SystemExit, LookupError])
def test_what_a_handler_raises_is_passed_on_when_the_workers_have_left(
    ending: type[BaseException], problem: Problem
) -> None:
    main, is_over = threading.get_ident(), threading.Event()

    def handler(number: int, frame: FrameType | None) -> None:
        raise ending("by the handler")

    def strike() -> None:
        """Send the signal; again if Python has dropped what the handler raised, as in a __del__."""
        seconds = 0.1
        while not is_over.wait(seconds):
            signal.pthread_kill(main, signal.SIGUSR1)
            seconds = 5.0

    before = signal.signal(signal.SIGUSR1, handler)
    striking = threading.Thread(target=strike)
    striking.start()
    try:
        with pytest.raises(ending, match="by the handler"):
            _train(problem, epochs=10**6)
    finally:
        is_over.set()
        striking.join()
        signal.signal(signal.SIGUSR1, before)
    assert not [t for t in threading.enumerate() if t.name.startswith("hybridtrain-")]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_segment_that_is_closed_lives_until_its_last_worker_has_left(
    strategy: str, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = RoundPlan if strategy == "sync" else StreamPlan
    really_open, runs = plan.open, []
    monkeypatch.setattr(plan, "open", lambda self: runs.append(really_open(self)) or runs[-1])
    result = _train(problem, strategy=strategy)
    run: Stream | SyncRun = runs[0]
    run.close()  # twice
    run.work(0)  # a thread that comes late has nothing to do
    with pytest.raises(ValueError, match="is closed"):
        run.await_rest(0.0)
    _check(result)
    monkeypatch.undo()
    again = _opened(plan, problem, strategy)
    started = [threading.Thread(target=again.work, args=(w,)) for w in range(2)]
    for thread in started:
        thread.start()
    again.close()  # they are within it, and asked to leave
    for thread in started:
        thread.join(10)
    assert not any(thread.is_alive() for thread in started)


def _opened(plan: Any, problem: Problem, strategy: str) -> Any:
    """Return a run that was opened and whose job then failed."""
    runs: list[Any] = []
    really_open = plan.open

    def opened(self: Any) -> Any:
        runs.append(really_open(self))
        raise LookupError

    plan.open = opened
    try:
        with pytest.raises(LookupError):
            _train(problem, strategy=strategy)
    finally:
        plan.open = really_open
    return runs[0]
