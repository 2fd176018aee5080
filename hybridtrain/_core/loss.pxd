# The declarations of csrc/math/ht_loss.h.
from libc.stdint cimport int64_t

cdef extern from "math/ht_loss.h" nogil:
    ctypedef enum ht_loss_kind_t:
        HT_LOGISTIC
        HT_SQUARED
        HT_HINGE
        HT_SQUARED_HINGE
        HT_HUBER
        HT_LOSS_COUNT
    ctypedef struct ht_loss_t:
        ht_loss_kind_t kind
        float delta
    enum:
        HT_LOSS_ROWS
    int ht_loss_is_valid(ht_loss_t loss)
    float ht_loss_curvature(ht_loss_t loss)
    void ht_loss_gradient(ht_loss_t loss, int n, const float *z, const float *y, float *gradient)
    double ht_loss_sum(ht_loss_t loss, int64_t n, const float *z, const float *y,
                       const float *weight)
    void ht_loss_sigmoid(int64_t n, const float *z, float *p)
