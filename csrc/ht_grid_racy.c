/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Adding rows to sums and merging sums, once per instruction set (HT_ISA).
 *
 * race: a merge's loads of sums and parameters with their owners' stores, when
 * the merging worker was delayed until the next step; harmless, because its
 * commit then fails and the result is thrown away; worst case wasted time.
 */
#include <string.h>

#include "ht_grid_isa.h"

#if defined(__SANITIZE_THREAD__)
#define RACY __attribute__((no_sanitize_thread))
#else
#define RACY
#endif

/* ---- adding ------------------------------------------------------------ */

/* Rounds to the nearest integer, ties to even, for |x| <= 2^51: adding 1.5 2^52
 * leaves the integer in the low bits. */
HT_INLINE int64_t to_grid(double x)
{
    const double magic = 0x1.8p52;
    double shifted = x + magic;
    uint64_t bits, zero; /* a contribution beyond the grid may wrap: its step is refused */
    memcpy(&bits, &shifted, sizeof bits);
    memcpy(&zero, &magic, sizeof zero);
    return (int64_t)(bits - zero);
}

HT_INLINE void add_row_exact(const ht_sums_t *to, const int32_t *index, const float *value,
                             int64_t n, double gradient, const double *scales)
{
    int64_t *sums = (int64_t *)to->sums + 1;
    for (int64_t i = 0; i < n; i += HT_LANES) {
        int64_t q[HT_LANES];
        int m = n - i < HT_LANES ? (int)(n - i) : HT_LANES;
        if (m == HT_LANES && scales == NULL) /* the compiler vectorises this one */
            for (int k = 0; k < HT_LANES; k++)
                q[k] = to_grid(gradient * (value == NULL ? 1.0 : (double)value[i + k]));
        else
            for (int k = 0; k < m; k++) {
                double scale = scales == NULL ? 1.0 : scales[(index[i + k] + 1) / HT_GRID_SCALE];
                q[k] = to_grid(gradient * scale * (value == NULL ? 1.0 : (double)value[i + k]));
            }
        for (int k = 0; k < m; k++) {
            int32_t j = index[i + k];
            sums[j] = (int64_t)((uint64_t)sums[j] + (uint64_t)q[k]);
            to->marks[(j + 1) / HT_GRID_GROUP] = 1;
        }
    }
}

HT_INLINE void add_row_plain(const ht_sums_t *to, const int32_t *index, const float *value,
                             int64_t n, float gradient)
{
    float *sums = (float *)to->sums + 1;
    for (int64_t i = 0; i < n; i++) {
        int32_t j = index[i];
        sums[j] += value == NULL ? gradient : gradient * value[i];
        to->marks[(j + 1) / HT_GRID_GROUP] = 1;
    }
}

HT_INLINE void add_rows(const ht_sums_t *to, const ht_rows_t *rows, const int64_t *ids, int n,
                        const float *gradient, int has_intercept, double inverse_unit,
                        const double *scales, int is_exact)
{
    for (int k = 0; k < n; k++) {
        int64_t begin = rows->pointers[ids[k]];
        int64_t length = rows->pointers[ids[k] + 1] - begin;
        const int32_t *index = rows->indices + begin;
        const float *value = rows->values == NULL ? NULL : rows->values + begin;
        double g = (double)gradient[k] * inverse_unit;
        if (!is_exact)
            add_row_plain(to, index, value, length, gradient[k]);
        else
            add_row_exact(to, index, value, length, g, scales);
        if (!has_intercept)
            continue;
        to->marks[0] = 1;
        if (is_exact)
            *(uint64_t *)to->sums += (uint64_t)to_grid(scales == NULL ? g : g * scales[0]);
        else
            *(float *)to->sums += gradient[k];
    }
}

static void add_plain_racy(const ht_sums_t *to, const ht_rows_t *rows, const int64_t *ids, int n,
                           const float *gradient, int has_intercept, double inverse_unit,
                           const double *scales)
{
    add_rows(to, rows, ids, n, gradient, has_intercept, inverse_unit, scales, 0);
}

static void add_exact_racy(const ht_sums_t *to, const ht_rows_t *rows, const int64_t *ids, int n,
                           const float *gradient, int has_intercept, double inverse_unit,
                           const double *scales)
{
    add_rows(to, rows, ids, n, gradient, has_intercept, inverse_unit, scales, 1);
}

/* ---- merging ----------------------------------------------------------- */

_Static_assert(HT_GRID_GROUP == 8, "the vectors below hold one group");
typedef float f32x8_t __attribute__((vector_size(32)));
typedef float f32x8u_t __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t i32x8_t __attribute__((vector_size(32)));
typedef double f64x8_t __attribute__((vector_size(64)));
typedef int64_t i64x8_t __attribute__((vector_size(64)));
typedef uint64_t u64x8_t __attribute__((vector_size(64)));

HT_INLINE f32x8_t load8(const float *p)
{
    return *(const f32x8u_t *)p;
}

HT_INLINE void store8(float *p, f32x8_t lanes)
{
    *(f32x8u_t *)p = lanes;
}

