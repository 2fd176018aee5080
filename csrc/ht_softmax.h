/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_softmax: the loss of several classes and its derivatives.
 *
 * Layer L2: may include L0 and L1.  Pure functions, with the bits of ht_loss.
 *
 * A row has one output for each class, padded to a multiple of HT_LANES:
 * loss = log(sum_k exp(z_k)) - z_y, and d loss / d z_k = p_k - [k = y].
 */
#ifndef HT_SOFTMAX_H
#define HT_SOFTMAX_H

#include "ht_base.h"

#define HT_MOST_CLASSES 1024

/* Outputs for so many classes. */
HT_INLINE int64_t ht_softmax_outputs(int64_t classes)
{
    return (classes + 15) / 16 * 16;
}

/* The largest eigenvalue of the second derivative in z (Boehning 1992). */
#define HT_SOFTMAX_CURVATURE 0.5f

/* Writes the derivatives of one row, 0 where outputs are padding, and returns the
 * loss; NaN or infinite when a z is.  target is 0 .. classes-1. */
double ht_softmax_gradient(int64_t classes, const float *z, int64_t target, float *gradient);

/* Writes the probabilities of n rows of `outputs` each to p[n * classes]. */
void ht_softmax_proba(int64_t classes, int64_t n, const float *z, float *p);

#endif
