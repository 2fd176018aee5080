# SPDX-License-Identifier: BSD-3-Clause
"""Named places in the core where a test may hold a worker; see ht_point.h."""

from libc.stdint cimport uint32_t

from hybridtrain._core.point cimport (
    HT_ANY_WORKER,
    HT_POINT_COUNT,
    ht_point_arm,
    ht_point_fired,
    ht_point_is_held,
    ht_point_release,
    ht_point_t,
    ht_points_t,
)

ANY_WORKER = HT_ANY_WORKER
# In the order of ht_point_t.
POINTS = (
    "before_claim",
    "in_computing",
    "after_commit",
    "in_adding",
    "after_add",
    "in_merging",
    "after_block_commit",
    "in_copying",
    "after_copy",
    "before_phase",
    "before_wake",
    "exchange_locked",
    "exchange_committed",
)
assert len(POINTS) == HT_POINT_COUNT


cdef ht_point_t number(str point) except *:
    return <ht_point_t><int>POINTS.index(point)


cdef class Points:
    """The points of one run, until the run is closed; made by the run."""

    cdef ht_points_t *_open(self) except NULL:
        if self._points == NULL:
            raise ValueError("the run of these points is closed")
        return self._points

    def arm(self, str point, uint32_t worker) -> None:
        """Hold the worker (or ANY_WORKER) at its next pass of a point."""
        ht_point_arm(self._open(), number(point), worker)

    def release(self, str point) -> None:
        """Let the worker that is held at a point go on, and disarm."""
        ht_point_release(self._open(), number(point))

    def is_held(self, str point) -> bool:
        """Whether a worker is held at a point."""
        return ht_point_is_held(self._open(), number(point))

    def fired(self, str point) -> int:
        """Return how often a worker was held at a point."""
        return ht_point_fired(self._open(), number(point))
