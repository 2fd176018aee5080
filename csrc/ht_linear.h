/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_linear: the linear model: one step on a few rows, and its margins.
 *
 * Layer L6 (a model stands on the kernels of L5).  Read-only while workers run; any number of
 * workers may step at once, each with its own view.
 */
#ifndef HT_LINEAR_H
#define HT_LINEAR_H

#include "ht_hogwild.h"
#include "ht_loss.h"

typedef struct {
    ht_rows_t rows;
    ht_loss_t loss;
    ht_dot_fn_t dot;
    ht_step_fn_t step;
    int stride; /* floats per entry */
} ht_linear_t;

/* Chooses the kernels.  exact: updates in place by compare-and-swap.
 * HT_EINVAL when the build lacks the instruction set. */
ht_err_t ht_linear_init(ht_linear_t *linear, const ht_rows_t *rows, ht_loss_t loss,
                        ht_optimizer_t optimizer, int has_penalty, int exact, ht_isa_t isa);

/* One step per row on n <= HT_GROUP_ROWS rows: all margins first (written to
 * z), then the steps in order.  z has room for HT_GROUP_ROWS values. */
void ht_linear_step(const ht_linear_t *linear, const int64_t *ids, int n, const ht_view_t *view,
                    const ht_step_t *step, float *z);

/* z[i - first] = row i times coef, plus intercept, for rows first .. last-1. */
ht_err_t ht_linear_margins(const ht_rows_t *rows, const float *coef, float intercept, ht_isa_t isa,
                           int64_t first, int64_t last, float *z);

#endif
