# SPDX-License-Identifier: BSD-3-Clause
"""A node's own round as a guest sees it: sums out of it, totals into it, states in and out."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain._core import state
from hybridtrain._core.guest import GROUP, Guest, add, clear, encode
from hybridtrain.nodes.messages import Part, State, Stops, Tally
from hybridtrain.nodes.views import shard_bounds
from hybridtrain.plan.base import Plan
from hybridtrain.plan.stream import StreamPlan
from hybridtrain.run.identity import checksum, content_of
from hybridtrain.run.snapshot import Snapshot, read_snapshot
from hybridtrain.transport.frame import Buffer, FrameError

STRETCH = 1 << 18  # sums that travel in one frame
_MOST_BYTES = 4 << 20  # of a part of a state
_DIGEST = 32

_Sums = npt.NDArray[np.int64]
_Marks = npt.NDArray[np.uint8]


class Exchange:
    """What a node brings to each step and takes home; the `Sums` of its machine.

    A stretch of sums is a part of a shard. The sums of a node's own shard are not encoded: they are
    added to those of the others where the round has them.

    Parameters
    ----------
    run : SyncRun
        Opened with `has_guest`.

    Attributes
    ----------
    guest : Guest
        Of the run.
    """

    def __init__(self, run: Any) -> None:
        self.guest = Guest(run)
        self._shard = 0  # the node's own
        self._bounds: Sequence[int] = ()  # of the shards of the view in hand
        self._own = memoryview(b"")  # stands for its sums: no other node can send this object
        self._sums, self._marks = _zeros(0)
        self._stretch, self._marks_of_stretch = _zeros(min(STRETCH, self.guest.n_sums))

    def start(self, shard: int, n_shards: int) -> None:
        """Forget everything, and expect sums of the node's shard, one of so many."""
        if len(self._bounds) != n_shards + 1:
            self._bounds = shard_bounds(self.guest.n_sums, n_shards, GROUP)
        self._shard = shard
        first, last = self._bounds[shard : shard + 2]
        if len(self._sums) == last - first:
            clear(self._sums, self._marks)
        else:
            self._sums, self._marks = _zeros(last - first)

    def add(self, chunk: int, encoding: int, body: Buffer) -> None:
        """Add the sums of a stretch; or those of this node, of the whole shard.

        Raises
        ------
        FrameError
            When they are none; then nothing has changed.
        """
        if body is self._own:
            first, last = self._bounds[self._shard : self._shard + 2]
            self.guest.collect(first, last, self._sums, self._marks)
            return
        sums = self._sums[chunk * STRETCH : (chunk + 1) * STRETCH]
        if chunk > 0 and not len(sums):
            raise FrameError("chunk", f"the shard has no stretch {chunk}")
        marks = self._marks[chunk * STRETCH // GROUP : (chunk + 1) * STRETCH // GROUP]
        try:
            add(body, encoding, sums, marks)
        except ValueError as error:
            raise FrameError("body", str(error)) from error

    def total(self) -> list[Part]:
        """Return the sums of all nodes, at least one part."""
        parts = []
        for at in range(0, max(len(self._sums), 1), STRETCH):
            marks = self._marks[at // GROUP : (at + STRETCH) // GROUP]
            parts.append(Part(*encode(self._sums[at : at + STRETCH], marks)))
        return parts

    def collected(self) -> list[list[Part]]:
        """Return the node's sums of the step in its exchange, of each shard."""
        return [
            [Part(0, self._own)]
            if shard == self._shard
            else [self._encoded(*stretch) for stretch in self._stretches(shard)]
            for shard in range(len(self._bounds) - 1)
        ]

    def tally(self, stops: Stops) -> Tally:
        """Return what the node's rows of the step amount to, beside their sums."""
        loss, largest, rows, changes = self.guest.tally()
        return Tally(loss=loss, largest=largest, rows=rows, changes=changes, stops=stops)

    def merge(self, totals: Sequence[Sequence[Part]], tally: Tally) -> None:
        """Open the merge of the sums of all nodes.

        Raises
        ------
        FrameError
            When a total is none.
        """
        for shard, parts in enumerate(totals):
            self._put(shard, parts)
        self.guest.merge(tally.loss, tally.largest, tally.rows, tally.changes)

    def _put(self, shard: int, parts: Sequence[Part]) -> None:
        stretches = self._stretches(shard)
        if len(parts) != len(stretches):
            raise FrameError(
                "chunk", f"shard {shard} has {len(stretches)} stretches, got {len(parts)}"
            )
        try:
            for (first, last), part in zip(stretches, parts, strict=True):
                self.guest.put(first, last, part.body, part.encoding)
        except ValueError as error:
            raise FrameError("body", str(error)) from error

    def _stretches(self, shard: int) -> list[tuple[int, int]]:
        """Return where the sums of each stretch begin and end; an empty shard has one."""
        first, last = self._bounds[shard : shard + 2]
        return [(at, min(at + STRETCH, last)) for at in range(first, max(last, first + 1), STRETCH)]

    def _encoded(self, first: int, last: int) -> Part:
        sums = self._stretch[: last - first]
        marks = self._marks_of_stretch[: (last - first) // GROUP]
        self.guest.collect(first, last, sums, marks)
        part = Part(*encode(sums, marks))
        clear(sums, marks)  # for the next stretch
        return part


def _zeros(n: int) -> tuple[_Sums, _Marks]:
    return np.zeros(n, np.int64), np.zeros(n // GROUP, np.uint8)


# ---- states -------------------------------------------------------------------------------------


def packed(snapshot: Snapshot) -> bytes:
    """Return a snapshot as bytes that end with their digest."""
    return sealed(b"".join(snapshot.pieces()))


def unpacked(content: bytes) -> Snapshot:
    """Return what `packed` was given.

    Raises
    ------
    ValueError
        When it is damaged.
    """
    content = unsealed(content)
    return read_snapshot(BytesIO(content), len(content))


def digest_of_state(snapshot: Snapshot | None) -> bytes:
    """Return a digest of parameters and state; b"": they are not finite."""
    return b"" if snapshot is None else checksum([snapshot.arrays], threads=1).encode()


def replace(run: Any, snapshot: Snapshot, share: tuple[int, int]) -> None:
    """Put a state in the place of a run's own, whose step is in its exchange."""
    arrays = snapshot.arrays.reshape(len(snapshot.arrays), -1)
    state.replace(run, snapshot.numbers, arrays, first=share[0], last=share[1])


def sealed(content: bytes) -> bytes:
    """Return content that ends with its digest."""
    return content + blake2b(content, digest_size=_DIGEST).digest()


def unsealed(content: bytes) -> bytes:
    """Return content without its digest.

    Raises
    ------
    ValueError
        When it is not that of the content.
    """
    content, digest = content[:-_DIGEST], content[-_DIGEST:]
    if blake2b(content, digest_size=_DIGEST).digest() != digest:
        raise ValueError("a state has come damaged: its digest is another one")
    return content


def state_messages(content: bytes, ballot: int = 0) -> list[State]:
    """Return content as messages, at least one, each small enough for a frame."""
    view = memoryview(content)
    last = max(len(view) - 1, 0) // _MOST_BYTES
    return [
        State(ballot=ballot, chunk=k, is_last=k == last, body=view[k * _MOST_BYTES :][:_MOST_BYTES])
        for k in range(last + 1)
    ]


def digest_of(plan: Plan, parameters: npt.NDArray[np.float32]) -> bytes:
    """Return a digest of what must be equal at every node: plan, rows and start."""
    rows = plan.rows
    is_stream = isinstance(plan, StreamPlan)  # whose rates and columns may differ between nodes
    equal = ("optimizer",) if is_stream else _EQUAL
    told = [
        plan.rates.epochs,
        getattr(plan, "local", None),
        getattr(plan, "compress", None),
        plan.seed,
        rows.shape,
        sorted((name, value) for name, value in plan.choices.items() if name in equal),
        sorted(plan.problem.constants.items()),
    ]
    digest = blake2b(repr(told).encode(), digest_size=_DIGEST)
    digest.update(parameters.tobytes())
    if not is_stream:
        digest.update(plan.rates.of_epoch(1).tobytes())
    digest.update(content_of(plan.problem, plan.workers).encode())
    for name in ("l1_factor",) if is_stream else ("inverse_share", "scales", "l1_factor"):
        array = getattr(plan, name)
        if array is not None:
            digest.update(array.tobytes())
    return digest.digest()


_EQUAL = ("optimizer", "lr", "batch_size", "task_rows")
