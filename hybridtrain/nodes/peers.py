# SPDX-License-Identifier: BSD-3-Clause
"""What the driver knows of each node, and how it tells users of a view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hybridtrain.nodes.messages import Hello, Member, View


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
        """Tell whether answers of it are waited for."""
        return not self.is_gone and not self.is_silent

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


def counted(n_nodes: int) -> str:
    """Return "1 node", "2 nodes"."""
    return f"{n_nodes} node{'s' if n_nodes > 1 else ''}"


def change_of(before: View | None, view: View, peers: Mapping[int, Peer]) -> str:
    """Return the line for users about a view that has begun after another one."""
    line = f"{counted(len(view.members))}: {', '.join(member.name for member in view.members)}"
    if before is None:
        return line
    left = [peers[i] for i in before.incarnations if i not in view.incarnations]
    came = [peers[i].member.name for i in view.incarnations if i not in before.incarnations]
    line += "".join(f"; node {peer.member.name} left: {peer.word}" for peer in left)
    line += "".join(f"; node {name} came" for name in came)
    return f"{line}; step {view.label.steps + 1:,} again"
