/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_optimizer: how a coordinate steps, and how changes of replicas merge.
 *
 * Layer L2: may include L0 and L1.  Pure arithmetic on the caller's arrays.
 *
 * To add an optimizer: its line in HT_OPTIMIZERS, and its arithmetic in
 * ht_optimizer_step.h.  Tables of kernels and merges expand the list.  No other file of
 * the core names an optimizer, except SGD's own kernel in ht_linear_sparse_racy.c.
 *
 * A coordinate and its state lie side by side, so that a step misses the
 * cache once: an *entry* of 1, 2 or 4 floats,
 *
 *   SGD       w          with a share  w c
 *   AdaGrad   w G                      w G c -
 *   momentum  w m
 *   Adam      w m v -
 *   FTRL      z n
 *   RMSProp   w v
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
 *   RMSProp   v = b2 v + (1 - b2) d^2; step = lr / (sqrt(v)+eps); w -= step d
 *             (Tieleman and Hinton 2012, lecture 6.5)
 *   penalty   w *= 1 / (1 + step s l2 c);  w = sign(w) max(0, |w| - step s l1 c)
 *   FTRL      n' = n + d^2; z += d - (sqrt(n') - sqrt(n)) / lr w;
 *             w = -shrink(z, l1 t) / ((beta + sqrt(n)) / lr + l2 t), t the
 *             gradients so far: rows, or batches of the round (McMahan et al. 2013,
 *             KDD, with penalties of the mean loss: they add up as the losses do)
 *
 * (AdaGrad, Adam and RMSProp multiply through by r = sqrt(.) + eps and divide once:
 * w = (w r - lr d) / (r + lr s l2 c); while G is 0, w stays.)
 *
 * The penalty needs no clock: a coordinate is touched in a share q of the
 * steps, and takes 1/q of the penalty in each of them (Niu et al. 2011 did
 * the same for their support vector machine).  Of dense rows c is 1 and is not
 * stored.
 *
 * For SGD with l2 alone and rows of equal weight the factor is the same in
 * every step until lr changes.  Hot entries then hold it *folded*, in the
 * place of c: a division per element costs a seventh of the speed.
 */
#ifndef HT_OPTIMIZER_H
#define HT_OPTIMIZER_H

#include "base/ht_base.h"
#include "base/ht_vector.h"

/* Which coordinates a step changes. */
typedef enum {
    HT_TOUCHED, /* those that its rows hold; each takes its share of the penalty */
    HT_EVERY,   /* every one: for dense rows, and for the round */
    HT_DUAL     /* as HT_TOUCHED, of z and n: w is computed where it is read, with the
                 * penalties of all gradients so far */
} ht_reach_t;

/* What an array of the state holds.  That says how changes of replicas merge, and
 * what a step is divided by. */
typedef enum {
    HT_NO_STATE,
    HT_VELOCITY,        /* a decaying sum of gradients: each moves w for many steps */
    HT_MEAN,            /* a decaying mean of gradients */
    HT_MEAN_OF_SQUARES, /* of squared gradients; steps are divided by its root */
    HT_SUM_OF_SQUARES   /* the same of all so far; changes of replicas add up */
} ht_state_t;

/* Each optimizer once: its constant, its name, the coordinates that a step changes, what
 * the two arrays after the first hold, and its rate on the intercept of sparse rows, as
 * a share of lr.  Every sparse row moves the intercept, which at the full rate of SGD
 * would follow the last few labels (Bottou 2012, section 5, and his code, which has the
 * same factor).  Dense rows move every coordinate alike, and steps that are divided by
 * the size of the gradients find their own rate. */
#define HT_OPTIMIZERS(OPTIMIZER) \
    OPTIMIZER(HT_SGD, sgd, HT_TOUCHED, HT_NO_STATE, HT_NO_STATE, 0.01f) \
    OPTIMIZER(HT_ADAGRAD, adagrad, HT_TOUCHED, HT_SUM_OF_SQUARES, HT_NO_STATE, 1.0f) \
    OPTIMIZER(HT_MOMENTUM, momentum, HT_EVERY, HT_VELOCITY, HT_NO_STATE, 0.01f) \
    OPTIMIZER(HT_ADAM, adam, HT_EVERY, HT_MEAN, HT_MEAN_OF_SQUARES, 1.0f) \
    OPTIMIZER(HT_FTRL, ftrl, HT_DUAL, HT_SUM_OF_SQUARES, HT_NO_STATE, 1.0f) \
    OPTIMIZER(HT_RMSPROP, rmsprop, HT_EVERY, HT_MEAN_OF_SQUARES, HT_NO_STATE, 1.0f)

#define HT_OPTIMIZER_CONSTANT(optimizer, ...) optimizer,
typedef enum { HT_OPTIMIZERS(HT_OPTIMIZER_CONSTANT) HT_OPTIMIZER_COUNT } ht_optimizer_t;
#undef HT_OPTIMIZER_CONSTANT

#define HT_OPTIMIZER_ARRAYS 3 /* of an entry, at most, without c */

typedef struct {
    const char *name;
    ht_reach_t reach;
    ht_state_t state[HT_OPTIMIZER_ARRAYS]; /* of each array; the first is w or z */
    float intercept_rate;
} ht_traits_t;

/* The line of an optimizer in the list.  Where the optimizer is a constant, so are its
 * traits: kernels ask for them at no cost. */
