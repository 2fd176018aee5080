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
#include "ht_optimizer_step.h"

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

HT_INLINE void add_row_exact(const ht_sums_t *to, ht_row_t row, double gradient,
                             const double *scales)
{
    int64_t *sums = (int64_t *)to->sums + 1;
    for (int64_t i = 0; i < row.n; i += HT_LANES) {
        int64_t q[HT_LANES];
        int m = row.n - i < HT_LANES ? (int)(row.n - i) : HT_LANES;
        if (m == HT_LANES && scales == NULL) /* the compiler vectorises this one */
            for (int k = 0; k < HT_LANES; k++)
                q[k] = to_grid(gradient * (row.value == NULL ? 1.0 : (double)row.value[i + k]));
        else
            for (int k = 0; k < m; k++) {
                int64_t at = ht_row_column(row, i + k) + 1;
                double scale = scales == NULL ? 1.0 : scales[at / HT_GRID_SCALE];
                q[k] = to_grid(gradient * scale * (double)ht_row_value(row, i + k));
            }
        for (int k = 0; k < m; k++) {
            int64_t j = ht_row_column(row, i + k);
            sums[j] = (int64_t)((uint64_t)sums[j] + (uint64_t)q[k]);
            to->marks[(j + 1) / HT_GRID_GROUP] = 1;
        }
    }
}

HT_INLINE void add_row_plain(const ht_sums_t *to, ht_row_t row, float gradient)
{
    float *sums = (float *)to->sums + 1;
    for (int64_t i = 0; i < row.n; i++) {
        int64_t j = ht_row_column(row, i);
        sums[j] += row.value == NULL ? gradient : gradient * row.value[i];
        to->marks[(j + 1) / HT_GRID_GROUP] = 1;
    }
}

/* Adds x times the gradients of 16 outputs, to neighbouring coordinates. */
HT_INLINE void add_outputs(const ht_sums_t *to, int64_t at, const float *gradient, float x,
                           double inverse_unit, const double *scales, int is_exact)
{
    to->marks[at / HT_GRID_GROUP] = to->marks[at / HT_GRID_GROUP + 1] = 1;
    if (!is_exact) {
        float *sums = (float *)to->sums + at;
        for (int o = 0; o < HT_LANES; o++)
            sums[o] += gradient[o] * x;
        return;
    }
    uint64_t *sums = (uint64_t *)to->sums + at;
    double factor = inverse_unit * (scales == NULL ? 1.0 : scales[at / HT_GRID_SCALE]);
    for (int o = 0; o < HT_LANES; o++)
        sums[o] += (uint64_t)to_grid((double)gradient[o] * factor * (double)x);
}

HT_INLINE void add_row_outputs(const ht_sums_t *to, ht_row_t row, const float *gradient,
                               int64_t outputs, int has_intercept, double inverse_unit,
                               const double *scales, int is_exact)
{
    for (int64_t o = 0; o < outputs; o += HT_LANES) {
        for (int64_t i = 0; i < row.n; i++)
            add_outputs(to, (ht_row_column(row, i) + 1) * outputs + o, gradient + o,
                        ht_row_value(row, i), inverse_unit, scales, is_exact);
        if (has_intercept)
            add_outputs(to, o, gradient + o, 1.0f, inverse_unit, scales, is_exact);
    }
}

