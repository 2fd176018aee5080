# The declarations of csrc/run/ht_stream.h.
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from posix.types cimport pid_t

from hybridtrain._core.base cimport ht_err_t
from hybridtrain._core.feed cimport ht_feed_t
from hybridtrain._core.model cimport ht_model_t
from hybridtrain._core.optimizer cimport ht_optimizer_t, ht_step_t
from hybridtrain._core.point cimport Points
from hybridtrain._core.roster cimport ht_roster_t
from hybridtrain._core.rows cimport ht_rows_t
from hybridtrain._core.segment cimport ht_segment_t
from hybridtrain._core.vector cimport ht_isa_t

cdef extern from "run/ht_stream.h" nogil:
    enum:
        HT_LEAST_EXCHANGES
        HT_CLOCK_OPEN
    ctypedef struct ht_stream_config_t:
        ht_rows_t rows
        const ht_model_t *model
        ht_optimizer_t optimizer
        ht_step_t step
        ht_isa_t isa
        uint32_t n_workers
        const uint32_t *team_of
        uint32_t n_teams
        uint32_t rows_in_flight
        uint32_t every
        int32_t exact
        int32_t adds
        uint32_t staleness
        int32_t intercept
        int64_t n_hot
        uint64_t seed
        uint32_t strips
        uint64_t averages_per_epoch
        uint32_t lrs_per_epoch
        uint32_t n_epochs
        const float *lrs
        const float *inverse_share
        const float *l1_factor
        const float *curvature
        int32_t is_shared
        int32_t is_recorded
        int32_t is_leased
    ctypedef struct ht_stream_t:
        pass
    size_t ht_stream_nbytes(const ht_stream_config_t *config)
    ht_err_t ht_stream_open(const ht_stream_config_t *config, ht_stream_t **out)
    void ht_stream_close(ht_stream_t *stream)
    ht_err_t ht_stream_begin(ht_stream_t *stream, uint32_t epoch)
    void ht_stream_declare_dead(ht_stream_t *stream, uint32_t worker)
    ht_err_t ht_stream_abandon(ht_stream_t *stream, uint32_t worker)
    uint64_t ht_stream_trained(ht_stream_t *stream)
    ht_err_t ht_stream_resume(ht_stream_t *stream)
    ht_segment_t *ht_stream_segment(ht_stream_t *stream)
    int32_t ht_stream_segment_fd(const ht_stream_t *stream)
    ht_roster_t *ht_stream_roster(ht_stream_t *stream)
    ht_feed_t *ht_stream_feed(ht_stream_t *stream)
    void ht_stream_set_rates(ht_stream_t *stream, uint32_t epoch, const float *lrs)
    void ht_stream_load(ht_stream_t *stream, const float *parameters)
    void ht_stream_slow(ht_stream_t *stream, uint32_t worker, double factor)
    void ht_stream_store(const ht_stream_t *stream, float *parameters)
    uint64_t ht_stream_measure_exchange(ht_stream_t *stream)
    ctypedef struct ht_stream_saved_t:
        uint64_t rows
        uint64_t average_last
        double hot_weight
        double cold_weight
    int ht_stream_n_arrays(const ht_stream_t *stream)
    ht_stream_saved_t ht_stream_save(ht_stream_t *stream, float *arrays, unsigned char *done)
    void ht_stream_restore(ht_stream_t *stream, const ht_stream_saved_t *saved,
                           const float *arrays, uint32_t epoch, const unsigned char *done)

cdef class Stream:
    cdef ht_stream_t *_stream
    cdef object _keep
    cdef int _n_inside  # threads within a call that gives the GIL back
    cdef bint _is_closed
    cdef Points _points  # as long as the segment lives
    cdef uint64_t _rows_before  # this and the next two: of the open epoch, until it was stopped
    cdef uint64_t _repeated_before
    cdef double _loss_before
    cdef readonly object staleness  # a StalenessLog
    cdef int _source  # of the run's staleness
    cdef readonly int64_t n_parameters
    cdef readonly uint32_t n_workers
    cdef readonly uint32_t opened  # the epoch that was begun last; 0: none
    cdef readonly Py_ssize_t n_rates
    cdef readonly size_t nbytes
    cdef bint _is_shared
    cdef pid_t _process  # that opened the run
    cdef ht_roster_t *_roster(self) except NULL
    cdef ht_roster_t *_enter(self) except NULL
    cdef ht_roster_t *_require(self, uint32_t worker) except NULL
    cdef void _exit(self) noexcept
    cdef void _unmap(self) noexcept
