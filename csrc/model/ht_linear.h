/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_linear: the linear model, with one output or with softmax, and its margins.
 *
 * Layer L7 (a model stands on the kernels of L6).  A model is read-only once it is made
 * (ht_model.h).
 */
#ifndef HT_LINEAR_H
#define HT_LINEAR_H

#include "math/ht_loss.h"
#include "math/ht_softmax.h"
#include "model/ht_linear_kernels.h"
#include "model/ht_model.h"

typedef struct {
    ht_model_t model;
    ht_loss_t loss;  /* of one output */
    int64_t classes; /* of softmax; 0: one output */
    /* Kernels; NULL in a description, and in a copy that is not for them. */
    ht_dot_fn_t dot;
    ht_step_fn_t update; /* of a copy for steps */
    ht_add_fn_t add;     /* of a copy for sums of sparse rows */
    ht_sum_fn_t sum;     /* of a copy for sums of dense rows */
} ht_linear_t;

/* Describes the model: softmax of `classes`; one output with `loss` when classes is 0.  HT_EINVAL
 * for a loss or a number of classes that does not exist. */
ht_err_t ht_linear_init(ht_linear_t *linear, ht_loss_t loss, int64_t classes);

/* Computes margins: z[(i - first) * outputs + o] = row i times the parameters of output o, plus
 * its intercept, for rows first .. last-1.  parameters[(n_features + 1) * outputs]: the
 * intercepts, then feature after feature.  HT_EINVAL for rows, outputs or an instruction set that
 * do not exist.  With a mapped file: HT_ECHANGED or -ENOMEM. */
ht_err_t ht_linear_margins(const ht_rows_t *rows, const float *parameters, int64_t outputs,
                           ht_isa_t isa, int64_t first, int64_t last, float *z);

#endif