HT_INLINE f32x8_t choose8(i32x8_t is_first, f32x8_t first, f32x8_t second)
{
    return (f32x8_t)((is_first & (i32x8_t)first) | (~is_first & (i32x8_t)second));
}

HT_INLINE f32x8_t sqrt8(f32x8_t a)
{
    float lanes[HT_GRID_GROUP]; /* the compiler vectorises this loop, not one over lanes */
    store8(lanes, a);
    for (int k = 0; k < HT_GRID_GROUP; k++)
        lanes[k] = __builtin_sqrtf(lanes[k]);
    return load8(lanes);
}

/* The sums of one group, times what makes them a mean gradient. */
HT_INLINE f32x8_t mean_of_group(const ht_grid_merge_t *m, int64_t at, int is_exact)
{
    int64_t group = at / HT_GRID_GROUP;
    f32x8_t plain = {0};
    u64x8_t exact = {0};
    for (uint32_t s = 0; s < m->n_sums; s++) {
        if (!m->sums[s].marks[group])
            continue;
        if (is_exact)
            exact += *(const u64x8_t *)(const void *)((const uint64_t *)m->sums[s].sums + at);
        else
            plain += load8((const float *)m->sums[s].sums + at);
    }
    if (!is_exact)
        return plain * m->inverse_rows;
    double unit = m->unit;
    if (m->scales != NULL)
        unit = unit / m->scales[at / HT_GRID_SCALE];
    f64x8_t sum = __builtin_convertvector((i64x8_t)exact, f64x8_t) * unit;
    return __builtin_convertvector(sum, f32x8_t) * m->inverse_rows;
}

/* How a merge applies the penalty. */
enum { PLAIN, L2, L1 };

/* One group's step (ht_optimizer.h, rows of weight 1); where the mean gradient
 * is 0 the coordinate stays as it is. */
HT_INLINE void step_group(const ht_grid_merge_t *m, int64_t at, f32x8_t gradient, f32x8_t lr,
                          ht_optimizer_t optimizer, int penalty)
{
    float *merged = m->merged + (at - m->first);
    f32x8_t old = load8(m->w + at);
    f32x8_t c = {0}, next, root = c + 1.0f;
    if (penalty != PLAIN)
        c = load8(m->c + at);
    if (optimizer == HT_SGD) {
        next = old - lr * gradient;
        if (penalty != PLAIN)
            next = next / (1.0f + lr * m->step.l2 * c);
    } else {
        f32x8_t sum = load8(m->squares + at) + gradient * gradient;
        store8(merged + m->array_stride, sum);
        root = sqrt8(sum) + HT_ADAGRAD_EPS;
        next = (old * root - lr * gradient) / (root + lr * m->step.l2 * c);
    }
    if (penalty == L1) {
        f32x8_t threshold = lr / root * m->step.l1 * c;
        f32x8_t size = choose8(next < 0.0f, -next, next) - threshold;
        f32x8_t shrunk = choose8(next < 0.0f, -size, size);
        next = choose8(size <= 0.0f, (f32x8_t){0}, shrunk);
    }
    store8(merged, choose8(gradient == 0.0f, old, next));
}

HT_INLINE void merge_groups(const ht_grid_merge_t *m, int is_exact, ht_optimizer_t optimizer,
                            int penalty)
{
    for (int64_t at = m->first; at < m->last; at += HT_GRID_GROUP) {
        uint8_t touched = 0;
        for (uint32_t s = 0; s < m->n_sums; s++)
            touched |= m->sums[s].marks[at / HT_GRID_GROUP];
        m->touched[(at - m->first) / HT_GRID_GROUP] = touched;
        if (!touched)
            continue;
        f32x8_t lr = (f32x8_t){0} + m->step.lr;
        if (at == 0)
            lr[0] = m->intercept_lr;
        step_group(m, at, mean_of_group(m, at, is_exact), lr, optimizer, penalty);
    }
}

HT_INLINE void merge_any(const ht_grid_merge_t *m, int is_exact)
{
    int penalty = m->c == NULL ? PLAIN : m->step.l1 == 0.0f ? L2 : L1;
    if (m->optimizer == HT_ADAGRAD)
        merge_groups(m, is_exact, HT_ADAGRAD, penalty == PLAIN ? PLAIN : L1);
    else if (penalty == PLAIN)
        merge_groups(m, is_exact, HT_SGD, PLAIN);
    else if (penalty == L2)
        merge_groups(m, is_exact, HT_SGD, L2);
    else
        merge_groups(m, is_exact, HT_SGD, L1);
}

RACY static void merge_plain_racy(const ht_grid_merge_t *m)
{
    merge_any(m, 0);
}

RACY static void merge_exact_racy(const ht_grid_merge_t *m)
{
    merge_any(m, 1);
}

const ht_grid_kernels_t HT_ISA_SYMBOL(ht_grid_kernels) = {
    .add_racy = {add_plain_racy, add_exact_racy},
    .merge_racy = {merge_plain_racy, merge_exact_racy},
};
