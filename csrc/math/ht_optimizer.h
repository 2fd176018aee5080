/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_optimizer: how a coordinate steps, and how changes of replicas merge.
 *
 * Layer L2: may include L0 and L1.  Pure arithmetic on the caller's arrays.
 *
 * To add an optimizer, write its line in HT_OPTIMIZERS and its arithmetic in
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
 * w is the parameter, G its sum of squared gradients (Duchi, Hazan and Singer
 * 2011, JMLR 12), c = 1/q, and q the share of the rows (by weight) that touch
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
 *   penalty   w *= 1 / (1 + step s l2 c2);  w = sign(w) max(0, |w| - step s l1 c1)
 *   FTRL      n' = n + d^2; z += d - (sqrt(n') - sqrt(n)) / lr w;
 *             w = -shrink(z, l1 c1 t) / ((beta + sqrt(n)) / lr + l2 c2 t), t the
 *             gradients so far: rows, or batches of the round (McMahan et al. 2013,
 *             KDD, with penalties of the mean loss: they add up as the losses do)
 *
 * (AdaGrad, Adam and RMSProp multiply through by r = sqrt(.) + eps and divide once:
 * w = (w r - lr d) / (r + lr s l2 c2); while G is 0, w stays.)
 *
 * The penalty needs no clock: a coordinate is touched in a share q of the
 * steps, and takes 1/q of the penalty in each of them, as Niu et al. (2011) did
 * for their support vector machine: c1 = c2 = c.  Where no entry holds c, c1 is 1, or 1 / scale
 * of a column that was divided by its scale, and c2 is c1^2: the parameter is w = v scale, and
 * the penalty is that of v.
 *
 * For SGD with l2 alone and rows of equal weight, the factor of the penalty
 * changes only with lr.  Hot entries then hold the factor *folded*, in the place
 * of c: a division per element costs a seventh of the speed.
 */
#ifndef HT_OPTIMIZER_H
#define HT_OPTIMIZER_H

#include "base/ht_base.h"
#include "base/ht_vector.h"

/* The coordinates that a step changes. */
typedef enum {
    HT_TOUCHED, /* coordinates that its rows hold; each takes its share of the penalty */
    HT_EVERY,   /* every coordinate: for dense rows, and for the round */
    HT_DUAL     /* coordinates that its rows hold, as z and n: w is computed where it is
                 * read, with the penalties of all gradients so far */
} ht_reach_t;

/* The content of an array of the state.  It decides how changes of replicas merge, and
 * whether a step is divided by the array's root. */
typedef enum {
    HT_NO_STATE,
    HT_VELOCITY,        /* a decaying sum of gradients: each moves w for many steps */
    HT_MEAN,            /* a decaying mean of gradients */
    HT_MEAN_OF_SQUARES, /* a decaying mean of squared gradients; its root divides steps */
    HT_SUM_OF_SQUARES   /* a sum of all squared gradients; its root divides steps, and
                         * changes of replicas add up */
} ht_state_t;

/* Lists each optimizer once: its constant, its name, the coordinates that a step changes,
 * the contents of the second and third array, and its rate on the intercept of sparse rows,
 * as a share of lr.  Every sparse row moves the intercept: at the full rate of SGD it would
 * follow the last few labels (Bottou 2012, section 5; his code has the factor 0.01).  Dense
 * rows move every coordinate alike, and steps that are divided by the size of the gradients
 * find their own rate. */
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

/* Returns the line of an optimizer in the list.  Where the optimizer is a constant, its traits
 * are constants as well: kernels ask for them at no cost. */
