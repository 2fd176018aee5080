/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_optimizer: how a coordinate steps, and how changes of replicas merge.
 *
 * Layer L2: may include L0 and L1.  Pure arithmetic on the caller's arrays.
 *
 * A coordinate and its state lie side by side, so that a step misses the
 * cache once: an *entry* of 1, 2 or 4 floats,
 *
 *   SGD       w          with a share  w c
 *   AdaGrad   w G        with a share  w G c -
 *   momentum  w m                      w m c -
 *   Adam      w m v -                  w m v c
 *   FTRL      z n                      z n
 *
 * w the parameter, G its sum of squared gradients (Duchi, Hazan and Singer
 * 2011, JMLR 12), c = 1/q with q the share of the rows (by weight) that touch
 * the coordinate.  With d = gradient * x and s the row's weight:
 *
 *   SGD       step = lr;                           w -= lr d
 *   AdaGrad   G += d^2; step = lr / (sqrt(G)+eps); w -= step d
 *   momentum  m = b1 m + d; w -= lr m; step = lr / (1 - b1)
 *   Adam      m, v: decaying means of d, d^2, divided by 1 - b1^t, 1 - b2^t;
 *             step = lr / (sqrt(v)+eps); w -= step m  (Kingma and Ba 2015,
 *             arXiv:1412.6980)
 *   penalty   w *= 1 / (1 + step s l2 c);  w = sign(w) max(0, |w| - step s l1 c)
 *   FTRL      n' = n + d^2; z += d - (sqrt(n') - sqrt(n)) / lr w;
 *             w = -shrink(z, l1 t) / ((beta + sqrt(n)) / lr + l2 t), t the
 *             gradients so far: rows, or batches of the round (McMahan et al. 2013,
 *             KDD, with penalties of the mean loss: they add up as the losses do)
 *
 * (AdaGrad and Adam multiply through by r = sqrt(.) + eps and divide once:
 * w = (w r - lr d) / (r + lr s l2 c); while G is 0, w stays.)
 *
 * The penalty needs no clock: a coordinate is touched in a share q of the
 * steps, and takes 1/q of the penalty in each of them (Niu et al. 2011 did
 * the same for their support vector machine).  Of dense rows c is 1 and is not
 * stored.  Momentum and Adam change every coordinate in every step: they are
 * for dense rows, and for the round.
 *
 * For SGD with l2 alone and rows of equal weight the factor is the same in
 * every step until lr changes.  Hot entries then hold it *folded*, in the
 * place of c: a division per element costs a seventh of the speed.
 */
#ifndef HT_OPTIMIZER_H
#define HT_OPTIMIZER_H

#include "base/ht_base.h"
#include "base/ht_vector.h"

typedef enum {
    HT_SGD = 0,
    HT_ADAGRAD = 1,
    HT_MOMENTUM = 2,
    HT_ADAM = 3,
    HT_FTRL = 4,
    HT_OPTIMIZER_COUNT = 5
} ht_optimizer_t;

#define HT_ADAGRAD_EPS 0x1p-27f /* Adam's, too; about 1e-8, and w eps / eps is w */

/* The rate of SGD and momentum on the intercept, as a share of lr: every sparse
 * row moves it, so that at the full rate it would follow the last few labels
 * (Bottou 2012, section 5, and his code, which has the same factor).  Dense
 * rows move every coordinate alike, and the others find their own. */
HT_INLINE float ht_optimizer_intercept_rate(ht_optimizer_t optimizer, int is_dense)
{
    return !is_dense && (optimizer == HT_SGD || optimizer == HT_MOMENTUM) ? 0.01f : 1.0f;
}

/* What a step needs besides the gradient; constant within a chunk. */
typedef struct {
    float lr;
    float l1;
    float l2;
    int32_t is_folded; /* hot entries hold the factor instead of c */
    float decay1;      /* momentum's, Adam's of m */
    float decay2;      /* Adam's of v */
    float power1;      /* decay1^t, decay2^t, t the steps before */
    float power2;
    float beta;   /* FTRL's */
    float l1_sum; /* FTRL's: penalty times gradients so far */
    float l2_sum;
} ht_step_t;

