# The declarations of csrc/math/ht_softmax.h that Python uses.
from libc.stdint cimport int64_t

from hybridtrain._core.base cimport ht_err_t

cdef extern from "math/ht_softmax.h" nogil:
    enum:
        HT_MOST_CLASSES
    const float HT_SOFTMAX_CURVATURE
    int64_t ht_softmax_outputs(int64_t classes)
    ht_err_t ht_softmax_check(int64_t classes, int64_t n, const float *targets)
    ht_err_t ht_softmax_sum(int64_t classes, int64_t n, const float *z, const float *targets,
                            const float *weight, double *total)
    ht_err_t ht_softmax_proba(int64_t classes, int64_t n, const float *z, float *p)
