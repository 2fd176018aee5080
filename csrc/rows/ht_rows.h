/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_rows: rows of a matrix: view, check, facts, renumbering.
 *
 * Layer L2: may include L0 and L1.  A view is read-only and may be shared;
 * each other call writes only to the caller's arrays, so threads can work on
 * disjoint ranges of rows with arrays of their own.
 */
#ifndef HT_ROWS_H
#define HT_ROWS_H

#include "base/ht_base.h"
#include "base/ht_vector.h"

/* A CSR matrix with targets.  Row i holds elements pointers[i] ..
 * pointers[i+1]-1, in any order, no column twice.
 * Dense rows have neither pointers nor indices: row i is values[i * n_features]
 * .. values[(i+1) * n_features - 1], and every row holds every column.
 *
 *   0 <= pointers[i] <= pointers[i+1] <= length of indices and values
 *   0 <= hot[i] <= pointers[i+1] - pointers[i] <= longest, unless longest is 0
 */
typedef struct {
    int64_t n_rows;
    int64_t n_features;
    const int64_t *pointers; /* n_rows + 1; NULL: dense */
    const int32_t *indices;  /* 0 .. n_features-1; NULL: dense */
    const float *values;     /* NULL: every value is 1; dense rows have values */
    const float *targets;    /* n_rows; -1 or +1 for two classes, 0, 1, ... for softmax */
    const float *weights;    /* n_rows, mean 1; NULL: all 1 */
    const float *reach; /* n_rows: how far a gradient of 1 moves the row's own margin, times its
                         * weight, at rate 1; steps are bounded by it.  NULL: no bound */
    const int32_t *hot; /* per row: how many leading elements are hot; NULL: see n_hot */
    int64_t n_hot;      /* when hot is NULL: 0 none is hot, else all; of dense rows: how many */
    int64_t longest; /* elements of the longest row, where the indices are those of a mapped file:
                      * other processes may change it at any time, so a row is fetched before
                      * its indices are used.  0: nobody changes the arrays */
} ht_rows_t;

/* One row; the leading n_hot of its n elements are hot. */
typedef struct {
    const int32_t *index; /* NULL: 0, 1, ... */
    const float *value;   /* NULL: all 1 */
    int64_t n;
    int64_t n_hot;
} ht_row_t;

/* Returns whether every row holds every column. */
HT_INLINE int ht_rows_is_dense(const ht_rows_t *rows)
{
    return rows->pointers == NULL;
}

/* Returns row id in place; of a mapped file its indices are not to be trusted. */
HT_INLINE ht_row_t ht_row_at(const ht_rows_t *rows, int64_t id)
{
    if (ht_rows_is_dense(rows))
        return (ht_row_t){.value = rows->values + id * rows->n_features,
                          .n = rows->n_features,
                          .n_hot = rows->n_hot};
    int64_t begin = rows->pointers[id];
    ht_row_t row = {
        .index = rows->indices + begin,
        .value = rows->values == NULL ? NULL : rows->values + begin,
        .n = rows->pointers[id + 1] - begin,
    };
    if (rows->hot != NULL)
        row.n_hot = rows->hot[id];
    else
        row.n_hot = rows->n_hot == 0 ? 0 : row.n;
    return row;
}

/* Returns the column of element i. */
HT_INLINE int64_t ht_row_column(ht_row_t row, int64_t i)
{
    return row.index == NULL ? i : row.index[i];
}

/* Returns the value of element i. */
HT_INLINE float ht_row_value(ht_row_t row, int64_t i)
{
    return row.value == NULL ? 1.0f : row.value[i];
}

/* ---- rows of a mapped file ----------------------------------------------- */

#define HT_FETCH_ROWS 16 /* in one fetch, at most */

/* Copies of a few rows, as rows 0, 1, ... of `rows`.  `rows` points into this struct, so the struct
 * stays where it was opened. */
typedef struct {
    ht_rows_t rows;
    int64_t pointers[HT_FETCH_ROWS + 1];
    float targets[HT_FETCH_ROWS], weights[HT_FETCH_ROWS], reach[HT_FETCH_ROWS];
    int32_t *indices;
    float *values;
} ht_fetched_t;

extern const int64_t ht_fetched_ids[HT_FETCH_ROWS]; /* of the copies: 0, 1, ... */

/* Returns whether rows must be fetched before they are used. */
HT_INLINE int ht_rows_is_mapped(const ht_rows_t *rows)
{
    return rows->longest > 0;
}

/* Returns the bytes of memory for fetching up to n rows; 0 where rows need not be fetched. */
size_t ht_fetched_nbytes(const ht_rows_t *rows, int n);

