# SPDX-License-Identifier: BSD-3-Clause
"""A node's own round as a guest sees it: sums out of it, totals into it, states in and out."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from io import BytesIO
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain._core import state
from hybridtrain._core.guest import GROUP, Guest
from hybridtrain.nodes.messages import Part, Tally
from hybridtrain.nodes.views import shard_bounds
from hybridtrain.plan.base import Plan
from hybridtrain.run.snapshot import Snapshot, read_snapshot
from hybridtrain.transport import encoding
from hybridtrain.transport.frame import Buffer, FrameError

STRETCH = 1 << 18  # coordinates whose sums travel in one frame
_MOST_BYTES = 4 << 20  # of a part of a state
_DIGEST = 32

_Sums = npt.NDArray[np.int64]
_Marks = npt.NDArray[np.uint8]


class Stretches:
    """Sums of one shard, a stretch of coordinates to a frame; see `Sums` of reducer.py.

    Parameters
    ----------
    n_coordinates : int
        Of the model.
    """

    def __init__(self, n_coordinates: int) -> None:
        self.n_coordinates = -(-n_coordinates // GROUP) * GROUP
        self._first = 0
        self._sums: _Sums = np.empty(0, np.int64)
        self._marks: _Marks = np.empty(0, np.uint8)

    def start(self, shard: int, n_shards: int) -> None:
        """Forget everything, and expect sums of this shard, one of so many."""
        first, last = shard_bounds(self.n_coordinates, n_shards, GROUP)[shard : shard + 2]
        self._first = first
        if len(self._sums) != last - first:
            self._sums = np.zeros(last - first, np.int64)
            self._marks = np.zeros((last - first) // GROUP, np.uint8)
        elif self._marks.any():
            self._sums.reshape(-1, GROUP)[self._marks != 0] = 0
            self._marks[:] = 0

    def add(self, chunk: int, encoding_: int, body: Buffer) -> None:
        """Add the sums of a stretch.

        Raises
        ------
        FrameError
            When they are none; then nothing has changed.
        """
        sums = self._sums[chunk * STRETCH : (chunk + 1) * STRETCH]
        if chunk > 0 and not len(sums):
            raise FrameError("chunk", f"the shard has no stretch {chunk}")
        marks = self._marks[chunk * STRETCH // GROUP : (chunk + 1) * STRETCH // GROUP]
        encoding.add(body, encoding_, sums, marks)

    def total(self) -> list[Part]:
        """Return the sums, at least one part."""
        return _parts(self._sums, self._marks)

    def put(self, guest: Guest, parts: Sequence[Part]) -> None:
        """Write the total of the shard into the node's round."""
        for chunk, part in enumerate(parts):
            self.add(chunk, part.encoding, part.body)
        last = min(self._first + len(self._sums), guest.n_coordinates)
        guest.put(self._first, last, self._sums, self._marks)


def _parts(sums: _Sums, marks: _Marks) -> list[Part]:
    parts = []
    for at in range(0, max(len(sums), 1), STRETCH):
        of_groups = marks[at // GROUP : (at + STRETCH) // GROUP]
        parts.append(Part(*encoding.encode(sums[at : at + STRETCH], of_groups)))
    return parts


class Exchange:
    """What a node brings to each step, and takes home.

    Parameters
    ----------
    run : SyncRun
        Opened with `has_guest`.

    Attributes
    ----------
    guest : Guest
        Of the run.
    sums : Stretches
        Where the shard of this node is added up.
    """

    def __init__(self, run: Any) -> None:
        self.guest = Guest(run)
        self.sums = Stretches(self.guest.n_coordinates)
        self._totals = Stretches(self.guest.n_coordinates)

    def collected(self, n_shards: int) -> list[list[Part]]:
        """Return the node's sums of the step in its exchange, of each shard."""
        n = self.sums.n_coordinates
        sums, marks = np.empty(n, np.int64), np.empty(n // GROUP, np.uint8)
        self.guest.collect(0, self.guest.n_coordinates, sums, marks)
        return [
            _parts(sums[first:last], marks[first // GROUP : last // GROUP])
            for first, last in pairwise(shard_bounds(n, n_shards, GROUP))
        ]

    def tally(self, *, stops: bool) -> Tally:
        """Return what the node's rows of the step amount to, beside their sums."""
        loss, largest, rows = self.guest.tally()
        return Tally(loss=loss, largest=largest, rows=rows, stops=1 if stops else 0)

    def merge(self, totals: Sequence[Sequence[Part]], tally: Tally) -> None:
        """Open the merge of the sums of all nodes."""
        for shard, parts in enumerate(totals):
            self._totals.start(shard, len(totals))
            self._totals.put(self.guest, parts)
        self.guest.merge(tally.loss, tally.largest, tally.rows)


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


def cut(content: bytes) -> list[memoryview]:
    """Return parts of content, at least one, each small enough for a frame."""
    view = memoryview(content)
    return [view[at : at + _MOST_BYTES] for at in range(0, max(len(view), 1), _MOST_BYTES)]


def digest_of(plan: Plan, parameters: npt.NDArray[np.float32]) -> bytes:
    """Return a digest of what must be equal at every node: plan, rows and start."""
    rows = plan.rows
    told = [
        plan.rates.epochs,
        plan.seed,
        rows.shape,
        sorted((name, value) for name, value in plan.choices.items() if name in _EQUAL),
        sorted(plan.problem.constants.items()),
    ]
    digest = blake2b(repr(told).encode(), digest_size=_DIGEST)
    digest.update(parameters.tobytes())
    digest.update(plan.rates.of_epoch(1).tobytes())
    for name in ("targets", "weights"):
        if name in rows.arrays:
            digest.update(rows.arrays[name])
    for array in (plan.inverse_share, plan.scales, plan.l1_factor):  # type: ignore[attr-defined]
        if array is not None:
            digest.update(array.tobytes())
    return digest.digest()


_EQUAL = ("optimizer", "lr", "batch_size", "task_rows")
