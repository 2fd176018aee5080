# SPDX-License-Identifier: BSD-3-Clause
"""Signals while a run is recorded: nothing is lost, and no record is torn."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hybridtrain as ht
from hybridtrain.observe.recording import Recorder


class _HandlerError(Exception):
    """What a handler of the user raises."""


@pytest.fixture
def data() -> tuple[Any, Any]:
    X = np.random.default_rng(3).normal(size=(3000, 24)).astype(np.float32)
    return X, X[:, 0] + X[:, 1] > 0.3


@pytest.fixture
def raises() -> Iterator[None]:
    def handle(*_: object) -> None:
        raise _HandlerError

    before = signal.signal(signal.SIGINT, handle)
    yield
    signal.signal(signal.SIGINT, before)


def _train(data: Any, file: Path) -> ht.Result:
    strategy = ht.Async(every=20)
    return ht.train(ht.Linear(), data, strategy=strategy, workers=2, epochs=2, record=file)


def test_an_interrupt_while_the_record_is_closed_loses_nothing(
    data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, close = tmp_path / "run.htr", Recorder.close

    def interrupted(recorder: Recorder, end: dict[str, Any]) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        close(recorder, end)

    monkeypatch.setattr(Recorder, "close", interrupted)
    with pytest.raises(ht.TrainingInterrupted, match="when the run was over") as caught:
        _train(data, file)
    result = caught.value.result
    assert len(result.history) == 2
    again = ht.replay(file, data)
    assert again.params["coef"].tobytes() == result.params["coef"].tobytes()


@pytest.mark.usefixtures("raises")
@pytest.mark.parametrize("nth", [4, 7, 11])
def test_a_handler_that_raises_while_a_record_is_written_leaves_no_torn_record(
    nth: int, data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, write, fired = tmp_path / "run.htr", Recorder._write, []

    def interrupted(recorder: Recorder, content: Any) -> None:
        if threading.current_thread() is threading.main_thread():
            fired.append(len(fired))
            if len(fired) == nth:
                os.kill(os.getpid(), signal.SIGINT)
        write(recorder, content)

    monkeypatch.setattr(Recorder, "_write", interrupted)
    with pytest.raises(_HandlerError):
        _train(data, file)
    assert len(fired) >= nth
    assert list(tmp_path.iterdir()) == []
