# SPDX-License-Identifier: BSD-3-Clause
"""Values of the parameters between nodes that train streams: out of each, merged, into all.

A node sends the values that its workers have reached, where they differ from those that all nodes
share. The reducer of a shard merges one node after the other into the shared values, as workers
merge their replicas, and sends what has come of them: all nodes take the same bytes.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from hybridtrain._core.leased import UNIT, LeasedStream
from hybridtrain.data.arrays import Floats
from hybridtrain.nodes.compression import Coder
from hybridtrain.nodes.messages import Part
from hybridtrain.nodes.views import shard_bounds
from hybridtrain.transport.frame import Buffer, FrameError

STRETCH = 1 << 18  # coordinates whose values travel in one frame
_HEAD = struct.Struct("<Qf4x")  # rows, pace
_MOST_ROWS = 1 << 48  # of a merge
# Workers measure the second derivative where their rows fit already; between merges of nodes, of
# hundreds of rows each, the loss is steeper. Of mnist's digits, 3 nodes diverge with 1, and do not
# with 8 or 30; few sets learn less with 8.
_STEEPER, _MOST_PACE = 8.0, 1e30
_WHOLE = memoryview(b"")  # stands for a node's own values: no other node can send this object


class Trained(NamedTuple):
    """What a node's workers have done for the values that it sends."""

    rows: int = 0
    pace: float = 0.0  # of coordinates of curvature 1, a row


def pace_of(run: LeasedStream) -> float:
    """Return the pace of a node's rows, for merges with those of other nodes."""
    return min(_STEEPER * run.pace(), _MOST_PACE)


