# The declarations of csrc/ht_optimizer.h that Python uses.
cdef extern from "ht_optimizer.h" nogil:
    ctypedef enum ht_optimizer_t:
        HT_SGD
        HT_ADAGRAD
        HT_OPTIMIZER_COUNT
    int ht_optimizer_stride(ht_optimizer_t optimizer, int has_penalty)
    int ht_optimizer_arrays(ht_optimizer_t optimizer)
    float ht_optimizer_intercept_rate(ht_optimizer_t optimizer)
