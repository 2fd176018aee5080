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
        told = zip(self.parts, saved or [], strict=False)
        of_saved = {part.strategy: rate for part, rate in told}
        fitted = {each: self._fitted(each, start, of_saved.get(each)) for each in self.plans}
        planned = [
            Planned(
                strategy=repr(strategy),
                epochs=epochs,
                plan=fitted[strategy][0],
                trials=fitted[strategy][1],
            )
            for strategy, epochs in self.parts
        ]
        parts = Parts(planned)
        if saved is not None:
            parts.recall(saved)
        return parts

    def _fitted(
        self, single: Single, start: Parameters, saved: dict[str, Any] | None
    ) -> tuple[Plan, dict[str, Any]]:
        """Return the plan of a strategy at its rate, and the trials that chose it."""
        plan = self.plans[single]
        if saved is not None:
            return plan.at_rate(saved["lr"]), saved["lr_trials"]
        if self.settings.optimizer.lr != "auto":
            return plan, {}
        factor, trials = fitted_rate(self.problem, self.settings, plan, single.on_trial.plan, start)
        return plan.at_factor(factor), trials
