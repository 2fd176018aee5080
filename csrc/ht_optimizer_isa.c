/* SPDX-License-Identifier: BSD-3-Clause */
/* The merges, compiled once per instruction set (HT_ISA). */
#include "ht_optimizer_isa.h"

HT_DEFINE_EXP(exp16, ht_f32x16_t, ht_i32x16_t)

/* theta = (1 + r + ... + r^(P-1)) / P with r = exp(-a): the geometric form of
 * the weight, which does not cancel for small a. */
HT_INLINE ht_f32x16_t weight16(ht_f32x16_t a, uint32_t n_workers)
{
    ht_f32x16_t r = exp16(-a);
    ht_f32x16_t sum = ht_lanes_set(1.0f);
    for (uint32_t k = 1; k < n_workers; k++)
        sum = sum * r + 1.0f;
    return sum / (float)n_workers;
}

/* 16 coordinates of array number `array` out of interleaved entries. */
HT_INLINE ht_f32x16_t load_array(const float *entries, int stride, int array)
{
    ht_f32x16_t lanes;
    if (stride == 1)
        return ht_lanes_load(entries);
    for (int k = 0; k < HT_LANES; k++)
        lanes[k] = entries[stride * k + array];
    return lanes;
}

HT_INLINE void merge16(const ht_merge_t *m, int64_t i, ht_optimizer_t optimizer, int stride)
{
    const float *entries = m->replica + i * stride;
    ht_f32x16_t w = load_array(entries, stride, 0);
    ht_f32x16_t base = ht_lanes_load(m->base + i);
    ht_f32x16_t shared = ht_lanes_load(m->shared + i);
    ht_f32x16_t a = ht_lanes_load(m->curvature + i) * m->rows_lr_h;
    if (optimizer == HT_ADAGRAD) {
        int64_t g = i + m->array_stride;
        ht_f32x16_t sum = load_array(entries, stride, 1);
        a = a / (ht_lanes_sqrt(sum) + HT_ADAGRAD_EPS);
        ht_lanes_store(m->merged + g,
                       sum + (ht_lanes_load(m->shared + g) - ht_lanes_load(m->base + g)));
    }
    /* shared + theta (w - base), written so that it is exactly w when theta
     * is 1 and shared equals base. */
    ht_f32x16_t rest = 1.0f - weight16(a, m->n_workers);
    ht_lanes_store(m->merged + i, w + (shared - base) - rest * (w - base));
}

/* Every array has room for a multiple of 16 coordinates. */
#define DEFINE_MERGE(name, optimizer, stride) \
    static void name(const ht_merge_t *m) \
    { \
        for (int64_t i = 0; i < m->n; i += HT_LANES) \
            merge16(m, i, optimizer, stride); \
    }

DEFINE_MERGE(merge_sgd_1, HT_SGD, 1)
DEFINE_MERGE(merge_sgd_2, HT_SGD, 2)
DEFINE_MERGE(merge_adagrad_2, HT_ADAGRAD, 2)
DEFINE_MERGE(merge_adagrad_4, HT_ADAGRAD, 4)

const ht_merge_table_t HT_ISA_SYMBOL(ht_optimizer_merges) = {
    {merge_sgd_1, merge_sgd_2},
    {merge_adagrad_2, merge_adagrad_4},
};
