# SPDX-License-Identifier: BSD-3-Clause
"""The progress of a long run on standard error, which may be closed, full or missing."""

from __future__ import annotations

import sys
import time
from typing import Any

from hybridtrain.observe.records import EpochRecord
from hybridtrain.run.budget import Budget

_QUIET_SECONDS = 1.0  # runs shorter than this show no progress


def is_terminal() -> bool:
    """Whether standard error is a terminal."""
    try:
        return sys.stderr is not None and sys.stderr.isatty()
    except (OSError, ValueError):
        return False


def tell(text: str, end: str = "\n") -> bool:
    """Write to standard error, and return whether it could be written."""
    if sys.stderr is None:
        return False
    try:
        print(text, end=end, file=sys.stderr, flush=True)
    except (OSError, ValueError):  # its reader went away, the disk is full, it is closed
        return False
    return True


def line(record: EpochRecord, epochs: int, budget: Budget | None) -> str:
    """Return the line that reports an epoch."""
    text = f"epoch {record.epoch}/{epochs}"
    if budget is not None:
        spent = budget.seconds - budget.left()
        text = f"epoch {record.epoch}, {spent:.1f} of {budget.seconds:g} s"
    text += f": {record.seconds:.2f} s, loss {record.loss:.5f}"
    if record.validation_loss is not None:
        text += f", validation loss {record.validation_loss:.5f}"
    return text


class Progress:
    """Show epochs or seconds done: on a terminal a bar, else lines; silent for a second.

    An error of writing ends the showing, never the run.
    """

    def __init__(self, show: bool | None, epochs: int, budget: Budget | None = None) -> None:
        self._show = show is not False
        self._epochs = epochs
        self._budget = budget
        self._started = time.monotonic()
        self._bar: Any = None
        self._is_terminal = is_terminal()

    def end_at(self, epochs: int) -> None:
        """Show another number of epochs in all."""
        self._epochs = epochs
        if self._bar is not None and self._budget is None:
            self._bar.total = epochs

    def tick(self, record: EpochRecord | None) -> None:
        """Show the time passing, and an epoch that ended."""
        if not self._show or time.monotonic() - self._started < _QUIET_SECONDS:
            return
        if not self._is_terminal:
            self._show = record is None or tell(line(record, self._epochs, self._budget))
            return
        try:
            self._tick_bar(record)
        except (OSError, ValueError):
            self._forget_bar()

    def _tick_bar(self, record: EpochRecord | None) -> None:
        if self._bar is None:
            from tqdm import tqdm  # noqa: PLC0415 - short runs do without

            self._bar = tqdm(total=self._epochs, unit="epoch", leave=False)
            if self._budget is not None:
                self._bar.total = self._budget.seconds
                self._bar.bar_format = "{l_bar}{bar}| {n:.1f}/{total:.1f} s{postfix}"
        if self._budget is not None:
            self._bar.n = self._budget.seconds - max(self._budget.left(), 0.0)
        if record is not None:
            if self._budget is None:
                self._bar.n = record.epoch
            else:
                self._bar.set_description(f"epoch {record.epoch}", refresh=False)
            loss = record.loss if record.validation_loss is None else record.validation_loss
            self._bar.set_postfix(loss=f"{loss:.5f}", refresh=False)
        self._bar.refresh()

    def _forget_bar(self) -> None:
        self._show = False
        if self._bar is not None:
            self._bar.disable = True  # else it writes once more when it goes
            self._bar = None

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is None:
            return
        try:
            self._bar.close()
        except (OSError, ValueError):
            self._forget_bar()
