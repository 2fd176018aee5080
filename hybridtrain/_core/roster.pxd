# The declarations of csrc/share/ht_roster.h that Python uses.
from libc.stdint cimport int32_t, uint32_t, uint64_t

from hybridtrain._core.base cimport ht_err_t
from hybridtrain._core.point cimport ht_points_t

cdef extern from "share/ht_roster.h" nogil:
    enum:
        HT_STALENESS_BUCKETS
        HT_MAX_WORKERS
        HT_STOP_EPOCH
        HT_LEAVE
    ctypedef struct ht_staleness_t:
        uint64_t counts[48]
        uint64_t total
        uint64_t largest
    ctypedef struct ht_worker_t:
        uint32_t repeated
        uint64_t trained
        uint64_t exchanges
        uint64_t skipped
        uint64_t compute_ns
        uint64_t exchange_ns
        uint64_t wait_ns
        uint32_t every
        int32_t outcome
        double loss
        double bad_lr
        uint32_t lead
        ht_staleness_t merged
        ht_staleness_t sampled
    ctypedef struct ht_roster_t:
        uint32_t n_workers
        ht_points_t points
        ht_worker_t workers[]
    uint64_t ht_worker_rows(ht_worker_t *worker)
    void ht_roster_start(ht_roster_t *roster)
    ht_err_t ht_roster_await_rest(ht_roster_t *roster, uint64_t deadline_ns)
    void ht_roster_stop(ht_roster_t *roster, uint32_t how)
