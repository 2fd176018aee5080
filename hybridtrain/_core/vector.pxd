# The declarations of csrc/base/ht_vector.h.
cdef extern from "base/ht_vector.h" nogil:
    enum:
        HT_LANES
    ctypedef enum ht_isa_t:
        HT_BASELINE
        HT_AVX2
        HT_AVX512
        HT_ISA_COUNT
    ht_isa_t ht_vector_best_isa()
    const char *ht_vector_isa_name(ht_isa_t isa)
