# SPDX-License-Identifier: BSD-3-Clause
"""The course of a run: its epochs so far, its learning rates, and where it ends."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field
from typing import Any

from hybridtrain.data.arrays import Floats
from hybridtrain.optimizers.schedules import Rates, parse_schedule
from hybridtrain.plan.base import Plan
from hybridtrain.plan.rates import LRS_PER_EPOCH
from hybridtrain.run.budget import Budget
from hybridtrain.run.cooling import Cooling
from hybridtrain.run.epochs import Epochs
from hybridtrain.run.parts import Parts
from hybridtrain.run.snapshot import Parameters
from hybridtrain.run.stopping import Stopping

logger = logging.getLogger(__name__)
_NEARLY_ONE = 1.0 - 2.0**-24  # of an epoch: still the same one


@dataclass(slots=True)
class Course:
    """Follow a run from epoch to epoch; what it holds can be saved and recalled.

    Attributes
    ----------
    parts : Parts
    stopping : Stopping
    budget : Budget or None
    last_epoch : int
        Where the run ends, unless something ends it earlier.
    epochs : Epochs
    """

    parts: Parts
    stopping: Stopping
    budget: Budget | None
    last_epoch: int = field(init=False)
    epochs: Epochs = field(default_factory=Epochs)
    _cooling: Cooling | None = None  # the fall of the rate to 0, once patience has ended
    _cooled: Rates | None = None  # its rates

    def __post_init__(self) -> None:
        self.last_epoch = self.planned

    @property
    def plan(self) -> Plan:
        """The plan in hand."""
        return self.parts.plan

    @property
    def planned(self) -> int:
        """The epochs of the run, unless something ends it earlier."""
        return min(part.plan.rates.epochs for part in self.parts.planned)

    def open(self, extra_share: float) -> None:
        """Start the time of training; see `Budget.open`."""
        if self.budget is not None:
            self.budget.open(
                schedule=parse_schedule(self.plan.optimizer.schedule),
                lr=self.plan.choices["lr"],
                epochs=self.planned,
                extra_share=extra_share,
            )
            if self.budget.is_over():
                logger.warning(
                    "nothing is trained: preparing took all of the %g seconds", self.budget.seconds
                )
        if self._cooling is not None:
            self._fall(self._cooling, self.last_epoch)

    def rates(self, epoch: int, share: float) -> Floats:
        """Return the rates of an epoch of which this share, 0 .. 1, is done."""
        if self.budget is not None:
            return self.budget.begins(epoch - 1 + min(share, _NEARLY_ONE))
        return (self._cooled or self.plan.rates).of_epoch(epoch)

    def part_is_over(self, epoch: int) -> bool:
        """Return whether another part has to train this epoch."""
        return self.parts.is_over(epoch, self.epochs.history)

    def change_rates(self) -> None:
        """Go on at the rates of the plan in hand, which has changed."""
        lr = self.plan.choices["lr"]
        if self.budget is not None:
            self.budget.go_on_at(lr)
        if self._cooling is not None:
            self._cooled = Rates(self._cooling, lr, self.last_epoch, LRS_PER_EPOCH)

    def cool(self, begins: int, lr: float) -> bool:
        """Let the rate fall to 0, once patience has ended; return False if it need not.

        Parameters
        ----------
        begins : int
            The epochs so far.
        lr : float
            The rate at their end.
        """
        if self._cooling is not None:
            return True
        cooling = Cooling(begins=begins, share=lr / self.plan.choices["lr"])
        if not (self.plan.optimizer.takes_schedule and cooling.is_needed):
            return False
        self._fall(cooling, min(self.last_epoch, cooling.ends))
        logger.info("patience has ended: the rate falls to 0 until epoch %d", self.last_epoch)
        return True

    def _fall(self, cooling: Cooling, last_epoch: int) -> None:
        self._cooling, self.last_epoch = cooling, last_epoch
        self._cooled = Rates(cooling, self.plan.choices["lr"], last_epoch, LRS_PER_EPOCH)
        if self.budget is not None:
            self.budget.cool(cooling, last_epoch)

    def to_json(self) -> dict[str, Any]:
        """Return what the run has come to, except for the best parameters."""
        return {
            "epochs": self.epochs.to_json(),
            "stopping": self.stopping.to_json(),
            "last_epoch": self.last_epoch,
            "cooling": None if self._cooling is None else asdict(self._cooling),
            "seconds": 0.0 if self.budget is None else self.budget.used(),
            "planned": 0.0 if self.budget is None else self.budget.planned,
        }

    def recall(self, told: dict[str, Any], best: Parameters | None) -> None:
        """Go on from what `to_json` gave, before `open`.

        Raises
        ------
        ValueError, KeyError, TypeError
            When it is something else.
        """
        self.epochs = Epochs.from_json(told["epochs"])
        self.stopping.recall(told["stopping"], best)
        self.last_epoch = int(told["last_epoch"])
        if not len(self.epochs) <= self.last_epoch <= self.planned:
            raise ValueError(f"epoch {len(self.epochs)} of {self.last_epoch}")
        n_rows = self.plan.rows.shape[0]
        for epoch, ledger in enumerate(self.epochs.ledger, 1):
            if ledger.epoch != epoch or ledger.trained + ledger.dropped != n_rows:
                raise ValueError(f"the record of epoch {epoch} is {ledger}")
        if told["cooling"] is not None:
            begins, share = told["cooling"]["begins"], told["cooling"]["share"]
            if not (0 < begins < self.last_epoch and 0.0 < share <= 1.0):
                raise ValueError(f"the fall of the rate is {told['cooling']}")
            self._cooling = Cooling(begins=int(begins), share=float(share))
        if self.budget is not None:
            self.budget.recall(float(told["seconds"]), float(told.get("planned", 0.0)))
