# SPDX-License-Identifier: BSD-3-Clause
"""The handle on a synchronous run of the C core, and one worker's single calls."""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset
from posix.types cimport pid_t
from posix.unistd cimport getpid

from collections.abc import Sequence

from hybridtrain._core.base cimport (
    HT_ECHANGED, HT_EINTR, HT_EINVAL, HT_ESTOPPED, HT_OK, ht_err_t,
)
from hybridtrain._core.check cimport check, check_mapped, deadline_in, require_memory
from hybridtrain._core.futex cimport HT_FUTEX_NAP_NS, ht_now_ns
from hybridtrain._core.linear cimport ht_linear_init, ht_linear_t
from hybridtrain._core.loss cimport ht_loss_kind_t, ht_loss_t
from hybridtrain._core.optimizer cimport ht_optimizer_t
from hybridtrain._core.point cimport Points
from hybridtrain._core.process cimport Process
from hybridtrain._core.round cimport HT_ROUND_TASKS, ht_round_points
from hybridtrain._core.rows cimport Rows
from hybridtrain._core.segment cimport ht_segment_stamp
from hybridtrain._core.sync cimport (
    HT_OUTER_NESTEROV, HT_OUTER_SLOWMO, HT_SUMS_SCALE, HT_SYNC_STEPS, HT_SYNC_TASK_ROWS,
    ht_outer_kind_t, ht_outer_t, ht_sync_allow, ht_sync_await, ht_sync_await_rest,
    ht_sync_claim, ht_sync_close, ht_sync_commit, ht_sync_compute, ht_sync_config_t,
    ht_sync_declare_dead, ht_sync_leave, ht_sync_load, ht_sync_merge_next, ht_sync_nbytes,
    ht_sync_open, ht_sync_progress, ht_sync_progress_t, ht_sync_report, ht_sync_report_t,
    ht_sync_revive, ht_sync_round, ht_sync_rows, ht_sync_rows_until, ht_sync_segment,
    ht_sync_segment_fd, ht_sync_set_rates, ht_sync_settle, ht_sync_slow,
    ht_sync_steps_per_epoch, ht_sync_stop, ht_sync_store, ht_sync_t, ht_sync_take_together,
    ht_sync_takes_part,
)
from hybridtrain._core.vector cimport ht_isa_t
from hybridtrain._core.worker cimport ht_worker_round

MISFIT = "the settings of the run do not fit its rows, or each other"
REMEDY = "choose fewer workers, or fewer features"
REMEDY_PLAIN = (
    "choose fewer workers, exact=True (a worker then has one sum, not one for each share of "
    "the batch), or fewer features"
)
MAX_TASK_ROWS = HT_SYNC_TASK_ROWS
MAX_TASKS = HT_ROUND_TASKS
MAX_STEPS = <long long>HT_SYNC_STEPS
SCALE_COORDINATES = HT_SUMS_SCALE
OUTER = {"nesterov": <int>HT_OUTER_NESTEROV, "slowmo": <int>HT_OUTER_SLOWMO}


cdef void _be_worker(void *sync, uint32_t worker) noexcept nogil:
    ht_worker_round(<ht_sync_t *>sync, worker)


