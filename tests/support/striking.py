# SPDX-License-Identifier: BSD-3-Clause
"""Strike in the middle of a run, and end it once what follows has been told."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest

import hybridtrain as ht

_SECONDS = 60.0


def strike_and_await(
    caplog: pytest.LogCaptureFixture, act: Callable[[], Any], what: str
) -> tuple[Callable[[ht.EpochRecord], bool], list[float]]:
    """Return a callback that acts in the second epoch and ends the run when a line has come.

    Also returns the times of both.
    """
    times: list[float] = []

    def on_epoch(record: ht.EpochRecord) -> bool:
        if record.epoch == 2:
            act()
            times.append(time.monotonic())
        is_late = bool(times) and time.monotonic() - times[0] > _SECONDS
        if is_late or re.search(what, caplog.text):
            times.append(time.monotonic())
            return True
        return False

    return on_epoch, times
