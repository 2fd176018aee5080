/* SPDX-License-Identifier: BSD-3-Clause */
/* The merges, compiled once per instruction set (HT_ISA). */
#include "math/ht_optimizer_isa.h"

#include "math/ht_optimizer_step.h"

HT_DEFINE_EXP(exp16, ht_f32x16_t, ht_i32x16_t)
HT_DEFINE_STEP(step16, ht_f32x16_t, ht_i32x16_t, ht_lanes_sqrt)

/* Returns the smaller of a and most; NaN of a stays NaN. */
HT_INLINE ht_f32x16_t at_most16(ht_f32x16_t a, ht_f32x16_t most)
{
    ht_i32x16_t is_more = a > most;
    return (ht_f32x16_t)((is_more & (ht_i32x16_t)most) | (~is_more & (ht_i32x16_t)a));
}

/* Returns the larger of a and least; NaN of a stays NaN. */
HT_INLINE ht_f32x16_t at_least16(ht_f32x16_t a, ht_f32x16_t least)
{
    ht_i32x16_t is_less = a < least;
    return (ht_f32x16_t)((is_less & (ht_i32x16_t)least) | (~is_less & (ht_i32x16_t)a));
}

/* Returns a number within 4 % of x / (1 - exp(-x)). */
HT_INLINE ht_f32x16_t growth16(ht_f32x16_t x)
{
    return x * 0.5f + ht_lanes_sqrt(x * x * 0.25f + 1.0f);
}

/* One array of 16 coordinates, as the replica, its base and the shared block have it. */
typedef struct {
    ht_f32x16_t replica, base, shared;
} change_t;

HT_INLINE change_t change_at(const ht_merge_t *m, int64_t i, int stride, int array)
{
    int64_t at = i + array * m->array_stride;
    return (change_t){ht_lanes_load_every(m->replica + i * stride + array, HT_LANES, stride),
                      ht_lanes_load(m->base + at), ht_lanes_load(m->shared + at)};
}

/* Returns u of 16 coordinates.  Of the two roots that may divide it, the smaller one counts: the
 * squares of a worker that was held up are those of a distance that the others have gone since. */
HT_INLINE ht_f32x16_t speed16(const ht_merge_t *m, int64_t i, ht_optimizer_t optimizer, int stride)
{
    const float most = 1e9f; /* of u times rows: its square is finite */
    ht_f32x16_t u = ht_lanes_load(m->curvature + i) * (m->rate * HT_MERGE_SHARE);
    for (int array = 1; array < ht_optimizer_arrays(optimizer); array++) {
        ht_state_t state = ht_optimizer_traits(optimizer)->state[array];
        change_t x = change_at(m, i, stride, array);
        if (state == HT_SUM_OF_SQUARES || state == HT_MEAN_OF_SQUARES)
            u = u / (ht_lanes_sqrt(at_most16(x.replica, x.shared)) + HT_ROOT_EPS);
    }
    return at_most16(u, ht_lanes_set(most / (m->rows + m->others + 1.0f)));
}

/* Returns shared + theta (replica + kept (shared - base) - shared), where rest = 1 - theta, written
 * so that the result is exactly the replica when shared equals base and rest is 0. */
HT_INLINE ht_f32x16_t merged16(change_t x, ht_f32x16_t kept, ht_f32x16_t rest)
{
    ht_f32x16_t after = x.replica + kept * (x.shared - x.base);
    return after + rest * (x.shared - after);
}

/* Returns what divides the steps of 16 coordinates whose sum of squares is n. */
HT_INLINE ht_f32x16_t divisor16(const ht_merge_t *m, ht_optimizer_t optimizer, ht_f32x16_t n)
{
    return ht_lanes_sqrt(n) + (ht_optimizer_is_dual(optimizer) ? m->step->beta : HT_ROOT_EPS);
}

/* Returns whether an optimizer has a sum of squares. */
HT_INLINE int has_sums(ht_optimizer_t optimizer)
{
    for (int array = 1; array < ht_optimizer_arrays(optimizer); array++)
        if (ht_optimizer_traits(optimizer)->state[array] == HT_SUM_OF_SQUARES)
            return 1;
    return 0;
}

