/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_changes: sums of the changes of replicas, and what they make of the parameters.
 *
 * Layer L5.  A replica starts from the parameters and the optimizer's state of a step of the round,
 * and makes steps of its own.  What it has changed is added to its worker's sums (ht_sums.h), one
 * accumulator for each array, rounded once to a multiple of the array's unit: so the bits of a
 * merge depend neither on the order of the replicas nor on their workers.  The only replica of a
 * step adds its values instead, as the 32 bits that they are: the merge takes them as they are.
 *
 *   w, means, velocity   take the mean of the changes, weighted by the replicas' rows
 *   sums of squares      take all of them: they add up
 *   z (of a dual one)    is what makes w the mean of the replicas' w beside the sum of their n.  A
 *                        replica adds z + w sqrt(n) / lr, which is linear in what is averaged
 *
 * An outer optimizer takes the mean change of w as the gradient of a step of its own:
 *
 *   Nesterov  g = -mean change; u = d u + g; w -= rate (g + d u)   (DiLoCo: Douillard et al. 2023,
 *             arXiv:2311.08105)
 *   SlowMo    g = -mean change / lr; u = d u + g; w -= rate lr u   (Wang et al. 2020,
 *             arXiv:1910.00643); at an lr of 0 nothing has changed, and g is 0
 */
#ifndef HT_CHANGES_H
#define HT_CHANGES_H

#include "share/ht_sums.h"

#define HT_CHANGES_ARRAYS 3 /* of a replica, at most: w, and two of state */

typedef enum { HT_OUTER_NONE, HT_OUTER_NESTEROV, HT_OUTER_SLOWMO, HT_OUTER_COUNT } ht_outer_kind_t;

typedef struct {
    ht_outer_kind_t kind;
    float rate;
    float decay;
} ht_outer_t;

/* One replica's changes.  Arrays are padded to whole groups; what lies behind n is equal in
 * both. */
typedef struct {
    int64_t n; /* coordinates */
    ht_optimizer_t optimizer;
    float lr; /* of a dual optimizer */
    const float *base[HT_CHANGES_ARRAYS];
    const float *replica[HT_CHANGES_ARRAYS];
    const ht_sums_t *sums; /* one for each array */
    double weight;         /* of this replica in a mean */
    int is_alone;          /* 1: it is the only replica of the step */
    double inverse_unit[HT_CHANGES_ARRAYS];
    double largest[HT_CHANGES_ARRAYS]; /* out: |change| of each array */
} ht_change_t;

/* Adds a replica's changes to the sums, and marks the groups of which a bit has changed.  Returns
 * whether all changes are finite. */
typedef int (*ht_change_add_fn_t)(ht_change_t *change);

/* One merge of the coordinates `first` .. `last` - 1, as in ht_sums_merge_t. */
typedef struct {
    int64_t first, last;
    ht_optimizer_t optimizer;
    const ht_sums_t *sums; /* n_sums times one for each array */
    uint32_t n_sums;
    double unit[HT_CHANGES_ARRAYS];
    double inverse_tasks;                /* 1 / replicas of the step */
    int is_alone;                        /* as in ht_change_t */
    const float *arrays[HT_SUMS_ARRAYS]; /* as in ht_sums_merge_t; the outer one behind the state */
    float *merged;
    int64_t array_stride;
    uint8_t *touched;
    const float *l1_factor; /* of a dual optimizer; NULL: all 1 */
    int64_t n_intercept;    /* leading coordinates without a penalty */
    float average_share;    /* of the new parameters in the average; 0: leave it */
    ht_outer_t outer;
    ht_step_t step; /* after the steps of the replicas */
} ht_change_merge_t;

/* Writes the merged coordinates, and the groups that were visited to `touched`.  Usually these are
 * the groups that changed; where there is an outer optimizer, or an average to take, all groups. */
typedef void (*ht_change_merge_fn_t)(const ht_change_merge_t *merge);

/* Copies n floats, and those behind them up to a whole group. */
typedef void (*ht_change_copy_fn_t)(float *to, const float *from, int64_t n);

typedef struct {
    ht_change_copy_fn_t copy_racy;
    ht_change_add_fn_t add_racy;
    ht_change_merge_fn_t merge_racy;
} ht_changes_kernels_t;

/* Returns the kernels of an instruction set; NULL when the build lacks it. */
const ht_changes_kernels_t *ht_changes_kernels(ht_isa_t isa);

#endif
