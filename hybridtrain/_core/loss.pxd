# The declarations of csrc/math/ht_loss.h that Python uses.
from libc.stdint cimport int64_t

cdef extern from "math/ht_loss.h" nogil:
    ctypedef enum ht_loss_kind_t:
        HT_LOSS_COUNT
    ctypedef struct ht_loss_t:
        ht_loss_kind_t kind
        float parameter
    const char *ht_loss_name(ht_loss_kind_t kind)
    int ht_loss_is_valid(ht_loss_t loss)
    float ht_loss_curvature(ht_loss_t loss)
    int ht_loss_has_minimum(ht_loss_kind_t kind)
    double ht_loss_sum(ht_loss_t loss, int64_t n, const float *z, const float *y,
                       const float *weight)
    void ht_loss_sigmoid(int64_t n, const float *z, float *p)
