/* SPDX-License-Identifier: BSD-3-Clause */
/* The racy kernels of sparse rows and one output. */
#include <string.h>

#include "ht_hogwild_lanes.h"

/* ---- dot products ------------------------------------------------------- */

/* The parameters of elements first .. n-1 of 16; the other lanes keep what
 * `rest` holds. */
HT_INLINE ht_f32x16_t gather_w(const float *entries, const int32_t *index, int first, int n,
                               int stride, ht_f32x16_t rest, int is_ftrl, const ht_step_t *step)
{
    if (!is_ftrl)
        return ht_lanes_gather(entries, index, first, n, stride, rest);
    const ht_f32x16_t zero = {0};
    ht_f32x16_t z = ht_lanes_gather(entries, index, first, n, stride, zero);
    ht_f32x16_t squares = ht_lanes_gather(entries + 1, index, first, n, stride, zero);
    /* The other lanes of w are -0 / x: adding them changes nothing. */
    return rest + step16_ftrl(z, squares, ht_lanes_set(step->lr), step);
}

HT_INLINE float dot_row(ht_row_t row, const ht_view_t *view, int stride, int has_values,
                        int is_ftrl, const ht_step_t *step)
{
    /* Gathers start from a constant: from `sum`, each would wait for the last. */
    const ht_f32x16_t zero = {0};
    ht_f32x16_t sum = zero;
    int64_t i = 0;
    for (; i + HT_LANES <= row.n_hot; i += HT_LANES) {
        ht_f32x16_t w =
            gather_w(view->hot, row.index + i, 0, HT_LANES, stride, zero, is_ftrl, step);
        sum += has_values ? w * ht_lanes_load(row.value + i) : w;
    }
    for (; i < row.n; i += HT_LANES) {
        int n = row.n - i < HT_LANES ? (int)(row.n - i) : HT_LANES;
        int n_hot = row.n_hot <= i ? 0 : row.n_hot - i < n ? (int)(row.n_hot - i) : n;
        ht_f32x16_t w = zero;
        if (n_hot > 0)
            w = gather_w(view->hot, row.index + i, 0, n_hot, stride, w, is_ftrl, step);
        if (n_hot < n)
            w = gather_w(view->cold, row.index + i, n_hot, n, stride, w, is_ftrl, step);
        sum += has_values ? w * ht_lanes_load_first(row.value + i, n) : w;
    }
    return ht_lanes_sum(sum);
}

HT_INLINE void dot_rows(const ht_rows_t *rows, const int64_t *ids, int n, const ht_view_t *view,
                        int stride, int is_ftrl, const ht_step_t *step, float *z)
{
    float intercept = intercept_of(view, is_ftrl, step);
    for (int k = 0; k < n; k++) {
        ht_row_t row = ht_row_at(rows, ids[k]);
        z[k] = (row.value == NULL ? dot_row(row, view, stride, 0, is_ftrl, step)
                                  : dot_row(row, view, stride, 1, is_ftrl, step)) +
               intercept;
    }
}

RACY static void dot_racy(const ht_rows_t *rows, const int64_t *ids, int n, const ht_view_t *view,
                          int stride, const ht_step_t *step, float *z)
{
    if (stride == 1)
        dot_rows(rows, ids, n, view, 1, 0, step, z);
    else if (stride == 2)
        dot_rows(rows, ids, n, view, 2, 0, step, z);
    else
        dot_rows(rows, ids, n, view, 4, 0, step, z);
}

RACY static void dot_ftrl_racy(const ht_rows_t *rows, const int64_t *ids, int n,
                               const ht_view_t *view, int stride, const ht_step_t *step, float *z)
{
    (void)stride;
    dot_rows(rows, ids, n, view, 2, 1, step, z);
}

/* ---- steps -------------------------------------------------------------- */

HT_INLINE float soft_threshold(float w, float t)
{
    float shrunk = __builtin_fabsf(w) - t;
    return shrunk <= 0.0f ? 0.0f : __builtin_copysignf(shrunk, w); /* NaN stays NaN */
}