class Values:
    """The shared values, as of the last merge, and those of this node; the `Sums` of its machine.

    Parameters
    ----------
    run : LeasedStream
    curvature : float32 array (n_coordinates,)
        In the user's order.
    coders : function
        Returns a new coder of values.
    rows_so_far : function
        Returns the rows of all nodes since the start of the run.
    is_ending : function
        Returns whether the epoch is about to end: then nothing is left out.

    Attributes
    ----------
    shared, own : float32 array (n_arrays, n_coordinates, and spare ones)
        In the user's order.
    trained : Trained
        How `own` came to be.
    """

    def __init__(
        self,
        run: LeasedStream,
        curvature: Floats,
        coders: Callable[[], Coder],
        rows_so_far: Callable[[], int],
        is_ending: Callable[[], bool],
    ) -> None:
        self._run = run
        self._curvature = curvature
        self._rows_so_far = rows_so_far
        self._coders, self._is_ending = coders, is_ending
        self._coder = coders()
        self._coders_of_total: list[Coder] = []  # one for each stretch of the shard
        self._n = run.n_coordinates
        self.shared = self._empty(self._n)
        self.own = self._empty(self._n)
        self.trained = Trained()
        self._shard = 0
        self._bounds: Sequence[int] = ()
        self._base: list[Floats] = []  # of each stretch of the shard: the shared values
        self._merged: list[Floats] = []  # with those of the nodes so far
        self._rows: list[int] = []  # of these
        self._goes_on = False  # the totals of the step before are the shared values now

    def _empty(self, n: int) -> Floats:
        return np.zeros((self._run.n_arrays, -(-n // UNIT) * UNIT), np.float32)

    # ---- as `Sums` ------------------------------------------------------------------------------

    def start(self, shard: int, n_shards: int) -> None:
        """Expect values of the node's shard, one of so many."""
        if not self._goes_on:
            self._shard = shard
            self._bounds = shard_bounds(self._n, n_shards, UNIT)
            self._base = []  # the shared values may still be replaced
        self._goes_on = False
        self._rows = [0] * len(self._rows)

    def add(self, chunk: int, encoding: int, body: Buffer) -> None:
        """Merge the values of a stretch; or those of this node, of the whole shard.

        Raises
        ------
        FrameError
            When they are none.
        """
        if not self._base:
            self._open()
        if body is _WHOLE:
            for k, (first, last) in enumerate(self._stretches(self._shard)):
                self._merge(k, self._copy(self.own, first, last), self.trained)
            return
        if chunk >= len(self._base):
            raise FrameError("chunk", f"the shard has no stretch {chunk}")
        trained, content = _taken_apart(body)
        first, last = self._stretches(self._shard)[chunk]
        values = self._base[chunk].copy()
        self._decode(encoding, content, values, 0, last - first)
        self._merge(chunk, values, trained)

    def _open(self) -> None:
        stretches = self._stretches(self._shard)
        self._base = [self._copy(self.shared, first, last) for first, last in stretches]
        self._merged = [base.copy() for base in self._base]
        self._rows = [0] * len(stretches)
        self._coders_of_total = [self._coders() for _ in stretches]

    def _merge(self, k: int, values: Floats, trained: Trained) -> None:
        first, _ = self._stretches(self._shard)[k]
        merged, others = self._merged[k], self._rows[k]
        if trained.rows:
            self._run.merge(
                values,
                self._base[k],
                merged,
                merged,
                first=first,
                curvature=self._curvature,
                pace=trained.pace,
                rows=trained.rows,
                others=others,
                epoch_rows=self._rows_so_far() + others + trained.rows,
            )
        self._rows[k] += trained.rows

    def total(self) -> list[Part]:
        """Return the merged values, at least one part; they are the shared ones from now on."""
        if not self._base:
            self._open()
        parts = []
        for k, (first, last) in enumerate(self._stretches(self._shard)):
            head = _HEAD.pack(self._rows[k], 0.0)
            coder, base, n = self._coders_of_total[k], self._base[k], last - first
            encoding, body = coder.encode(self._merged[k], base, 0, n, is_whole=self._is_ending())
            coder.commit()
            coder.decode(encoding, memoryview(body), base, 0, n)
            self._merged[k][:] = base
            parts.append(Part(encoding, head + body))
        self._goes_on = True
        return parts

    # ---- of this node ---------------------------------------------------------------------------

    def collected(self) -> list[list[Part]]:
        """Return the node's own values, of each shard."""
        return [
            [Part(0, _WHOLE)]
            if shard == self._shard
            else [self._encoded(first, last) for first, last in self._stretches(shard)]
            for shard in range(len(self._bounds) - 1)
        ]

    def _encoded(self, first: int, last: int) -> Part:
        encoding, body = self._coder.encode(
            self.own, self.shared, first, last, is_whole=self._is_ending()
        )
        return Part(encoding, _HEAD.pack(*self.trained) + body)

    def take(self, totals: Sequence[Sequence[Part]]) -> int:
        """Take the merged values as the shared ones; return the rows that they are of.

        Raises
        ------
        FrameError
            When a total is none.
        """
        rows = 0
        for shard, parts in enumerate(totals):
            stretches = self._stretches(shard)
            if len(parts) != len(stretches):
                raise FrameError(
                    "chunk", f"shard {shard} has {len(stretches)} stretches, got {len(parts)}"
                )
            for (first, last), part in zip(stretches, parts, strict=True):
                trained, content = _taken_apart(part.body)
                self._decode(part.encoding, content, self.shared, first, last)
                rows = max(rows, trained.rows)
        self._coder.commit()
        return rows

    def _stretches(self, shard: int) -> list[tuple[int, int]]:
        """Return the first and the last coordinate of each stretch; an empty shard has one."""
        first, last = self._bounds[shard : shard + 2]
        return [(at, min(at + STRETCH, last)) for at in range(first, max(last, first + 1), STRETCH)]

    def _decode(
        self, encoding: int, content: memoryview, values: Floats, first: int, last: int
    ) -> None:
        try:
            self._coder.decode(encoding, content, values, first, last)
        except ValueError as error:
            raise FrameError("body", str(error)) from error

    def _copy(self, values: Floats, first: int, last: int) -> Floats:
        result = self._empty(last - first)
        result[:, : last - first] = values[:, first:last]
        return result


def _taken_apart(body: Buffer) -> tuple[Trained, memoryview]:
    content = memoryview(body).cast("B")
    if content.nbytes < _HEAD.size:
        raise FrameError("body", f"values begin with {_HEAD.size} bytes, got {content.nbytes}")
    trained = Trained(*_HEAD.unpack_from(content))
    if trained.rows > _MOST_ROWS or not 0.0 <= trained.pace < math.inf:
        raise FrameError("body", f"no node trains {trained.rows} rows at a pace of {trained.pace}")
    return trained, content[_HEAD.size :]
