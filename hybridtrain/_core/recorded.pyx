# SPDX-License-Identifier: BSD-3-Clause
"""Recorded runs of the stream, and their replay."""

from libc.stdint cimport uint32_t, uint64_t
from posix.unistd cimport getpid

import threading
import time
from array import array

from hybridtrain._core.base cimport HT_ECHANGED, HT_EEND, HT_EINTR, HT_EINVAL, HT_OK, ht_err_t
from hybridtrain._core.check cimport check
from hybridtrain._core.log cimport HT_LOG_DIED, ht_log_drain, ht_log_entry, ht_log_t
from hybridtrain._core.replay cimport (
    ht_replay_close, ht_replay_go_on, ht_replay_open, ht_replay_open_loss, ht_replay_rows,
    ht_replay_set_entries, ht_replay_set_snapshots, ht_replay_t, ht_stream_log,
)
from hybridtrain._core.snapshot cimport ht_snapshot_nbytes, ht_snapshot_take
from hybridtrain._core.stream cimport Stream

cdef double LOOK_SECONDS = 0.05  # between two times that the logs are drained
cdef uint64_t SLICE_ROWS = 65536  # between two looks for signals

DIED = ht_log_entry(HT_LOG_DIED, 0, 0)  # plus the number of the snapshot


def snapshot_nbytes(Stream run not None) -> int:
    """Return the bytes of a snapshot of a worker's place."""
    run._roster()
    return ht_snapshot_nbytes(run._stream)


cdef class RecordedStream(Stream):
    """A stream whose recorder is told what its workers do; see ht_log.h.

    The logs are drained while the supervisor waits for the workers, at each rest and each death.
    """

    cdef object _recorder  # an observe.recording.Recorder
    cdef object _draining  # a lock: the supervisor of processes has a thread of its own
    cdef object _rates
    cdef object _room
    cdef object _snapshot  # of the place of one dead worker: a death must need no memory

    def __cinit__(self, *given, recorder, **settings):
        self._recorder = recorder
        self._draining = threading.Lock()
        cdef ht_log_t *log = ht_stream_log(self._stream, 0)
        self._room = array("Q", bytes(8 * log.capacity))
        self._snapshot = bytearray(snapshot_nbytes(self))

    cdef int _drain(self, uint32_t worker) except -1:
        """Hand over a worker's entries; the caller holds the lock."""
        cdef ht_log_t *log = ht_stream_log(self._stream, worker)
        cdef uint64_t[::1] room = self._room
        cdef uint32_t n = ht_log_drain(log, &room[0])
        if n:
            with self._recorder.whole:
                self._recorder.note_entries(worker, memoryview(self._room)[:n])
        if log.lost:
            self._recorder.fail(f"the log of worker {worker} had no room")
        return 0

    cdef int _drain_all(self) except -1:
        for worker in range(self.n_workers):
            self._drain(worker)
        return 0

    def drain(self) -> None:
        """Hand over the entries of all workers."""
        self._roster()
        with self._draining:
            self._drain_all()

    def set_rates(self, uint32_t epoch, const float[::1] lrs) -> None:
        """Set the rates of the stretch that begins with an epoch; see `Stream`."""
        Stream.set_rates(self, epoch, lrs)
        self._rates = bytes(lrs)

    def begin(self, uint32_t epoch) -> None:
        """Open an epoch; see `Stream`."""
        self._roster()
        with self._draining:  # also against a death: its snapshot is of one side or the other
            self._drain_all()
            with self._recorder.whole:
                self._recorder.begin(epoch, self._rates)
                Stream.begin(self, epoch)

    def resume(self) -> None:
        """Go on with an epoch that was stopped; see `Stream`."""
        self._roster()
        with self._draining:
            self._drain_all()
            with self._recorder.whole:
                self._recorder.begin(self.opened, self._rates)
                Stream.resume(self)

    def await_rest(self, double seconds) -> bool:
        """Wait until all workers rest, at most `seconds`; see `Stream`."""
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            rests = Stream.await_rest(self, min(max(left, 0.0), LOOK_SECONDS))
            self.drain()
            if rests or left <= LOOK_SECONDS:
                return rests

    def declare_dead(self, uint32_t worker) -> None:
        """Note that a worker's process is gone, and what it has left; see `Stream`."""
        cdef unsigned char[::1] view = self._snapshot
        with self._draining, self._recorder.whole:
            Stream.declare_dead(self, worker)
            ht_snapshot_take(self._stream, worker, &view[0])
            self._drain(worker)
            self._recorder.note_death(worker, self._snapshot)

    def close(self) -> None:
        """Hand over the last entries, and unmap the segment; see `Stream`."""
        if not self._is_closed and getpid() == self._process:
            self.drain()
        Stream.close(self)


cdef class Replay:
    """A recorded run, run again on a stream that has just been opened; see ht_replay.h.

    run: with the settings of the recorded run, its parameters loaded. The caller begins and resumes
    its epochs, and gives for each what the workers did. It closes the stream after the last call.
    """

    cdef ht_replay_t *_replay
    cdef Stream _run
    cdef object _entries, _snapshots

    def __cinit__(self, Stream run not None):
        run._roster()
        check(ht_replay_open(run._stream, &self._replay))
        self._run = run

    def __dealloc__(self):
        ht_replay_close(self._replay)

    @property
    def rows(self) -> int:
        """The rows trained so far, of all epochs."""
        return ht_replay_rows(self._replay)

    @property
    def open_loss(self) -> float:
        """The sum of the losses of the trained rows whose chunks are not at their end."""
        self._run._roster()
        return ht_replay_open_loss(self._replay)

    def give(self, list entries not None, const unsigned char[::1] snapshots) -> None:
        """Set what the workers did until the next rest.

        entries: an array of uint64 for each worker. snapshots: those that `DIED` names, one after
        the other.
        """
        cdef const uint64_t[::1] each
        cdef uint32_t worker
        self._run._roster()
        if len(entries) != self._run.n_workers:
            raise ValueError("entries: an array for each worker expected")
        cdef size_t nbytes = ht_snapshot_nbytes(self._run._stream)
        if snapshots.shape[0] % nbytes:
            raise ValueError("snapshots: whole ones expected")
        self._entries, self._snapshots = entries, snapshots
        for worker in range(self._run.n_workers):
            each = entries[worker]
            ht_replay_set_entries(self._replay, worker, &each[0] if each.shape[0] else NULL,
                                  each.shape[0])
        ht_replay_set_snapshots(self._replay, &snapshots[0] if snapshots.shape[0] else NULL,
                                snapshots.shape[0] // nbytes)

    def go_on(self, rows=None) -> bool:
        """Go on until that many rows are trained, of all epochs; None: to the next rest.

        Returns
        -------
        bool
            Whether something is left to do.

        Raises
        ------
        ValueError
            When the entries contradict each other, or the rows.
        """
        cdef ht_err_t err = HT_OK
        cdef uint64_t end = (<uint64_t>1 << 63) if rows is None else rows
        cdef uint64_t until
        self._run._roster()
        while err == HT_OK and ht_replay_rows(self._replay) < end:
            check(HT_EINTR)  # the handlers of signals
            until = min(ht_replay_rows(self._replay) + SLICE_ROWS, end)
            with nogil:
                err = ht_replay_go_on(self._replay, until)
        if err == HT_EINVAL:
            raise ValueError("what the workers did does not go together")
        if err not in (HT_OK, HT_EEND):
            check(err)
        return err == HT_OK
