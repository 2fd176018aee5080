# The declarations of csrc/ht_futex.h that Python uses.
from libc.stdint cimport uint64_t

cdef extern from "ht_futex.h" nogil:
    uint64_t ht_now_ns()
