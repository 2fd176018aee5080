# SPDX-License-Identifier: BSD-3-Clause
"""How often a node's stream merges with those of the others, by what merges cost it."""

from __future__ import annotations

import math
import time

# The share of a node's time that merges may take: a little; more, so that an epoch has some.
_COST_SHARE, _MOST_COST_SHARE = 0.1, 0.25
_SOME_MERGES = 8
_LEAST_SECONDS = 0.002  # between two merges
_MOST_GLANCE_SECONDS, _LEAST_GLANCE_SECONDS = 0.05, 0.001
_AHEAD = 2  # times the chunks between two merges that a node holds
_QUICK_SECONDS = 0.1  # a merge for which an epoch waits, rather than have only a few of them


class Tempo:
    """Measure merges, and say when the next one may begin.

    Attributes
    ----------
    cost : float
        Seconds of this node for a merge; whoever works for one adds to it, in any thread: what
        is lost when two add at once is little.
    """

    def __init__(self) -> None:
        self.cost = 0.0
        self._began = 0.0  # the last merge, by time.monotonic()
        self._period = 0.0  # seconds between the last two
        self._epoch = math.inf  # seconds of an epoch at this node's pace, were it alone

    def begin(self) -> None:
        """Note that a merge begins."""
        now = time.monotonic()
        self._period = now - self._began if self._began else 0.0
        self._began = now
        self.cost *= 0.5  # of the merges before, as a decaying mean

    def need(self, n_chunks: int, pace: float, n_nodes: int) -> int:
        """Return the chunks that a node should hold; `pace` are those that it does a second.

        n_chunks: of an epoch. Nodes that each trained half of it by themselves would have a mean
        of parameters that know half of it.
        """
        if pace > 0.0:
            self._epoch = n_chunks / pace
        period = max(self.least_period, self._period)
        need = math.ceil(_AHEAD * pace * period)
        if period > _QUICK_SECONDS:
            return need
        return min(need, math.ceil(n_chunks / (_SOME_MERGES * max(n_nodes, 1))))

    @property
    def least_period(self) -> float:
        """The least seconds between two merges."""
        period = min(self.cost / _COST_SHARE, self._epoch / _SOME_MERGES)
        return max(period, self.cost / _MOST_COST_SHARE, _LEAST_SECONDS)

    @property
    def is_due(self) -> bool:
        """Whether the next merge may begin."""
        return time.monotonic() >= self._began + self.least_period

    @property
    def glance(self) -> float:
        """The seconds between two looks at whether it is due."""
        return min(_MOST_GLANCE_SECONDS, max(self.least_period / 2, _LEAST_GLANCE_SECONDS))