/* How a step applies the penalty: not at all; the factor 1 / (1 + lr l2 c) as
 * the entry holds it; l2 from c; l1 and l2 from c. */
typedef enum { HT_PLAIN, HT_FOLDED, HT_L2, HT_L1 } ht_penalty_t;

/* Arrays of the state, w (FTRL: z) included; each is merged. */
HT_INLINE int ht_optimizer_arrays(ht_optimizer_t optimizer)
{
    return optimizer == HT_SGD ? 1 : optimizer == HT_ADAM ? 3 : 2;
}

/* Whether a step reads c where rows are sparse. */
HT_INLINE int ht_optimizer_has_shares(ht_optimizer_t optimizer)
{
    return optimizer != HT_FTRL;
}

/* Whether a step changes coordinates whose gradient is 0. */
HT_INLINE int ht_optimizer_is_dense(ht_optimizer_t optimizer)
{
    return optimizer == HT_MOMENTUM || optimizer == HT_ADAM;
}

/* Floats of one entry: 1, 2 or 4. */
HT_INLINE int ht_optimizer_stride(ht_optimizer_t optimizer, int has_shares)
{
    int n = ht_optimizer_arrays(optimizer) + (has_shares && ht_optimizer_has_shares(optimizer));
    return n == 3 ? 4 : n;
}

/* Whether hot entries hold the folded factor. */
HT_INLINE int ht_optimizer_folds(ht_optimizer_t optimizer, float l1, int has_weights)
{
    return optimizer == HT_SGD && l1 == 0.0f && !has_weights;
}

/* Folds the penalty into n entries of SGD: 1 / (1 + lr l2 c), c the same for
 * each `outputs` of them. */
void ht_optimizer_fold(float *entries, const float *c, int64_t n, int outputs, float lr, float l2);

/* Where c stands in an entry that has a share. */
HT_INLINE int ht_optimizer_penalty_at(ht_optimizer_t optimizer)
{
    return ht_optimizer_arrays(optimizer);
}

/* FTRL's w from z and n, of one coordinate. */
float ht_optimizer_ftrl(float z, float n, const ht_step_t *step);

/* FTRL's z that gives w at n = 0. */
float ht_optimizer_ftrl_start(float w, const ht_step_t *step);

/* One merge of a stretch of n coordinates.  Arrays are compact: w[n], then the
 * rest of the state, each at distance array_stride from the one before. */
typedef struct {
    int64_t n;
    int64_t array_stride;
    const float *replica;   /* entries of the worker, interleaved */
    const float *base;      /* what replica and shared agreed on last time */
    const float *shared;    /* the shared values now */
    const float *curvature; /* mean over rows of s |x_j| ||x||, per coordinate */
    float *merged;          /* out: the new shared values */
    float rows_lr_h;        /* rows since the last merge * lr * curvature of the loss */
    uint32_t n_workers;
} ht_merge_t;

/* merged = shared + theta * (replica - base) for w and z, the plain sum of
 * changes for G and n, their mean for m and v, with
 * theta = (1 - exp(-P a)) / (P (1 - exp(-a))), a = rows lr h curvature (divided
 * by the root + eps that AdaGrad, FTRL and Adam divide by): what P workers' rows
 * in sequence would have done to a coordinate that relaxes at rate a.  The rate
 * counts the other coordinates of a row in quadrature, as if their changes had
 * random signs: counting none diverges, and counting all (||x||_1) averages too
 * much (2 % more loss at 8 workers).  When nobody else changed the stretch and P
 * is 1, merged is replica, bit for bit (but -0 becomes 0). */
typedef void (*ht_merge_fn_t)(const ht_merge_t *merge);

/* The merge of an optimizer and stride for an instruction set; NULL when the
 * build lacks either. */
ht_merge_fn_t ht_optimizer_merge(ht_isa_t isa, ht_optimizer_t optimizer, int stride);

#endif
