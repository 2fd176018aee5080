# The declarations of csrc/math/ht_average.h that Python uses.
from libc.stdint cimport uint64_t

cdef extern from "math/ht_average.h" nogil:
    double ht_average_weight(uint64_t number)
    float ht_average_share(uint64_t number)
