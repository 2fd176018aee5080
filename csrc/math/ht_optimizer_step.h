/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_optimizer_step: the step of ht_optimizer.h on lanes of coordinates.
 *
 * Layer L2, for kernels.  One text serves every optimizer and width; each kernel passes
 * optimizer and penalty as constants, so that nothing is decided per coordinate.
 */
#ifndef HT_OPTIMIZER_STEP_H
#define HT_OPTIMIZER_STEP_H

#include "math/ht_optimizer.h"

/* Defines name(state, d, c2, c1, lr, step, optimizer, penalty) for vectors of float32:
 *
 *   state  the arrays of the coordinates: w, and the state that follows w in the entry; of a
 *          dual optimizer state.a is z and state.b is n, and w is an output only.  root is an
 *          output too: what AdaGrad has divided by
 *   d      gradient * x; of a stateless optimizer lr * gradient * x, the change itself
 *   c2 c1  the factors on l2 and l1, where there is a penalty
 *   lr     of each lane; a stateless optimizer reads it for the penalty alone
 *
 * Defines name_dual(z, n, c2, c1, lr, step) as well, the w of a dual optimizer.  sqrt_of is the
 * root of a vector. */
#define HT_DEFINE_STEP(name, floats, ints, sqrt_of) \
    typedef struct { \
        floats w, a, b, root; \
    } name##_t; \
\
    HT_INLINE floats name##_choose(ints mask, floats yes, floats no) \
    { \
        return (floats)((mask & (ints)yes) | (~mask & (ints)no)); \
    } \
\
    /* Of bits, like the next one: the compiler takes comparisons of lanes apart. */ \
    HT_INLINE ints name##_is_zero(floats x) \
    { \
        return (((ints)x & INT32_MAX) - 1) >> 31; \
    } \
\
    /* x, but 0 where it is below all use: a decaying mean without gradients would end among the \
     * subnormal numbers, which processors take many times as long to multiply. */ \
    HT_INLINE floats name##_normal(floats x) \
    { \
        return (x + HT_BELOW_USE) - HT_BELOW_USE; \
    } \
\
    /* sign(w) max(0, |w| - t) */ \
    HT_INLINE floats name##_shrink(floats w, floats t) \
    { \
        ints sign = (ints)w & INT32_MIN; \
        floats size = (floats)((ints)w ^ sign) - t; \
        ints kept = ~((ints)size >> 31); /* all ones where size >= 0 */ \
        floats shrunk = (floats)(((ints)size ^ sign) & kept); \
        return shrunk + size * 0.0f; /* NaN stays NaN, infinity becomes NaN */ \
    } \
\
    HT_INLINE floats name##_dual(floats z, floats n, floats c2, floats c1, floats lr, \
                                 const ht_step_t *s) \
    { \
        floats shrunk = name##_shrink(z, c1 * s->l1_sum); \
        return -shrunk / ((sqrt_of(n) + s->beta) / lr + c2 * s->l2_sum); \
    } \
\
    /* w = (w r - lr d) / (r + lr l2 c2), then the threshold of lr l1 c1 / r; w - lr d / r where \
     * there is no penalty. */ \
    HT_INLINE floats name##_scaled(floats w, floats d, floats r, floats c2, floats c1, floats lr, \
                                   const ht_step_t *s, ht_penalty_t penalty) \
    { \
        if (penalty == HT_PLAIN) \
            return w - lr * d / r; \
        floats next = (w * r - lr * d) / (r + lr * s->l2 * c2); \
        return penalty == HT_L1 ? name##_shrink(next, lr / r * s->l1 * c1) : next; \
    } \
\
    __attribute__((unused)) /* merges have no steps */ \
    HT_INLINE name##_t \
    name(name##_t old, floats d, floats c2, floats c1, floats lr, const ht_step_t *s, \
         ht_optimizer_t optimizer, ht_penalty_t penalty) \
    { \
        name##_t next = old; \
        if (optimizer == HT_SGD || optimizer == HT_MOMENTUM) { \
            if (optimizer == HT_MOMENTUM) { \
                next.a = name##_normal(old.a * s->decay1 + d); \
                next.w = old.w - lr * next.a; \
                lr = lr / (1.0f - s->decay1); \
            } else { \
                next.w = old.w - d; \
            } \
            if (penalty == HT_FOLDED) \
                next.w = next.w * c2; \
            if (penalty == HT_L2 || penalty == HT_L1) \
                next.w = next.w * (1.0f / (lr * s->l2 * c2 + 1.0f)); \
            if (penalty == HT_L1) \
                next.w = name##_shrink(next.w, lr * s->l1 * c1); \
        } else if (optimizer == HT_ADAGRAD) { \
            next.a = old.a + d * d; \
            next.root = sqrt_of(next.a) + HT_ROOT_EPS; \
            next.w = name##_scaled(old.w, d, next.root, c2, c1, lr, s, penalty); \
            if (penalty != HT_PLAIN) /* without a penalty next.w is old.w already */ \
                next.w = name##_choose(name##_is_zero(next.a), old.w, next.w); \
        } else if (optimizer == HT_ADAM) { \
            next.a = name##_normal(old.a * s->decay1 + d * (1.0f - s->decay1)); \
            next.b = old.b * s->decay2 + d * d * (1.0f - s->decay2); \
            floats r = sqrt_of(next.b * s->correction2) + HT_ROOT_EPS; \
            next.w = name##_scaled(old.w, next.a * s->correction1, r, c2, c1, lr, s, penalty); \
        } else if (optimizer == HT_RMSPROP) { \
            next.a = old.a * s->decay2 + d * d * (1.0f - s->decay2); \
            floats r = sqrt_of(next.a) + HT_ROOT_EPS; \
            next.w = name##_scaled(old.w, d, r, c2, c1, lr, s, penalty); \
        } else { \
            floats w = name##_dual(old.a, old.b, c2, c1, lr, s); \
            next.b = old.b + d * d; \
            next.a = old.a + d - (sqrt_of(next.b) - sqrt_of(old.b)) / lr * w; \
            next.w = name##_dual(next.a, next.b, c2, c1, lr, s); \
        } \
        return next; \
    } \
\
    /* The w of AdaGrad after a step without a gradient; the root is known. */ \
    __attribute__((unused)) HT_INLINE floats name##_shrunk( \
        name##_t old, floats c2, floats c1, floats lr, const ht_step_t *s, ht_penalty_t penalty) \
    { \
        floats w = name##_scaled(old.w, (floats){0}, old.root, c2, c1, lr, s, penalty); \
        return name##_choose(name##_is_zero(old.a), old.w, w); \
    }

/* Steps of four coordinates, or of one in the first lane. */
typedef float ht_f32x4_t __attribute__((vector_size(16)));
typedef int32_t ht_i32x4_t __attribute__((vector_size(16)));

HT_INLINE ht_f32x4_t ht_sqrt4(ht_f32x4_t a)
{
#if defined(__SSE2__)
    return (ht_f32x4_t)__builtin_ia32_sqrtps(a);
#else
    for (int k = 0; k < 4; k++)
        a[k] = __builtin_sqrtf(a[k]);
    return a;
#endif
}

HT_DEFINE_STEP(ht_step4, ht_f32x4_t, ht_i32x4_t, ht_sqrt4)

/* Returns the index of an entry's first array in the state: 0, or 1 for a dual optimizer, whose
 * entry has no w. */
HT_INLINE int ht_optimizer_first(ht_optimizer_t optimizer)
{
    return ht_optimizer_is_dual(optimizer) ? 1 : 0;
}

#endif
