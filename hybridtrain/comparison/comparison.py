# SPDX-License-Identifier: BSD-3-Clause
"""Runs of several strategies on the same rows, side by side."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np

from hybridtrain.comparison.chart import Curve, draw_chart
from hybridtrain.comparison.compared_run import ComparedRun
from hybridtrain.comparison.compared_strategy import ComparedStrategy, labels
from hybridtrain.comparison.spread import Band, band, differ, differ_in_ratio
from hybridtrain.comparison.text_table import counted, digits, finite, tallied, text_table
from hybridtrain.comparison.verdict import n_pairs, ranked, verdict
from hybridtrain.run.frames import epochs_of, frame_of
from hybridtrain.writing import write_text

TARGET_MARGIN = 0.005  # the target loss is above the best strategy's best loss by this share
_SHORT_SECONDS = 0.02
_FORMAT = "hybridtrain-comparison-1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Hold the runs of several strategies on the same rows; `str` is a table.

    Attributes
    ----------
    strategies : tuple of ComparedStrategy
        In the order of the call. Each has one run for each seed.
    score_name : "AUC", "accuracy" or "R^2"
        The kind of the runs' `score`.
    repeats : int
        Runs of each strategy and seed; the run of median time is kept.
    data : dict
        "rows", "validation_rows", "features", and "elements" where X is sparse.
    machine : dict
        "processor", "cores", "system" and versions.
    left_out : tuple of (name, reason)
        Strategies that refuse the settings or the data.

    Notes
    -----
    With several seeds, the figures of a strategy are medians over the seeds, and their
    band is from the lowest to the highest. The verdict says "clearly" of two strategies
    that differ by more than their spread: by Student's t test of the differences between
    runs of equal seeds (of times: the ratios), two-sided, at 5 % shared among all pairs of
    strategies. Of strategies that are alike it says so in about one comparison of twenty
    at most. Few seeds prove little: with two, hardly any difference is clear.

    References
    ----------
    Student 1908, "The probable error of a mean", Biometrika 6; Dunn 1961, "Multiple
    comparisons among means", JASA 56.
    """

    strategies: tuple[ComparedStrategy, ...]
    score_name: str
    repeats: int
    data: dict[str, int]
    machine: dict[str, Any]
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def runs(self) -> tuple[ComparedRun, ...]:
        """All runs: strategy by strategy, in the order of the seeds."""
        return tuple(run for strategy in self.strategies for run in strategy.runs)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, with each of which every strategy was trained."""
        return tuple(run.seed for run in self.strategies[0].runs)

    @property
    def target_loss(self) -> float:
        """0.5 % above the best strategy's best validation loss of all epochs; NaN without any.

        Of several seeds, a strategy's best loss is the median of its runs' best losses.
        """
        best = min(strategy.best_loss for strategy in self.strategies)
        if not math.isfinite(best):  # half the runs of each strategy diverged at once
            losses = (loss for run in self.runs for loss in run.losses)
            best = min(filter(math.isfinite, losses), default=math.nan)
        return best * (1.0 + TARGET_MARGIN)

    @property
    def best(self) -> ComparedRun | None:
        """The run that reached the target loss in the least time; None: all diverged.

        Of several seeds, the run of median time of the strategy whose median is the least.
        """
        target = self.target_loss
        order = ranked(self.strategies, target)
        return self.strategies[order[0][1]].usual_run(target) if order else None

    def label(self, run: ComparedRun) -> str:
        """Return a run's name, with its workers and its seed where these tell it from others."""
        names = labels(self.strategies)
        name = next(
            name
            for name, strategy in zip(names, self.strategies, strict=True)
            if any(one is run for one in strategy.runs)
        )
        return name if len(self.seeds) == 1 else f"{name}, seed {run.seed}"

    @property
    def verdict(self) -> str:
        """Which strategy was best, and whether others differ by more than their spread."""
        return verdict(self.strategies, self.target_loss)

    def table(self, width: int = 100) -> str:
        """Return all figures as text.

        Parameters
        ----------
        width : int
            The most characters of a line.

        Returns
        -------
        str
            With several seeds: medians, and below some of them the ends of the band.
        """
        compared, target = self.strategies, self.target_loss
        unit, scale = _rate_unit(self.runs)
        figures = [
            ("workers", [str(one.workers) for one in compared]),
            (
                f"speed, {unit}",
                [digits(finite(one.median("rows_per_second") / scale)) for one in compared],
            ),
            *self._banded(
                "time to the target loss, s", [band(one.times_to(target)) for one in compared], 3
            ),
            *self._banded(
                "validation loss at the end", [band(one.end_losses) for one in compared], 5
            ),
            *self._banded(
                f"{self.score_name} on validation rows", [one.score for one in compared], 4
            ),
            (
                "waiting, % of workers' time",
                [f"{100 * one.median('waiting'):.1f}" for one in compared],
            ),
            (
                "merging, % of workers' time",
                [f"{100 * one.median('merging'):.1f}" for one in compared],
            ),
            ("staleness: mean, rows", [f"{one.median('staleness_mean'):,.0f}" for one in compared]),
            (
                "staleness: largest, rows",
                [f"{max(run.staleness_max for run in one.runs):,}" for one in compared],
            ),
            ("same bits when run again", [_yes(one.runs[0].same_bits) for one in compared]),
            (
                "same bits with other workers",
                [_yes(one.runs[0].same_bits_for_any_workers) for one in compared],
            ),
        ]
        corner = f"medians of {len(self.seeds)} seeds" if len(self.seeds) > 1 else ""
        return text_table([one.name for one in compared], figures, width=width, corner=corner)

    def _banded(
        self, label: str, bands: Sequence[Band], figures: int
    ) -> list[tuple[str, list[str]]]:
        """Return a row of medians and, of several seeds, one of each end of the bands."""
        ends = {label: "median", "  lowest": "lowest", "  highest": "highest"}
        rows = [
            (name, [digits(finite(getattr(one, end)), figures) for one in bands])
            for name, end in ends.items()
        ]
        return rows if len(self.seeds) > 1 else rows[:1]

    def notes(self) -> tuple[str, ...]:
        """Return notes on the table's figures, one sentence each."""
        is_one_seed = len(self.seeds) == 1
        found = [
            "The target loss is 0.5 % above the best validation loss of all runs. "
            if is_one_seed
            else "The target loss is 0.5 % above the best strategy's best validation loss, a "
            "median over the seeds. All seeds train and measure on the same rows. "
        ]
        found[0] += "Times are of training alone, in whole epochs" + (
            f"; median of {self.repeats} runs{'' if is_one_seed else ' of each seed'}."
            if self.repeats > 1
            else "."
        )
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
        if len(self.seeds) > 1 and len(self.strategies) > 1:
            found.append(
                "Clearly: by more than the spread over the seeds explains, by a t test of the "
                "differences between runs of equal seeds, at 5 % for all pairs together."
            )
        found += [f"{name} is left out: {reason}" for name, reason in self.left_out]
        return tuple(found)

    def __str__(self) -> str:
        return "\n".join([self.table(), "", f"Best: {self.verdict}", *self.notes()])

    def to_frame(self) -> Any:
        """Return the records of all epochs as a pandas frame.

        Returns
        -------
        pandas.DataFrame
            Has one row for each run and epoch, in the order of `runs`: "strategy" (text),
            "workers", "seed", and the columns of `Result.to_frame`.

        Raises
        ------
        MissingPackageError
            Without pandas.
        """
        epochs = (
            {"strategy": run.name, "workers": run.workers, "seed": run.seed} | epoch
            for run in self.runs
            for epoch in epochs_of(run.result)
        )
        return frame_of(epochs, of_runs=True)

    def plot(self, path: str | PathLike[str]) -> None:
        """Draw validation loss against seconds of training.

        With several seeds, a line is the median loss at the median time after each epoch,
        in a band from the lowest to the highest loss.

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
        curves = [_curve(strategy, target) for strategy in self.strategies]
        n_seeds, loss = len(self.seeds), self.runs[0].result.model.loss
        draw_chart(
            path,
            curves,
            target=target,
            title=f"{loss.capitalize()} loss while training on {self.data['rows']:,} rows",
            note=f"measured on {self.data['validation_rows']:,} other rows after each epoch; "
            "ring: target loss reached"
            + (f"; medians and bands of {n_seeds} seeds" if n_seeds > 1 else ""),
        )

    def save(self, path: str | PathLike[str]) -> None:
        """Write all figures, all runs with their histories, versions and the machine as JSON.

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
            "seeds": self.seeds,
            "data": self.data,
            "machine": self.machine,
            "left_out": [{"strategy": name, "reason": reason} for name, reason in self.left_out],
            "strategies": [strategy.story(target) for strategy in self.strategies],
            "differences": self._differences(target),
            "runs": [run.story(target) for run in self.runs],
        }
        text = json.dumps(_storable(story), indent=1, allow_nan=False)
        write_text(path, text + "\n")

    def _differences(self, target: float) -> list[dict[str, Any]]:
        """Return of each pair of strategies whether figures differ by more than their spread."""
        pairs = n_pairs(self.strategies)
        named = zip(labels(self.strategies), self.strategies, strict=True)
        return [
            {
                "strategies": [name, other_name],
                "seconds_to_target": differ_in_ratio(
                    one.times_to(target), other.times_to(target), n_pairs=pairs
                ),
                "validation_loss": differ(one.end_losses, other.end_losses, n_pairs=pairs),
            }
            for (name, one), (other_name, other) in itertools.combinations(named, 2)
        ]


def _curve(strategy: ComparedStrategy, target: float) -> Curve:
    """Return the medians over the seeds after each epoch that half the runs or more had."""
    lengths = sorted(len(run.losses) for run in strategy.runs)
    epochs = range(lengths[len(lengths) // 2])
    seconds = [np.cumsum([r.seconds for r in run.result.history]) for run in strategy.runs]
    times = [band(t[k] for t in seconds if k < len(t)).median for k in epochs]
    bands = [band(run.losses[k] for run in strategy.runs if k < len(run.losses)) for k in epochs]
    medians = tuple(one.median for one in bands)
    return Curve(
        name=f"{strategy.name}, {counted(strategy.workers, 'worker')}",
        seconds=tuple(times),
        losses=medians,
        reached=next((k for k, loss in enumerate(medians) if loss <= target), None),
        band=tuple((one.lowest, one.highest) for one in bands) if len(lengths) > 1 else (),
    )


def _rate_unit(runs: tuple[ComparedRun, ...]) -> tuple[str, float]:
    rates = [run.rows_per_second for run in runs if math.isfinite(run.rows_per_second)]
    return ("million rows/s", 1e6) if max(rates, default=0.0) >= 1e6 else ("thousand rows/s", 1e3)


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
