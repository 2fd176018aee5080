# The declarations of csrc/rows/ht_rows.h.
from libc.stdint cimport int32_t, int64_t

from hybridtrain._core.base cimport ht_err_t

cdef extern from "rows/ht_rows.h" nogil:
    ctypedef struct ht_rows_t:
        int64_t n_rows
        int64_t n_features
        const int64_t *pointers
        const int32_t *indices
        const float *values
        const float *targets
        const float *weights
        const float *reach
        const int32_t *hot
        int64_t n_hot
        int64_t longest
    int ht_rows_is_dense(const ht_rows_t *rows)
    ctypedef struct ht_facts_t:
        int64_t n_rows
        int64_t n_elements
        int64_t n_ones
        double norm2_sum
        double l1_sum
        double norm_sum
    ctypedef struct ht_column_t:
        float weight
        float curvature
    ht_err_t ht_rows_check(const ht_rows_t *rows, int64_t n_elements, int64_t first, int64_t last,
                           int64_t *bad_row)
    ht_err_t ht_rows_check_hot(const ht_rows_t *rows, int64_t *bad_row)
    ht_err_t ht_rows_count(const ht_rows_t *rows, int64_t first, int64_t last, int intercept,
                           ht_facts_t *facts, ht_column_t *columns)
    ht_err_t ht_rows_norms(const ht_rows_t *rows, int64_t first, int64_t last, float *norm2)
    ht_err_t ht_rows_largest(const ht_rows_t *rows, int64_t first, int64_t last, float *largest)
    ht_err_t ht_rows_renumber(const ht_rows_t *rows, const int32_t *rank, int64_t n_hot,
                              int64_t first, int64_t last, int32_t *indices, float *values,
                              int32_t *hot)

cdef class Rows:
    cdef ht_rows_t view
    cdef readonly int64_t n_elements
    cdef object _keep  # the arrays that `view` points into
    cdef int _require(self, int64_t first, int64_t last) except -1