HT_INLINE const ht_traits_t *ht_optimizer_traits(ht_optimizer_t optimizer)
{
#define HT_OPTIMIZER_TRAITS(optimizer, name, reach, second, third, intercept_rate) \
    [optimizer] = {#name, reach, {HT_NO_STATE, second, third}, intercept_rate},
    static const ht_traits_t traits[] = {HT_OPTIMIZERS(HT_OPTIMIZER_TRAITS)};
#undef HT_OPTIMIZER_TRAITS
    return &traits[optimizer];
}

/* "sgd", ...; NULL for anything that is not in the list. */
const char *ht_optimizer_name(ht_optimizer_t optimizer);

#define HT_ROOT_EPS 0x1p-27f /* beside roots that divide: about 1e-8, and w eps / eps is w */

/* The rate on the intercept, as a share of lr. */
HT_INLINE float ht_optimizer_intercept_rate(ht_optimizer_t optimizer, int is_dense)
{
    return is_dense ? 1.0f : ht_optimizer_traits(optimizer)->intercept_rate;
}

/* What a step needs besides the gradient; constant within a chunk. */
typedef struct {
    float lr;
    float l1;
    float l2;
    int32_t is_folded; /* hot entries hold the factor instead of c */
    float decay1;      /* of a velocity, or of a mean of gradients */
    float decay2;      /* of a mean of squares */
    float power1;      /* decay1^t, decay2^t, t the steps before; where there are means */
    float power2;
    float beta;   /* FTRL's */
    float l1_sum; /* of a dual optimizer: penalty times gradients so far */
    float l2_sum;
} ht_step_t;

/* How a step applies the penalty: not at all; the factor 1 / (1 + lr l2 c) as
 * the entry holds it; l2 from c; l1 and l2 from c. */
typedef enum { HT_PLAIN, HT_FOLDED, HT_L2, HT_L1 } ht_penalty_t;

/* Arrays of an entry, w or z included; each is merged. */
HT_INLINE int ht_optimizer_arrays(ht_optimizer_t optimizer)
{
    const ht_state_t *state = ht_optimizer_traits(optimizer)->state;
    return 1 + (state[1] != HT_NO_STATE) + (state[2] != HT_NO_STATE);
}

/* Whether a step reads c where rows are sparse. */
HT_INLINE int ht_optimizer_has_shares(ht_optimizer_t optimizer)
{
    return ht_optimizer_traits(optimizer)->reach == HT_TOUCHED;
}

/* Whether a step changes coordinates whose gradient is 0. */
HT_INLINE int ht_optimizer_is_dense(ht_optimizer_t optimizer)
{
    return ht_optimizer_traits(optimizer)->reach == HT_EVERY;
}

/* Whether entries hold z and n, and no w. */
HT_INLINE int ht_optimizer_is_dual(ht_optimizer_t optimizer)
{
    return ht_optimizer_traits(optimizer)->reach == HT_DUAL;
}

/* Whether an entry is w alone.  A step then takes the change itself, lr * gradient * x;
 * every other step takes gradient * x. */
HT_INLINE int ht_optimizer_is_stateless(ht_optimizer_t optimizer)
{
    return ht_optimizer_arrays(optimizer) == 1;
}

/* Whether the state has decaying means, which may be divided by 1 - decay^t. */
HT_INLINE int ht_optimizer_has_means(ht_optimizer_t optimizer)
{
    const ht_state_t *state = ht_optimizer_traits(optimizer)->state;
    return state[1] == HT_MEAN || state[1] == HT_MEAN_OF_SQUARES || state[2] == HT_MEAN ||
           state[2] == HT_MEAN_OF_SQUARES;
}

/* How far all steps that follow one gradient move w, as a multiple of the gradient, where
 * they are not divided by a root. */
HT_INLINE float ht_optimizer_rate(ht_optimizer_t optimizer, const ht_step_t *step)
{
    const ht_state_t *state = ht_optimizer_traits(optimizer)->state;
    return state[1] == HT_VELOCITY ? step->lr / (1.0f - step->decay1) : step->lr;
}

/* Floats of one entry: 1, 2 or 4. */
HT_INLINE int ht_optimizer_stride(ht_optimizer_t optimizer, int has_shares)
{
    int n = ht_optimizer_arrays(optimizer) + (has_shares && ht_optimizer_has_shares(optimizer));
    return n == 3 ? 4 : n;
}

/* Where c stands in an entry that has a share. */
HT_INLINE int ht_optimizer_penalty_at(ht_optimizer_t optimizer)
{
    return ht_optimizer_arrays(optimizer);
}

/* Whether hot entries hold the folded factor. */
HT_INLINE int ht_optimizer_folds(ht_optimizer_t optimizer, float l1, int has_weights)
{
    return ht_optimizer_is_stateless(optimizer) && l1 == 0.0f && !has_weights;
}

/* Folds the penalty into n entries w c: 1 / (1 + lr l2 c) in the place of c, which is the
 * same for each `outputs` of them. */
void ht_optimizer_fold(float *entries, const float *c, int64_t n, int outputs, float lr, float l2);

/* The parameter that z and n of a coordinate stand for. */
float ht_optimizer_from_dual(float z, float n, const ht_step_t *step);

/* The z that stands for w while n is 0. */
float ht_optimizer_to_dual(float w, const ht_step_t *step);

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
 * changes for sums of squares, their mean for other state (for means of squares at
 * least this worker's part of a mean, replica / P: the mean of changes from a base that
 * others have left far behind may be below 0), with
 * theta = (1 - exp(-P a)) / (P (1 - exp(-a))), a = rows lr h curvature (divided
 * by root + eps where the state has squares): what P workers' rows
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