HT_INLINE const ht_traits_t *ht_optimizer_traits(ht_optimizer_t optimizer)
{
#define HT_OPTIMIZER_TRAITS(optimizer, name, reach, second, third, intercept_rate) \
    [optimizer] = {#name, reach, {HT_NO_STATE, second, third}, intercept_rate},
    static const ht_traits_t traits[] = {HT_OPTIMIZERS(HT_OPTIMIZER_TRAITS)};
#undef HT_OPTIMIZER_TRAITS
    return &traits[optimizer];
}

/* Returns the name of an optimizer, "sgd", ...; NULL for anything that is not in the list. */
const char *ht_optimizer_name(ht_optimizer_t optimizer);

#define HT_ROOT_EPS 0x1p-27f /* beside roots that divide: about 1e-8, and w eps / eps is w */

#define HT_BELOW_USE 0x1p-83f /* about 1e-25: means of gradients are multiples of 2^-106 */

/* Returns the rate on the intercept, as a share of lr. */
HT_INLINE float ht_optimizer_intercept_rate(ht_optimizer_t optimizer, int is_dense)
{
    return is_dense ? 1.0f : ht_optimizer_traits(optimizer)->intercept_rate;
}

/* The values that a step reads besides the gradient; constant within a chunk, except the
 * powers and the corrections. */
typedef struct {
    float lr;
    float l1;
    float l2;
    int32_t is_folded; /* hot entries hold the factor instead of c */
    float decay1;      /* of a velocity, or of a mean of gradients */
    float decay2;      /* of a mean of squares */
    float power1;      /* decay1^t, decay2^t, t the steps made before; where there are means */
    float power2;
    float correction1; /* 1 / (1 - decay^(t + 1)) of each: a mean that begins at 0 is too small */
    float correction2;
    float beta;   /* FTRL's */
    float l1_sum; /* of a dual optimizer: penalty times gradients so far */
    float l2_sum;
} ht_step_t;

/* Sets the corrections by the powers. */
HT_INLINE void ht_step_correct(ht_step_t *step)
{
    step->correction1 = 1.0f / (1.0f - step->power1 * step->decay1);
    step->correction2 = 1.0f / (1.0f - step->power2 * step->decay2);
}

/* The penalty in a step: none; the factor 1 / (1 + lr l2 c) as the entry holds it; l2 from c; l1
 * and l2 from c. */
typedef enum { HT_PLAIN, HT_FOLDED, HT_L2, HT_L1 } ht_penalty_t;

/* Returns the number of arrays of an entry, w or z included; each array is merged. */
HT_INLINE int ht_optimizer_arrays(ht_optimizer_t optimizer)
{
    const ht_state_t *state = ht_optimizer_traits(optimizer)->state;
    return 1 + (state[1] != HT_NO_STATE) + (state[2] != HT_NO_STATE);
}

/* Returns whether a step reads c where rows are sparse. */
HT_INLINE int ht_optimizer_has_shares(ht_optimizer_t optimizer)
{
    return ht_optimizer_traits(optimizer)->reach == HT_TOUCHED;
}

/* Returns whether a step changes coordinates whose gradient is 0. */
HT_INLINE int ht_optimizer_is_dense(ht_optimizer_t optimizer)
{
    return ht_optimizer_traits(optimizer)->reach == HT_EVERY;
}

/* Returns whether entries hold z and n, and no w. */
HT_INLINE int ht_optimizer_is_dual(ht_optimizer_t optimizer)
{
    return ht_optimizer_traits(optimizer)->reach == HT_DUAL;
}

/* Returns whether an entry is w alone, apart from c.  The step of such an optimizer takes the
 * change itself, lr * gradient * x; every other step takes gradient * x. */
HT_INLINE int ht_optimizer_is_stateless(ht_optimizer_t optimizer)
{
    return ht_optimizer_arrays(optimizer) == 1;
}

/* Returns whether the state has decaying means, which may be divided by 1 - decay^t. */
HT_INLINE int ht_optimizer_has_means(ht_optimizer_t optimizer)
{
    const ht_state_t *state = ht_optimizer_traits(optimizer)->state;
    return state[1] == HT_MEAN || state[1] == HT_MEAN_OF_SQUARES || state[2] == HT_MEAN ||
           state[2] == HT_MEAN_OF_SQUARES;
}

/* Returns how far one gradient moves w over all steps that follow it, as a multiple of the
 * gradient, where steps are not divided by a root. */
HT_INLINE float ht_optimizer_rate(ht_optimizer_t optimizer, const ht_step_t *step)
{
    const ht_state_t *state = ht_optimizer_traits(optimizer)->state;
    return state[1] == HT_VELOCITY ? step->lr / (1.0f - step->decay1) : step->lr;
}

/* Returns the floats of one entry: 1, 2 or 4. */
HT_INLINE int ht_optimizer_stride(ht_optimizer_t optimizer, int has_shares)
{
    int n = ht_optimizer_arrays(optimizer) + (has_shares && ht_optimizer_has_shares(optimizer));
    return n == 3 ? 4 : n;
}

/* Returns the place of c in an entry that has a share. */
HT_INLINE int ht_optimizer_penalty_at(ht_optimizer_t optimizer)
{
    return ht_optimizer_arrays(optimizer);
}

/* Returns whether hot entries with a share hold the folded factor. */
HT_INLINE int ht_optimizer_folds(ht_optimizer_t optimizer, float l1, int has_weights)
{
    return ht_optimizer_is_stateless(optimizer) && l1 == 0.0f && !has_weights;
}

/* Folds the penalty into n entries w c: writes 1 / (1 + lr l2 c) to the place of c.  `c` has one
 * value for every `outputs` neighbouring entries. */
void ht_optimizer_fold(float *entries, const float *c, int64_t n, int outputs, float lr, float l2);

/* Returns the parameter w of a coordinate with z and n. */
float ht_optimizer_from_dual(float z, float n, const ht_step_t *step);

/* Returns the z of a coordinate with the parameter w while n is 0. */
float ht_optimizer_to_dual(float w, const ht_step_t *step);

/* The part of a coordinate's own relaxation that merges count, measured on real data: with less,
 * many workers at four times the automatic rate overshoot; with more, they learn slowly. */
#define HT_MERGE_SHARE 0.4f

/* How changes of w and z enter. */
typedef enum {
    HT_WEIGHTED,   /* as the same rows in sequence would: Hybrid */
    HT_ADDED,      /* in full: Async */
    HT_COMPENSATED /* in full, but for the staleness of the worker's view: Async */
} ht_weighing_t;

/* One merge of a stretch of n coordinates.  Arrays are compact: w[n], then the arrays
 * of the state, each at distance array_stride from the one before. */
typedef struct {
    int64_t n;
    int64_t array_stride;
    const float *replica;   /* entries of the worker, interleaved */
    const float *base;      /* the values of both sides after the last merge */
    const float *shared;    /* the shared values now */
    const float *curvature; /* mean over rows of s |x_j| ||x||, per coordinate */
    float *merged;          /* out: the new shared values */
    ht_weighing_t weighing;
    float rate;                      /* lr * second derivative of the loss; 0 where HT_ADDED */
    float rows;                      /* of the worker since the last merge */
    float others;                    /* rows that other workers have merged since then */
    float least_rest;                /* of means and velocity: the least 1 - theta */
    float kept[HT_OPTIMIZER_ARRAYS]; /* of each array of the state: what remains of a value after
                                      * the worker's rows */
    const ht_step_t *step;           /* of a dual optimizer, with the sums of its penalties */
    const float *l1_factor;          /* of a dual optimizer: c1 per coordinate; 0: no penalty */
} ht_merge_t;

/* Writes merged = shared + theta (after - shared), with after = replica + kept (shared - base).
 *
 * `after` is the value as if the worker's rows had come after those of the others.  A coordinate
 * goes a share of about u = HT_MERGE_SHARE * rate * curvature of its distance in a row, where u
 * is divided by root + eps where the state has squares; what the others have changed then remains
 * by kept.  The weight theta takes the mean of several workers' noise:
 *
 *   w, z              kept = exp(-u rows); theta = g(u rows) / g(u (rows + others)),
 *                     g(x) = x/2 + sqrt(1 + x^2/4)
 *   means, velocity   kept = decay^rows; the theta of w, but at most 1 - least_rest
 *   sums of squares   kept = 1, theta = 1: changes add up
 *
 * For rare coordinates and short periods kept and theta are about 1: changes add up.  After long
 * periods kept is 0 and theta the worker's share of all rows: the merged value is a mean of the
 * replicas, and a worker that was held up counts as little as it has trained.  u counts the other
 * coordinates of a row in quadrature, as if their changes had random signs: counting none diverges,
 * and counting all (||x||_1) averages too much.
 *
 * With a rate of 0 all changes of w and z add up, whatever their size: HT_ADDED.
 *
 * HT_COMPENSATED: theta compensates for the others' rows since the worker's view,
 *
 *   theta = f / max(1, min(4 u others, (rows + others) / rows)),   u = rate * curvature / root
 *
 * 1 / (4 u others) is the delay-adaptive step of SGD, min(lr, 1 / (4 L delay)), for each coordinate
 * (Koloskova, Stich and Jaggi 2022, arXiv:2206.08307; Mishchenko et al. 2022, arXiv:2206.07638),
 * but never less than the worker's share of all rows.  kept is 1, but for coordinates with
 *
 *   u others >= (rows + others) / rows
 *
 * whose optimum the worker's rows reach: there kept is as above, so that the merged value is a mean
 * of the replicas.  With 1, n workers that begin with one view and all reach the optimum would go
 * 1 + 1/2 + ... + 1/n times as far together, and diverge.
 *
 * Where the state has sums of squares, the root is that of the merged sum, and f is the root of the
 * replica's sum over it: the worker's steps are revised to those that all gradients so far allow,
 * as by AdaptiveRevision (McMahan and Streeter 2014, NIPS 27), without its products of gradients.
 * FTRL's beta is added to its roots.  There kept is always 1.  f is 1 elsewhere.
 *
 * The z's of a dual optimizer are merged as they are beside the merged n, for the same w's.  When
 * no other worker has changed the stretch, merged is replica, bit for bit (but -0 becomes 0). */
typedef void (*ht_merge_fn_t)(const ht_merge_t *merge);

/* Returns the share of a value in an array of the state that remains after the given rows: 1 for
 * sums of squares. */
float ht_optimizer_kept(ht_optimizer_t optimizer, int array, const ht_step_t *step, double rows);

/* Returns the merge of an optimizer and stride for an instruction set; NULL when the build
 * lacks the instruction set, and for an optimizer or a stride that does not exist. */
ht_merge_fn_t ht_optimizer_merge(ht_isa_t isa, ht_optimizer_t optimizer, int stride);

#endif
