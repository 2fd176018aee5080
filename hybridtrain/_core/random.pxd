# The declarations of csrc/base/ht_random.h.
from libc.stdint cimport uint64_t

cdef extern from "base/ht_random.h" nogil:
    uint64_t ht_random_u64(uint64_t key, uint64_t counter)
    uint64_t ht_random_permute(uint64_t key, uint64_t n, uint64_t i)
