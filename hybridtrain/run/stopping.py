# SPDX-License-Identifier: BSD-3-Clause
"""Early ends of a run, and the choice of the epoch whose parameters it keeps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from hybridtrain.arguments import require_int, shown
from hybridtrain.errors import InvalidSettingError
from hybridtrain.observe.records import EpochRecord
from hybridtrain.run.snapshot import Parameters

# An epoch may have the lowest validation loss by chance, since the rows are few and the rate is
# still high. A later epoch with little more loss does better on other rows.
_EQUAL = 0.005  # of the loss

Callback = Callable[[EpochRecord], Any]


class Stopping:
    """Decide when a run ends early, and keep the best parameters so far.

    Parameters
    ----------
    callbacks : sequence of functions
        Each is called after each epoch with its record; a true value ends the run.
    patience : int or None
        At least 1: the epochs without a lower validation loss that end the run.
    keeps_best : bool
        Whether the run ends with the parameters of the best epoch: the last one whose
        validation loss is not more than 0.5 % above the lowest.

    Raises
    ------
    InvalidSettingError
        When an argument is of another kind.
    """

    def __init__(
        self, callbacks: Sequence[Callback] = (), patience: int | None = None, *, keeps_best: bool
    ) -> None:
        if not isinstance(callbacks, Sequence) or not all(map(callable, callbacks)):
            raise InvalidSettingError(
                "callbacks must be a sequence of functions that take an EpochRecord, "
                f"got {shown(callbacks)}"
            )
        self._callbacks = tuple(callbacks)
        self._patience = None
        if patience is not None:
            self._patience = require_int("patience", patience, least=1)
        self._keeps_best = keeps_best
        self._best: Parameters | None = None
        self._least_loss = math.inf
        self._without_gain = 0
        self.best_epoch: int | None = None
        self._n_noted = 0  # epochs

    @property
    def best(self) -> Parameters | None:
        """The best parameters so far; None: those of the last epoch are kept."""
        return self._best

    def to_json(self) -> dict[str, Any]:
        """Return what was noted, except for the best parameters."""
        return {
            "least_loss": self._least_loss,
            "without_gain": self._without_gain,
            "best_epoch": self.best_epoch,
            "noted": self._n_noted,
        }

    def recall(self, told: dict[str, Any], best: Parameters | None) -> None:
        """Go on from what `to_json` gave, and from the best parameters."""
        self._least_loss, self._without_gain = float(told["least_loss"]), int(told["without_gain"])
        self.best_epoch, self._n_noted, self._best = told["best_epoch"], int(told["noted"]), best

    def note(self, record: EpochRecord, parameters: Parameters) -> None:
        """Keep an epoch's parameters if they are the best."""
        loss = record.validation_loss
        if not self._keeps_best or loss is None or record.epoch <= self._n_noted:
            return
        self._n_noted = record.epoch
        self._without_gain += 1
        if loss < self._least_loss:
            self._least_loss, self._without_gain = loss, 0
        if loss <= self._least_loss * (1.0 + _EQUAL):
            self._best, self.best_epoch = parameters, record.epoch

    def reason(self, record: EpochRecord) -> str:
        """Call the callbacks; return why the run ends: "callback", "patience" or ""."""
        answers = [bool(callback(record)) for callback in self._callbacks]
        if any(answers):
            return "callback"
        if self._patience is not None and self._without_gain >= self._patience:
            return "patience"
        return ""

    def choose(self, last: Parameters) -> Parameters:
        """Return the parameters that the run ends with."""
        return last if self._best is None else self._best