/* Returns 1 - theta of 16 coordinates whose changes are compensated. */
HT_INLINE ht_f32x16_t stale16(const ht_merge_t *m, int64_t i, ht_optimizer_t optimizer, int stride)
{
    const ht_f32x16_t one = ht_lanes_set(1.0f);
    const float most = 1e30f; /* of u: finite, also over an infinite root */
    ht_f32x16_t u = at_most16(ht_lanes_load(m->curvature + i) * m->rate, ht_lanes_set(most));
    ht_f32x16_t revised = one;
    for (int array = 1; array < ht_optimizer_arrays(optimizer); array++) {
        ht_state_t state = ht_optimizer_traits(optimizer)->state[array];
        change_t x = change_at(m, i, stride, array);
        if (state == HT_MEAN_OF_SQUARES)
            u = u / (ht_lanes_sqrt(at_most16(x.replica, x.shared)) + HT_ROOT_EPS);
        if (state == HT_SUM_OF_SQUARES) {
            ht_f32x16_t merged = x.replica + (x.shared - x.base);
            ht_f32x16_t divisor = divisor16(m, optimizer, merged);
            ht_i32x16_t is_older = x.replica < merged; /* else 1: also where both are infinite */
            revised = divisor16(m, optimizer, x.replica) / divisor;
            revised =
                (ht_f32x16_t)((is_older & (ht_i32x16_t)revised) | (~is_older & (ht_i32x16_t)one));
            u = u / divisor;
        }
    }
    ht_f32x16_t slower = at_most16(u * 4.0f * m->others, ht_lanes_set(1.0f + m->others / m->rows));
    return 1.0f - revised / at_least16(slower, one);
}

/* Returns z as it is beside a larger n, for the same w; c1 is the factor on l1. */
HT_INLINE ht_f32x16_t beside16(ht_f32x16_t z, ht_f32x16_t n, ht_f32x16_t larger, ht_f32x16_t c1,
                               const ht_step_t *s)
{
    ht_f32x16_t lr = ht_lanes_set(s->lr), growth = ht_lanes_sqrt(larger) - ht_lanes_sqrt(n);
    return z - growth / lr * step16_dual(z, n, c1 * c1, c1, lr, s);
}

HT_INLINE void merge16(const ht_merge_t *m, int64_t i, ht_optimizer_t optimizer, int stride)
{
    const ht_f32x16_t none = {0};
    ht_f32x16_t u = speed16(m, i, optimizer, stride), own = u * m->rows, rest;
    if (m->weighing == HT_COMPENSATED) {
        rest = stale16(m, i, optimizer, stride);
        ht_f32x16_t least = ht_lanes_set(HT_MERGE_SHARE * (1.0f + m->others / m->rows));
        ht_i32x16_t arrives = u * m->others >= least;
        own = has_sums(optimizer) ? none : (ht_f32x16_t)(arrives & (ht_i32x16_t)own);
    } else {
        rest = 1.0f - growth16(own) / growth16(own + u * m->others);
    }
    ht_f32x16_t rest_of_means = at_least16(rest, ht_lanes_set(m->least_rest));
    change_t x = {none, none, none}, w = change_at(m, i, stride, 0);
    for (int array = 1; array < ht_optimizer_arrays(optimizer); array++) {
        ht_state_t state = ht_optimizer_traits(optimizer)->state[array];
        x = change_at(m, i, stride, array);
        ht_f32x16_t merged = merged16(x, ht_lanes_set(m->kept[array]),
                                      state == HT_SUM_OF_SQUARES ? none : rest_of_means);
        if (state == HT_MEAN_OF_SQUARES) /* where it is less, rounding of a large base says so */
            merged = at_least16(merged, x.shared * (0.5f * m->kept[array]));
        ht_lanes_store(m->merged + i + array * m->array_stride, merged);
    }
    if (ht_optimizer_is_dual(optimizer)) {
        ht_f32x16_t n = ht_lanes_load(m->merged + i + m->array_stride);
        ht_f32x16_t c1 = ht_lanes_load(m->l1_factor + i);
        w = (change_t){beside16(w.replica, x.replica, n, c1, m->step),
                       beside16(w.base, x.base, n, c1, m->step),
                       beside16(w.shared, x.shared, n, c1, m->step)};
    }
    ht_lanes_store(m->merged + i, merged16(w, exp16(-own), rest));
}

/* Defines a merge of m->n coordinates; every array has room for a multiple of 16. */
#define DEFINE_MERGE(name, optimizer, has_shares) \
    static void name(const ht_merge_t *m) \
    { \
        for (int64_t i = 0; i < m->n; i += HT_LANES) \
            merge16(m, i, optimizer, ht_optimizer_stride(optimizer, has_shares)); \
    }
#define DEFINE_MERGES(optimizer, name, ...) \
    DEFINE_MERGE(merge_##name, optimizer, 0) \
    DEFINE_MERGE(merge_##name##_shares, optimizer, 1)
HT_OPTIMIZERS(DEFINE_MERGES)

#define MERGES(optimizer, name, reach, ...) \
    [optimizer] = {merge_##name, (reach) == HT_TOUCHED ? merge_##name##_shares : NULL},
const ht_merge_table_t HT_ISA_SYMBOL(ht_optimizer_merges) = {HT_OPTIMIZERS(MERGES)};