HT_INLINE void step_sgd_entry(float *entry, float x, float gradient, const ht_step_t *s,
                              ht_penalty_t penalty)
{
    float w = entry[0] - s->lr * gradient * x;
    float c = penalty == HT_PLAIN ? 0.0f : entry[ht_optimizer_penalty_at(HT_SGD)];
    if (penalty == HT_FOLDED)
        w *= c;
    if (penalty == HT_L2 || penalty == HT_L1)
        w *= 1.0f / (1.0f + s->lr * s->l2 * c);
    if (penalty == HT_L1)
        w = soft_threshold(w, s->lr * s->l1 * c);
    entry[0] = w;
}

/* Steps of SGD, element by element: on the processors measured, scalar loads
 * and stores beat gathers here, also with the division of the penalty. */
HT_INLINE void step_sgd(float *entries, ht_row_t row, int64_t first, int64_t last, float gradient,
                        const ht_step_t *s, int stride, ht_penalty_t penalty)
{
    if (row.value == NULL)
#pragma GCC unroll 4
        for (int64_t i = first; i < last; i++)
            step_sgd_entry(entries + (ptrdiff_t)stride * row.index[i], 1.0f, gradient, s, penalty);
    else
#pragma GCC unroll 4
        for (int64_t i = first; i < last; i++)
            step_sgd_entry(entries + (ptrdiff_t)stride * row.index[i], row.value[i], gradient, s,
                           penalty);
}

/* Loads the first two arrays of n entries (n in 1..16) as pairs; other lanes are 0. */
HT_INLINE void load_pairs(const float *entries, const int32_t *index, int n, int stride,
                          ht_f32x16_t *w, ht_f32x16_t *sum)
{
#if defined(__AVX512F__)
    __mmask16 mask = (__mmask16)(0xffffu >> (16 - n));
    __m512i i = _mm512_maskz_loadu_epi32(mask, index);
    if (stride == 4)
        i = _mm512_slli_epi32(i, 1);
    __m512d low = _mm512_mask_i32gather_pd(_mm512_setzero_pd(), (__mmask8)mask,
                                           _mm512_castsi512_si256(i), entries, 8);
    __m512d high = _mm512_mask_i32gather_pd(_mm512_setzero_pd(), (__mmask8)(mask >> 8),
                                            _mm512_extracti64x4_epi64(i, 1), entries, 8);
    const __m512i even =
        _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    __m512 a = _mm512_castpd_ps(low), b = _mm512_castpd_ps(high);
    *w = (ht_f32x16_t)_mm512_permutex2var_ps(a, even, b);
    *sum = (ht_f32x16_t)_mm512_permutex2var_ps(a, odd, b);
#else
    float first[HT_LANES] = {0}, second[HT_LANES] = {0};
    for (int k = 0; k < n; k++) {
        const float *entry = entries + (ptrdiff_t)stride * index[k];
        first[k] = entry[0];
        second[k] = entry[1];
    }
    *w = ht_lanes_load(first);
    *sum = ht_lanes_load(second);
#endif
}

/* Stores pairs, eight bytes at a time. */
HT_INLINE void store_pairs(float *entries, const int32_t *index, int n, int stride, ht_f32x16_t w,
                           ht_f32x16_t sum)
{
    float first[HT_LANES], second[HT_LANES], pairs[2 * HT_LANES];
    ht_lanes_store(first, w);
    ht_lanes_store(second, sum);
    for (int k = 0; k < HT_LANES; k++) {
        pairs[2 * k] = first[k];
        pairs[2 * k + 1] = second[k];
    }
    if (n == HT_LANES)
        for (int k = 0; k < HT_LANES; k++)
            memcpy(entries + (ptrdiff_t)stride * index[k], pairs + 2 * k, 2 * sizeof(float));
    else
        for (int k = 0; k < n; k++)
            memcpy(entries + (ptrdiff_t)stride * index[k], pairs + 2 * k, 2 * sizeof(float));
}

/* Steps of AdaGrad and FTRL, 16 elements at a time: the square root and the
 * division are worth the lanes. */
