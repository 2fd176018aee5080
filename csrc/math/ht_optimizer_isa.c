/* SPDX-License-Identifier: BSD-3-Clause */
/* The merges, compiled once per instruction set (HT_ISA). */
#include "math/ht_optimizer_isa.h"

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

/* base and shared of one array, and the replica's. */
typedef struct {
    ht_f32x16_t replica, base, shared;
} change_t;

HT_INLINE change_t change_at(const ht_merge_t *m, int64_t i, int stride, int array)
{
    int64_t at = i + array * m->array_stride;
    return (change_t){ht_lanes_load_every(m->replica + i * stride + array, HT_LANES, stride),
                      ht_lanes_load(m->base + at), ht_lanes_load(m->shared + at)};
}

/* shared + weight (replica - base), with rest = 1 - weight, written so that it
 * is exactly the replica when the weight is 1 and shared equals base. */
HT_INLINE ht_f32x16_t weighted(change_t x, ht_f32x16_t rest)
{
    return x.replica + (x.shared - x.base) - rest * (x.replica - x.base);
}

HT_INLINE void merge16(const ht_merge_t *m, int64_t i, ht_optimizer_t optimizer, int stride)
{
    ht_f32x16_t a = ht_lanes_load(m->curvature + i) * m->rows_lr_h;
    ht_f32x16_t of_mean = ht_lanes_set(1.0f - 1.0f / (float)m->n_workers);
    const ht_f32x16_t none = {0};
    int is_sum = optimizer == HT_ADAGRAD || optimizer == HT_FTRL;
    for (int array = 1; array < ht_optimizer_arrays(optimizer); array++) {
        change_t x = change_at(m, i, stride, array);
        ht_lanes_store(m->merged + i + array * m->array_stride,
                       weighted(x, is_sum ? none : of_mean));
        int is_square = is_sum || array == 2;
        if (is_square)
            a = a / (ht_lanes_sqrt(x.replica) + HT_ADAGRAD_EPS);
    }
    change_t w = change_at(m, i, stride, 0);
    ht_lanes_store(m->merged + i, weighted(w, 1.0f - weight16(a, m->n_workers)));
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
DEFINE_MERGE(merge_momentum_2, HT_MOMENTUM, 2)
DEFINE_MERGE(merge_momentum_4, HT_MOMENTUM, 4)
DEFINE_MERGE(merge_adam_4, HT_ADAM, 4)
DEFINE_MERGE(merge_ftrl_2, HT_FTRL, 2)

const ht_merge_table_t HT_ISA_SYMBOL(ht_optimizer_merges) = {
    [HT_SGD] = {merge_sgd_1, merge_sgd_2},
    [HT_ADAGRAD] = {merge_adagrad_2, merge_adagrad_4},
    [HT_MOMENTUM] = {merge_momentum_2, merge_momentum_4},
    [HT_ADAM] = {merge_adam_4, merge_adam_4},
    [HT_FTRL] = {merge_ftrl_2, merge_ftrl_2},
};
