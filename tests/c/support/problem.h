/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * problem: a random sparse matrix with targets, the same for the same seed.
 */
#ifndef PROBLEM_H
#define PROBLEM_H

#include "rows/ht_rows.h"

typedef struct {
    ht_rows_t rows; /* points at the arrays below */
    int64_t n_elements;
    int64_t *pointers;
    int32_t *indices;
    float *values;
    float *targets;
    float *weights;
    int32_t *hot; /* not in rows until problem_heat */
} problem_t;

/* Row r has r % (longest + 1) elements, more of them in low columns; longest
 * <= n_features.  Values lie in +-1 or, without values, are 1; weights in
 * 0.5 .. 1.5.  Targets are -1 or +1, mostly as a random linear model says. */
void problem_open(problem_t *problem, uint64_t seed, int64_t n_rows, int64_t n_features,
                  int64_t longest, int has_values, int has_weights);

/* Dense rows: rows has neither pointers nor indices.  One value in six is 0, as
 * are all of column 2; NaN stands behind the last value. */
void problem_open_dense(problem_t *problem, uint64_t seed, int64_t n_rows, int64_t n_features,
                        int has_weights);

/* The same rows, every column in pointers and indices. */
ht_rows_t problem_as_sparse(const problem_t *problem);

/* Targets 0 .. classes-1 instead, by what the values of a row say. */
void problem_set_classes(problem_t *problem, int64_t classes);

/* Makes the leading n_hot columns hot (rows.hot). */
void problem_heat(problem_t *problem, int64_t n_hot);

void problem_close(problem_t *problem);

#endif
