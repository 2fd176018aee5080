/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Adding to sums, and merging them, once per instruction set (HT_ISA).
 *
 * race: a merge's loads of sums and parameters with their owners' stores, when
 * the merging worker was delayed until the next step; harmless, because its
 * commit then fails and the result is thrown away; worst case wasted time.
 */
#include <string.h>

#include "share/ht_groups.h"
#include "share/ht_sums_isa.h"

_Static_assert(HT_SUMS_GROUP == HT_GROUP, "a mark is of one group");

/* ---- adding ------------------------------------------------------------------ */

/* Adds the floats of one group, rounded to the grid as ht_sums_round does. */
HT_INLINE void add_group_exact(uint64_t *sums, f32x8_t floats, double factor)
{
    const f64x8_t magic = (f64x8_t){0} + HT_SUMS_MAGIC;
    f64x8_t shifted = __builtin_convertvector(floats, f64x8_t) * factor + magic;
    *(u64x8_t *)(void *)sums += (u64x8_t)shifted - (u64x8_t)magic;
}

HT_INLINE int add_groups(const ht_sums_t *to, const float *floats, int64_t n, double inverse_unit,
                         const double *scales, int is_exact)
{
    f32x8_t zeros = {0}; /* NaN, once a float is not finite */
    for (int64_t at = 0; at < n; at += HT_SUMS_GROUP) {
        f32x8_t group = load8(floats + at);
        double factor = inverse_unit;
        if (scales != NULL)
            factor *= scales[at / HT_SUMS_SCALE];
        if (is_exact)
            add_group_exact((uint64_t *)to->sums + at, group, factor);
        else
            store8((float *)to->sums + at, load8((float *)to->sums + at) + group);
        zeros += group * 0.0f;
    }
    memset(to->marks, 1, (size_t)((n + HT_SUMS_GROUP - 1) / HT_SUMS_GROUP));
    int is_finite = 1;
    for (int k = 0; k < HT_SUMS_GROUP; k++)
        is_finite &= zeros[k] == 0.0f;
    return is_finite;
}

HT_RACY static int add_plain_racy(const ht_sums_t *sums, const float *floats, int64_t n,
                                  double inverse_unit, const double *scales)
{
    return add_groups(sums, floats, n, inverse_unit, scales, 0);
}

HT_RACY static int add_exact_racy(const ht_sums_t *sums, const float *floats, int64_t n,
                                  double inverse_unit, const double *scales)
{
    return add_groups(sums, floats, n, inverse_unit, scales, 1);
}

/* ---- merging ----------------------------------------------------------------- */

/* Returns the mean gradient of one group, from its sums. */
HT_INLINE f32x8_t mean_of_group(const ht_sums_merge_t *m, int64_t at, int is_exact)
{
    int64_t group = at / HT_SUMS_GROUP;
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
        unit = unit / m->scales[at / HT_SUMS_SCALE];
    f64x8_t sum = __builtin_convertvector((i64x8_t)exact, f64x8_t) * unit;
    return __builtin_convertvector(sum, f32x8_t) * m->inverse_rows;
}

/* Returns the old values of a group's coordinates, with the state in the order of step8. */
HT_INLINE step8_t load_state(const ht_sums_merge_t *m, int64_t at, ht_optimizer_t optimizer)
{
    step8_t state = {.w = load8(m->arrays[0] + at)};
    int n = ht_sums_arrays(optimizer, 0);
    if (n > 1)
        state.a = load8(m->arrays[1] + at);
    if (n > 2)
        state.b = load8(m->arrays[2] + at);
    return state;
}

HT_INLINE step8_t step_lanes(step8_t old, f32x8_t gradient, f32x8_t c2, f32x8_t c1,
                             const ht_step_t *step, ht_optimizer_t optimizer, ht_penalty_t penalty)
{
    f32x8_t d = ht_optimizer_is_stateless(optimizer) ? gradient * step->lr : gradient;
    step8_t next = step8(old, d, c2, c1, (f32x8_t){0} + step->lr, step, optimizer, penalty);
    if (ht_optimizer_has_shares(optimizer)) {
        next.w = choose8(gradient == 0.0f, old.w, next.w);
        next.a = choose8(gradient == 0.0f, old.a, next.a);
    }
    return next;
}

