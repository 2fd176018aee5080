# The declarations of csrc/run/ht_attached.h.
from libc.stdint cimport uint32_t

from hybridtrain._core.base cimport ht_err_t
from hybridtrain._core.model cimport ht_model_t
from hybridtrain._core.rows cimport ht_rows_t
from hybridtrain._core.segment cimport ht_segment_t

cdef extern from "run/ht_attached.h" nogil:
    ctypedef struct ht_attached_t:
        pass
    ht_err_t ht_attached_open(ht_segment_t *segment, const ht_model_t *model,
                              const ht_rows_t *rows, ht_attached_t *attached)
    void ht_attached_work(const ht_attached_t *attached, uint32_t worker)
