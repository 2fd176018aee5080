# SPDX-License-Identifier: BSD-3-Clause
"""What a long comparison shows on standard error while it runs."""

from __future__ import annotations

import time

from hybridtrain.observe.records import EpochRecord
from hybridtrain.run.progress import is_terminal, tell

_QUIET_SECONDS = 1.0
_BLINK_SECONDS = 0.1


class Announcer:
    """Show the current run on standard error, if it takes longer than a second."""

    def __init__(self, show: bool | None) -> None:
        self._show = show is not False
        self._is_terminal = is_terminal()
        self._last = time.monotonic()
        self._what = ""
        self._open = False

    def begin(self, what: str) -> None:
        """Name the run that begins."""
        self._what = what
        self._say(what)

    def epoch(self, record: EpochRecord) -> None:
        """Show an epoch of the current run; a callback of `train`."""
        self._say(
            f"{self._what}: epoch {record.epoch}, validation loss {record.validation_loss:.5f}"
        )

    def _say(self, text: str) -> None:
        """Write at most a line a second; on a terminal, rewrite one line more often."""
        now = time.monotonic()
        if not self._show or now - self._last < (_BLINK_SECONDS if self._open else _QUIET_SECONDS):
            return
        self._last = now
        start, end = ("\r\x1b[K", "") if self._is_terminal else ("", "\n")
        self._show = tell(f"{start}{text}", end=end)
        self._open = self._show and self._is_terminal

    def close(self) -> None:
        """Clear the line."""
        if self._open:
            tell("\r\x1b[K", end="")
            self._open = False
