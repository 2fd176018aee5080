# SPDX-License-Identifier: BSD-3-Clause
"""Which strategy was best, and whether others differ from it by more than their spread."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hybridtrain.comparison.compared_strategy import ComparedStrategy, labels
from hybridtrain.comparison.spread import band, differ, differ_in_ratio
from hybridtrain.comparison.text_table import digits, finite

_CLOSE = 1.1  # times of one seed that differ less may change places in the next comparison
# What the last note of a comparison of several seeds explains.
_CLEARLY = {True: ", clearly", False: ", not clearly", None: ""}


def ranked(strategies: Sequence[ComparedStrategy], target: float) -> list[tuple[float, int]]:
    """Return the median seconds to the target, ascending, and the strategies' numbers.

    Strategies of which half the runs or more missed the target are left out.
    """
    medians = [(band(one.times_to(target)).median, k) for k, one in enumerate(strategies)]
    return sorted(pair for pair in medians if math.isfinite(pair[0]))


def n_pairs(strategies: Sequence[ComparedStrategy]) -> int:
    """Return the number of pairs of strategies, at least 1."""
    return max(len(strategies) * (len(strategies) - 1) // 2, 1)


def verdict(strategies: Sequence[ComparedStrategy], target: float) -> str:
    """Say which strategy was first, how far behind the others are, and which ended lowest.

    Parameters
    ----------
    strategies : sequence of ComparedStrategy
    target : float
        The target loss.

    Returns
    -------
    str
        Sentences. Of several seeds they say of each strategy whether it differs from the
        best one "clearly", which is by more than their spread.
    """
    first = _first(strategies, target)
    if len(strategies) == 1 or not ranked(strategies, target):
        return first
    if len(strategies[0].runs) == 1:
        return f"{first} One seed tells no spread: seeds=range(5) would."
    return f"{first} {_lowest(strategies)}"


def _first(strategies: Sequence[ComparedStrategy], target: float) -> str:
    """Say which strategy reached the target loss first."""
    order = ranked(strategies, target)
    if not order:
        who = "run is best: all diverged"
        if any(one.diverged < len(one.runs) for one in strategies):
            who = "strategy is best: all diverged with half of the seeds or more"
        return f"No {who}; try a smaller lr, or scale the features."
    names = labels(strategies)
    seconds, best = order[0]
    time = f"{digits(seconds)} s{_reached(strategies[best], target)}"
    is_one_seed = len(strategies[0].runs) == 1
    text = f"{names[best]} reached the target loss of {digits(target, 5)}"
    if len(strategies) == 1:
        only = "run" if is_one_seed else "strategy"
        return f"{text} in {time}; it is the only {only}."
    if len(order) == 1:
        text += f", as the only one, in {time}"
    else:
        text += f" first: {time}, " + ", ".join(
            f"{_factor(other / seconds)} {names[k]} ({digits(other)} s"
            f"{_beside(strategies, best, k, target)})"
            for other, k in order[1:]
        )
    missed = set(range(len(strategies))) - {k for _, k in order}
    if missed:
        text += "; not reached by " + ", ".join(
            f"{names[k]} ({_shortfall(strategies[k], target)})" for k in sorted(missed)
        )
    if is_one_seed and len(order) > 1 and order[1][0] / seconds < _CLOSE:
        text += "; that is too close to call"
    return f"{text}."


def _beside(strategies: Sequence[ComparedStrategy], best: int, k: int, target: float) -> str:
    """Say whether a strategy's times differ from the best one's, or how many reached the target."""
    times = [strategies[one].times_to(target) for one in (best, k)]
    differs = differ_in_ratio(*times, n_pairs=n_pairs(strategies))
    return _reached(strategies[k], target) or _CLEARLY[differs]


def _reached(strategy: ComparedStrategy, target: float) -> str:
    """Say how many of the seeds reached the target; nothing if all did."""
    reached = sum(map(math.isfinite, strategy.times_to(target)))
    return "" if reached == len(strategy.runs) else f" {_some(reached, strategy)}"


def _lowest(strategies: Sequence[ComparedStrategy]) -> str:
    """Say which strategy had the lowest loss after the last epoch, over several seeds."""
    names = labels(strategies)
    order = sorted(
        (bool(one.diverged), band(one.end_losses).median, k) for k, one in enumerate(strategies)
    )
    (_, loss, best), *others = order
    pairs = n_pairs(strategies)

    def figure(loss_of_k: float, k: int) -> str:
        if strategies[k].diverged:
            return _diverged(strategies[k])
        differs = differ(strategies[best].end_losses, strategies[k].end_losses, n_pairs=pairs)
        return digits(finite(loss_of_k), 5) + _CLEARLY[differs]

    then = ", ".join(f"{names[k]} ({figure(other, k)})" for _, other, k in others)
    return f"{names[best]} ended with the lowest loss, {digits(finite(loss), 5)}; then {then}."


def _shortfall(strategy: ComparedStrategy, target: float) -> str:
    """Say why a strategy has no median time to the target."""
    reached = sum(map(math.isfinite, strategy.times_to(target)))
    if strategy.diverged:
        return _diverged(strategy)
    if reached:
        return f"only {_some(reached, strategy)}"
    return f"{digits(100 * (strategy.best_loss / target - 1.0), 2)} % above"


def _diverged(strategy: ComparedStrategy) -> str:
    if len(strategy.runs) == 1:
        return "diverged"
    return f"diverged {_some(strategy.diverged, strategy)}"


def _some(count: int, strategy: ComparedStrategy) -> str:
    return f"with {count} of {len(strategy.runs)} seeds"


def _factor(ratio: float) -> str:
    return "hardly sooner than" if ratio < 1.05 else f"{digits(ratio, 2)}x sooner than"
