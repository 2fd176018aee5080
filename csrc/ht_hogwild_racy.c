/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The racy row kernels, compiled once per instruction set (HT_ISA).
 *
 * race: the loads and stores of `cold` here with those of every other worker;
 * harmless, because Hogwild's convergence allows for lost updates and mixed
 * reads; worst case one update of one coordinate is lost.  Vector gathers
 * cannot be atomic in C, which is why this file alone is exempt from
 * ThreadSanitizer.
 */
#include "ht_hogwild_isa.h"

#include <string.h>

#if defined(__SANITIZE_THREAD__)
#define RACY __attribute__((no_sanitize_thread))
#else
#define RACY
#endif

typedef struct {
    const int32_t *index;
    const float *value; /* NULL: all 1 */
    int64_t n;
    int64_t n_hot;
} row_t;

HT_INLINE row_t row_at(const ht_rows_t *rows, int64_t id)
{
    int64_t begin = rows->pointers[id];
    row_t row = {
        .index = rows->indices + begin,
        .value = rows->values == NULL ? NULL : rows->values + begin,
        .n = rows->pointers[id + 1] - begin,
    };
    if (rows->hot != NULL)
        row.n_hot = rows->hot[id];
    else
        row.n_hot = rows->n_hot == 0 ? 0 : row.n;
    return row;
}

HT_INLINE float dot_row(row_t row, const ht_view_t *view, int stride, int has_values)
{
    /* Gathers start from a constant: from `sum`, each would wait for the last. */
    const ht_f32x16_t zero = {0};
    ht_f32x16_t sum = zero;
    int64_t i = 0;
    for (; i + HT_LANES <= row.n_hot; i += HT_LANES) {
        ht_f32x16_t w = ht_lanes_gather(view->hot, row.index + i, 0, HT_LANES, stride, zero);
        sum += has_values ? w * ht_lanes_load(row.value + i) : w;
    }
    for (; i < row.n; i += HT_LANES) {
        int n = row.n - i < HT_LANES ? (int)(row.n - i) : HT_LANES;
        int n_hot = row.n_hot <= i ? 0 : row.n_hot - i < n ? (int)(row.n_hot - i) : n;
        ht_f32x16_t w = zero;
        if (n_hot > 0)
            w = ht_lanes_gather(view->hot, row.index + i, 0, n_hot, stride, w);
        if (n_hot < n)
            w = ht_lanes_gather(view->cold, row.index + i, n_hot, n, stride, w);
        sum += has_values ? w * ht_lanes_load_first(row.value + i, n) : w;
    }
    return ht_lanes_sum(sum);
}

HT_INLINE void dot_rows(const ht_rows_t *rows, const int64_t *ids, int n, const ht_view_t *view,
                        int stride, float *z)
{
    float intercept = view->intercept == NULL ? 0.0f : *view->intercept;
    for (int k = 0; k < n; k++) {
        row_t row = row_at(rows, ids[k]);
        z[k] = (row.value == NULL ? dot_row(row, view, stride, 0) : dot_row(row, view, stride, 1)) +
               intercept;
    }
}

RACY static void dot_racy(const ht_rows_t *rows, const int64_t *ids, int n, const ht_view_t *view,
                          int stride, float *z)
{
    if (stride == 1)
        dot_rows(rows, ids, n, view, 1, z);
    else if (stride == 2)
        dot_rows(rows, ids, n, view, 2, z);
    else
        dot_rows(rows, ids, n, view, 4, z);
}

/* What a row's step needs; the same for all its elements. */
typedef struct {
    float gradient;
    float lr;
    float l1; /* times the row's weight */
    float l2;
} row_step_t;

/* How a step applies the penalty: not at all; the factor 1 / (1 + lr l2 c) as
 * the entry holds it; l2 from c; l1 and l2 from c. */
enum { PLAIN, FOLDED, L2, L1 };

HT_INLINE float soft_threshold(float w, float t)
{
    float shrunk = __builtin_fabsf(w) - t;
    return shrunk <= 0.0f ? 0.0f : __builtin_copysignf(shrunk, w); /* NaN stays NaN */
}

HT_INLINE void step_sgd_entry(float *entry, float x, const row_step_t *s, int penalty)
{
    float w = entry[0] - s->lr * s->gradient * x;
    float c = penalty == PLAIN ? 0.0f : entry[ht_optimizer_penalty_at(HT_SGD)];
    if (penalty == FOLDED)
        w *= c;
    if (penalty == L2 || penalty == L1)
        w *= 1.0f / (1.0f + s->lr * s->l2 * c);
    if (penalty == L1)
        w = soft_threshold(w, s->lr * s->l1 * c);
    entry[0] = w;
}

HT_INLINE void step_adagrad_entry(float *entry, float x, const row_step_t *s, int penalty)
{
    float d = s->gradient * x;
    float sum = entry[1] + d * d;
    float root = __builtin_sqrtf(sum) + HT_ADAGRAD_EPS;
    float c = penalty == PLAIN ? 0.0f : entry[ht_optimizer_penalty_at(HT_ADAGRAD)];
    if (sum == 0.0f)
        return;
    float w = (entry[0] * root - s->lr * d) / (root + s->lr * s->l2 * c);
    if (penalty == L1)
        w = soft_threshold(w, s->lr / root * s->l1 * c);
    entry[0] = w;
    entry[1] = sum;
}

/* Steps of SGD, element by element: on the processors measured, scalar loads
 * and stores beat gathers here, also with the division of the penalty. */
