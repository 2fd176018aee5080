/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_hogwild: row kernels on parameters that others may change meanwhile.
 *
 * Layer L5.  Any number of workers may run the kernels on the same parameters
 * at once (Niu, Recht, Re and Wright 2011, "Hogwild!", arXiv:1106.5730).  The
 * parameters of a row are in two places: its hot elements in the worker's own
 * replica, the others in the shared vector, in place.
 *
 *   _racy   plain or vector access to shared floats: an update of another
 *           worker may be lost, and a sum may mix old and new values; no value
 *           tears, because each float is aligned and accessed at once
 *   _exact  compare-and-swap per parameter: no update is lost
 */
#ifndef HT_HOGWILD_H
#define HT_HOGWILD_H

#include "ht_optimizer.h"
#include "ht_rows.h"

#define HT_GROUP_ROWS 16 /* rows in one call of a kernel, at most */

/* Where the parameters are: each pointer at the entries of feature 0, of which
 * there are `outputs`, one after the other. */
typedef struct {
    float *hot;       /* the worker's replica; unused when no element is hot */
    float *cold;      /* the shared vector; unused when every element is hot */
    float *intercept; /* its entries, in one of the two; NULL: no intercept */
    int64_t outputs;  /* 1, or a multiple of HT_LANES */
} ht_view_t;

/* Which kernels: for sparse rows and one output, for dense rows and one output,
 * or for several outputs (either kind of rows). */
typedef enum { HT_SPARSE = 0, HT_DENSE = 1, HT_OUTPUTS = 2, HT_SHAPE_COUNT = 3 } ht_shape_t;

HT_INLINE ht_shape_t ht_hogwild_shape(const ht_rows_t *rows, int64_t outputs)
{
    return outputs > 1 ? HT_OUTPUTS : ht_rows_is_dense(rows) ? HT_DENSE : HT_SPARSE;
}

/* z[k * outputs + o] = the row's elements times the parameters of output o, plus
 * the intercept, for n rows.  Of one output, lane k % 16 takes element k, whether
 * hot or cold (of dense rows, all or a multiple of 16 are hot); of several, elements are added in
 * order.  `step` is read for FTRL alone. */
typedef void (*ht_dot_fn_t)(const ht_rows_t *rows, const int64_t *ids, int n, const ht_view_t *view,
                            int stride, const ht_step_t *step, float *z);

/* One step (ht_optimizer.h) per row, row after row; gradient[k * outputs + o] is
 * the loss's derivative in z times the row's weight. */
typedef void (*ht_step_fn_t)(const ht_rows_t *rows, const int64_t *ids, int n,
                             const ht_view_t *view, const float *gradient, const ht_step_t *step);

typedef struct {
    ht_dot_fn_t dot_racy[2];                       /* [parameters are FTRL's z and n] */
    ht_step_fn_t step_racy[HT_OPTIMIZER_COUNT][2]; /* [optimizer][entries hold c]; NULL: lacks it */
} ht_hogwild_kernels_t;

/* The kernels of an instruction set; NULL when the build lacks it. */
const ht_hogwild_kernels_t *ht_hogwild_kernels(ht_isa_t isa, ht_shape_t shape);

/* The exact step, the same on every instruction set and for every shape; NULL for
 * momentum and Adam. */
ht_step_fn_t ht_hogwild_step_exact(ht_optimizer_t optimizer, int has_shares);

#endif
