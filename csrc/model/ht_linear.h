/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_linear: the linear model: one step on a few rows, and its margins.
 *
 * Layer L7 (a model stands on the kernels of L6).  Read-only while workers run; any number of
 * workers may step at once, each with its own view.
 */
#ifndef HT_LINEAR_H
#define HT_LINEAR_H

#include "math/ht_loss.h"
#include "math/ht_softmax.h"
#include "model/ht_linear_kernels.h"

typedef struct {
    ht_rows_t rows;  /* a worker that fetches rows has a copy of the model, over them */
    ht_loss_t loss;  /* of one output */
    int64_t classes; /* of softmax; 0: one output */
    int64_t outputs;
    ht_dot_fn_t dot;
    ht_step_fn_t step;
    int stride; /* floats per entry */
} ht_linear_t;

/* Chooses the kernels of outputs and gradients, for entries that are w alone. */
ht_err_t ht_linear_init_outputs(ht_linear_t *linear, const ht_rows_t *rows, ht_loss_t loss,
                                int64_t classes, ht_isa_t isa);

/* Chooses all kernels.  has_shares: entries hold c (ht_optimizer.h).  exact:
 * updates in place by compare-and-swap.  HT_EINVAL when the build lacks the
 * instruction set or this machine does, or the optimizer does not go with the rows. */
ht_err_t ht_linear_init(ht_linear_t *linear, const ht_rows_t *rows, ht_loss_t loss, int64_t classes,
                        ht_optimizer_t optimizer, int has_shares, int exact, ht_isa_t isa);

/* Gradients of n <= HT_GROUP_ROWS rows from their outputs z, times the rows'
 * weights: gradient[k * outputs + o].  Both arrays have room for HT_GROUP_ROWS
 * rows.  Returns the weighted sum of softmax losses; 0 for one output, whose
 * losses are summed over more rows at a time. */
double ht_linear_gradient(const ht_linear_t *linear, const int64_t *ids, int n, float *z,
                          float *gradient);

/* One step per row on n <= HT_GROUP_ROWS rows: all outputs first (written to z),
 * then the steps in order.  Returns as ht_linear_gradient. */
double ht_linear_step(const ht_linear_t *linear, const int64_t *ids, int n, const ht_view_t *view,
                      const ht_step_t *step, float *z, float *gradient);

/* z[(i - first) * outputs + o] = row i times the parameters of output o, plus its
 * intercept, for rows first .. last-1.  parameters[(n_features + 1) * outputs]: the
 * intercepts, then feature after feature.  HT_EINVAL for rows, outputs or an
 * instruction set that do not exist; of a mapped file HT_ECHANGED, -ENOMEM. */
ht_err_t ht_linear_margins(const ht_rows_t *rows, const float *parameters, int64_t outputs,
                           ht_isa_t isa, int64_t first, int64_t last, float *z);

#endif
