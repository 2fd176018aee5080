# SPDX-License-Identifier: BSD-3-Clause
"""From a strategy to the parts of a run, each planned at its own rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hybridtrain.plan.base import Plan, Settings
from hybridtrain.plan.problem import Problem
from hybridtrain.plan.unmoved import unmoved_columns
from hybridtrain.run.parts import Parts, Planned
from hybridtrain.run.trial import Parameters, fitted_rate
from hybridtrain.strategies.base import Part, Single


@dataclass(frozen=True, slots=True)
class Planning:
    """Plan the parts of a run before any is trained, so that what does not go is refused first.

    Attributes
    ----------
    problem : Problem
    settings : Settings
    parts : sequence of Part
    plans : dict of strategy to Plan
        Parts of equal strategies share a plan. Its rate is the formula's.
    """

    problem: Problem
    settings: Settings
    parts: Sequence[Part]
    plans: dict[Single, Plan]

    @classmethod
    def of(cls, problem: Problem, settings: Settings, parts: Sequence[Part]) -> Planning:
        """Plan every part over all epochs of the run.

        Raises
        ------
        InvalidSettingError
            When the settings do not go with the strategy of a part, or with the problem.
        """
        singles = dict.fromkeys(part.strategy for part in parts)
        plans = {single: single.plan(problem, settings) for single in singles}
        return cls(problem, settings, parts, plans)

    @property
    def points(self) -> tuple[str, ...]:
        """The points of the core that workers pass in some part."""
        return tuple(dict.fromkeys(p for plan in self.plans.values() for p in plan.points))

    def unmoved(self) -> list[str]:
        """Return a warning if no part can move most columns, else an empty list."""
        texts: list[str] = []
        for plan in self.plans.values():
            epochs = plan.rates.epochs
            texts = unmoved_columns(self.problem, self.settings.optimizer, plan.choices, epochs)
            if not texts:
                break
        return texts

    def at_rates(self, start: Parameters, saved: list[dict[str, Any]] | None) -> Parts:
        """Return the parts, each at its rate.

        Parameters
        ----------
        start : (coef, intercept)
            The parameters that the run starts from, and each trial of a rate.
        saved : list of dict or None
            What `Parts.to_json` gave in the run to go on with.
        """
        if saved is not None:
            planned = [
                self._planned(
                    part, self.plans[part.strategy].at_rate(told["lr"]), told["lr_trials"]
                )
                for part, told in zip(self.parts, saved, strict=True)
            ]
            return Parts(planned).recall(saved)
        fitted = {single: self._fitted(single, start) for single in self.plans}
        return Parts([self._planned(part, *fitted[part.strategy]) for part in self.parts])

    def _fitted(self, single: Single, start: Parameters) -> tuple[Plan, dict[str, Any]]:
        plan = self.plans[single]
        if self.settings.optimizer.lr != "auto":
            return plan, {}
        factor, trials = fitted_rate(self.problem, self.settings, plan, single.plan, start)
        return plan.at_rate(plan.choices["lr"] * factor), trials

    @staticmethod
    def _planned(part: Part, plan: Plan, trials: dict[str, Any]) -> Planned:
        return Planned(strategy=repr(part.strategy), epochs=part.epochs, plan=plan, trials=trials)
