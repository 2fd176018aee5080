/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * linear_fixture: entries in two places, guarded, and rows stepped on them.
 */
#ifndef LINEAR_FIXTURE_H
#define LINEAR_FIXTURE_H

#include "support/naive.h"

enum { STORE_MOST = 8192, STORE_GUARD = 32 }; /* floats */

/* Row 0 of the entries is the intercepts', j + 1 is feature j's; each has one
 * entry for each output.  The place that a row is not in holds NaN, and so does
 * what surrounds the entries. */
typedef struct {
    float hot[STORE_MOST];
    float cold[STORE_MOST];
    ht_view_t view;
    ht_optimizer_t optimizer;
    int has_shares;
    int stride;
    int64_t outputs;
    int64_t classes; /* outputs from here on are padding: 0, as are their gradients */
    int64_t n_features;
    int64_t n_hot; /* features */
    float l1_factor[STORE_MOST];
} store_t;

/* What a store is made for. */
typedef struct {
    ht_optimizer_t optimizer;
    int has_shares;
    int64_t n_features;
    int64_t classes; /* 0: one output */
    int has_intercept;
} store_kind_t;

/* Fills in entries, the same for the same kind whatever is hot. */
void store_open(store_t *store, const store_kind_t *kind, int64_t n_hot);

/* Gives each feature of an open store a factor on l1 of its own. */
void store_factors(store_t *store);

/* All entries, wherever they are; returns how many floats.  Checks guards. */
size_t store_collect(const store_t *store, float *all);

/* The entry of row `row` and output `o` among collected ones. */
naive_entry_t store_entry(const store_t *store, const float *all, int64_t row, int64_t o);

/* Checks every entry against `expected`, and that padding is 0. */
void store_check(const store_t *store, const float *all, const naive_entry_t *expected);

/* The gradient of a row for an output: anything; 0 where outputs are padding. */
float store_gradient(const store_t *store, int64_t row, int64_t output);

/* Steps all rows, in groups of up to HT_GROUP_ROWS. */
void store_step(const store_t *store, const ht_rows_t *rows, ht_step_fn_t fn,
                const ht_step_t *step);

/* The same in double, from the entries of a fresh store. */
void store_step_naively(const store_t *store, const ht_rows_t *rows, const ht_step_t *step,
                        naive_entry_t *entries);

/* Dot products of all rows, n at a time, into z[row * outputs + o]. */
void store_dot(const store_t *store, const ht_rows_t *rows, ht_dot_fn_t fn, int n,
               const ht_step_t *step, float *z);

/* No penalty; l2; l1 and l2.  FTRL's are sums. */
enum { STORE_STEPS = 3 };
ht_step_t store_step_of(ht_optimizer_t optimizer, int which);

#endif
