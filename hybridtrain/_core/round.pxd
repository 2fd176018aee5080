# The declarations of csrc/ht_point.h and csrc/ht_round.h that Python uses.
from libc.stdint cimport uint32_t, uint64_t

cdef extern from "ht_round.h" nogil:
    enum:
        HT_ROUND_WORKERS
        HT_ROUND_TASKS
        HT_POINT_COUNT
        HT_ANY_WORKER
    ctypedef enum ht_point_t:
        pass
    ctypedef struct ht_points_t:
        pass
    void ht_point_arm(ht_points_t *points, ht_point_t point, uint32_t worker)
    void ht_point_release(ht_points_t *points, ht_point_t point)
    bint ht_point_is_held(ht_points_t *points, ht_point_t point)
    uint32_t ht_point_fired(ht_points_t *points, ht_point_t point)
    ctypedef struct ht_round_t:
        pass
    ctypedef struct ht_round_self_t:
        uint64_t repeated
        uint64_t lost
        uint64_t revoked
    ht_points_t *ht_round_points(ht_round_t *round)