/* Prepares for fetching up to n <= HT_FETCH_ROWS rows into ht_fetched_nbytes of memory. */
void ht_fetched_open(ht_fetched_t *fetched, const ht_rows_t *rows, int n, void *memory);

/* Copies n rows, with their targets, weights and reach, and checks the copies' indices.
 * HT_ECHANGED: an index is of no feature. */
ht_err_t ht_rows_fetch(const ht_rows_t *rows, const int64_t *ids, int n, ht_fetched_t *fetched);

/* ---- facts ---------------------------------------------------------------- */

/* Facts that add up over ranges of rows. */
typedef struct {
    int64_t n_rows;
    int64_t n_elements;
    int64_t n_ones;   /* elements equal to 1 */
    double norm2_sum; /* sum over rows of s * sum of x^2 */
    double l1_sum;    /* sum over rows of s * sum of |x| */
    double norm_sum;  /* sum over rows of s * sqrt(sum of x^2 + intercept) */
} ht_facts_t;

/* Facts of one column; exact while fewer than 2^24 rows are counted into it. */
typedef struct {
    float weight;    /* sum of s over the rows that hold the column */
    float curvature; /* sum of s |x_ij| sqrt(sum_k x_ik^2 + intercept) */
} ht_column_t;

/* Checks rows first .. last-1: HT_EROWPTR, HT_EINDEX, HT_EDUPLICATE or HT_EVALUE
 * with the row in *bad_row, else HT_OK.  n_elements is the length of the
 * index and value arrays; of dense rows only values can be wrong.  -ENOMEM: a
 * row whose columns do not increase needs a byte for each feature. */
ht_err_t ht_rows_check(const ht_rows_t *rows, int64_t n_elements, int64_t first, int64_t last,
                       int64_t *bad_row);

/* Checks that no row has fewer elements than hot ones: else HT_EINVAL, with the row in *bad_row.
 * HT_OK when hot is NULL.  The pointers must have passed ht_rows_check. */
ht_err_t ht_rows_check_hot(const ht_rows_t *rows, int64_t *bad_row);

/* Adds the facts of rows first .. last-1 to *facts and, if columns is not
 * NULL, to columns[n_features].  intercept is 1 when every row also holds an
 * intercept of value 1, else 0.  The rows must have passed the check.  For rows
 * of a mapped file also HT_ECHANGED and -ENOMEM. */
ht_err_t ht_rows_count(const ht_rows_t *rows, int64_t first, int64_t last, int intercept,
                       ht_facts_t *facts, ht_column_t *columns);

/* Writes the squared norms of rows first .. last-1 to norm2[first .. last-1].  For rows of a mapped
 * file also HT_ECHANGED and -ENOMEM. */
ht_err_t ht_rows_norms(const ht_rows_t *rows, int64_t first, int64_t last, float *norm2);

/* Raises largest[j] (n_features) to the largest |x| of column j in rows
 * first .. last-1.  For rows of a mapped file also HT_ECHANGED and -ENOMEM. */
ht_err_t ht_rows_largest(const ht_rows_t *rows, int64_t first, int64_t last, float *largest);

/* Writes rows first .. last-1, with column j renumbered to rank[j], to indices and values: a row
 * takes the places that it has in the matrix.  In each row the elements with rank < n_hot come
 * first, then the others, each group in its old order; the size of the first group goes to
 * hot[row].  values may be NULL when rows->values is.  -ENOMEM; HT_EINVAL for dense rows and when a
 * rank or n_hot is out of range; for rows of a mapped file also HT_ECHANGED. */
ht_err_t ht_rows_renumber(const ht_rows_t *rows, const int32_t *rank, int64_t n_hot, int64_t first,
                          int64_t last, int32_t *indices, float *values, int32_t *hot);

/* Prefetches the elements of row `id`, and the pointers, target and hot count of row `later`.
 * Strips come from more places than the processor's own prefetchers follow. */
HT_INLINE void ht_rows_prefetch(const ht_rows_t *rows, int64_t id, int64_t later)
{
    __builtin_prefetch(rows->pointers + later);
    __builtin_prefetch(rows->targets + later);
    if (rows->hot != NULL)
        __builtin_prefetch(rows->hot + later);
    for (int64_t i = rows->pointers[id]; i < rows->pointers[id + 1]; i += HT_LANES) {
        __builtin_prefetch(rows->indices + i);
        if (rows->values != NULL)
            __builtin_prefetch(rows->values + i);
    }
}

#endif
