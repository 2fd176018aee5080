# SPDX-License-Identifier: BSD-3-Clause
"""The guest of a synchronous run: what one of several nodes brings to a step, and takes home.

Between nodes a stretch of sums is bytes; see ht_encoding.h.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from hybridtrain._core.base cimport HT_EINTR, HT_ESTOPPED, ht_err_t
from hybridtrain._core.check cimport check, deadline_in
from hybridtrain._core.sync cimport HT_CHANGES_ARRAYS, SyncRun

SHARES = HT_SHARES
COORDINATES, GROUPS, DENSE = HT_BY_COORDINATES, HT_BY_GROUPS, HT_ALL_SUMS
GROUP = HT_SUMS_GROUP  # sums to a mark; shards begin at a multiple
MOST_GROUPS = HT_ENCODING_MOST_GROUPS  # of one body


cdef int64_t _groups_of(Py_ssize_t sums, Py_ssize_t marks) except -1:
    if sums != marks * HT_SUMS_GROUP:
        raise ValueError(f"{marks} groups have {marks * HT_SUMS_GROUP} sums, got {sums}")
    return marks


cdef int _check_body(const uint8_t[::1] body, int encoding, int64_t n_groups) except -1:
    """Raise ValueError unless a body encodes so many groups."""
    cdef size_t nbytes = <size_t> body.shape[0]
    cdef const char *expected
    with nogil:
        expected = ht_encoding_check(&body[0] if nbytes else NULL, nbytes, encoding, n_groups)
    if expected != NULL:
        raise ValueError(
            f"sums of {n_groups} groups should have {expected.decode()}; got {nbytes} bytes of "
            f"encoding {encoding}"
        )
    return 0


def encode(const int64_t[::1] sums not None, const uint8_t[::1] marks not None):
    """Return the shortest encoding of at most MOST_GROUPS groups, and the body.

    Sums are zero in groups that are not marked; the choice is a function of sums and marks.
    """
    cdef int64_t n = _groups_of(sums.shape[0], marks.shape[0])
    if n > HT_ENCODING_MOST_GROUPS:
        raise ValueError(f"a body has at most {HT_ENCODING_MOST_GROUPS} groups, got {n}")
    cdef const int64_t *values = &sums[0] if n else NULL
    cdef const uint8_t *marked = &marks[0] if n else NULL
    cdef ht_encoding_t chosen
    with nogil:
        chosen = ht_encoding_choose(values, marked, n)
    body = PyBytes_FromStringAndSize(NULL, chosen.nbytes)
    cdef uint8_t *at = <uint8_t *> PyBytes_AS_STRING(body)
    with nogil:
        ht_encoding_write(&chosen, values, marked, n, at)
    return chosen.encoding, body


def add(const uint8_t[::1] body not None, int encoding, int64_t[::1] sums not None,
        uint8_t[::1] marks not None):
    """Add the sums of a body to others, modulo 2**64, and mark its groups with 1.

    Raises ValueError when the body, which may be from whomever, does not encode these groups; then
    nothing has changed.
    """
    cdef int64_t n = _groups_of(sums.shape[0], marks.shape[0])
    _check_body(body, encoding, n)
    if n:
        with nogil:
            ht_encoding_add(&body[0], encoding, n, &sums[0], &marks[0])


def clear(int64_t[::1] sums not None, uint8_t[::1] marks not None):
    """Set the sums of the marked groups, and their marks, to 0."""
    cdef int64_t n = _groups_of(sums.shape[0], marks.shape[0])
    if n:
        with nogil:
            ht_encoding_clear(&sums[0], &marks[0], n)


cdef class Guest:
    """What one thread does for a run that was opened with `has_guest`; see ht_sync_guest.h.

    `collect`, `tally`, `put`, `merge` and `repeat` belong to the exchange that `await_exchange`
    has found; in no exchange, the last two raise ValueError.
    """

    cdef SyncRun _run
    cdef readonly int64_t n_sums

    def __cinit__(self, SyncRun run not None):
        self._run = run
        self.n_sums = ht_sync_n_sums(run._open())

    def set_share(self, uint32_t first, uint32_t last) -> None:
        """Set the share of the first step: about T * first / SHARES to T * last / SHARES of T tasks."""
        check(ht_sync_set_share(self._run._open(), ht_share_t(first, last)))

    def await_exchange(self, uint32_t step, double seconds) -> int | None:
        """Wait for the exchange of another step than `step`, 0: of any, and return its number.

        Returns `step` when the time ran out, and None when the workers leave.
        """
        cdef uint64_t deadline = deadline_in(seconds)
        cdef ht_err_t err = HT_EINTR
        self._run._enter(0)
        try:
            while err == HT_EINTR:
                with nogil:
                    err = ht_sync_await_exchange(self._run._sync, &step, deadline)
                if err == HT_EINTR:
                    check(err)
        finally:
            self._run._exit()
        return None if err == HT_ESTOPPED else step

    def is_merging(self) -> bool:
        """Return whether a step is in its merge; no other begins before `merge`."""
        return ht_sync_is_merging(self._run._open()) != 0

    def applied(self) -> int:
        """Return how many steps of all nodes were merged or refused since the start."""
        return ht_sync_applied(self._run._open())

    cdef int64_t _groups(self, int64_t first, int64_t last) except -1:
        """Return the number of groups of sums first .. last-1, which must be whole ones."""
        if first < 0 or first > last or last > self.n_sums:
            raise ValueError(f"no such sums: {first} to {last}")
        if first % HT_SUMS_GROUP or last % HT_SUMS_GROUP:
            raise ValueError(f"a stretch has whole groups of {HT_SUMS_GROUP} sums")
        return (last - first) // HT_SUMS_GROUP

    def collect(self, int64_t first, int64_t last, int64_t[::1] sums not None,
                uint8_t[::1] marks not None) -> None:
        """Add this node's sums first .. last-1 to others; mark their groups."""
        cdef int64_t n = self._groups(first, last)
        if sums.shape[0] != n * HT_SUMS_GROUP or marks.shape[0] != n:
            raise ValueError("sums and marks hold whole groups")
        if n:
            self._run._enter(0)
            with nogil:
                ht_sync_collect(self._run._sync, first, last, &sums[0], &marks[0])
            self._run._exit()

    def put(self, int64_t first, int64_t last, const uint8_t[::1] body not None,
            int encoding) -> None:
        """Set the sums first .. last-1 of all nodes to those of a body.

        Raises ValueError when it does not encode these; then nothing has changed.
        """
        cdef int64_t n = self._groups(first, last)
        _check_body(body, encoding, n)
        if n:
            self._run._enter(0)
            with nogil:
                ht_sync_put(self._run._sync, first, last, &body[0], encoding)
            self._run._exit()

    def tally(self) -> tuple[int, float, int, tuple[float, ...]]:
        """Return what this node's tasks add up to beside their sums.

        Returns
        -------
        loss : int
            In units of its grid.
        largest : float
            The largest gradient.
        rows : int
        changes : tuple of float
            The largest change of a replica, of each array; 0: there is none.
        """
        cdef ht_sync_total_t total = ht_sync_tally(self._run._open())
        return total.loss, total.largest, total.rows, tuple(total.changes)

    def merge(self, int64_t loss, double largest, uint64_t rows, tuple changes not None) -> None:
        """Open the merge of what was put, with the total of all nodes in the form of `tally`.

        Raises ValueError for another number of changes; then nothing has changed.
        """
        cdef ht_sync_total_t total
        total.loss, total.largest, total.rows = loss, largest, rows
        if len(changes) != HT_CHANGES_ARRAYS:
            raise ValueError(f"a total has {HT_CHANGES_ARRAYS} changes, got {len(changes)}")
        for k in range(HT_CHANGES_ARRAYS):
            total.changes[k] = changes[k]
        check(ht_sync_merge(self._run._open(), &total))

    def repeat(self, uint32_t first, uint32_t last) -> None:
        """Make the step count for nothing; the next one takes its batch, with this share."""
        check(ht_sync_repeat(self._run._open(), ht_share_t(first, last)))
