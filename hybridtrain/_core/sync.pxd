# The declarations of csrc/run/ht_sync.h.
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from posix.types cimport pid_t

from hybridtrain._core.base cimport ht_err_t
from hybridtrain._core.model cimport ht_model_t
from hybridtrain._core.optimizer cimport ht_optimizer_t, ht_step_t
from hybridtrain._core.point cimport Points
from hybridtrain._core.round cimport ht_round_t
from hybridtrain._core.rows cimport ht_rows_t
from hybridtrain._core.segment cimport ht_segment_t
from hybridtrain._core.vector cimport ht_isa_t

cdef extern from "share/ht_changes.h" nogil:
    enum:
        HT_CHANGES_ARRAYS
    ctypedef enum ht_outer_kind_t:
        HT_OUTER_NONE
        HT_OUTER_NESTEROV
        HT_OUTER_SLOWMO
    ctypedef struct ht_outer_t:
        ht_outer_kind_t kind
        float rate
        float decay

cdef extern from "run/ht_sync.h" nogil:
    enum:
        HT_SYNC_TASK_ROWS
        HT_SYNC_STEPS
        HT_SUMS_SCALE
    ctypedef struct ht_sync_config_t:
        ht_rows_t rows
        const ht_model_t *model
        ht_optimizer_t optimizer
        ht_step_t step
        ht_isa_t isa
        uint32_t n_workers
        int32_t is_exact
        int32_t intercept
        int32_t is_shared
        int32_t has_guest
        uint64_t seed
        uint32_t task_rows
        uint32_t batch_tasks
        uint32_t replicas
        uint32_t every
        uint64_t most_together
        uint32_t local_rows
        ht_outer_t outer
        uint64_t averages_per_epoch
        uint32_t lrs_per_epoch
        uint32_t n_epochs
        const float *lrs
        const float *inverse_share
        const float *l1_factor
        const double *scales
        double largest_value
        float bound
        int32_t is_bounded
    ctypedef struct ht_sync_report_t:
        uint64_t generation
        uint64_t steps
        uint64_t compute_ns
        uint64_t merge_ns
        uint64_t wait_ns
        uint64_t repeated
        uint64_t lost
        uint64_t revoked
    ctypedef struct ht_sync_progress_t:
        uint64_t batches
        uint64_t refused
        double loss
        int32_t outcome
        uint32_t step
    ctypedef struct ht_sync_t:
        pass
    ctypedef struct ht_sync_saved_t:
        uint64_t batches
        uint64_t refused
        uint32_t together
        double loss
        double bound
        double changes[3]
    size_t ht_sync_nbytes(const ht_sync_config_t *config)
    ht_err_t ht_sync_open(const ht_sync_config_t *config, ht_sync_t **out)
    void ht_sync_close(ht_sync_t *sync)
    ht_segment_t *ht_sync_segment(ht_sync_t *sync)
    int32_t ht_sync_segment_fd(const ht_sync_t *sync)
    ht_round_t *ht_sync_round(ht_sync_t *sync)
    uint64_t ht_sync_steps_per_epoch(const ht_sync_t *sync)
    uint64_t ht_sync_rows_until(const ht_sync_t *sync, uint64_t batches)
    void ht_sync_set_rates(ht_sync_t *sync, uint32_t epoch, const float *lrs)
    void ht_sync_load(ht_sync_t *sync, const float *parameters)
    void ht_sync_store(ht_sync_t *sync, float *parameters)
    int ht_sync_n_arrays(const ht_sync_t *sync)
    ht_sync_saved_t ht_sync_save(ht_sync_t *sync, float *arrays)
    ht_err_t ht_sync_restore(ht_sync_t *sync, const ht_sync_saved_t *saved, const float *arrays)
    ht_err_t ht_sync_take_together(ht_sync_t *sync, uint32_t together)
    void ht_sync_allow(ht_sync_t *sync, uint64_t batches)
    void ht_sync_stop(ht_sync_t *sync)
    void ht_sync_leave(ht_sync_t *sync)
    void ht_sync_declare_dead(ht_sync_t *sync, uint32_t worker)
    int ht_sync_takes_part(ht_sync_t *sync, uint32_t worker)
    void ht_sync_revive(ht_sync_t *sync, uint32_t worker)
    void ht_sync_settle(ht_sync_t *sync)
    ht_err_t ht_sync_await_rest(ht_sync_t *sync, uint64_t deadline_ns)
    ht_sync_progress_t ht_sync_progress(ht_sync_t *sync)
    ht_sync_report_t ht_sync_report(const ht_sync_t *sync, uint32_t worker)
    uint64_t ht_sync_rows(ht_sync_t *sync, uint32_t worker)
    void ht_sync_slow(ht_sync_t *sync, uint32_t worker, double factor)
    ht_err_t ht_sync_claim(ht_sync_t *sync, uint32_t worker, uint32_t *task)
    ht_err_t ht_sync_compute(ht_sync_t *sync, uint32_t worker, uint32_t task)
    ht_err_t ht_sync_commit(ht_sync_t *sync, uint32_t worker)
    ht_err_t ht_sync_merge_next(ht_sync_t *sync, uint32_t worker)
    ht_err_t ht_sync_await(ht_sync_t *sync, uint32_t worker, uint64_t deadline_ns)

cdef class SyncRun:
    cdef ht_sync_t *_sync
    cdef object _keep
    cdef int _n_inside  # threads within a call that gives the GIL back
    cdef bint _is_closed
    cdef Points _points  # as long as the segment lives
    cdef uint64_t _end  # batches until the end of the open epoch, since the start
    cdef uint64_t _begun  # batches before the open epoch
    cdef double _loss  # sum of the losses before it
    cdef readonly uint32_t together  # batches of a step
    cdef public double first_loss  # mean loss of the first epoch, for who asks; kept with the run
    cdef public double last_loss  # and of the epoch before the open one
    cdef readonly uint64_t n_parameters
    cdef readonly uint32_t n_workers
    cdef readonly uint32_t opened  # the epoch that was begun last; 0: none
    cdef readonly Py_ssize_t n_rates
    cdef readonly size_t nbytes
    cdef pid_t _process  # that opened the run
    cdef ht_sync_t *_open(self) except NULL
    cdef int _require(self, uint32_t worker) except -1
    cdef int _enter(self, uint32_t worker) except -1
    cdef void _exit(self) noexcept
    cdef void _unmap(self) noexcept
