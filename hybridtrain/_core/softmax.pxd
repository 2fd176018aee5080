# The declarations of csrc/ht_softmax.h that Python uses.
from libc.stdint cimport int64_t

cdef extern from "ht_softmax.h" nogil:
    enum:
        HT_MOST_CLASSES
    const float HT_SOFTMAX_CURVATURE
    int64_t ht_softmax_outputs(int64_t classes)
    double ht_softmax_gradient(int64_t classes, const float *z, int64_t target, float *gradient)
    void ht_softmax_proba(int64_t classes, int64_t n, const float *z, float *p)
