# The declarations of csrc/run/ht_stream.h.
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from hybridtrain._core.base cimport ht_err_t
from hybridtrain._core.feed cimport ht_feed_t
from hybridtrain._core.model cimport ht_model_t
from hybridtrain._core.optimizer cimport ht_optimizer_t, ht_step_t
from hybridtrain._core.roster cimport ht_roster_t
from hybridtrain._core.rows cimport ht_rows_t
from hybridtrain._core.vector cimport ht_isa_t

cdef extern from "run/ht_stream.h" nogil:
    enum:
        HT_LEAST_EXCHANGES
    ctypedef struct ht_stream_config_t:
        ht_rows_t rows
        const ht_model_t *model
        ht_optimizer_t optimizer
        ht_step_t step
        ht_isa_t isa
        uint32_t n_workers
        uint32_t rows_in_flight
        uint32_t every
        int32_t exact
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
    ht_roster_t *ht_stream_roster(ht_stream_t *stream)
    ht_feed_t *ht_stream_feed(ht_stream_t *stream)
    void ht_stream_set_rates(ht_stream_t *stream, uint32_t epoch, const float *lrs)
    void ht_stream_load(ht_stream_t *stream, const float *parameters)
    void ht_stream_slow(ht_stream_t *stream, uint32_t worker, double factor)
    void ht_stream_store(const ht_stream_t *stream, float *parameters)
    uint64_t ht_stream_measure_exchange(ht_stream_t *stream)
