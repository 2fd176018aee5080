# The declarations of csrc/share/ht_log.h that Python uses.
from libc.stdint cimport uint32_t, uint64_t

cdef extern from "share/ht_log.h" nogil:
    ctypedef enum ht_log_kind_t:
        HT_LOG_DIED
    ctypedef struct ht_log_t:
        uint32_t lost
        uint32_t capacity
    uint64_t ht_log_entry(ht_log_kind_t kind, uint32_t detail, uint32_t number)
    uint32_t ht_log_drain(ht_log_t *log, uint64_t *entries)
