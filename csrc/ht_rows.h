/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_rows: rows of a sparse matrix: view, check, facts, renumbering.
 *
 * Layer L2: may include L0 and L1.  A view is read-only and may be shared;
 * each other call writes only to the caller's arrays, so threads can work on
 * disjoint ranges of rows with arrays of their own.
 */
#ifndef HT_ROWS_H
#define HT_ROWS_H

#include "ht_base.h"

/* A CSR matrix with targets.  Row i holds elements pointers[i] ..
 * pointers[i+1]-1, no column twice; in a user's matrix, columns increase. */
typedef struct {
    int64_t n_rows;
    int64_t n_features;
    const int64_t *pointers; /* n_rows + 1 */
    const int32_t *indices;  /* 0 .. n_features-1 */
    const float *values;     /* NULL: every value is 1 */
    const float *targets;    /* n_rows; for logistic loss -1 or +1 */
    const float *weights;    /* n_rows, mean 1; NULL: all 1 */
    const int32_t *hot;      /* per row: how many leading elements are hot; NULL: see n_hot */
    int64_t n_hot;           /* when hot is NULL: 0 none is hot, else all are */
} ht_rows_t;

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

/* Checks rows first .. last-1: HT_EROWPTR, HT_EINDEX, HT_EORDER or HT_EVALUE
 * with the row in *bad_row, else HT_OK.  n_elements is the length of the
 * index and value arrays. */
ht_err_t ht_rows_check(const ht_rows_t *rows, int64_t n_elements, int64_t first, int64_t last,
                       int64_t *bad_row);

/* Adds the facts of rows first .. last-1 to *facts and, if columns is not
 * NULL, to columns[n_features].  intercept is 1 when every row also holds an
 * intercept of value 1, else 0.  The rows must have passed the check. */
void ht_rows_count(const ht_rows_t *rows, int64_t first, int64_t last, int intercept,
                   ht_facts_t *facts, ht_column_t *columns);

/* Raises largest[j] (n_features) to the largest |x| of column j in rows
 * first .. last-1. */
void ht_rows_largest(const ht_rows_t *rows, int64_t first, int64_t last, float *largest);

/* Writes rows first .. last-1 with column j renumbered to rank[j] to the
 * elements of the same numbers in indices and values (values may be NULL when
 * rows->values is): in each row those with rank < n_hot first, else in their
 * order.  hot[row] is how many are first.  -ENOMEM. */
ht_err_t ht_rows_renumber(const ht_rows_t *rows, const int32_t *rank, int64_t n_hot, int64_t first,
                          int64_t last, int32_t *indices, float *values, int32_t *hot);

#endif
