/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_sums: sums of rows' contributions whose bits do not depend on their order.
 *
 * Layer L4.  An accumulator belongs to one worker, which alone adds to it and
 * clears it; any worker may read it for a merge once the round says that it counts.
 *
 * A contribution is gradient * x of a sparse row, or the float32 sum of a task's dense
 * rows.  It is rounded once to a multiple of `unit`, a power of two, and added as a
 * 64-bit integer: such sums are associative, even where a partial sum wraps around
 * (fixed-point sums; Demmel and Nguyen 2013, "Fast reproducible floating-point
 * summation").  |contribution| / unit must be at most 2^51, and |sum| / unit below
 * 2^63.  The plain accumulator adds float32 in the order of the calls instead.
 *
 * Sums are aligned to 64 bytes and padded to whole groups, marks to 8 bytes.
 * The first `outputs` coordinates are the intercept's, the next ones feature 0's.
 * An add marks the groups of 8 coordinates that it touches, and merging and clearing
 * visit only marked groups.  A merge visits every group where every coordinate changes
 * in every step.
 */
#ifndef HT_SUMS_H
#define HT_SUMS_H

#include <string.h>

#include "math/ht_optimizer.h"

#define HT_SUMS_GROUP 8        /* coordinates to a mark */
#define HT_SUMS_SCALE 64       /* coordinates that share a scale */
#define HT_SUMS_BITS 51        /* of |contribution| / unit, at most */
#define HT_SUMS_MAGIC 0x1.8p52 /* added to a double, it rounds that to an integer */

/* An accumulator.
 *
 *   marks[g] == 0 implies that the sums of group g are all 0
 */
typedef struct {
    void *sums;     /* int64_t or float, one per coordinate */
    uint8_t *marks; /* one per group; 0: nothing was added */
} ht_sums_t;

#define HT_SUMS_ARRAYS \
    5 /* of a coordinate, at most: w, two of state, one of ht_changes, the average */

/* Returns the number of arrays that a merge writes: w, state and, if there is one, the average. */
HT_INLINE int ht_sums_arrays(ht_optimizer_t optimizer, int has_average)
{
    return ht_optimizer_arrays(optimizer) + ht_optimizer_is_dual(optimizer) + (has_average != 0);
}

/* One merge of the coordinates `first` .. `last` - 1.  Both are multiples of HT_SUMS_GROUP; at the
 * end of the coordinates `last` need not be one. */
typedef struct {
    int64_t first, last;
    const ht_sums_t *sums; /* n_sums, in the order in which floats are added */
    uint32_t n_sums;
    double unit;          /* of the integers, times 1 / scales */
    const double *scales; /* NULL: all 1 */
    float inverse_rows;   /* 1 / rows of the batch */
    /* Of all coordinates: w, the optimizer's state (of a dual one z, n), and last, if
     * average_share is not 0, the average. */
    const float *arrays[HT_SUMS_ARRAYS];
    float *merged; /* out: array k of the stretch at k * array_stride */
    int64_t array_stride;
    uint8_t *touched; /* out: per group of the stretch: 0: as before; NULL: not asked for */
    const uint32_t
        *groups; /* the groups to visit, whichever are marked; NULL: all of the stretch */
    int64_t n_groups;
    const float *c;         /* penalty shares of all coordinates; NULL: all 1 */
    const float *l1_factor; /* c1 of all coordinates, where c is NULL; NULL: all 1 */
    int64_t n_intercept;    /* leading coordinates at lr * intercept_rate, without a penalty */
    float intercept_rate;
    float average_share; /* of the new parameters in the average; 0: leave it */
    ht_step_t step;
    ht_optimizer_t optimizer;
} ht_sums_merge_t;

/* Writes the optimizer's step with the mean of the sums to `merged`, and the groups that it visited
 * to `touched`.  Usually the touched groups are visited; an optimizer of HT_EVERY, and every
 * optimizer where there is an average to take, visits all groups.  An optimizer of HT_TOUCHED
 * changes only coordinates with a sum other than 0. */
typedef void (*ht_sums_merge_fn_t)(const ht_sums_merge_t *merge);

/* Adds n floats to the sums of coordinates 0 .. n - 1, and marks their groups; `floats` are padded
 * to whole groups.  Exact: scales[c / HT_SUMS_SCALE] is 1 / unit of coordinate c, before it is
 * multiplied by inverse_unit; NULL: all 1.  Returns whether every float is finite. */
typedef int (*ht_sums_add_fn_t)(const ht_sums_t *sums, const float *floats, int64_t n,
                                double inverse_unit, const double *scales);

typedef struct {
    ht_sums_merge_fn_t merge_racy[2]; /* [is exact] */
    ht_sums_add_fn_t add_racy[2];     /* [is exact] */
} ht_sums_kernels_t;

/* Returns the kernels of an instruction set; NULL when the build lacks it. */
const ht_sums_kernels_t *ht_sums_kernels(ht_isa_t isa);

/* Sets the marked sums of n coordinates, and the marks, to 0. */
void ht_sums_clear(const ht_sums_t *sums, int64_t n, int is_exact);

/* Sets the float sums and the marks of some groups to 0. */
HT_INLINE void ht_sums_clear_groups(const ht_sums_t *sums, const uint32_t *groups, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        memset((float *)sums->sums + (size_t)groups[i] * HT_SUMS_GROUP, 0,
               sizeof(float) * HT_SUMS_GROUP);
        sums->marks[groups[i]] = 0;
    }
}

/* Sets all sums of n coordinates, and the marks, to 0: after a worker died while it added to them,
 * or cleared them, marks may be missing. */
void ht_sums_wipe(const ht_sums_t *sums, int64_t n, int is_exact);

/* Rounds x, |x| <= 2^51, to the nearest integer, ties to even: after the addition, the low bits
 * hold the integer. */
HT_INLINE int64_t ht_sums_round(double x)
{
    const double magic = HT_SUMS_MAGIC;
    double shifted = x + magic;
    uint64_t bits, zero; /* an x beyond the grid may wrap: its step is refused */
    memcpy(&bits, &shifted, sizeof bits);
    memcpy(&zero, &magic, sizeof zero);
    return (int64_t)(bits - zero);
}

/* Returns the exponent e of the unit 2^e for at most n contributions of at most `largest` > 0 each:
 * the finest unit for which neither a contribution nor the sum is too large. */
int ht_sums_exponent(double largest, uint64_t n);

#endif
