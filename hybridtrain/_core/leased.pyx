# SPDX-License-Identifier: BSD-3-Clause
"""Streams of several nodes: chunks that are leased, and values that nodes exchange.

Values are float32 arrays of one row for each array of the optimizer's state, whose columns are
coordinates in the user's order, and some spare ones up to a whole number of LANES.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.math cimport isfinite
from libc.stdint cimport int64_t, uint8_t, uint64_t

from hybridtrain._core.feed cimport ht_feed_n_rows, ht_feed_t
from hybridtrain._core.stream cimport Stream, ht_stream_feed, ht_stream_n_arrays
from hybridtrain._core.vector cimport HT_LANES

OPEN, TAKEN, DONE, AWAY = HT_CHUNK_OPEN, HT_CHUNK_TAKEN, HT_CHUNK_DONE, HT_CHUNK_AWAY
UNIT = HT_LANES  # shards of coordinates begin at a multiple


def encode(const float[:, ::1] values not None, const float[:, ::1] base not None,
           int64_t first, int64_t last):
    """Return the body of the coordinates first .. last-1 of which a bit differs from base."""
    _check_range(values, first, last)
    _check_range(base, first, last)
    if values.shape[0] != base.shape[0] or values.shape[1] != base.shape[1]:
        raise ValueError("values and base must have the same shape")
    cdef int64_t n = last - first, stride = values.shape[1]
    cdef int arrays = <int> values.shape[0]
    cdef size_t nbytes = ht_values_most_nbytes(n, arrays)
    body = PyBytes_FromStringAndSize(NULL, <Py_ssize_t> nbytes)
    cdef uint8_t *at = <uint8_t *> PyBytes_AS_STRING(body)
    if n:
        with nogil:
            nbytes = ht_values_encode(&values[0, first], &base[0, first], n, arrays, stride, at)
    return body[:nbytes]


def decode(const uint8_t[::1] body not None, float[:, ::1] values not None, int64_t first,
           int64_t last) -> None:
    """Write the values of a body to the coordinates first .. last-1.

    Raises ValueError when the body, which may be from whomever, is not that of these; then
    nothing has changed.
    """
    _check_range(values, first, last)
    cdef int64_t n = last - first, stride = values.shape[1]
    cdef int arrays = <int> values.shape[0]
    cdef size_t nbytes = <size_t> body.shape[0]
    cdef const uint8_t *at = &body[0] if nbytes else NULL
    cdef int is_body
    with nogil:
        is_body = ht_values_is_body(at, nbytes, n, arrays)
        if is_body and n:
            ht_values_decode(at, n, arrays, stride, &values[0, first])
    if not is_body:
        raise ValueError(f"{nbytes} bytes are not the values of {n} coordinates")


cdef int _check_range(const float[:, ::1] values, int64_t first, int64_t last) except -1:
    if not 0 <= first <= last <= values.shape[1]:
        raise ValueError("the coordinates are not those of the values")
    return 0


cdef bint _has_shape(const float[:, ::1] values, int n_arrays, int64_t n):
    return values.shape[0] == n_arrays and values.shape[1] == n


cdef class LeasedStream(Stream):
    """A stream whose workers train the chunks that are leased to them; see ht_stream_guest.h.

    Attributes
    ----------
    between : object or None
        Stands between the run and other nodes, once it is a member: `open`, `resume`,
        `await_rest`, `stop` and `report` are called in the place of the run's own.
    """

    cdef public object between
    cdef readonly int64_t n_coordinates
    cdef readonly int n_arrays

    def __cinit__(self, *given, **settings):
        self.n_coordinates = ht_stream_n_coordinates(self._stream)
        self.n_arrays = ht_stream_n_arrays(self._stream)

    # ---- as a job sees the run

    def begin(self, epoch) -> None:
        """Open an epoch, of all nodes; see `Stream.begin`."""
        Stream.begin(self, epoch)
        if self.between is not None:
            self.between.open()

    def resume(self) -> None:
        """Go on with an epoch that was stopped."""
        if self.between is None:
            Stream.resume(self)
        else:
            self.between.resume()

    def await_rest(self, seconds) -> bool:
        """Wait until the epoch is over at all nodes, or was stopped; see `Stream.await_rest`."""
        if self.between is None:
            return Stream.await_rest(self, seconds)
        return self.between.await_rest(seconds)

    def stop_epoch(self) -> None:
        """Ask the workers to end the epoch early."""
        if self.between is not None:
            self.between.stop()
        Stream.stop_epoch(self)

    def epoch_report(self) -> dict:
        """Return what the open epoch has done so far, at all nodes; see `Stream.epoch_report`."""
        report = Stream.epoch_report(self)
        return report if self.between is None else self.between.report(report)

    # ---- as what stands between sees it: at rest

    def wake(self) -> None:
        """Let the workers train what is offered."""
        Stream.resume(self)

    def await_workers(self, seconds) -> bool:
        """Wait until the workers rest; see `Stream.await_rest`."""
        return Stream.await_rest(self, seconds)

    def call(self) -> None:
        """Ask the workers to rest; any thread."""
        Stream.stop_epoch(self)

    def local_report(self) -> dict:
        """Return what the workers here have done of the open epoch."""
        return Stream.epoch_report(self)

    def chunks(self, uint64_t first, uint8_t[::1] states not None) -> None:
        """Write what chunks are, from `first` on: OPEN, TAKEN, DONE or AWAY."""
        self._check_chunks(first, first + <uint64_t> states.shape[0])
        if states.shape[0]:
            ht_stream_chunks(self._stream, first, first + <uint64_t> states.shape[0], &states[0])

    def set_chunks(self, uint64_t first, uint64_t last, int state) -> None:
        """Set the chunks first .. last-1 to OPEN, DONE or AWAY."""
        self._check_chunks(first, last)
        if state not in (HT_CHUNK_OPEN, HT_CHUNK_DONE, HT_CHUNK_AWAY):
            raise ValueError(f"no state that can be set: {state}")
        ht_stream_set_chunks(self._stream, first, last, <ht_chunk_state_t> state)

    def offer(self, uint64_t first, uint64_t last) -> None:
        """Let the workers look for open chunks among first .. last-1, once they wake."""
        self._check_chunks(first, last)
        ht_stream_offer(self._stream, first, last)

    def pace(self) -> float:
        """Return how fast coordinates of curvature 1 relax in a row; 0: it is not finite."""
        self._roster()
        cdef float pace = ht_stream_pace(self._stream)
        return pace if isfinite(pace) else 0.0

    def look(self, const int64_t[::1] order, float[:, ::1] values not None) -> None:
        """Copy the shared values; order[k] is the user's number of feature k."""
        cdef const int64_t *at = self._order(order)
        self._check_values(values)
        self._enter()
        with nogil:
            ht_stream_look(self._stream, at, &values[0, 0], values.shape[1])
        self._exit()

    def put(self, const int64_t[::1] order, const float[:, ::1] values not None,
            uint64_t rows) -> None:
        """Set the shared values, into which other nodes have merged so many rows."""
        cdef const int64_t *at = self._order(order)
        self._check_values(values)
        self._enter()
        with nogil:
            ht_stream_put(self._stream, at, &values[0, 0], values.shape[1], rows)
        self._exit()

    def merge(self, const float[:, ::1] own not None, const float[:, ::1] base not None,
              const float[:, ::1] shared not None, float[:, ::1] merged not None, *,
              int64_t first, const float[::1] curvature, float pace, uint64_t rows,
              uint64_t others, uint64_t epoch_rows) -> None:
        """Merge own changes since `base` into shared values; see ht_stream_merge_t.

        The arrays hold the coordinates from `first` on, a multiple of UNIT; curvature those of
        all coordinates; None: changes add up.
        """
        cdef ht_stream_merge_t m
        cdef int64_t n = own.shape[1]
        if n % HT_LANES != 0 or not (_has_shape(own, self.n_arrays, n)
                                     and _has_shape(base, self.n_arrays, n)
                                     and _has_shape(shared, self.n_arrays, n)
                                     and _has_shape(merged, self.n_arrays, n)):
            raise ValueError("the arrays are not those of such a run")
        m.first, m.stride = first, n
        m.last = min(first + n, self.n_coordinates)
        if not 0 <= first <= self.n_coordinates or first % HT_LANES != 0:
            raise ValueError("no such coordinates")
        if curvature is not None and curvature.shape[0] != self.n_coordinates:
            raise ValueError("curvature: one value for each coordinate expected")
        if n == 0 or m.last <= first:
            return
        # The core counts from the first coordinate of all.
        m.own, m.base, m.shared = &own[0, 0] - first, &base[0, 0] - first, &shared[0, 0] - first
        m.merged = &merged[0, 0] - first
        m.curvature = &curvature[0] if curvature is not None else NULL
        m.pace, m.rows, m.others, m.epoch_rows = pace, rows, others, epoch_rows
        self._roster()
        self._enter()
        with nogil:
            ht_stream_merge(self._stream, &m)
        self._exit()

    def rows_in(self, const uint8_t[::1] done not None) -> int:
        """Return the rows of the chunks of the open epoch whose byte is not 0."""
        self._check_chunks(0, <uint64_t> done.shape[0])
        cdef const ht_feed_t *feed = ht_stream_feed(self._stream)
        cdef uint64_t rows = 0
        for chunk in range(done.shape[0]):
            rows += ht_feed_n_rows(feed, chunk) if done[chunk] else 0
        return rows

    cdef int _check_chunks(self, uint64_t first, uint64_t last) except -1:
        if first > last or last > <uint64_t> self.n_chunks():
            raise ValueError("no such chunks")
        return 0

    cdef int _check_values(self, const float[:, ::1] values) except -1:
        self._roster()
        if values.shape[0] != self.n_arrays or values.shape[1] < self.n_coordinates:
            raise ValueError("the values are not those of such a run")
        return 0

    cdef const int64_t *_order(self, const int64_t[::1] order) except? NULL:
        if order is None:
            return NULL
        if self.n_coordinates % (order.shape[0] + 1) != 0:
            raise ValueError("order: one value for each feature expected")
        return &order[0] if order.shape[0] else NULL