HT_INLINE void step_pairs(float *entries, ht_row_t row, int64_t first, int64_t last, float gradient,
                          const ht_step_t *s, int stride, ht_optimizer_t optimizer,
                          ht_penalty_t penalty)
{
    for (int64_t i = first; i < last; i += HT_LANES) {
        int n = last - i < HT_LANES ? (int)(last - i) : HT_LANES;
        const int32_t *index = row.index + i;
        ht_f32x16_t one, two, c = {0};
        load_pairs(entries, index, n, stride, &one, &two);
        ht_f32x16_t d = ht_lanes_set(gradient);
        if (row.value != NULL)
            d = d * ht_lanes_load_first(row.value + i, n);
        if (penalty != HT_PLAIN)
            c = ht_lanes_gather(entries + 2, index, 0, n, stride, c);
        int is_ftrl = optimizer == HT_FTRL;
        step16_t old = {one, is_ftrl ? one : two, two};
        step16_t next = step16(old, d, c, ht_lanes_set(s->lr), s, optimizer, penalty);
        store_pairs(entries, index, n, stride, is_ftrl ? next.a : next.w,
                    is_ftrl ? next.b : next.a);
    }
}

HT_INLINE void step_row(ht_row_t row, const ht_view_t *view, float gradient, const ht_step_t *s,
                        ht_optimizer_t optimizer, int has_shares, ht_penalty_t penalty)
{
    int stride = ht_optimizer_stride(optimizer, has_shares);
    if (optimizer == HT_SGD) {
        step_sgd(view->hot, row, 0, row.n_hot, gradient, s, stride, penalty);
        step_sgd(view->cold, row, row.n_hot, row.n, gradient, s, stride,
                 penalty == HT_FOLDED ? HT_L2 : penalty);
    } else {
        step_pairs(view->hot, row, 0, row.n_hot, gradient, s, stride, optimizer, penalty);
        step_pairs(view->cold, row, row.n_hot, row.n, gradient, s, stride, optimizer, penalty);
    }
    if (view->intercept != NULL)
        step_intercept(view->intercept, gradient, s, optimizer, 0);
}

HT_INLINE void step_rows(const ht_rows_t *rows, const int64_t *ids, int n, const ht_view_t *view,
                         const float *gradient, const ht_step_t *step, ht_optimizer_t optimizer,
                         int has_shares)
{
    for (int k = 0; k < n; k++) {
        ht_step_t mine = step_of_row(step, rows, ids[k]);
        ht_row_t row = ht_row_at(rows, ids[k]);
#define STEP_ROW(penalty) step_row(row, view, gradient[k], &mine, optimizer, has_shares, penalty)
        if (has_shares && optimizer == HT_SGD && step->is_folded)
            STEP_ROW(HT_FOLDED);
        else
            WITH_PENALTY(has_shares, step, STEP_ROW);
#undef STEP_ROW
    }
}

#define DEFINE_STEP(name, optimizer, has_shares) \
    RACY static void name(const ht_rows_t *rows, const int64_t *ids, int n, const ht_view_t *view, \
                          const float *gradient, const ht_step_t *step) \
    { \
        step_rows(rows, ids, n, view, gradient, step, optimizer, has_shares); \
    }

DEFINE_STEP(step_sgd_racy, HT_SGD, 0)
DEFINE_STEP(step_sgd_shares_racy, HT_SGD, 1)
DEFINE_STEP(step_adagrad_racy, HT_ADAGRAD, 0)
DEFINE_STEP(step_adagrad_shares_racy, HT_ADAGRAD, 1)
DEFINE_STEP(step_ftrl_racy, HT_FTRL, 0)

const ht_hogwild_kernels_t HT_ISA_SYMBOL(ht_hogwild_sparse) = {
    .dot_racy = {dot_racy, dot_ftrl_racy},
    .step_racy =
        {
            [HT_SGD] = {step_sgd_racy, step_sgd_shares_racy},
            [HT_ADAGRAD] = {step_adagrad_racy, step_adagrad_shares_racy},
            [HT_FTRL] = {step_ftrl_racy, step_ftrl_racy},
        },
};
