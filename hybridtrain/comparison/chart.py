# SPDX-License-Identifier: BSD-3-Clause
"""A chart of validation loss against seconds of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hybridtrain.errors import InvalidSettingError, MissingPackageError
from hybridtrain.paths import PathLike, path_text
from hybridtrain.writing import writing

SUFFIXES = (".png", ".svg", ".pdf")
# Okabe and Ito's palette without its yellow: colour-blind readers can tell it apart.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_QUIET, _DARK = "#5f5f5f", "#1a1a1a"
_LABEL_GAP = 0.062  # of the height of the axes, between two labels
_TOP_OVER_BEST = 8.0  # a loss is cut further above the best than this many times the median


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """Hold the losses of one strategy over time: of one run, or medians over seeds.

    Attributes
    ----------
    name : str
    seconds : tuple of float
        Training time until the end of each epoch.
    losses : tuple of float
        On the validation rows, after each epoch.
    reached : int or None
        Index of the first epoch whose loss is at most the target.
    band : tuple of (lowest, highest)
        The losses of all seeds after each epoch; empty: one run.
    """

    name: str
    seconds: tuple[float, ...]
    losses: tuple[float, ...]
    reached: int | None
    band: tuple[tuple[float, float], ...] = ()


def require_chart(path: PathLike) -> None:
    """Check that a chart can be drawn to this path.

    Raises
    ------
    InvalidSettingError
        When the suffix is not one of `SUFFIXES`, or no file can have that name.
    MissingPackageError
        When matplotlib is missing.
    """
    if Path(path_text(path)).suffix.lower() not in SUFFIXES:
        raise InvalidSettingError(
            f"a chart's file must end with {', '.join(SUFFIXES)}, got {path_text(path)!r}"
        )
    try:
        import matplotlib  # noqa: F401, PLC0415 - only a chart needs it
    except ImportError as error:
        raise MissingPackageError(
            "a chart needs matplotlib, which is not installed: pip install 'hybridtrain[plot]'"
        ) from error


def draw_chart(
    path: PathLike, curves: Sequence[Curve], *, target: float, title: str, note: str
) -> None:
    """Draw validation loss against seconds, one line for each strategy.

    Parameters
    ----------
    path : str or path
        Ends with .png, .svg or .pdf.
    curves : sequence of Curve
    target : float
        The target loss, drawn as a dashed line.
    title, note : str
        The two lines above the chart.

    Raises
    ------
    InvalidSettingError, MissingPackageError
        As `require_chart`.
    OSError
        When the file cannot be written.
    """
    require_chart(path)
    # Not pyplot: it holds global state and may open windows.
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(8, 4.8), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=12, pad=22)
    axes.text(0, 1.025, note, transform=axes.transAxes, fontsize=9, color=_QUIET)
    axes.set_xlabel("training time [s]")
    axes.set_ylabel("validation loss")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    drawn = [curve for curve in curves if curve.losses]
    bands = [ends for curve in drawn for ends in curve.band]
    top, bottom = _limits([*(curve.losses for curve in drawn), *bands], target)
    axes.set_ylim(bottom, top)
    longest = max((curve.seconds[-1] for curve in drawn), default=1.0)
    axes.set_xlim(0, longest * 1.02)
    axes.axhline(target, color=_QUIET, linewidth=1, linestyle=(0, (5, 4)), zorder=1)
    for k, curve in enumerate(drawn):
        colour, marker = _COLOURS[k % len(_COLOURS)], _MARKERS[k % len(_MARKERS)]
        axes.plot(
            curve.seconds, curve.losses, color=colour, marker=marker, markersize=5, linewidth=1.8
        )
        if curve.band:
            ends = np.array(curve.band)
            ends[~np.isfinite(ends)] = top
            axes.fill_between(curve.seconds, *ends.T, color=colour, alpha=0.2, linewidth=0)
        if curve.reached is not None:
            axes.plot(
                curve.seconds[curve.reached],
                curve.losses[curve.reached],
                marker="o",
                markersize=13,
                markerfacecolor="none",
                markeredgecolor=colour,
                markeredgewidth=1.8,
                clip_on=False,
            )
    _label(axes, drawn, target)
    with writing(path) as file:
        figure.savefig(file, format=Path(path).suffix[1:].lower())


def _limits(losses: Sequence[tuple[float, ...]], target: float) -> tuple[float, float]:
    """Return top and bottom, so that a bad first epoch does not flatten all others."""
    finite = np.array([loss for run in losses for loss in run if np.isfinite(loss)] or [target])
    best = min(float(finite.min()), target)
    above = finite - best
    usual = float(np.median(above)) or float(above.max()) or abs(best) * 0.01 or 1.0
    height = min(float(above.max()), _TOP_OVER_BEST * usual)
    height = max(height, (target - best) * 2)
    return best + 1.06 * height, best - 0.08 * height


def _label(axes: Any, curves: Sequence[Curve], target: float) -> None:
    """Write names at the right edge, moved apart, in their lines' colours and markers."""
    bottom, top = axes.get_ylim()

    def place(value: float) -> float:
        return float(min(max((value - bottom) / (top - bottom), 0.0), 1.0))

    labels = [
        (place(curve.losses[-1]), curve.name, k)
        for k, curve in enumerate(curves)
        if np.isfinite(curve.losses[-1])
    ]
    labels.append((place(target), f"target {target:.4g}", -1))
    labels.sort(key=lambda label: label[0])
    heights = apart([label[0] for label in labels], _LABEL_GAP)
    for height, (_, name, k) in zip(heights, labels, strict=True):
        if k >= 0:
            axes.plot(
                [1.03],
                [height],
                transform=axes.transAxes,
                color=_COLOURS[k % len(_COLOURS)],
                marker=_MARKERS[k % len(_MARKERS)],
                markersize=5,
                clip_on=False,
            )
        axes.annotate(
            name,
            (1.05 if k >= 0 else 1.018, height),
            xycoords="axes fraction",
            color=_QUIET if k < 0 else _DARK,
            va="center",
            fontsize=9.5,
        )


def apart(places: Sequence[float], gap: float) -> list[float]:
    """Move sorted places so that neighbours are a gap apart, each as little as possible.

    Examples
    --------
    >>> [round(place, 2) for place in apart([0.1, 0.1, 0.9], 0.1)]
    [0.05, 0.15, 0.9]
    """
    groups: list[list[float]] = []  # [sum of the members' wishes for the first, members]
    for place in places:
        groups.append([place, 1.0])
        while len(groups) > 1:
            (wish, members), (next_wish, next_members) = groups[-2], groups[-1]
            if next_wish / next_members >= wish / members + members * gap:
                break
            groups[-2:] = [
                [wish + next_wish - next_members * members * gap, members + next_members]
            ]
    return [
        wish / members + position * gap
        for wish, members in groups
        for position in range(int(members))
    ]
