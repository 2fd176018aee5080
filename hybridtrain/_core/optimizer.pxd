# The declarations of csrc/math/ht_optimizer.h that Python uses.
cdef extern from "math/ht_optimizer.h" nogil:
    ctypedef enum ht_state_t:
        HT_NO_STATE
        HT_VELOCITY
        HT_MEAN
        HT_MEAN_OF_SQUARES
        HT_SUM_OF_SQUARES
    ctypedef enum ht_weighing_t:
        HT_WEIGHTED
        HT_ADDED
        HT_COMPENSATED
    ctypedef enum ht_optimizer_t:
        HT_OPTIMIZER_COUNT
    ctypedef struct ht_traits_t:
        ht_state_t state[3]
    const ht_traits_t *ht_optimizer_traits(ht_optimizer_t optimizer)
    ctypedef struct ht_step_t:
        float l1
        float l2
        float decay1
        float decay2
        float beta
    const char *ht_optimizer_name(ht_optimizer_t optimizer)
    int ht_optimizer_stride(ht_optimizer_t optimizer, int has_shares)
    int ht_optimizer_arrays(ht_optimizer_t optimizer)
    int ht_optimizer_has_shares(ht_optimizer_t optimizer)
    int ht_optimizer_is_dense(ht_optimizer_t optimizer)
    int ht_optimizer_is_dual(ht_optimizer_t optimizer)
    float ht_optimizer_intercept_rate(ht_optimizer_t optimizer, int is_dense)