HT_INLINE void step_sgd(float *entries, row_t row, int64_t first, int64_t last, const row_step_t *s,
                        int stride, int penalty)
{
    if (row.value == NULL)
#pragma GCC unroll 4
        for (int64_t i = first; i < last; i++)
            step_sgd_entry(entries + (ptrdiff_t)stride * row.index[i], 1.0f, s, penalty);
    else
#pragma GCC unroll 4
        for (int64_t i = first; i < last; i++)
            step_sgd_entry(entries + (ptrdiff_t)stride * row.index[i], row.value[i], s, penalty);
}

/* Loads w and G of n entries (n in 1..16) as pairs; other lanes are 0. */
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

/* Stores pairs of w and G, eight bytes at a time. */
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

/* Steps of AdaGrad, 16 elements at a time: the square root and the division
 * are worth the lanes. */
HT_INLINE void step_adagrad(float *entries, row_t row, int64_t first, int64_t last,
                            const row_step_t *s, int stride, int penalty)
{
    for (int64_t i = first; i < last; i += HT_LANES) {
        int n = last - i < HT_LANES ? (int)(last - i) : HT_LANES;
        const int32_t *index = row.index + i;
        ht_f32x16_t w, sum;
        load_pairs(entries, index, n, stride, &w, &sum);
        ht_f32x16_t d = ht_lanes_set(s->gradient);
        if (row.value != NULL)
            d = d * ht_lanes_load_first(row.value + i, n);
        sum = sum + d * d;
        ht_f32x16_t root = ht_lanes_sqrt(sum) + HT_ADAGRAD_EPS;
        ht_f32x16_t c = {0};
        if (penalty != PLAIN)
            c = ht_lanes_gather(entries + 2, index, 0, n, stride, c);
        ht_f32x16_t next = (w * root - s->lr * d) / (root + s->lr * s->l2 * c);
        if (penalty == L1) {
            ht_f32x16_t t = s->lr / root * s->l1 * c;
            for (int k = 0; k < HT_LANES; k++)
                next[k] = soft_threshold(next[k], t[k]);
        }
        if (penalty != PLAIN) { /* without a penalty next equals w where sum is 0 */
            ht_i32x16_t untouched = sum == 0.0f;
            next = (ht_f32x16_t)((untouched & (ht_i32x16_t)w) | (~untouched & (ht_i32x16_t)next));
        }
        w = next;
        store_pairs(entries, index, n, stride, w, sum);
    }
}

HT_INLINE void step_row(row_t row, const ht_view_t *view, const row_step_t *s,
                        ht_optimizer_t optimizer, int stride, int penalty)
{
    if (optimizer == HT_SGD) {
        step_sgd(view->hot, row, 0, row.n_hot, s, stride, penalty);
        step_sgd(view->cold, row, row.n_hot, row.n, s, stride, penalty == FOLDED ? L2 : penalty);
    } else {
        step_adagrad(view->hot, row, 0, row.n_hot, s, stride, penalty);
        step_adagrad(view->cold, row, row.n_hot, row.n, s, stride, penalty);
    }
    if (view->intercept != NULL) { /* its c is 0, its factor 1: no penalty */
        row_step_t slow = *s;
        slow.lr *= ht_optimizer_intercept_rate(optimizer);
        if (optimizer == HT_SGD)
            step_sgd_entry(view->intercept, 1.0f, &slow, penalty);
        else
            step_adagrad_entry(view->intercept, 1.0f, &slow, penalty);
    }
}

HT_INLINE void step_rows(const ht_rows_t *rows, const int64_t *ids, int n, const ht_view_t *view,
                         const float *gradient, const ht_step_t *step, ht_optimizer_t optimizer,
                         int has_penalty)
{
    int stride = ht_optimizer_stride(optimizer, has_penalty);
    for (int k = 0; k < n; k++) {
        float weight = rows->weights == NULL ? 1.0f : rows->weights[ids[k]];
        row_step_t s = {gradient[k], step->lr, step->l1 * weight, step->l2 * weight};
        row_t row = row_at(rows, ids[k]);
        if (!has_penalty)
            step_row(row, view, &s, optimizer, stride, PLAIN);
        else if (optimizer == HT_SGD && step->is_folded)
            step_row(row, view, &s, optimizer, stride, FOLDED);
        else if (step->l1 == 0.0f)
            step_row(row, view, &s, optimizer, stride, L2);
        else
            step_row(row, view, &s, optimizer, stride, L1);
    }
}

#define DEFINE_STEP(name, optimizer, has_penalty) \
    RACY static void name(const ht_rows_t *rows, const int64_t *ids, int n, const ht_view_t *view, \
                          const float *gradient, const ht_step_t *step) \
    { \
        step_rows(rows, ids, n, view, gradient, step, optimizer, has_penalty); \
    }

DEFINE_STEP(step_sgd_plain_racy, HT_SGD, 0)
DEFINE_STEP(step_sgd_penalty_racy, HT_SGD, 1)
DEFINE_STEP(step_adagrad_plain_racy, HT_ADAGRAD, 0)
DEFINE_STEP(step_adagrad_penalty_racy, HT_ADAGRAD, 1)

const ht_hogwild_kernels_t HT_ISA_SYMBOL(ht_hogwild_kernels) = {
    .dot_racy = dot_racy,
    .step_racy = {{step_sgd_plain_racy, step_sgd_penalty_racy},
                  {step_adagrad_plain_racy, step_adagrad_penalty_racy}},
};
