# SPDX-License-Identifier: BSD-3-Clause
"""The guest of a synchronous run: what one of several nodes brings to a step, and takes home."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from hybridtrain._core.base cimport HT_EINTR, HT_ESTOPPED, HT_OK, ht_err_t
from hybridtrain._core.check cimport check, deadline_in
from hybridtrain._core.sync cimport SyncRun

GROUP = 8  # coordinates to a mark; shards begin at a multiple
SHARES = HT_SHARES


cdef class Guest:
    """What one thread does for a run that was opened with `has_guest`; see ht_sync_guest.h.

    `collect`, `tally`, `put`, `merge` and `repeat` belong to the exchange that `await_exchange`
    has found; in no exchange, the last two raise ValueError.
    """

    cdef SyncRun _run
    cdef readonly int64_t n_coordinates

    def __cinit__(self, SyncRun run not None):
        self._run = run
        self.n_coordinates = ht_sync_n_coordinates(run._open())

    def set_share(self, uint32_t first, uint32_t last) -> None:
        """Set the share of the first step: tasks T * first / SHARES to T * last / SHARES."""
        check(ht_sync_set_share(self._run._open(), ht_share_t(first, last)))

    def await_exchange(self, double seconds) -> bool | None:
        """Wait for a step's exchange; None: the time ran out; False: the workers leave."""
        cdef uint64_t deadline = deadline_in(seconds)
        cdef ht_err_t err = HT_EINTR
        self._run._enter(0)
        try:
            while err == HT_EINTR:
                with nogil:
                    err = ht_sync_await_exchange(self._run._sync, deadline)
                if err == HT_EINTR:
                    check(err)
        finally:
            self._run._exit()
        return False if err == HT_ESTOPPED else True if err == HT_OK else None

    def is_merging(self) -> bool:
        """Return whether a step is in its merge; no other begins before `merge`."""
        return ht_sync_is_merging(self._run._open()) != 0

    def applied(self) -> int:
        """Return how many steps of all nodes were merged or refused since the start."""
        return ht_sync_applied(self._run._open())

    cdef int _require(self, int64_t first, int64_t last, Py_ssize_t sums,
                      Py_ssize_t marks) except -1:
        cdef int64_t groups = (last - first + GROUP - 1) // GROUP
        if first < 0 or first % GROUP or first > last or last > self.n_coordinates:
            raise ValueError(f"no such coordinates: {first} to {last}")
        if last % GROUP and last != self.n_coordinates:
            raise ValueError(f"a stretch ends with a group of {GROUP} coordinates")
        if sums != groups * GROUP or marks != groups:
            raise ValueError("sums and marks hold whole groups")
        return 0

    def collect(self, int64_t first, int64_t last, int64_t[::1] sums not None,
                uint8_t[::1] marks not None) -> None:
        """Write the sums of coordinates first .. last-1 of this node, and the marks of groups."""
        self._require(first, last, sums.shape[0], marks.shape[0])
        if first < last:
            self._run._enter(0)
            with nogil:
                ht_sync_collect(self._run._sync, first, last, &sums[0], &marks[0])
            self._run._exit()

    def put(self, int64_t first, int64_t last, const int64_t[::1] sums not None,
            const uint8_t[::1] marks not None) -> None:
        """Set the sums of all nodes, in the form of `collect`."""
        self._require(first, last, sums.shape[0], marks.shape[0])
        if first < last:
            self._run._enter(0)
            with nogil:
                ht_sync_put(self._run._sync, first, last, &sums[0], &marks[0])
            self._run._exit()

    def tally(self) -> tuple[int, float, int]:
        """Return (loss, in units of its grid; largest gradient; rows) of this node's tasks."""
        cdef ht_sync_total_t total = ht_sync_tally(self._run._open())
        return total.loss, total.largest, total.rows

    def merge(self, int64_t loss, double largest, uint64_t rows) -> None:
        """Open the merge of what was put, with the total of all nodes in the form of `tally`."""
        cdef ht_sync_total_t total = ht_sync_total_t(loss, largest, rows)
        check(ht_sync_merge(self._run._open(), &total))

    def repeat(self, uint32_t first, uint32_t last) -> None:
        """Make the step count for nothing; the next one takes its batch, with this share."""
        check(ht_sync_repeat(self._run._open(), ht_share_t(first, last)))
