# The declarations of csrc/share/ht_segment.h that Python uses.
from libc.stdint cimport int32_t

from hybridtrain._core.base cimport ht_err_t

cdef extern from "share/ht_segment.h" nogil:
    ctypedef struct ht_segment_t:
        pass
    void ht_segment_stamp(ht_segment_t *segment)
    ht_err_t ht_segment_attach(int32_t fd, ht_segment_t **out)
