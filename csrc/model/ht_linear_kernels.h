/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_linear_kernels: row kernels on parameters that others may change meanwhile.
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

/* Which kernels: for sparse rows and one output, for dense rows and one output,
 * or for several outputs (either kind of rows). */
typedef enum { HT_SPARSE = 0, HT_DENSE = 1, HT_OUTPUTS = 2, HT_SHAPE_COUNT = 3 } ht_shape_t;

HT_INLINE ht_shape_t ht_linear_shape(const ht_rows_t *rows, int64_t outputs)
{
    return outputs > 1 ? HT_OUTPUTS : ht_rows_is_dense(rows) ? HT_DENSE : HT_SPARSE;
}

/* z[k * outputs + o] = the row's elements times the parameters of output o, plus
 * the intercept, for n rows.  Of one output, lane k % 16 takes element k, whether
 * hot or cold (of dense rows, all or a multiple of 16 are hot); of several, elements are added in
 * order.  `step` is read
 * for a dual optimizer alone. */
typedef void (*ht_dot_fn_t)(const ht_rows_t *rows, const int64_t *ids, int n, const ht_view_t *view,
                            int stride, const ht_step_t *step, float *z);

/* One step (ht_optimizer.h) per row, row after row; gradient[k * outputs + o] is
 * the loss's derivative in z times the row's weight. */
typedef void (*ht_step_fn_t)(const ht_rows_t *rows, const int64_t *ids, int n,
                             const ht_view_t *view, const float *gradient, const ht_step_t *step);

/* Adds gradient[k * outputs + o] * row to output o for n rows, and the gradients
 * to the intercepts if has_intercept; outputs is 1 or a multiple of HT_LANES.
 * scales[c / HT_SUMS_SCALE] is 1 / unit of coordinate c, before it is multiplied
 * by inverse_unit. */
typedef void (*ht_add_fn_t)(const ht_sums_t *sums, const ht_rows_t *rows, const int64_t *ids, int n,
                            const float *gradient, int64_t outputs, int has_intercept,
                            double inverse_unit, const double *scales);

typedef struct {
    ht_dot_fn_t dot_racy[2];                       /* [entries hold z and n] */
    ht_step_fn_t step_racy[HT_OPTIMIZER_COUNT][2]; /* [optimizer][entries hold c]; NULL: lacks it */
} ht_linear_kernels_t;

/* The kernels of an instruction set; NULL when the build lacks it. */
const ht_linear_kernels_t *ht_linear_kernels(ht_isa_t isa, ht_shape_t shape);

/* The exact step, the same on every instruction set and for every shape; NULL where a
 * step changes every coordinate. */
ht_step_fn_t ht_linear_step_exact(ht_optimizer_t optimizer, int has_shares);

/* Adds rows of every shape to sums (ht_sums.h); NULL when the build lacks the
 * instruction set. */
ht_add_fn_t ht_linear_add(ht_isa_t isa, int is_exact);

#endif
