# The declarations of csrc/share/ht_round.h that Python uses.
from hybridtrain._core.point cimport ht_points_t

cdef extern from "share/ht_round.h" nogil:
    enum:
        HT_ROUND_TASKS
    ctypedef struct ht_round_t:
        pass
    ht_points_t *ht_round_points(ht_round_t *round)
