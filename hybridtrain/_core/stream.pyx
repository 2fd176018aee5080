# SPDX-License-Identifier: BSD-3-Clause
"""The handle on a stream: Hogwild and Hybrid runs of the C core."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memset
from posix.types cimport pid_t
from posix.unistd cimport getpid

from collections.abc import Sequence

from hybridtrain._core.base cimport HT_ECHANGED, HT_EINTR, HT_OK, ht_err_t
from hybridtrain._core.check cimport check, check_mapped, deadline_in, require_memory
from hybridtrain._core.feed cimport HT_CHUNK_ROWS, ht_feed_rows, ht_feed_t
from hybridtrain._core.linear cimport ht_linear_init, ht_linear_t
from hybridtrain._core.loss cimport ht_loss_kind_t, ht_loss_t
from hybridtrain._core.optimizer cimport ht_optimizer_t
from hybridtrain._core.point cimport Points
from hybridtrain._core.process cimport Process
from hybridtrain._core.roster cimport (
    HT_LEAVE, HT_MAX_WORKERS, HT_STALENESS_BUCKETS, HT_STOP_EPOCH, ht_roster_await_rest,
    ht_roster_stop, ht_roster_t, ht_staleness_t, ht_worker_rows, ht_worker_t,
)
from hybridtrain._core.rows cimport Rows
from hybridtrain._core.segment cimport ht_segment_stamp
from hybridtrain._core.stream cimport (
    HT_CLOCK_OPEN, HT_LEAST_EXCHANGES, ht_stream_abandon, ht_stream_begin, ht_stream_close,
    ht_stream_config_t, ht_stream_declare_dead, ht_stream_feed, ht_stream_load,
    ht_stream_measure_exchange, ht_stream_nbytes, ht_stream_open, ht_stream_resume,
    ht_stream_roster, ht_stream_segment, ht_stream_segment_fd, ht_stream_set_rates,
    ht_stream_slow, ht_stream_store, ht_stream_t, ht_stream_trained,
)
from hybridtrain._core.vector cimport HT_LANES, ht_isa_t
from hybridtrain._core.worker cimport ht_worker_epochs
from hybridtrain.observe.records import Staleness
from hybridtrain.observe.staleness_log import SOURCES, StalenessLog

MAX_WORKERS = HT_MAX_WORKERS
LANES = HT_LANES
LEAST_EXCHANGES = HT_LEAST_EXCHANGES
MISFIT = "the settings of the stream do not fit its rows, or each other"
REMEDY = "choose fewer workers, fewer hot features, or fewer features"


cdef object histogram(const ht_staleness_t *staleness, str source):
    counts = tuple([staleness.counts[k] for k in range(HT_STALENESS_BUCKETS)])
    return Staleness(counts, staleness.total, staleness.largest, source)


cdef tuple pair_of(const ht_worker_t *of):
    return histogram(&of.merged, SOURCES[0]), histogram(&of.sampled, SOURCES[1])


cdef void _be_worker(void *stream, uint32_t worker) noexcept nogil:
    ht_worker_epochs(<ht_stream_t *>stream, worker)


cdef class Stream:
    """A run of the stream loop over one segment; see ht_worker.h.

    available: bytes that the segment may take; None: unknown. is_shared: workers may be
    processes; otherwise they are threads. staleness: where changes add; None: the gate is open.

    Owns the segment and keeps the rows alive. `close` may be called twice, and at any time: a
    thread that is in a call keeps the segment until it leaves. Loading and storing parameters,
    `set_rates` and `begin` are the supervisor's, at rest; a worker's thread calls `work` once.
    """

    def __cinit__(self, Rows rows not None, *, int loss, int64_t n_classes,
                  float loss_parameter=0.0, int optimizer, float l1, float l2, float decay1,
                  float decay2, float beta, int isa, uint32_t n_workers,
                  uint32_t rows_in_flight, uint32_t every, bint exact, int32_t adds=0,
                  object staleness=None, const uint32_t[::1] team_of=None, bint intercept,
                  int64_t n_hot, uint64_t seed, uint32_t strips, uint64_t averages_per_epoch,
                  uint32_t lrs_per_epoch, const float[::1] lrs not None,
                  const float[::1] inverse_share, const float[::1] l1_factor=None,
                  const float[::1] curvature, bint is_shared=False, object available=None,
                  object recorder=None, bint is_leased=False):
        cdef ht_stream_config_t config
        memset(&config, 0, sizeof(config))
        cdef ht_linear_t linear  # the run copies it
        if ht_linear_init(&linear, ht_loss_t(<ht_loss_kind_t>loss, loss_parameter),
                          n_classes) != HT_OK:
            raise ValueError(MISFIT)
        self.n_parameters = (rows.view.n_features + 1) * linear.model.n_outputs
        self.n_workers = n_workers
        if rows.view.targets == NULL:
            raise ValueError("rows without targets")
        if lrs_per_epoch < 1 or lrs.shape[0] < 1 or lrs.shape[0] % lrs_per_epoch != 0:
            raise ValueError("lrs does not cover whole epochs")
        for name, given in (("inverse_share", inverse_share), ("l1_factor", l1_factor)):
            if given is not None and given.shape[0] != rows.view.n_features + 1:
                raise ValueError(f"{name}: one value for each feature and the intercept expected")
        if n_hot > 0 and (curvature is None or curvature.shape[0] < n_hot):
            raise ValueError("curvature: one value per hot feature expected")
        config.rows = rows.view
        config.model = &linear.model
        config.optimizer = <ht_optimizer_t>optimizer
        config.step.l1, config.step.l2 = l1, l2
        config.step.decay1, config.step.decay2 = decay1, decay2
        config.step.beta = beta
        config.averages_per_epoch = averages_per_epoch
        config.isa = <ht_isa_t>isa
        config.n_workers = n_workers
        config.rows_in_flight, config.every = rows_in_flight, every
        config.exact, config.adds = exact, adds
        config.staleness = HT_CLOCK_OPEN if staleness is None else <uint32_t>staleness
        if team_of is not None:
            if team_of.shape[0] != n_workers:
                raise ValueError("team_of: one value for each worker expected")
            config.team_of, config.n_teams = &team_of[0], team_of[n_workers - 1] + 1
        config.intercept = intercept
        config.n_hot = n_hot
        config.seed, config.strips = seed, strips
        config.lrs_per_epoch = lrs_per_epoch
        config.n_epochs = lrs.shape[0] // lrs_per_epoch
        config.lrs = &lrs[0]
        config.inverse_share = &inverse_share[0] if inverse_share is not None else NULL
        config.l1_factor = &l1_factor[0] if l1_factor is not None else NULL
        config.curvature = &curvature[0] if n_hot > 0 else NULL
        config.is_shared = self._is_shared = is_shared
        config.is_recorded = recorder is not None
        config.is_leased = is_leased
        self._keep = rows
        self._source = 0 if n_hot > 0 else 1
        self._process = getpid()
        self.n_rates = lrs.shape[0]
        self.nbytes = ht_stream_nbytes(&config)
        if self.nbytes == 0:
            raise ValueError(MISFIT)
        require_memory(self.nbytes, available, REMEDY)
        check_mapped(ht_stream_open(&config, &self._stream), self.nbytes, REMEDY)
        self.staleness = StalenessLog(n_workers, HT_STALENESS_BUCKETS)

    def __dealloc__(self):
        ht_stream_close(self._stream)

    def close(self) -> None:
        """Unmap the segment, at once or when the last worker has left; ask it to leave."""
        if self._is_closed:
            return
        self._is_closed = True
        if getpid() == self._process:  # else a fork's copy, and the words are the workers'
            ht_roster_stop(ht_stream_roster(self._stream), HT_LEAVE)
        self._unmap()

    cdef void _unmap(self) noexcept:
        if self._is_closed and self._n_inside == 0:
            if self._points is not None:
                self._points._points = NULL
            ht_stream_close(self._stream)
            self._stream = NULL

    cdef ht_roster_t *_enter(self) except NULL:
        """Keep the segment until `_exit`."""
        cdef ht_roster_t *roster = self._roster()
        self._n_inside += 1
        return roster

    cdef void _exit(self) noexcept:
        self._n_inside -= 1
        self._unmap()

    cdef ht_roster_t *_roster(self) except NULL:
        if self._is_closed:
            raise ValueError("the stream is closed")
        return ht_stream_roster(self._stream)

    cdef ht_roster_t *_require(self, uint32_t worker) except NULL:
        if worker >= self.n_workers:
            raise ValueError("no such worker")
        return self._roster()

    def load(self, const float[::1] parameters not None) -> None:
        """Set all parameters: intercept first, then the features."""
        self._roster()
        if parameters.shape[0] != self.n_parameters:
            raise ValueError("wrong number of parameters")
        self._enter()
        with nogil:
            ht_stream_load(self._stream, &parameters[0])
        self._exit()

    def store(self, float[::1] parameters not None) -> None:
        """Write all parameters: intercept first, then the features."""
        self._roster()
        if parameters.shape[0] != self.n_parameters:
            raise ValueError("wrong number of parameters")
        self._enter()
        with nogil:
            ht_stream_store(self._stream, &parameters[0])
        self._exit()

    def set_rates(self, uint32_t epoch, const float[::1] lrs) -> None:
        """Set the rates of the stretch that begins with an epoch, as many as it was opened with."""
        self._roster()
        if epoch < 1 or lrs.shape[0] != self.n_rates:
            raise ValueError("lrs: as many as the stream was opened with expected")
        ht_stream_set_rates(self._stream, epoch, &lrs[0])

    def begin(self, uint32_t epoch) -> None:
        """Open epoch 1, 2, ... and wake the workers; ValueError when it has no rates."""
        self._roster()
        so_far = self.staleness.of_workers(self.staleness_of_epoch())
        check(ht_stream_begin(self._stream, epoch))
        self.staleness.begin(so_far)
        self._rows_before = self._repeated_before = 0
        self._loss_before = 0.0
        self.opened = epoch

    def resume(self) -> None:
        """Go on with an epoch that was stopped; the workers must rest."""
        cdef ht_roster_t *roster = self._roster()
        for w in range(self.n_workers):
            self._rows_before += roster.workers[w].trained
            self._repeated_before += roster.workers[w].repeated
            self._loss_before += roster.workers[w].loss
        check(ht_stream_resume(self._stream))

    def await_rest(self, double seconds) -> bool:
        """Wait until all workers rest, at most `seconds`; run signal handlers meanwhile.

        Returns
        -------
        bool
            False when the time ran out first.

        Raises
        ------
        KeyboardInterrupt
            Or what else a signal handler raises; the workers go on.
        """
        cdef ht_roster_t *roster = self._enter()
        cdef uint64_t deadline = deadline_in(seconds)
        cdef ht_err_t err
        try:
            while True:
                with nogil:
                    err = ht_roster_await_rest(roster, deadline)
                if err != HT_EINTR:
                    return err == HT_OK
                check(err)
        finally:
            self._exit()

    def stop_epoch(self) -> None:
        """Ask the workers to end the epoch early."""
        ht_roster_stop(self._roster(), HT_STOP_EPOCH)

    def leave(self) -> None:
        """Ask the workers to return from `work`."""
        ht_roster_stop(self._roster(), HT_LEAVE)

    def work(self, uint32_t worker) -> None:
        """Be worker number `worker` until `leave` or `close`. Releases the GIL."""
        if worker >= self.n_workers:
            raise ValueError("no such worker")
        if self._is_closed:
            return
        self._enter()
        with nogil:
            _be_worker(self._stream, worker)
        self._exit()

    def start_process(self, uint32_t worker) -> Process:
        """Fork worker number `worker`, which works until `leave`; OSError if refused."""
        self._require(worker)
        process = Process()
        process.start(_be_worker, self._stream, worker)
        return process

    def share(self) -> int:
        """Return the segment's descriptor, for a process that attaches at once; -1: not shared."""
        self._roster()
        ht_segment_stamp(ht_stream_segment(self._stream))
        return ht_stream_segment_fd(self._stream)

    def declare_dead(self, uint32_t worker) -> None:
        """Note that a worker's process is gone: the next one of its place goes on where it was."""
        self._require(worker)
        ht_stream_declare_dead(self._stream, worker)

    def abandon(self, uint32_t worker) -> bool:
        """Hand in what a dead worker left, whom no next one follows; False: busy, call again."""
        cdef ht_err_t err
        self._require(worker)
        self._enter()
        with nogil:
            err = ht_stream_abandon(self._stream, worker)
        self._exit()
        return err == HT_OK

    def let_go_on(self, living: Sequence[int]) -> None:
        """See that one of the living workers can go on: each can."""

    def settle(self) -> None:
        """Do nothing: between two steps of the stream every state is whole."""

    def progress(self) -> int:
        """Return a number that changes while the workers get on."""
        return sum(self.work_of(w) for w in range(self.n_workers))

    def work_of(self, uint32_t worker) -> int:
        """Return a number that grows with the work of a place's workers: its rows."""
        return ht_worker_rows(&self._require(worker).workers[worker])

    def measure_exchange(self) -> float:
        """Return the seconds of one pass of exchanges by one worker alone."""
        self._roster()
        return ht_stream_measure_exchange(self._stream) * 1e-9

    def rows_of(self, uint64_t position) -> list[int]:
        """Return the row numbers of a chunk of the open epoch, in order."""
        cdef int64_t rows[HT_CHUNK_ROWS]
        if position >= <uint64_t>self.n_chunks():
            raise ValueError("no such chunk")
        cdef int n = ht_feed_rows(ht_stream_feed(self._stream), position, rows)
        return [rows[k] for k in range(n)]

    def n_chunks(self) -> int:
        """Return how many chunks an epoch has."""
        self._roster()
        return ht_stream_feed(self._stream).n_chunks

    def epoch_report(self) -> dict:
        """Return what the open epoch has done so far; the workers must rest.

        Returns
        -------
        dict
            trained (rows), repeated (rows in hand when a worker died), loss (their sum), diverged,
            and bad_lr, the learning rate at which it did; changed: whether rows of a mapped file
            had changed; staleness.
        """
        cdef ht_roster_t *roster = self._roster()
        cdef uint64_t trained = self._rows_before
        cdef double loss = self._loss_before
        cdef object bad_lr = None
        cdef bint changed = False
        cdef uint64_t repeated = self._repeated_before
        for w in range(self.n_workers):
            trained += roster.workers[w].trained
            repeated += roster.workers[w].repeated
            loss += roster.workers[w].loss
            changed |= roster.workers[w].outcome == HT_ECHANGED
            if roster.workers[w].outcome != HT_OK and bad_lr is None:
                bad_lr = roster.workers[w].bad_lr
        if self._is_shared:  # counters of those that died may be behind
            trained = ht_stream_trained(self._stream)
        return {
            "trained": trained,
            "repeated": repeated,
            "loss": loss,
            "diverged": bad_lr is not None,
            "bad_lr": bad_lr,
            "changed": changed,
            "staleness": self.staleness.of_epoch(self.staleness_of_epoch())[self._source],
        }

    def staleness_of_epoch(self) -> list:
        """Return each worker's staleness in the open epoch: at merges, sampled in place; at rest."""
        cdef ht_roster_t *roster = self._roster()
        return [pair_of(&roster.workers[w]) for w in range(self.n_workers)]

    def report(self, uint32_t worker) -> dict:
        """Return a worker's entry of the roster; it must rest.

        Returns
        -------
        dict
            Counts and seconds as in ht_worker_t; merged and sampled, each a `Staleness`.
        """
        cdef ht_worker_t *entry = &self._require(worker).workers[worker]
        merged, sampled = self.staleness.of_worker(worker, pair_of(entry))
        return {
            "rows": ht_worker_rows(entry),
            "exchanges": entry.exchanges,
            "skipped": entry.skipped,
            "compute": entry.compute_ns * 1e-9,
            "exchange": entry.exchange_ns * 1e-9,
            "wait": entry.wait_ns * 1e-9,
            "every": entry.every,
            "lead": entry.lead,
            "merged": merged,
            "sampled": sampled,
        }

    def slow(self, uint32_t worker, double factor) -> None:
        """Let the worker's chunks take `factor` times as long."""
        self._require(worker)
        if not 1 <= factor <= 1e6:
            raise ValueError("factor must be in 1 .. 1e6")
        ht_stream_slow(self._stream, worker, factor)

    def points(self) -> Points:
        """Return where a test may hold the workers."""
        cdef ht_roster_t *roster = self._roster()
        if self._points is None:
            self._points = Points.__new__(Points)
            self._points._points = &roster.points
        return self._points
