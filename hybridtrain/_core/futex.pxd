# The declarations of csrc/base/ht_futex.h that Python uses.
from libc.stdint cimport uint64_t

cdef extern from "base/ht_futex.h" nogil:
    enum:
        HT_FUTEX_NAP_NS
    uint64_t ht_now_ns()
