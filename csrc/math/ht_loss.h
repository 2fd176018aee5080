/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_loss: losses of a linear model and their derivatives.
 *
 * Layer L2: may include L0 and L1.  Pure functions: any thread, any time.
 * Gradients use IEEE additions, multiplications and divisions only (own exp),
 * so their bits are the same everywhere; sums of losses are reports, and take
 * libm's logarithm.
 *
 *   logistic       log(1 + exp(-y z)), y is -1 or +1;  second derivative <= 1/4
 *   hinge          max(0, 1 - y z),    y is -1 or +1;  a corner at y z = 1
 *   squared hinge  max(0, 1 - y z)^2,  y is -1 or +1;  second derivative <= 2
 *   squared        (z - y)^2 / 2;                      second derivative  = 1
 *   huber          (z - y)^2 / 2 where |z - y| <= delta, else
 *                  delta (|z - y| - delta / 2);        second derivative <= 1;
 *                  delta is the parameter
 *   poisson        exp(z) - y z + (y log y - y), y >= 0, half of the deviance at the
 *                  mean exp(z); no bound
 *   quantile       q (y - z) where y > z, else (1 - q) (z - y); a corner at z = y;
 *                  q is the parameter
 */
#ifndef HT_LOSS_H
#define HT_LOSS_H

#include "base/ht_base.h"

/* Lists each loss once: its kind, and the name by which Python finds it. */
#define HT_LOSSES(LOSS) \
    LOSS(HT_LOGISTIC, "logistic") \
    LOSS(HT_SQUARED, "squared") \
    LOSS(HT_HINGE, "hinge") \
    LOSS(HT_SQUARED_HINGE, "squared_hinge") \
    LOSS(HT_HUBER, "huber") \
    LOSS(HT_POISSON, "poisson") \
    LOSS(HT_QUANTILE, "quantile")

#define HT_LOSS_KIND(kind, name) kind,
typedef enum { HT_LOSSES(HT_LOSS_KIND) HT_LOSS_COUNT } ht_loss_kind_t;
#undef HT_LOSS_KIND

typedef struct {
    ht_loss_kind_t kind;
    float parameter; /* delta of huber, q of quantile; the others do not read it */
} ht_loss_t;

#define HT_LOSS_ROWS 16 /* rows in one call of ht_loss_gradient */

/* Returns the name of a kind, such as "squared_hinge"; NULL for any other number. */
const char *ht_loss_name(ht_loss_kind_t kind);

/* Returns whether the kind is in the list and the parameter in the kind's range. */
int ht_loss_is_valid(ht_loss_t loss);

/* Returns the largest second derivative in z; 1 for a loss without one (see ht_loss.c). */
float ht_loss_curvature(ht_loss_t loss);

/* Writes d loss / d z of n <= HT_LOSS_ROWS rows, 0 in a corner, to gradient.  Each of the three
 * arrays has room for HT_LOSS_ROWS values; the values of z and y from n on are finite. */
void ht_loss_gradient(ht_loss_t loss, int n, const float *z, const float *y, float *gradient);

/* Returns whether the gradient falls to 0 evenly at a minimum, which a step could pass: of
 * logistic loss there is none, and gradients beside a corner do not fall. */
int ht_loss_has_minimum(ht_loss_kind_t kind);

/* Bounds gradients of rows so that no step passes the minimum of its row's loss: |gradient[i]| *
 * reach[i] is at most the distance of z[i] from the minimum.  Poisson: at most |gradient| over the
 * larger of the mean and the target.  A step changes the row's margin by reach[i] per unit of the
 * gradient.  (The normalised step of Nagumo and Noda 1967.)  For a loss that has such a minimum. */
void ht_loss_bound(ht_loss_t loss, int n, const float *z, const float *y, const float *reach,
                   float *gradient);

/* Returns the sum of weight[i] * loss(z[i], y[i]); weight NULL means 1.  The sum is NaN or
 * infinite when a z is. */
double ht_loss_sum(ht_loss_t loss, int64_t n, const float *z, const float *y, const float *weight);

/* Writes 1 / (1 + exp(-z)) of n values to p. */
void ht_loss_sigmoid(int64_t n, const float *z, float *p);

#endif
