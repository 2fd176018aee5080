/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_linear_kernels: row kernels on parameters that other workers may change meanwhile.
 *
 * Layer L6.  Any number of workers may run the kernels on the same parameters
 * at once (Niu, Recht, Re and Wright 2011, "Hogwild!", arXiv:1106.5730).  The
 * parameters of a row are in two places: its hot elements in the worker's own
 * replica, the others in the shared vector, in place.
 *
 *   _racy   plain or vector access to shared floats: an update of another
 *           worker may be lost, and a sum may mix old and new values; no value
 *           tears, because each float is aligned and accessed at once
 *   _exact  compare-and-swap per parameter: no update is lost
 */
#ifndef HT_LINEAR_KERNELS_H
#define HT_LINEAR_KERNELS_H

#include "math/ht_optimizer.h"
#include "rows/ht_rows.h"
#include "share/ht_sums.h"
#include "share/ht_view.h"

/* The shapes that have kernels: sparse rows and one output, dense rows and one output,
 * several outputs (either kind of rows). */
typedef enum { HT_SPARSE = 0, HT_DENSE = 1, HT_OUTPUTS = 2, HT_SHAPE_COUNT = 3 } ht_shape_t;

/* Returns the shape of rows and outputs. */
HT_INLINE ht_shape_t ht_linear_shape(const ht_rows_t *rows, int64_t outputs)
{
    return outputs > 1 ? HT_OUTPUTS : ht_rows_is_dense(rows) ? HT_DENSE : HT_SPARSE;
}

/* Writes z[k * outputs + o] = the elements of row k times the parameters of output o, plus
 * the intercept, for n rows.  With one output, lane k % 16 adds element k, whether it is
 * hot or cold (of dense rows, all elements or a multiple of 16 are hot).  With several
 * outputs, elements are added in order.  `step` is read for a dual optimizer alone. */
typedef void (*ht_dot_fn_t)(const ht_rows_t *rows, const int64_t *ids, int n, const ht_view_t *view,
                            int stride, const ht_step_t *step, float *z);

/* Makes one step (ht_optimizer.h) per row, row after row.  Penalties of w on sparse rows need
 * entries that hold c, and a step that reaches every coordinate dense rows.  gradient[k * outputs +
 * o] is the derivative of the loss in z[k * outputs + o], times the weight of row k. */
typedef void (*ht_step_fn_t)(const ht_rows_t *rows, const int64_t *ids, int n,
                             const ht_view_t *view, const float *gradient, const ht_step_t *step);

/* Adds gradient[k * outputs + o] * row k to the sums of output o for n sparse rows, and the
 * gradients to those of the intercepts if has_intercept; outputs is 1 or a multiple of HT_LANES.
 * scales[c / HT_SUMS_SCALE] is 1 / unit of coordinate c, before it is multiplied
 * by inverse_unit. */
typedef void (*ht_add_fn_t)(const ht_sums_t *sums, const ht_rows_t *rows, const int64_t *ids, int n,
                            const float *gradient, int64_t outputs, int has_intercept,
                            double inverse_unit, const double *scales);

#define HT_SUM_ROWS 16 /* in one call of ht_sum_fn_t, at most */

/* Adds gradient[k * outputs + o] * row k to `sum`, one float per coordinate, for n dense rows, row
 * after row; the gradients to the intercepts' only if has_intercept.  is_first: `sum` counts as 0
 * before the call.  outputs is 1 or a multiple of HT_LANES. */
typedef void (*ht_sum_fn_t)(const ht_rows_t *rows, const int64_t *ids, int n, const float *gradient,
                            int64_t outputs, int has_intercept, int is_first, float *sum);

typedef struct {
    ht_dot_fn_t dot_racy[2];                       /* [entries hold z and n] */
    ht_step_fn_t step_racy[HT_OPTIMIZER_COUNT][2]; /* [optimizer][entries hold c]; NULL: none */
} ht_linear_kernels_t;

/* Returns the kernels of an instruction set for a shape; NULL when the build lacks the
 * instruction set. */
const ht_linear_kernels_t *ht_linear_kernels(ht_isa_t isa, ht_shape_t shape);

/* Returns the exact step of an optimizer, for every instruction set and shape.  NULL for an
 * optimizer whose step changes every coordinate, and where entries of the optimizer hold no c
 * although has_shares. */
ht_step_fn_t ht_linear_step_exact(ht_optimizer_t optimizer, int has_shares);

/* Returns the kernel that adds sparse rows to sums (ht_sums.h); NULL when the build lacks the
 * instruction set. */
ht_add_fn_t ht_linear_add(ht_isa_t isa, int is_exact);

/* Returns the kernel that sums dense rows; NULL when the build lacks the instruction set. */
ht_sum_fn_t ht_linear_sum(ht_isa_t isa);

#endif