/* Writes the step of one group; the intercepts among its coordinates step at their own rate. */
HT_INLINE void step_group(const ht_sums_merge_t *m, int64_t at, f32x8_t gradient,
                          ht_optimizer_t optimizer, ht_penalty_t penalty)
{
    f32x8_t c1 = (f32x8_t){0} + 1.0f, c2 = c1;
    if (m->l1_factor != NULL) {
        c1 = load8(m->l1_factor + at);
        c2 = c1 * c1;
    } else if (penalty != HT_PLAIN && m->c != NULL) {
        c1 = c2 = load8(m->c + at);
    }
    step8_t old = load_state(m, at, optimizer);
    step8_t next = step_lanes(old, gradient, c2, c1, &m->step, optimizer, penalty);
    if (at < m->n_intercept) {
        ht_step_t slow = m->step;
        slow.lr *= m->intercept_rate;
        slow.l1_sum = slow.l2_sum = 0.0f;
        step8_t free = step_lanes(old, gradient, c2, c1, &slow, optimizer, HT_PLAIN);
        i32x8_t lane = {0, 1, 2, 3, 4, 5, 6, 7};
        i32x8_t is_intercept = lane < (int32_t)(m->n_intercept - at);
        next.w = choose8(is_intercept, free.w, next.w);
        next.a = choose8(is_intercept, free.a, next.a);
        next.b = choose8(is_intercept, free.b, next.b);
    }
    const f32x8_t arrays[3] = {next.w, next.a, next.b};
    float *merged = m->merged + (at - m->first);
    int n = ht_sums_arrays(optimizer, 0);
    for (int k = 0; k < n; k++)
        store8(merged + k * m->array_stride, arrays[k]);
    if (m->average_share == 0.0f)
        return;
    f32x8_t mean = load8(m->arrays[n] + at);
    store8(merged + n * m->array_stride, mean + (next.w - mean) * m->average_share);
}

HT_INLINE void merge_groups(const ht_sums_merge_t *m, int is_exact, ht_optimizer_t optimizer,
                            ht_penalty_t penalty)
{
    uint8_t all = ht_optimizer_is_dense(optimizer) || m->average_share != 0.0f;
    int64_t n =
        m->groups != NULL ? m->n_groups : (m->last - m->first + HT_SUMS_GROUP - 1) / HT_SUMS_GROUP;
    for (int64_t i = 0; i < n; i++) {
        int64_t at = m->groups != NULL ? (int64_t)m->groups[i] * HT_SUMS_GROUP
                                       : m->first + i * HT_SUMS_GROUP;
        uint8_t touched = all;
        for (uint32_t s = 0; s < m->n_sums; s++)
            touched |= m->sums[s].marks[at / HT_SUMS_GROUP];
        if (m->touched != NULL)
            m->touched[i] = touched;
        if (touched)
            step_group(m, at, mean_of_group(m, at, is_exact), optimizer, penalty);
    }
}

HT_INLINE void merge_with(const ht_sums_merge_t *m, int is_exact, ht_optimizer_t optimizer)
{
    int has_penalty =
        !ht_optimizer_is_dual(optimizer) && (m->step.l1 != 0.0f || m->step.l2 != 0.0f);
    if (ht_optimizer_is_stateless(optimizer) && has_penalty && m->step.l1 == 0.0f)
        merge_groups(m, is_exact, optimizer, HT_L2); /* the most common case */
    else
        merge_groups(m, is_exact, optimizer, has_penalty ? HT_L1 : HT_PLAIN);
}

HT_INLINE void merge_any(const ht_sums_merge_t *m, int is_exact)
{
#define MERGE(optimizer, ...) \
    case optimizer: \
        merge_with(m, is_exact, optimizer); \
        break;
    switch (m->optimizer) {
        HT_OPTIMIZERS(MERGE)
    case HT_OPTIMIZER_COUNT:
        break;
    }
#undef MERGE
}

HT_RACY static void merge_plain_racy(const ht_sums_merge_t *m)
{
    merge_any(m, 0);
}

HT_RACY static void merge_exact_racy(const ht_sums_merge_t *m)
{
    merge_any(m, 1);
}

const ht_sums_kernels_t HT_ISA_SYMBOL(ht_sums_kernels) = {
    .merge_racy = {merge_plain_racy, merge_exact_racy},
    .add_racy = {add_plain_racy, add_exact_racy},
};
