# SPDX-License-Identifier: BSD-3-Clause
"""What the driver knows of each node, and how it tells users of a view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hybridtrain.nodes.messages import Hello, Member, View

_MOST_NAMES = 8
_SILENT_SECONDS = 2.5  # a beat is due each second


@dataclass(slots=True)
class Peer:
    """A node, as the driver knows it.

    Attributes
    ----------
    member : Member
        Who it is.
    is_gone : bool
        It is dead or has ended: nothing comes from it that counts.
    is_silent : bool
        It was not heard of for too long, and may come back.
    is_leaving : bool
        Its machine will be taken away.
    is_between : bool
        It was told of another part of the run, and has not said HELLO for that yet.
    word : str
        Its last one, or what became of it.
    steps : int
        That it has applied, as it last said.
    rate : float
        Rows a second of its own work, as it last said; 0: unknown.
    waits_for : tuple of int
        Members whose sums or totals it lacked, as it last said; for users.
    """

    member: Member
    is_gone: bool = False
    is_silent: bool = False
    is_leaving: bool = False
    is_between: bool = False
    word: str = "running"
    steps: int = 0
    rate: float = 0.0
    waits_for: tuple[int, ...] = ()

    @property
    def incarnation(self) -> int:
        """Return its name on the net."""
        return self.member.incarnation

    @property
    def is_here(self) -> bool:
        """Tell whether it was heard of."""
        return not self.is_gone and not self.is_silent

    @property
    def is_asked(self) -> bool:
        """Tell whether answers of it are waited for."""
        return self.is_here and not self.is_between

    def missed(self) -> None:
        """Note that it was not heard of."""
        self.is_silent, self.word = True, "silent"

    def heard(self) -> None:
        """Note that it lives."""
        if self.is_silent:
            self.is_silent, self.word = False, "running"


def refusal_of(hello: Hello, version: str, plan: bytes, *, is_ending: bool) -> str:
    """Return why a node cannot take part in a run of this version and plan; "": it can."""
    if hello.version != version:
        return f"it has hybridtrain {hello.version}, the driver has {version}"
    if hello.plan != plan:
        return "its rows, its settings or its start differ from those of the first node"
    return "the run is ending" if is_ending else ""


def lack_of(peers: Mapping[int, Peer], min_nodes: int) -> str:
    """Return what a view lacks that cannot be named."""
    n = sum(peer.is_here for peer in peers.values())
    needed = f"{min_nodes} are" if n < min_nodes else "one that has every step is"
    return f"{n} node{' is' if n == 1 else 's are'} there, {needed} needed"


def difference_of(digests: Mapping[int, bytes], peers: Mapping[int, Peer]) -> str:
    """Return which nodes have other parameters than the first one; "": all have the same."""
    first = next(iter(digests))
    others = [peers[i].member.name for i in digests if digests[i] != digests[first]]
    name = peers[first].member.name
    return f"{listed(others)} and {name} have different parameters" if others else ""


def counted(n_nodes: int) -> str:
    """Return "1 node", "2 nodes"."""
    return f"{n_nodes} node{'s' if n_nodes > 1 else ''}"


def listed(names: Sequence[str]) -> str:
    """Return names, or the first ones of many."""
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def change_of(
    before: View | None, view: View, peers: Mapping[int, Peer], *, is_next: bool = False
) -> str:
    """Return the line for users about a view that has begun after another one.

    is_next: it is the first one of the run's next part.
    """
    n_nodes, names = counted(len(view.members)), listed([member.name for member in view.members])
    if before is None:
        return f"{n_nodes}: {names}"
    left = [peers[i] for i in before.incarnations if i not in view.incarnations]
    came = [peers[i].member.name for i in view.incarnations if i not in before.incarnations]
    line = n_nodes if left else f"{n_nodes}: {names}"
    line += "".join(f"; node {peer.member.name} left: {peer.word}" for peer in left)
    line += f"; {'its' if len(left) == 1 else 'their'} rows go to {names}" if left else ""
    line += "".join(f"; node {name} came" for name in came)
    return f"{line}; " + (
        "the next strategy begins" if is_next else f"step {view.label.steps + 1:,} again"
    )


def delay_of(step: int, seconds: float, members: Sequence[tuple[Peer, float]]) -> str:
    """Return the line for users about a step that takes long; "": nobody waits for a node.

    A node that waits itself is not to blame, unless nothing is heard of it.

    Parameters
    ----------
    step : int
        In hand, from 1.
    seconds : float
        For which it was in hand.
    members : sequence of (Peer, float)
        Of the view, and the seconds since each was heard of.
    """
    waited = {i for peer, _ in members for i in peer.waits_for}
    reasons = []
    for peer, unheard in members:
        is_silent = unheard > _SILENT_SECONDS
        is_waited_for = peer.is_between or peer.incarnation in waited
        if is_waited_for and (is_silent or not peer.waits_for):
            at_work = "not at the next strategy yet" if peer.is_between else "still at its rows"
            what = f"silent for {unheard:.0f} s" if is_silent else at_work
            reasons.append(f"{peer.member.name} ({what})")
    return f"step {step:,} takes {seconds:.0f} s: waiting for {listed(reasons)}" if reasons else ""
