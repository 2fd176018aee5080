# The declarations of csrc/share/ht_point.h, and a handle on them.
from libc.stdint cimport uint32_t

cdef extern from "share/ht_point.h" nogil:
    enum:
        HT_POINT_COUNT
        HT_ANY_WORKER
    ctypedef enum ht_point_t:
        HT_POSITION_TAKEN
    ctypedef struct ht_points_t:
        pass
    void ht_point_arm(ht_points_t *points, ht_point_t point, uint32_t worker,
                      uint32_t step)
    void ht_point_release(ht_points_t *points, ht_point_t point)
    bint ht_point_held(ht_points_t *points, ht_point_t point, uint32_t *worker, uint32_t *step)
    uint32_t ht_point_fired(ht_points_t *points, ht_point_t point)

cdef class Points:
    cdef ht_points_t *_points  # NULL once the run is closed
    cdef ht_points_t *_open(self) except NULL
