# SPDX-License-Identifier: BSD-3-Clause
"""The parts of a run: which plan trains which epochs. Most runs have one part."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Literal

from hybridtrain.observe.records import EpochRecord, RunReport
from hybridtrain.plan.base import Plan
from hybridtrain.run.stage import Stage

_FALL = 0.001  # of the lowest loss: less is no fall


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """Hold a part as it was planned.

    Attributes
    ----------
    strategy : str
        With its arguments.
    epochs : int, "plateau" or None
        "plateau": until the loss stops falling; None: the rest of the run.
    plan : Plan
        At the part's rate. Equal strategies share one plan.
    trials : dict
        What chose the rate.
    """

    strategy: str
    epochs: int | Literal["plateau"] | None
    plan: Plan
    trials: dict[str, Any]


@dataclass(slots=True)
class _Begun:
    first: int  # epoch
    stage: Stage | None = None  # None: of an earlier run, which was saved
    report: RunReport | None = None  # once its workers have left
    seconds: float | None = None  # that it took to go on from the part before


@dataclass(slots=True)
class Parts:
    """Keep the parts of a run, and those that have begun.

    Attributes
    ----------
    planned : sequence of Planned
    """

    planned: Sequence[Planned]
    _begun: list[_Begun] = field(default_factory=lambda: [_Begun(1)])

    @property
    def plan(self) -> Plan:
        """The plan in hand."""
        return self.planned[self.number].plan

    @property
    def number(self) -> int:
        """The number of the part in hand, from 0."""
        return len(self._begun) - 1

    @property
    def stage(self) -> Stage:
        """The stage in hand."""
        stage = self._begun[-1].stage
        assert stage is not None
        return stage

    @property
    def next(self) -> Planned | None:
        """The part after the one in hand; None: it is the last one."""
        return self.planned[len(self._begun)] if len(self._begun) < len(self.planned) else None

    def open(self, stage: Stage) -> None:
        """Note the stage of the part in hand."""
        self._begun[-1].stage = stage

    def go_on(self, first: int, stage: Stage) -> None:
        """Begin the next part with an epoch; the workers of the stage in hand have left."""
        self._begun[-1].report = self.stage.report("finished")
        self._begun.append(_Begun(first, stage))  # one step: no signal comes between

    def note_switch(self, seconds: float) -> None:
        """Note how long it took to begin the part in hand."""
        self._begun[-1].seconds = seconds

    def is_over(self, epoch: int, history: Sequence[EpochRecord]) -> bool:
        """Return whether another part has to train this epoch, after these records."""
        if self.next is None:
            return False
        epochs, first = self.planned[self.number].epochs, self._begun[-1].first
        if epochs != "plateau":
            return epochs is not None and epoch >= first + epochs
        losses = [record.loss for record in history if record.epoch >= first]
        return len(losses) > 1 and not losses[-1] < min(losses[:-1]) * (1.0 - _FALL)

    def turn_to(self, number: int) -> None:
        """Have another part in hand, whose state and stage will come; that of now is closed."""
        self.close()
        self._begun = [_Begun(1) for _ in self.planned[: number + 1]]

    def close(self) -> None:
        """Let the workers leave, and unmap the segments of all stages."""
        with ExitStack() as stack:  # in reverse
            for begun in self._begun:
                if begun.stage is not None:
                    stack.callback(begun.stage.run.close)
            if self._begun[-1].stage is not None:
                stack.callback(self.stage.workers.leave)

    def report(self, ended: str) -> RunReport:
        """Gather what the workers of all stages measured; those in hand have left, or rest."""
        self._begun[-1].report = self.stage.report(ended)
        return RunReport.join([begun.report for begun in self._begun if begun.report is not None])

    def settings(self, n_epochs: int) -> dict[str, Any]:
        """Return what the result's settings say of the parts, once they were reported.

        Parameters
        ----------
        n_epochs : int
            That have begun in all.

        Returns
        -------
        dict
            Choices and measurements. Of those that several parts have, the last part's; "parts"
            has those of each part of a run that was planned in several.
        """
        ends = [*(begun.first - 1 for begun in self._begun[1:]), n_epochs]
        told: dict[str, Any] = {}
        parts = []
        for planned, begun, last in zip(self.planned, self._begun, ends, strict=False):
            measured = {} if begun.report is None else begun.report.measurements
            of_part = {**planned.plan.choices, "lr_trials": planned.trials, **measured}
            told |= of_part
            if begun.first <= last:
                epochs = [begun.first, last]
                head = {"strategy": planned.strategy, "epochs": epochs}
                parts.append({**head, "switch_seconds": begun.seconds, **of_part})
        return told if len(self.planned) == 1 else {**told, "parts": parts}

    def to_json(self) -> list[dict[str, Any]]:
        """Return the rates, what chose them, and the first epochs of the parts that have begun."""
        begun = [each.first for each in self._begun]
        begun += [0] * (len(self.planned) - len(begun))
        return [
            {"lr": planned.plan.choices["lr"], "lr_trials": planned.trials, "first": first}
            for planned, first in zip(self.planned, begun, strict=True)
        ]

    def recall(self, told: list[dict[str, Any]]) -> None:
        """Go on with the part that was in hand, whose stage may be open or not."""
        stage = self._begun[-1].stage
        self._begun = [_Begun(part["first"]) for part in told if part["first"]]
        self._begun[-1].stage = stage


def checked_parts(told: list[Any], n_parts: int) -> list[dict[str, Any]]:
    """Return what `Parts.to_json` gave.

    Raises
    ------
    ValueError
        When it is something else.
    """
    kinds = {"lr": float, "lr_trials": dict, "first": int}
    for part in told:
        if not isinstance(part, dict) or {key: type(part[key]) for key in part} != kinds:
            raise ValueError(f"a part of the run is {part!r}")
    firsts = [part["first"] for part in told]
    begun = [first for first in firsts if first]
    is_sound = begun == sorted(set(begun)) and begun[:1] == [1]
    if not is_sound or firsts != begun + [0] * (n_parts - len(begun)):
        raise ValueError(f"the parts of the run begin with the epochs {firsts}")
    return told
