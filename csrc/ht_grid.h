/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_grid: sums of rows' contributions whose bits do not depend on their order.
 *
 * Layer L5.  An accumulator belongs to one worker, who alone adds to it and
 * clears it; others read it to merge once the round says that it counts.
 *
 * A contribution gradient * x is rounded once to a multiple of `unit`, a power
 * of two, and added as a 64-bit integer: such sums are associative, also where
 * a partial sum wraps around (fixed-point sums; Demmel and Nguyen 2013,
 * "Fast reproducible floating-point summation").  |contribution| / unit must be
 * at most 2^51, and the sum's below 2^63.  The plain accumulator adds float32
 * in the order of the calls instead.
 *
 * Sums are aligned to 64 bytes and padded to whole groups, marks to 8 bytes.
 * Coordinate 0 is the intercept, j + 1 is feature j.  An add marks the groups
 * of 8 coordinates that it touches; merging and clearing visit those alone.
 */
#ifndef HT_GRID_H
#define HT_GRID_H

#include "ht_optimizer.h"
#include "ht_rows.h"

#define HT_GRID_GROUP 8  /* coordinates to a mark */
#define HT_GRID_SCALE 64 /* coordinates that share a scale */
#define HT_GRID_BITS 51  /* of |contribution| / unit, at most */

typedef struct {
    void *sums;     /* int64_t or float, one per coordinate */
    uint8_t *marks; /* one per group; 0: nothing was added */
} ht_sums_t;

/* Adds gradient[k] * row for n rows, and gradient[k] to the intercept if
 * has_intercept.  scales[c / HT_GRID_SCALE] is 1 / unit of coordinate c, before
 * it is multiplied by inverse_unit. */
typedef void (*ht_grid_add_fn_t)(const ht_sums_t *sums, const ht_rows_t *rows, const int64_t *ids,
                                 int n, const float *gradient, int has_intercept,
                                 double inverse_unit, const double *scales);

/* One merge: a stretch of coordinates `first` .. `last` - 1, both multiples of
 * HT_GRID_GROUP, but for the end. */
typedef struct {
    int64_t first, last;
    const ht_sums_t *sums; /* n_sums, in the order in which floats are added */
    uint32_t n_sums;
    double unit;          /* of the integers, times 1 / scales */
    const double *scales; /* NULL: all 1 */
    float inverse_rows;   /* 1 / rows of the batch */
    const float *w;       /* all coordinates; w and, for AdaGrad, G */
    const float *squares;
    float *merged; /* out: w[last - first], then for AdaGrad G at `array_stride` */
    int64_t array_stride;
    uint8_t *touched; /* out: per group of the stretch */
    const float *c;   /* penalty shares of all coordinates; NULL: no penalty */
    ht_step_t step;
    ht_optimizer_t optimizer;
    float intercept_lr;
} ht_grid_merge_t;

/* merged = the optimizer's step with the mean of the sums, on coordinates whose
 * sum is not 0; in touched groups alone. */
typedef void (*ht_grid_merge_fn_t)(const ht_grid_merge_t *merge);

typedef struct {
    ht_grid_add_fn_t add_racy[2]; /* [is exact] */
    ht_grid_merge_fn_t merge_racy[2];
} ht_grid_kernels_t;

/* The kernels of an instruction set; NULL when the build lacks it. */
const ht_grid_kernels_t *ht_grid_kernels(ht_isa_t isa);

/* Sets the touched sums of n coordinates, and the marks, to 0. */
void ht_grid_clear(const ht_sums_t *sums, int64_t n, int is_exact);

/* The exponent e of the unit 2^e for at most n contributions of at most
 * `largest` > 0 each: as fine as sum and contribution allow. */
int ht_grid_exponent(double largest, uint64_t n);

#endif
