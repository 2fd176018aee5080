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

/* Where the parameters are: each pointer at the entry of feature 0. */
typedef struct {
    float *hot;       /* the worker's replica; unused when no element is hot */
    float *cold;      /* the shared vector; unused when every element is hot */
    float *intercept; /* its entry, in one of the two; NULL: no intercept */
} ht_view_t;

/* z[k] = the row's elements times the parameters, plus the intercept, for n
 * rows.  Lane k % 16 takes element k, whether hot or cold. */
typedef void (*ht_dot_fn_t)(const ht_rows_t *rows, const int64_t *ids, int n, const ht_view_t *view,
                            int stride, float *z);

/* One step (ht_optimizer.h) per row, row after row; gradient[k] is the loss's
 * derivative in z times the row's weight. */
typedef void (*ht_step_fn_t)(const ht_rows_t *rows, const int64_t *ids, int n,
                             const ht_view_t *view, const float *gradient, const ht_step_t *step);

typedef struct {
    ht_dot_fn_t dot_racy;
    ht_step_fn_t step_racy[HT_OPTIMIZER_COUNT][2]; /* [optimizer][has a penalty] */
} ht_hogwild_kernels_t;

/* The kernels of an instruction set; NULL when the build lacks it. */
const ht_hogwild_kernels_t *ht_hogwild_kernels(ht_isa_t isa);

/* The exact step, the same on every instruction set. */
ht_step_fn_t ht_hogwild_step_exact(ht_optimizer_t optimizer, int has_penalty);

#endif
