# SPDX-License-Identifier: BSD-3-Clause
"""Strike in the middle of a run: once, and end it when what follows is told; or at random times."""

from __future__ import annotations

import os
import random
import re
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest
from support.node_runs import SETTINGS, data, model

import hybridtrain as ht

KILLS = int(os.environ.get("HYBRIDTRAIN_NODE_KILLS", "8"))
EPOCHS = 400  # of a run that is struck at random
GIVEN: dict[str, Any] = {**SETTINGS, "epochs": EPOCHS, "progress": False}
_CALLBACK_SECONDS = 0.02  # so that nodes have the time to come
# 5 to 10 s where the cores are not shared; beside four busy loops a node of Ray has taken 47.
_MOST_SECONDS = 240.0


def strike_and_await(
    caplog: pytest.LogCaptureFixture, act: Callable[[], Any], what: str
) -> Callable[[ht.EpochRecord], bool]:
    """Return a callback that acts in the second epoch and ends the run when a line has come."""
    acted: list[float] = []

    def on_epoch(record: ht.EpochRecord) -> bool:
        if record.epoch == 2:
            act()
            acted.append(time.monotonic())
        has_come = re.search(what, caplog.text) is not None
        assert has_come or not acted or time.monotonic() - acted[0] < _MOST_SECONDS, caplog.text
        return has_come

    return on_epoch


def run_struck(
    rng: random.Random,
    pids: Callable[[], Sequence[int]],
    nodes: Any,
    signals: Sequence[int] = (signal.SIGKILL,),
    longest: float = 2.5,
    **more: Any,
) -> tuple[ht.Result, int]:
    """Return the result of a run whose processes are struck until it is over, and how many were.

    pids: returns those that may be struck now. signals: of which one is drawn each time.
    longest: seconds between two strikes. more: other arguments of `train`.
    """
    is_begun, is_over, struck = threading.Event(), threading.Event(), list[int]()

    def strike() -> None:
        is_begun.wait()
        while not is_over.wait(rng.uniform(0.2, longest)):
            if found := pids():
                with suppress(ProcessLookupError):
                    os.kill(pid := rng.choice(found), rng.choice(signals))
                    struck.append(pid)

    thread = threading.Thread(target=strike)
    thread.start()
    try:
        result = ht.train(
            model("logistic"),
            data("logistic"),
            **{**GIVEN, **more},
            nodes=nodes,
            timeout=6.0,  # a third of it is long for a process that waits for a core
            callbacks=[lambda record: time.sleep(_CALLBACK_SECONDS), lambda record: is_begun.set()],
        )
    finally:
        is_over.set()
        is_begun.set()
        thread.join()
    return result, len(struck)