cdef class SyncRun:
    """A run of the round over one segment; see ht_sync.h.

    available: bytes that the segment may take; None: unknown. is_shared: workers may be
    processes; otherwise they are threads. has_guest: it is one node's run, see `guest.Guest`.

    Owns the segment and keeps the rows alive. `close` may be called twice, and
    at any time: a thread that is in a call keeps the segment until it leaves.
    `claim`, `compute`, `commit`, `merge_next` and `await_work` belong to the worker
    whose number they take.
    """

    def __cinit__(self, Rows rows not None, *, int loss, int64_t n_classes,
                  float loss_parameter=0.0, int optimizer, float l1, float l2, float decay1,
                  float decay2, float beta, int isa, uint32_t n_workers,
                  bint exact, bint intercept, uint64_t seed, uint32_t task_rows,
                  uint32_t batch_tasks, uint32_t replicas=0, uint32_t every=1,
                  uint64_t most_together=1, uint32_t local_rows=1, int outer=0, float outer_rate=0.0,
                  float outer_decay=0.0, uint64_t averages_per_epoch,
                  uint32_t lrs_per_epoch, const float[::1] lrs not None,
                  const float[::1] inverse_share, const float[::1] l1_factor=None,
                  const double[::1] scales,
                  double largest_value, float bound, bint is_bounded, bint is_shared=False,
                  bint has_guest=False, object available=None):
        cdef ht_sync_config_t config
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
        if inverse_share is not None and inverse_share.shape[0] != rows.view.n_features + 1:
            raise ValueError("inverse_share: one value for each feature and the intercept expected")
        if l1_factor is not None and l1_factor.shape[0] != rows.view.n_features + 1:
            raise ValueError("l1_factor: one value for each feature and the intercept expected")
        if scales is not None and <uint64_t>scales.shape[0] * HT_SUMS_SCALE < self.n_parameters:
            raise ValueError(f"scales: one value for {HT_SUMS_SCALE} parameters expected")
        config.rows = rows.view
        config.model = &linear.model
        config.optimizer = <ht_optimizer_t>optimizer
        config.step.l1, config.step.l2 = l1, l2
        config.step.decay1, config.step.decay2 = decay1, decay2
        config.step.beta = beta
        config.averages_per_epoch = averages_per_epoch
        config.isa = <ht_isa_t>isa
        config.n_workers = n_workers
        config.is_exact = exact
        config.intercept = intercept
        config.is_shared, config.has_guest = is_shared, has_guest
        config.seed = seed
        config.task_rows, config.batch_tasks = task_rows, batch_tasks
        config.replicas, config.local_rows = replicas, local_rows
        config.every, config.most_together = every, most_together
        config.outer = ht_outer_t(<ht_outer_kind_t>outer, outer_rate, outer_decay)
        config.lrs_per_epoch = lrs_per_epoch
        config.n_epochs = lrs.shape[0] // lrs_per_epoch
        config.lrs = &lrs[0]
        config.inverse_share = &inverse_share[0] if inverse_share is not None else NULL
        config.l1_factor = &l1_factor[0] if l1_factor is not None else NULL
        config.scales = &scales[0] if scales is not None else NULL
        config.largest_value = largest_value
        config.bound = bound
        config.is_bounded = is_bounded
        self._keep = rows
        self._process = getpid()
        self.n_rates = lrs.shape[0]
        self.nbytes = ht_sync_nbytes(&config)
        if self.nbytes == 0:
            raise ValueError(MISFIT)
        remedy = REMEDY if exact else REMEDY_PLAIN
        require_memory(self.nbytes, available, remedy)
        check_mapped(ht_sync_open(&config, &self._sync), self.nbytes, remedy)

    def __dealloc__(self):
        ht_sync_close(self._sync)

    def close(self) -> None:
        """Unmap the segment, at once or when the last worker has left; ask it to leave."""
        if self._is_closed:
            return
        self._is_closed = True
        if getpid() == self._process:  # else a fork's copy, and the words are the workers'
            ht_sync_leave(self._sync)
        self._unmap()

    cdef void _unmap(self) noexcept:
        if self._is_closed and self._n_inside == 0:
            if self._points is not None:
                self._points._points = NULL
            ht_sync_close(self._sync)
            self._sync = NULL

    cdef void _exit(self) noexcept:
        self._n_inside -= 1
        self._unmap()

    cdef ht_sync_t *_open(self) except NULL:
        if self._is_closed:
            raise ValueError("the run is closed")
        return self._sync

    cdef int _require(self, uint32_t worker) except -1:
        self._open()
        if worker >= self.n_workers:
            raise ValueError("no such worker")
        return 0

    cdef int _enter(self, uint32_t worker) except -1:
        """Keep the segment until `_exit`."""
        self._require(worker)
        self._n_inside += 1
        return 0

    def load(self, const float[::1] parameters not None) -> None:
        """Set all parameters: intercept first, then the features."""
        if <uint64_t>parameters.shape[0] != self.n_parameters:
            raise ValueError("wrong number of parameters")
        ht_sync_load(self._open(), &parameters[0])

    def store(self, float[::1] parameters not None) -> None:
        """Write all parameters: intercept first, then the features."""
        if <uint64_t>parameters.shape[0] != self.n_parameters:
            raise ValueError("wrong number of parameters")
        ht_sync_store(self._open(), &parameters[0])

    def set_rates(self, uint32_t epoch, const float[::1] lrs) -> None:
        """Set the rates of the stretch that begins with an epoch, as many as it was opened with."""
        self._open()
        if epoch < 1 or lrs.shape[0] != self.n_rates:
            raise ValueError("lrs: as many as the run was opened with expected")
        ht_sync_set_rates(self._sync, epoch, &lrs[0])

    def take_together(self, uint32_t together) -> None:
        """Make each step take so many batches from now on; the workers must rest."""
        check(ht_sync_take_together(self._open(), together))
        self.together = together

    def steps_per_epoch(self) -> int:
        """Return how many batches an epoch has."""
        return ht_sync_steps_per_epoch(self._open())

    def begin(self, uint32_t epoch) -> None:
        """Open epoch 1, 2, ... and wake the workers; ValueError when it has no rates."""
        cdef ht_sync_progress_t progress = ht_sync_progress(self._open())
        if epoch < 1:
            raise ValueError("epoch: at least 1 expected, got 0")
        if <uint64_t>epoch * ht_sync_steps_per_epoch(self._sync) > <uint64_t>HT_SYNC_STEPS:
            raise ValueError("more steps than a run can have")
        self._begun = progress.batches
        self._loss = progress.loss
        self.opened = epoch
        self._end = epoch * ht_sync_steps_per_epoch(self._sync)
        ht_sync_allow(self._sync, self._end)

    def resume(self) -> None:
        """Go on with an epoch that was stopped; the workers must rest."""
        ht_sync_allow(self._open(), self._end)

    def await_rest(self, double seconds) -> bool:
        """Wait until the epoch is done, at most `seconds`; run signal handlers meanwhile.

        False: the time ran out first. What a handler raises passes; the workers go on.
        """
        cdef uint64_t deadline = deadline_in(seconds)
        cdef ht_err_t err
        self._enter(0)
        try:
            while True:
                with nogil:
                    err = ht_sync_await_rest(self._sync, deadline)
                if err != HT_EINTR:
                    return err == HT_OK
                check(err)
        finally:
            self._exit()

    def stop_epoch(self) -> None:
        """Ask the workers to end the epoch after the open step."""
        ht_sync_stop(self._open())

    def leave(self) -> None:
        """Ask the workers to return."""
        ht_sync_leave(self._open())

    def work(self, uint32_t worker) -> None:
        """Be worker number `worker` until `leave` or `close`. Releases the GIL."""
        if self._is_closed:
            return
        self._enter(worker)
        with nogil:
            ht_worker_round(self._sync, worker)
        self._exit()

    def start_process(self, uint32_t worker) -> Process:
        """Fork worker number `worker`, which works until `leave`; OSError if refused."""
        self._require(worker)
        process = Process()
        process.start(_be_worker, self._sync, worker)
        return process

    def share(self) -> int:
        """Return the segment's descriptor, for a process that attaches at once; -1: not shared."""
        ht_segment_stamp(ht_sync_segment(self._open()))
        return ht_sync_segment_fd(self._sync)

    def declare_dead(self, uint32_t worker) -> None:
        """Note that a worker's process is gone: others do its work, and it may be replaced."""
        self._require(worker)
        ht_sync_declare_dead(self._sync, worker)

    def abandon(self, uint32_t worker) -> bool:
        """Do nothing: the others do the work of a place to which no worker will come."""
        self._require(worker)
        return True

    def let_go_on(self, living: Sequence[int]) -> None:
        """See that one of the living workers can go on, even in a step in which all have died."""
        self._open()
        for worker in living:
            self._require(worker)
            if ht_sync_takes_part(self._sync, worker):
                return
        if living:
            ht_sync_revive(self._sync, living[0])

    def progress(self) -> int:
        """Return a number that changes while the workers get on: the step."""
        return ht_sync_progress(self._open()).step

    def work_of(self, uint32_t worker) -> int:
        """Return a number that grows with the work of a place's workers: nanoseconds."""
        self._require(worker)
        cdef ht_sync_report_t report = ht_sync_report(self._sync, worker)
        return report.compute_ns + report.merge_ns

    def settle(self) -> None:
        """End the merge of a step when no worker is left, so that `store` gives whole steps."""
        ht_sync_settle(self._open())

    def epoch_report(self) -> dict:
        """Return what the epoch has done so far; the workers must rest.

        Returns
        -------
        dict
            trained (rows), loss (their sum), diverged, batches and refused steps
            since the start, step; changed: whether rows of a mapped file had changed.
        """
        cdef ht_sync_progress_t progress = ht_sync_progress(self._open())
        return {
            "repeated": 0,
            "trained": ht_sync_rows_until(self._sync, progress.batches)
            - ht_sync_rows_until(self._sync, self._begun),
            "loss": progress.loss - self._loss,
            "diverged": progress.outcome != HT_OK,
            "changed": progress.outcome == HT_ECHANGED,
            "batches": progress.batches,
            "refused": progress.refused,
            "step": progress.step,
        }

    def report(self, uint32_t worker) -> dict:
        """Return a worker's counts and seconds of all epochs; it must rest."""
        self._require(worker)
        cdef ht_sync_report_t report = ht_sync_report(self._sync, worker)
        return {
            "rows": ht_sync_rows(self._sync, worker),
            "steps": report.steps,
            "compute": report.compute_ns * 1e-9,
            "merge": report.merge_ns * 1e-9,
            "wait": report.wait_ns * 1e-9,
            "repeated": report.repeated,
            "lost": report.lost,
            "revoked": report.revoked,
        }

    # ---- one worker's calls

    def claim(self, uint32_t worker) -> int | None:
        """Return the next task of the current step; None: none now."""
        cdef uint32_t task
        self._require(worker)
        return task if ht_sync_claim(self._sync, worker, &task) == HT_OK else None

    def compute(self, uint32_t worker, uint32_t task) -> None:
        """Compute the gradients of the task that `claim` returned."""
        cdef ht_err_t err
        self._enter(worker)
        with nogil:
            err = ht_sync_compute(self._sync, worker, task)
        self._exit()
        check(err)

    def commit(self, uint32_t worker) -> bool:
        """Commit and add what was computed; False: another was first."""
        cdef ht_err_t err
        self._enter(worker)
        with nogil:
            err = ht_sync_commit(self._sync, worker)
        self._exit()
        if err == HT_EINVAL:
            check(err)
        return err == HT_OK

    def merge_next(self, uint32_t worker) -> bool:
        """Merge a block of the current step; False: none is left now."""
        cdef ht_err_t err
        self._enter(worker)
        with nogil:
            err = ht_sync_merge_next(self._sync, worker)
        self._exit()
        return err == HT_OK

    def await_work(self, uint32_t worker) -> bool:
        """Wait a little until there may be more to do; False: leave."""
        cdef ht_err_t err
        self._enter(worker)
        with nogil:
            err = ht_sync_await(self._sync, worker, ht_now_ns() + HT_FUTEX_NAP_NS)
        self._exit()
        if err == HT_EINTR:
            check(err)
        return err != HT_ESTOPPED

    # ---- for tests

    def slow(self, uint32_t worker, double factor) -> None:
        """Let the worker's tasks take `factor` times as long."""
        self._require(worker)
        if not 1 <= factor <= 1e6:
            raise ValueError("factor must be in 1 .. 1e6")
        ht_sync_slow(self._sync, worker, factor)

    def points(self) -> Points:
        """Return where a test may hold the workers."""
        cdef ht_sync_t *sync = self._open()
        if self._points is None:
            self._points = Points.__new__(Points)
            self._points._points = ht_round_points(ht_sync_round(sync))
        return self._points
