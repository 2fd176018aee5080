# SPDX-License-Identifier: BSD-3-Clause
"""Named places in the core where a test may hold a worker; see ht_point.h."""

from libc.stdint cimport uint32_t

from hybridtrain._core.point cimport (
    HT_ANY_WORKER,
    HT_POINT_COUNT,
    HT_POSITION_TAKEN,
    ht_point_arm,
    ht_point_fired,
    ht_point_held,
    ht_point_release,
    ht_point_t,
    ht_points_t,
)

ANY_WORKER = HT_ANY_WORKER
# In the order of ht_point_t.
POINTS = (
    "before_claim",
    "after_claim",
    "in_computing",
    "after_commit",
    "in_adding",
    "after_add",
    "in_merging",
    "in_judging",
    "after_block_commit",
    "in_copying",
    "heir_copying",
    "after_copy",
    "before_phase",
    "before_wake",
    "position_taken",
    "chunk_claimed",
    "chunk_begun",
    "group_stepped",
    "group_finished",
    "at_gate",
    "exchange_locked",
    "exchange_committed",
    "in_averaging",
)
assert len(POINTS) == HT_POINT_COUNT
ROUND_POINTS = POINTS[:HT_POSITION_TAKEN]  # those that workers of the round pass
STREAM_POINTS = POINTS[HT_POSITION_TAKEN:]


cdef ht_point_t number(str point) except *:
    return <ht_point_t><int>POINTS.index(point)


cdef class Points:
    """The points of one run, until the run is closed; made by the run."""

    cdef ht_points_t *_open(self) except NULL:
        if self._points == NULL:
            raise ValueError("the run of these points is closed")
        return self._points

    def arm(self, str point, uint32_t worker, uint32_t step=0) -> None:
        """Hold the worker (or ANY_WORKER) at its next pass of a point, not before a step."""
        ht_point_arm(self._open(), number(point), worker, step)

    def release(self, str point) -> None:
        """Let the worker that is held at a point go on, and disarm."""
        ht_point_release(self._open(), number(point))

    def held(self, str point) -> tuple[int, int] | None:
        """Return the worker that is held at a point, and its step; None: nobody."""
        cdef uint32_t worker = 0, step = 0
        is_held = ht_point_held(self._open(), number(point), &worker, &step)
        return (worker, step) if is_held else None

    def is_held(self, str point) -> bool:
        """Whether a worker is held at a point."""
        return self.held(point) is not None

    def fired(self, str point) -> int:
        """Return how often a worker was held at a point."""
        return ht_point_fired(self._open(), number(point))
