# The declarations of csrc/share/ht_round.h that Python uses.
from libc.stdint cimport uint64_t

from hybridtrain._core.point cimport ht_points_t

cdef extern from "share/ht_round.h" nogil:
    enum:
        HT_ROUND_TASKS
    ctypedef struct ht_round_t:
        pass
    ctypedef struct ht_round_self_t:
        uint64_t repeated
        uint64_t lost
        uint64_t revoked
    ht_points_t *ht_round_points(ht_round_t *round)