HT_INLINE void add_rows(const ht_sums_t *to, const ht_rows_t *rows, const int64_t *ids, int n,
                        const float *gradient, int64_t outputs, int has_intercept,
                        double inverse_unit, const double *scales, int is_exact)
{
    for (int k = 0; k < n; k++) {
        ht_row_t row = ht_row_at(rows, ids[k]);
        if (outputs > 1) {
            add_row_outputs(to, row, gradient + k * outputs, outputs, has_intercept, inverse_unit,
                            scales, is_exact);
            continue;
        }
        double g = (double)gradient[k] * inverse_unit;
        if (!is_exact)
            add_row_plain(to, row, gradient[k]);
        else
            add_row_exact(to, row, g, scales);
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
                           const float *gradient, int64_t outputs, int has_intercept,
                           double inverse_unit, const double *scales)
{
    add_rows(to, rows, ids, n, gradient, outputs, has_intercept, inverse_unit, scales, 0);
}

static void add_exact_racy(const ht_sums_t *to, const ht_rows_t *rows, const int64_t *ids, int n,
                           const float *gradient, int64_t outputs, int has_intercept,
                           double inverse_unit, const double *scales)
{
    add_rows(to, rows, ids, n, gradient, outputs, has_intercept, inverse_unit, scales, 1);
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

HT_DEFINE_STEP(step8, f32x8_t, i32x8_t, sqrt8)

/* Where the coordinates' old values are; `state` as step8 has it. */
HT_INLINE step8_t load_state(const ht_grid_merge_t *m, int64_t at, ht_optimizer_t optimizer)
{
    step8_t state = {load8(m->arrays[0] + at), {0}, {0}};
    int n = ht_grid_arrays(optimizer, 0);
    if (n > 1)
        state.a = load8(m->arrays[1] + at);
    if (n > 2)
        state.b = load8(m->arrays[2] + at);
    return state;
}

HT_INLINE step8_t step_lanes(step8_t old, f32x8_t gradient, f32x8_t c, const ht_step_t *step,
                             ht_optimizer_t optimizer, ht_penalty_t penalty)
{
    f32x8_t d = optimizer == HT_SGD ? gradient * step->lr : gradient;
    step8_t next = step8(old, d, c, (f32x8_t){0} + step->lr, step, optimizer, penalty);
    if (optimizer == HT_SGD || optimizer == HT_ADAGRAD) {
        next.w = choose8(gradient == 0.0f, old.w, next.w);
        next.a = choose8(gradient == 0.0f, old.a, next.a);
    }
    return next;
}

/* One group's step; the intercepts among its coordinates take theirs. */
HT_INLINE void step_group(const ht_grid_merge_t *m, int64_t at, f32x8_t gradient,
                          ht_optimizer_t optimizer, ht_penalty_t penalty)
{
    f32x8_t c = (f32x8_t){0} + 1.0f;
    if (penalty != HT_PLAIN && m->c != NULL)
        c = load8(m->c + at);
    step8_t old = load_state(m, at, optimizer);
    step8_t next = step_lanes(old, gradient, c, &m->step, optimizer, penalty);
    if (at < m->n_intercept) {
        ht_step_t slow = m->step;
        slow.lr *= m->intercept_rate;
        slow.l1_sum = slow.l2_sum = 0.0f;
        step8_t free = step_lanes(old, gradient, c, &slow, optimizer, HT_PLAIN);
        i32x8_t lane = {0, 1, 2, 3, 4, 5, 6, 7};
        i32x8_t is_intercept = lane < (int32_t)(m->n_intercept - at);
        next.w = choose8(is_intercept, free.w, next.w);
        next.a = choose8(is_intercept, free.a, next.a);
        next.b = choose8(is_intercept, free.b, next.b);
    }
    const f32x8_t arrays[3] = {next.w, next.a, next.b};
    float *merged = m->merged + (at - m->first);
    int n = ht_grid_arrays(optimizer, 0);
    for (int k = 0; k < n; k++)
        store8(merged + k * m->array_stride, arrays[k]);
    if (m->average_share == 0.0f)
        return;
    f32x8_t mean = load8(m->arrays[n] + at);
    store8(merged + n * m->array_stride, mean + (next.w - mean) * m->average_share);
}

HT_INLINE void merge_groups(const ht_grid_merge_t *m, int is_exact, ht_optimizer_t optimizer,
                            ht_penalty_t penalty)
{
    uint8_t all = ht_optimizer_is_dense(optimizer) || m->average_share != 0.0f;
    for (int64_t at = m->first; at < m->last; at += HT_GRID_GROUP) {
        uint8_t touched = all;
        for (uint32_t s = 0; s < m->n_sums; s++)
            touched |= m->sums[s].marks[at / HT_GRID_GROUP];
        m->touched[(at - m->first) / HT_GRID_GROUP] = touched;
        if (touched)
            step_group(m, at, mean_of_group(m, at, is_exact), optimizer, penalty);
    }
}

HT_INLINE void merge_any(const ht_grid_merge_t *m, int is_exact)
{
    int has_penalty = m->step.l1 != 0.0f || m->step.l2 != 0.0f;
    ht_penalty_t penalty = has_penalty ? HT_L1 : HT_PLAIN;
    if (m->optimizer == HT_SGD && has_penalty && m->step.l1 == 0.0f)
        merge_groups(m, is_exact, HT_SGD, HT_L2);
    else if (m->optimizer == HT_SGD)
        merge_groups(m, is_exact, HT_SGD, penalty);
    else if (m->optimizer == HT_ADAGRAD)
        merge_groups(m, is_exact, HT_ADAGRAD, penalty);
    else if (m->optimizer == HT_MOMENTUM)
        merge_groups(m, is_exact, HT_MOMENTUM, penalty);
    else if (m->optimizer == HT_ADAM)
        merge_groups(m, is_exact, HT_ADAM, penalty);
    else
        merge_groups(m, is_exact, HT_FTRL, HT_PLAIN);
}

HT_RACY static void merge_plain_racy(const ht_grid_merge_t *m)
{
    merge_any(m, 0);
}

HT_RACY static void merge_exact_racy(const ht_grid_merge_t *m)
{
    merge_any(m, 1);
}

const ht_grid_kernels_t HT_ISA_SYMBOL(ht_grid_kernels) = {
    .add_racy = {add_plain_racy, add_exact_racy},
    .merge_racy = {merge_plain_racy, merge_exact_racy},
};
