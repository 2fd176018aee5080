# SPDX-License-Identifier: BSD-3-Clause
"""Runs of several strategies on the same rows, side by side."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np

from hybridtrain.comparison.chart import Curve, draw_chart
from hybridtrain.comparison.compared_run import ComparedRun
from hybridtrain.comparison.text_table import digits, tallied, text_table
from hybridtrain.writing import write_text

TARGET_MARGIN = 0.005  # the target loss is above the best of all runs by this share
_CLOSE = 1.1  # times that differ less may change places in the next comparison
_SHORT_SECONDS = 0.02
_FORMAT = "hybridtrain-comparison-1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Hold the runs of several strategies on the same rows; `str` is a table.

    Attributes
    ----------
    runs : tuple of ComparedRun
        In the order of the call's strategies.
    score_name : "AUC", "accuracy" or "R^2"
        The kind of the runs' `score`.
    repeats : int
        Runs of each strategy; the run of median time is kept.
    data : dict
        "rows", "validation_rows", "features", and "elements" where X is sparse.
    machine : dict
        "processor", "cores", "system" and versions.
    left_out : tuple of (name, reason)
        Strategies that do not go with the settings.
    """

    runs: tuple[ComparedRun, ...]
    score_name: str
    repeats: int
    data: dict[str, int]
    machine: dict[str, Any]
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def target_loss(self) -> float:
        """0.5 % above the best validation loss of all epochs of all runs; NaN without any."""
        losses = [loss for run in self.runs for loss in run.losses if math.isfinite(loss)]
        return min(losses) * (1.0 + TARGET_MARGIN) if losses else math.nan

    @property
    def best(self) -> ComparedRun | None:
        """The run that reached the target loss in the least time; None: all diverged."""
        ranked = self._ranked()
        return ranked[0][1] if ranked else None

    def _ranked(self) -> list[tuple[float, ComparedRun]]:
        target = self.target_loss
        timed = [(run.seconds_to(target), run) for run in self.runs]
        reached = [(seconds, run) for seconds, run in timed if seconds is not None]
        return sorted(reached, key=lambda pair: pair[0])

    def label(self, run: ComparedRun) -> str:
        """Return a run's name, with its number of workers if another run has this name."""
        if Counter(other.name for other in self.runs)[run.name] == 1:
            return run.name
        return f"{run.name} with {_workers(run.workers)}"

    @property
    def verdict(self) -> str:
        """Which run was best, and why, in a sentence."""
        ranked = self._ranked()
        if not ranked:
            return "No run is best: all diverged; try a smaller lr, or scale the features."
        seconds, best = ranked[0]
        text = f"{self.label(best)} reached the target loss of {digits(self.target_loss, 5)}"
        if len(self.runs) == 1:
            return f"{text} in {digits(seconds)} s; it is the only run."
        if len(ranked) == 1:
            text += f", as the only one, in {digits(seconds)} s"
        else:
            text += f" first: {digits(seconds)} s, "
            text += ", ".join(
                f"{_factor(other / seconds)} {self.label(run)} ({digits(other)} s)"
                for other, run in ranked[1:]
            )
        far = [run for run in self.runs if all(run is not other for _, other in ranked)]
        if far:
            text += "; not reached by " + ", ".join(map(self._shortfall, far))
        if len(ranked) > 1 and ranked[1][0] / seconds < _CLOSE:
            text += "; that is too close to call"
        return f"{text}."

    def _shortfall(self, run: ComparedRun) -> str:
        if run.diverged:
            return f"{self.label(run)} (diverged)"
        above = min(run.losses) / self.target_loss - 1.0
        return f"{self.label(run)} ({digits(100 * above, 2)} % above)"

    def table(self, width: int = 100) -> str:
        """Return all figures as text.

        Parameters
        ----------
        width : int
            The most characters of a line.

        Returns
        -------
        str
        """
        runs, target = self.runs, self.target_loss
        unit, scale = _rate_unit(runs)
        figures = [
            ("workers", [str(run.workers) for run in runs]),
            (f"speed, {unit}", [digits(run.rows_per_second / scale) for run in runs]),
            ("time to the target loss, s", [digits(run.seconds_to(target)) for run in runs]),
            ("validation loss at the end", [digits(run.validation_loss, 5) for run in runs]),
            (f"{self.score_name} on validation rows", [digits(run.score, 4) for run in runs]),
            ("waiting, % of workers' time", [f"{100 * run.waiting:.1f}" for run in runs]),
            ("merging, % of workers' time", [f"{100 * run.merging:.1f}" for run in runs]),
            ("staleness: mean, rows", [_staleness(run, "mean") for run in runs]),
            ("staleness: largest, rows", [_staleness(run, "max") for run in runs]),
            ("same bits when run again", [_yes(run.same_bits) for run in runs]),
            ("same bits with other workers", [_yes(run.same_bits_for_any_workers) for run in runs]),
        ]
        return text_table([run.name for run in runs], figures, width=width)

    def notes(self) -> tuple[str, ...]:
        """Return notes on the table's figures, one sentence each."""
        found = [
            "The target loss is 0.5 % above the best validation loss of all runs. "
            "Times are of training alone, in whole epochs"
            + (f"; median of {self.repeats} runs." if self.repeats > 1 else ".")
        ]
        best = self.best
        if best is not None and best.seconds < _SHORT_SECONDS:
            found.append(
                "The best run took only milliseconds: starting and stopping the workers counts "
                "for much in that, and more rows may turn the order around."
            )
        found += [
            f"{self.label(run)} diverged: {run.diverged}" for run in self.runs if run.diverged
        ]
        found += [
            f"{self.label(run)}: worker processes died and were replaced, which its times include: "
            f"{tallied(run.deaths)}"
            for run in self.runs
            if run.deaths
        ]
        found += [f"{name} is left out: {reason}" for name, reason in self.left_out]
        return tuple(found)

    def __str__(self) -> str:
        return "\n".join([self.table(), "", f"Best: {self.verdict}", *self.notes()])

    def plot(self, path: str | PathLike[str]) -> None:
        """Draw validation loss against seconds of training.

        Parameters
        ----------
        path : str or path
            Ends with .png, .svg or .pdf.

        Raises
        ------
        InvalidSettingError
            When the path has another suffix.
        MissingPackageError
            When matplotlib is missing (extra "plot").
        OSError
            When the file cannot be written.
        """
        target = self.target_loss
        curves = []
        for run in self.runs:
            epochs = run.epochs_to(target)
            curves.append(
                Curve(
                    name=f"{run.name}, {_workers(run.workers)}",
                    seconds=tuple(np.cumsum([r.seconds for r in run.result.history]).tolist()),
                    losses=run.losses,
                    reached=None if epochs is None else epochs - 1,
                )
            )
        loss = self.runs[0].result.model.loss
        draw_chart(
            path,
            curves,
            target=target,
            title=f"{loss.capitalize()} loss while training on {self.data['rows']:,} rows",
            note=f"measured on {self.data['validation_rows']:,} other rows after each epoch; "
            "ring: target loss reached",
        )

    def save(self, path: str | PathLike[str]) -> None:
        """Write all figures, histories, versions and the machine as JSON.

        Parameters
        ----------
        path : str or path

        Raises
        ------
        OSError
            When the file cannot be written.
        """
        target = self.target_loss
        story = {
            "format": _FORMAT,
            "target_loss": target,
            "verdict": self.verdict,
            "score_name": self.score_name,
            "repeats": self.repeats,
            "data": self.data,
            "machine": self.machine,
            "left_out": [{"strategy": name, "reason": reason} for name, reason in self.left_out],
            "runs": [run.story(target) for run in self.runs],
        }
        text = json.dumps(_storable(story), indent=1, allow_nan=False)
        write_text(path, text + "\n")


def _workers(count: int) -> str:
    return f"{count} worker" + ("s" if count != 1 else "")


def _factor(ratio: float) -> str:
    return "hardly sooner than" if ratio < 1.05 else f"{digits(ratio, 2)}x sooner than"


def _rate_unit(runs: tuple[ComparedRun, ...]) -> tuple[str, float]:
    rates = [run.rows_per_second for run in runs if math.isfinite(run.rows_per_second)]
    return ("million rows/s", 1e6) if max(rates, default=0.0) >= 1e6 else ("thousand rows/s", 1e3)


def _staleness(run: ComparedRun, name: str) -> str:
    return f"{getattr(run.result.staleness, name):,.0f}"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _storable(value: Any) -> Any:
    """Return the value in JSON's types: NaN and infinity as null."""
    if isinstance(value, dict):
        return {str(key): _storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(item) for item in value]
    if isinstance(value, np.generic):
        return _storable(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)
