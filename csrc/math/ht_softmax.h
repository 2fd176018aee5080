/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_softmax: the loss of several classes and its derivatives.
 *
 * Layer L2: may include L0 and L1.  Pure functions: any thread, any time; gradients
 * have equal bits everywhere, as in ht_loss.
 *
 * A row has one output for each class, padded to a multiple of HT_LANES:
 * loss = log(sum_k exp(z_k)) - z_y, and d loss / d z_k = p_k - [k = y].
 */
#ifndef HT_SOFTMAX_H
#define HT_SOFTMAX_H

#include "base/ht_base.h"

#define HT_MOST_CLASSES 1024

/* Returns the outputs of a row: the number of classes, padded. */
HT_INLINE int64_t ht_softmax_outputs(int64_t classes)
{
    return (classes + 15) / 16 * 16;
}

/* The largest eigenvalue of the second derivative in z (Boehning 1992). */
#define HT_SOFTMAX_CURVATURE 0.5f

/* Returns whether the core has room for this number of classes: 2 .. HT_MOST_CLASSES. */
HT_INLINE int ht_softmax_is_valid(int64_t classes)
{
    return classes >= 2 && classes <= HT_MOST_CLASSES;
}

/* Checks n targets.  HT_EINVAL unless the number of classes is valid and each target is one of
 * 0, 1, .. classes-1. */
ht_err_t ht_softmax_check(int64_t classes, int64_t n, const float *targets);

/* Writes the derivatives of one row, 0 where outputs are padding, and returns the
 * loss; NaN or infinite when a z is, and NaN when target is not 0 .. classes-1 (the
 * file of the targets may have changed since they were checked).  Needs a valid number of
 * classes. */
double ht_softmax_gradient(int64_t classes, const float *z, int64_t target, float *gradient);

/* Writes the sum of weight[i] * loss of n rows, `outputs` values of z each, to *sum; weight NULL
 * means 1.  HT_EINVAL for a number of classes or a target that is not valid. */
ht_err_t ht_softmax_sum(int64_t classes, int64_t n, const float *z, const float *targets,
                        const float *weight, double *sum);

/* Writes the probabilities of n rows, `outputs` values of z each, to p[n * classes].  HT_EINVAL
 * for a number of classes that is not valid. */
ht_err_t ht_softmax_proba(int64_t classes, int64_t n, const float *z, float *p);

#endif
