# SPDX-License-Identifier: BSD-3-Clause
"""Arithmetic of views: which parameters go on, who sums which rows, who adds which coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hybridtrain.nodes.messages import WHOLE_BATCH, Label, Member, View

_LEAST_SHARE = 0.05  # of an equal one: a slow node is measured again


class Answer(NamedTuple):
    """What a node said to `Freeze`."""

    member: Member
    installed: int  # ballot of the view; 0: none
    label: Label


def next_view(
    ballot: int,
    begun: int,
    answers: Sequence[Answer],
    rates: Sequence[float] = (),
    gone: Sequence[int] = (),
) -> View | None:
    """Return the view that the answers allow, all of whose nodes are its members.

    Only members of the newest begun view, or of one named after it, hold every step that all
    members had applied. Among the views of the answers the newest goes on: a node that has
    applied more under an older one was left behind by it.

    Parameters
    ----------
    ballot : int
        Of the view to be named.
    begun : int
        Ballot of the newest view that has begun; 0: none has.
    answers : sequence of Answer
        In the order of the members' places.
    rates : sequence of float
        The members' rows a second, in the same order; empty: unknown.
    gone : sequence of int
        Nodes that have ended.

    Returns
    -------
    View or None
        None: nobody who answered holds every step that users were told of.
    """
    newest = max((answer.installed for answer in answers), default=0)
    if not answers or newest < begun:
        return None
    # Before the first view has begun all have the parameters at the start, or a saved state.
    holders = [answer for answer in answers if answer.installed == newest or begun == 0]
    source = max(holders, key=lambda answer: answer.label.steps)
    return View(
        ballot=ballot,
        members=tuple(answer.member for answer in answers),
        source=source.member.incarnation,
        label=source.label,
        shares=shares(len(answers), rates),
        gone=tuple(gone),
    )


def shares(n_members: int, rates: Sequence[float] = ()) -> tuple[int, ...]:
    """Return the bounds of the members' parts of a batch, in 65,536ths: from 0 to 65,536.

    The parts are proportional to the rates, if every rate is known (above 0), else equal.
    """
    weights = [1.0] * n_members
    if len(rates) == n_members and min(rates) > 0:
        mean = sum(rates) / n_members
        weights = [max(rate / mean, _LEAST_SHARE) for rate in rates]
    sums = [sum(weights[:k]) for k in range(n_members + 1)]
    return tuple(round(WHOLE_BATCH * part / sums[-1]) for part in sums)


def shard_bounds(n_coordinates: int, n_shards: int, unit: int = 1) -> tuple[int, ...]:
    """Return where the shards of the coordinates begin and end: from 0 to `n_coordinates`.

    All bounds but the last are multiples of `unit` coordinates. A shard may be empty.
    """
    n_units = -(-n_coordinates // unit)
    return tuple(min(n_coordinates, unit * (n_units * k // n_shards)) for k in range(n_shards + 1))
