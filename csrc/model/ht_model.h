/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_model: the part of a model that a loop knows: outputs, gradients, steps, additions and sums of
 * a few rows.
 *
 * Layer L6.  Every model begins with an ht_model_t; its own call describes it (ht_linear_init).
 * A run makes a copy that fits its rows and its optimizer, by for_steps or by for_sums, and calls
 * the functions of that copy alone.  A copy is read-only: any number of workers may call its
 * functions at once, each with a view, or with sums, of its own.
 *
 * `rows` of a call are the rows of the run, or fetched copies of some of them.  A call takes n of
 * these rows, 1 .. HT_GROUP_ROWS, by their ids.  Arrays that are named z or gradient hold n_outputs
 * values for each row, z[k * n_outputs + o], and have room for HT_GROUP_ROWS rows.
 */
#ifndef HT_MODEL_H
#define HT_MODEL_H

#include "math/ht_optimizer.h"
#include "rows/ht_rows.h"
#include "share/ht_sums.h"
#include "share/ht_view.h"

#define HT_GROUP_ROWS 16 /* rows in one call, at most */

/* Kinds of models: the first byte of a key. */
enum { HT_MODEL_LINEAR = 1 };

typedef struct ht_model ht_model_t;

/* Returns a sum over n rows, from the gradients that `gradient` or `step` has written. */
typedef float ht_second_fn_t(const ht_model_t *model, const ht_rows_t *rows, const int64_t *ids,
                             int n, const float *gradient);

struct ht_model {
    uint64_t key;      /* equal for two models that compute equal results from equal rows */
    int64_t n_outputs; /* of a row, and entries of a feature: 1, or a multiple of HT_LANES */
    float curvature;   /* the largest second derivative of the loss in an output */
    int stride;        /* floats per entry; set by for_steps and for_sums */

    /* Checks the rows' targets.  HT_EINVAL: the model has no loss for one of them. */
    ht_err_t (*check)(const ht_model_t *model, const ht_rows_t *rows);

    /* Makes a copy with outputs, gradient and step; the caller frees it by free().  has_shares:
     * entries hold c (ht_optimizer.h).  is_exact: steps are made in place by compare-and-swap.
     * HT_EINVAL: the build or this machine lacks the instruction set, or there is no step of the
     * optimizer for such rows and entries; -ENOMEM. */
    ht_err_t (*for_steps)(const ht_model_t *model, const ht_rows_t *rows, ht_optimizer_t optimizer,
                          int has_shares, int is_exact, ht_isa_t isa, ht_model_t **out);

    /* Makes a copy with outputs and gradient, for entries that are w alone, and with `sum` for
     * dense rows, `add` for sparse ones; the caller frees it by free().  is_exact: sums are free of
     * order (ht_sums.h).  HT_EINVAL: the build or this machine lacks the instruction set; -ENOMEM.
     */
    ht_err_t (*for_sums)(const ht_model_t *model, const ht_rows_t *rows, int is_exact, ht_isa_t isa,
                         ht_model_t **out);

    /* Computes the outputs of n rows.  `step` is read for a dual optimizer alone. */
    void (*outputs)(const ht_model_t *model, const ht_rows_t *rows, const int64_t *ids, int n,
                    const ht_view_t *view, const ht_step_t *step, float *z);

    /* Computes the gradients of n rows from their outputs, times the rows' weights.  A row that has
     * a reach is bounded for a step at rate lr (ht_loss_bound).  Returns the weighted sum of the
     * rows' losses; 0 where `loss` sums them.  Writes to z beyond n rows. */
    double (*gradient)(const ht_model_t *model, const ht_rows_t *rows, const int64_t *ids, int n,
                       float lr, float *z, float *gradient);

    /* The second derivative of the loss, the mean over the outputs; of `steepest` the largest one
     * between an output and its target: a row that is far on the wrong side is flat, but not on its
     * way back.  NULL, both: `curvature` stands for it. */
    ht_second_fn_t *second;
    ht_second_fn_t *steepest;

    /* Steps on n rows: computes all outputs and gradients, then makes a step for each row, in
     * order.  Returns the sum that `gradient` returns. */
    double (*step)(const ht_model_t *model, const ht_rows_t *rows, const int64_t *ids, int n,
                   const ht_view_t *view, const ht_step_t *step, float *z, float *gradient);

    /* Adds the gradients of n rows to sums; the gradients of the intercepts only if has_intercept.
     * scales[c / HT_SUMS_SCALE] is 1 / unit of coordinate c, before it is multiplied by
     * inverse_unit; NULL: all 1. */
    void (*add)(const ht_model_t *model, const ht_sums_t *sums, const ht_rows_t *rows,
                const int64_t *ids, int n, const float *gradient, int has_intercept,
                double inverse_unit, const double *scales);

    /* Adds the gradients of n rows to a task's sum, one float per coordinate, row after row; the
     * gradients of the intercepts only if has_intercept.  is_first: the sum counts as 0 before the
     * call. */
    void (*sum)(const ht_model_t *model, const ht_rows_t *rows, const int64_t *ids, int n,
                const float *gradient, int has_intercept, int is_first, float *sum);

    /* Sums the losses of any number of rows from their outputs z and targets y, times their
     * weights; weight NULL: all 1.  `loss` itself is NULL where gradient and step return the sum:
     * in a model of several outputs. */
    double (*loss)(const ht_model_t *model, int64_t n, const float *z, const float *y,
                   const float *weight);
};

#endif
