# The declarations of csrc/base/ht_futex.h that Python uses.
from libc.stdint cimport uint64_t

cdef extern from "base/ht_futex.h" nogil:
    uint64_t ht_now_ns()
