/* SPDX-License-Identifier: BSD-3-Clause */
/* The merges, compiled once per instruction set (HT_ISA). */
#include "math/ht_optimizer_isa.h"

HT_DEFINE_EXP(exp16, ht_f32x16_t, ht_i32x16_t)

/* Returns theta = (1 + r + ... + r^(P-1)) / P with r = exp(-a), P workers: the geometric form of
 * the weight, which does not cancel for small a. */
HT_INLINE ht_f32x16_t weight16(ht_f32x16_t a, uint32_t n_workers)
{
    ht_f32x16_t r = exp16(-a);
    ht_f32x16_t sum = ht_lanes_set(1.0f);
    for (uint32_t k = 1; k < n_workers; k++)
        sum = sum * r + 1.0f;
    return sum / (float)n_workers;
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

/* Returns shared + weight (replica - base), where rest = 1 - weight, written so that the result is
 * exactly the replica when the weight is 1 and shared equals base. */
HT_INLINE ht_f32x16_t weighted(change_t x, ht_f32x16_t rest)
{
    return x.replica + (x.shared - x.base) - rest * (x.replica - x.base);
}

/* Returns the larger of a and least; NaN of a stays NaN. */
HT_INLINE ht_f32x16_t at_least(ht_f32x16_t a, ht_f32x16_t least)
{
    ht_i32x16_t is_less = a < least;
    return (ht_f32x16_t)((is_less & (ht_i32x16_t)least) | (~is_less & (ht_i32x16_t)a));
}

HT_INLINE void merge16(const ht_merge_t *m, int64_t i, ht_optimizer_t optimizer, int stride)
{
    ht_f32x16_t a = ht_lanes_load(m->curvature + i) * m->rows_lr_h;
    ht_f32x16_t of_mean = ht_lanes_set(1.0f - 1.0f / (float)m->n_workers);
    const ht_f32x16_t none = {0};
    for (int array = 1; array < ht_optimizer_arrays(optimizer); array++) {
        ht_state_t state = ht_optimizer_traits(optimizer)->state[array];
        change_t x = change_at(m, i, stride, array);
        ht_f32x16_t merged = weighted(x, state == HT_SUM_OF_SQUARES ? none : of_mean);
        if (state == HT_MEAN_OF_SQUARES)
            merged = at_least(merged, x.replica * (1.0f / (float)m->n_workers));
        ht_lanes_store(m->merged + i + array * m->array_stride, merged);
        if (state == HT_SUM_OF_SQUARES || state == HT_MEAN_OF_SQUARES)
            a = a / (ht_lanes_sqrt(x.replica) + HT_ROOT_EPS);
    }
    change_t w = change_at(m, i, stride, 0);
    ht_lanes_store(m->merged + i, weighted(w, 1.0f - weight16(a, m->n_workers)));
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
