# The declarations of csrc/model/ht_model.h that Python uses.
from libc.stdint cimport int64_t

cdef extern from "model/ht_model.h" nogil:
    ctypedef struct ht_model_t:
        int64_t n_outputs
