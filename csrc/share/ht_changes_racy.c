/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Adding the changes of replicas, and merging them, once per instruction set (HT_ISA).
 *
 * race: a merge's loads of sums, replicas and parameters with their owners' stores, when the
 * merging worker was delayed until the next step; and a copy's and an add's loads of parameters
 * with the merge of a step from which the copying or adding worker was revoked.  Harmless: the
 * commit of the one then fails, and the sums of the other do not count; worst case wasted time.
 */
#include "share/ht_changes_isa.h"
#include "share/ht_groups.h"

HT_INLINE f64x8_t wide8(const float *p)
{
    return __builtin_convertvector(load8(p), f64x8_t);
}

/* Returns the bits of a group's values, and the values of such bits. */
HT_INLINE u64x8_t bits8(const float *p)
{
    return (u64x8_t) __builtin_convertvector((i32x8_t)load8(p), i64x8_t);
}

HT_INLINE f32x8_t of_bits8(u64x8_t bits)
{
    return (f32x8_t) __builtin_convertvector((i64x8_t)bits, i32x8_t);
}

HT_INLINE f64x8_t root8(f64x8_t a)
{
    for (int k = 0; k < HT_SUMS_GROUP; k++)
        a[k] = __builtin_sqrt(a[k]);
    return a;
}

HT_RACY static void copy_racy(float *to, const float *from, int64_t n)
{
    for (int64_t at = 0; at < n; at += HT_SUMS_GROUP)
        store8(to + at, load8(from + at));
}

/* ---- adding ------------------------------------------------------------------ */

/* Returns z + w sqrt(n) / lr of a group. */
HT_INLINE f64x8_t joined8(const float *const arrays[], int64_t at, double inverse_lr)
{
    f64x8_t root = root8(wide8(arrays[2] + at));
    return wide8(arrays[1] + at) + wide8(arrays[0] + at) * root * inverse_lr;
}

HT_INLINE f64x8_t change8(const ht_change_t *c, int64_t at, int array, ht_optimizer_t optimizer)
{
    if (ht_optimizer_is_dual(optimizer) && array == 1) {
        double inverse_lr = 1.0 / (double)c->lr;
        return joined8(c->replica, at, inverse_lr) - joined8(c->base, at, inverse_lr);
    }
    return wide8(c->replica[array] + at) - wide8(c->base[array] + at);
}

/* Returns whether the changes of an array add up; else their mean is taken. */
HT_INLINE int adds_up(ht_optimizer_t optimizer, int array)
{
    const ht_state_t *state = ht_optimizer_traits(optimizer)->state;
    if (ht_optimizer_is_dual(optimizer)) /* its arrays are w, z, n */
        return array == 2;
    return state[array] == HT_SUM_OF_SQUARES;
}

/* Returns whether a bit of a group has changed. */
HT_INLINE int has_changed(const ht_change_t *c, int64_t at, int n_arrays)
{
    i32x8_t bits = {0};
    int32_t any = 0;
    for (int k = 0; k < n_arrays; k++)
        bits |= (i32x8_t)load8(c->replica[k] + at) ^ (i32x8_t)load8(c->base[k] + at);
    for (int k = 0; k < HT_SUMS_GROUP; k++)
        any |= bits[k];
    return any != 0;
}

/* Adds the changes of one group, if there are any. */
HT_INLINE void add_group(const ht_change_t *c, int64_t at, ht_optimizer_t optimizer,
                         f64x8_t *largest, f64x8_t *zeros)
{
    const f64x8_t magic = (f64x8_t){0} + HT_SUMS_MAGIC;
    const int n = ht_sums_arrays(optimizer, 0);
    if (!has_changed(c, at, n))
        return;
    for (int k = 0; k < n; k++) {
        f64x8_t change = change8(c, at, k, optimizer);
        f64x8_t size = (f64x8_t)((u64x8_t)change & (uint64_t)INT64_MAX);
        i64x8_t is_larger = size > largest[k];
        largest[k] = (f64x8_t)((is_larger & (i64x8_t)size) | (~is_larger & (i64x8_t)largest[k]));
        *zeros += change * 0.0;
        double factor = c->inverse_unit[k];
        if (!adds_up(optimizer, k))
            factor *= c->weight;
        u64x8_t units = (u64x8_t)(change * factor + magic) - (u64x8_t)magic;
        if (c->is_alone)
            units = bits8(c->replica[k] + at);
        *(u64x8_t *)(void *)((uint64_t *)c->sums[k].sums + at) += units;
        c->sums[k].marks[at / HT_SUMS_GROUP] = 1;
    }
}

HT_INLINE int add_groups(ht_change_t *c, ht_optimizer_t optimizer)
{
    f64x8_t largest[HT_CHANGES_ARRAYS] = {{0}}, zeros = {0}; /* NaN, once one is not finite */
    for (int64_t at = 0; at < c->n; at += HT_SUMS_GROUP)
        add_group(c, at, optimizer, largest, &zeros);
    int is_finite = 1;
    for (int lane = 0; lane < HT_SUMS_GROUP; lane++)
        is_finite &= zeros[lane] == 0.0;
    for (int k = 0; k < HT_CHANGES_ARRAYS; k++) {
        c->largest[k] = 0.0;
        for (int lane = 0; lane < HT_SUMS_GROUP; lane++)
            c->largest[k] = largest[k][lane] > c->largest[k] ? largest[k][lane] : c->largest[k];
    }
    return is_finite;
}

HT_RACY static int add_racy(ht_change_t *c)
{
    return ht_optimizer_is_dual(c->optimizer) ? add_groups(c, HT_FTRL)
                                              : add_groups(c, c->optimizer);
}

/* ---- merging ----------------------------------------------------------------- */

/* Returns the sum of one array; *n_marked is how many accumulators have added to it. */
HT_INLINE u64x8_t sum8(const ht_change_merge_t *m, int64_t at, int array, int n_arrays,
                       uint32_t *n_marked)
{
    u64x8_t sum = {0};
    *n_marked = 0;
    for (uint32_t s = 0; s < m->n_sums; s++) {
        const ht_sums_t *of = &m->sums[s * (uint32_t)n_arrays + (uint32_t)array];
        if (!of->marks[at / HT_SUMS_GROUP])
            continue;
        sum += *(const u64x8_t *)(const void *)((const uint64_t *)of->sums + at);
        ++*n_marked;
    }
    return sum;
}

/* Returns the values of an array after the replicas' changes. */
HT_INLINE f64x8_t changed8(const ht_change_merge_t *m, int64_t at, int array,
                           ht_optimizer_t optimizer)
{
    uint32_t n_marked;
    u64x8_t units = sum8(m, at, array, ht_sums_arrays(optimizer, 0), &n_marked);
    if (m->is_alone)
        return n_marked > 0 ? __builtin_convertvector(of_bits8(units), f64x8_t)
                            : wide8(m->arrays[array] + at);
    f64x8_t sum = __builtin_convertvector((i64x8_t)units, f64x8_t) * m->unit[array];
    f64x8_t old = ht_optimizer_is_dual(optimizer) && array == 1
                      ? joined8(m->arrays, at, 1.0 / (double)m->step.lr)
                      : wide8(m->arrays[array] + at);
    f64x8_t next = old + (adds_up(optimizer, array) ? sum : sum * m->inverse_tasks);
    if (ht_optimizer_traits(optimizer)->state[array] != HT_MEAN_OF_SQUARES)
        return next;
    i64x8_t is_below = next < 0.0; /* by the rounding to the grid */
    return (f64x8_t)(~is_below & (i64x8_t)next);
}

HT_INLINE f32x8_t narrow8(f64x8_t a)
{
    return __builtin_convertvector(a, f32x8_t);
}

/* Writes z and w of a dual optimizer, from w and z + w sqrt(n) / lr as they were averaged. */
HT_INLINE void merge_dual(const ht_change_merge_t *m, int64_t at, f32x8_t next[])
{
    if (m->is_alone)
        return;
    f64x8_t w = __builtin_convertvector(next[0], f64x8_t);
    f64x8_t n = __builtin_convertvector(next[2], f64x8_t);
    f64x8_t joined = changed8(m, at, 1, HT_FTRL);
    next[1] = narrow8(joined - w * root8(n) / (double)m->step.lr);
    f32x8_t c1 = (f32x8_t){0} + 1.0f, lr = (f32x8_t){0} + m->step.lr;
    if (m->l1_factor != NULL)
        c1 = load8(m->l1_factor + at);
    next[0] = step8_dual(next[1], next[2], c1 * c1, c1, lr, &m->step);
    if (at < m->n_intercept) {
        ht_step_t free = m->step;
        free.l1_sum = free.l2_sum = 0.0f;
        i32x8_t lane = {0, 1, 2, 3, 4, 5, 6, 7};
        i32x8_t is_intercept = lane < (int32_t)(m->n_intercept - at);
        next[0] = choose8(is_intercept, step8_dual(next[1], next[2], c1, c1, lr, &free), next[0]);
    }
}

/* Steps from the old w by the mean change, and writes the outer optimizer's velocity. */
HT_INLINE f32x8_t outer8(const ht_change_merge_t *m, int64_t at, f32x8_t next, f32x8_t *velocity)
{
    f32x8_t old = load8(m->arrays[0] + at), before = *velocity;
    f32x8_t gradient = old - next;
    if (m->outer.kind == HT_OUTER_NESTEROV) {
        *velocity = before * m->outer.decay + gradient;
        return old - (gradient + *velocity * m->outer.decay) * m->outer.rate;
    }
    float lr = m->step.lr > 0.0f ? m->step.lr : 1.0f; /* at 0 the gradient is 0 */
    *velocity = before * m->outer.decay + gradient / lr;
    return old - *velocity * (m->outer.rate * m->step.lr);
}

HT_INLINE void merge_group(const ht_change_merge_t *m, int64_t at, ht_optimizer_t optimizer)
{
    const int n = ht_sums_arrays(optimizer, 0);
    f32x8_t next[HT_SUMS_ARRAYS] = {{0}};
    for (int k = 0; k < n; k++)
        next[k] = narrow8(changed8(m, at, k, optimizer));
    if (ht_optimizer_is_dual(optimizer))
        merge_dual(m, at, next);
    int last = n;
    if (m->outer.kind != HT_OUTER_NONE) {
        next[n] = load8(m->arrays[n] + at);
        next[0] = outer8(m, at, next[0], &next[n]);
        last = n + 1;
    }
    float *merged = m->merged + (at - m->first);
    if (m->average_share != 0.0f) {
        f32x8_t mean = load8(m->arrays[last] + at);
        store8(merged + last * m->array_stride, mean + (next[0] - mean) * m->average_share);
    }
    for (int k = 0; k < last; k++)
        store8(merged + k * m->array_stride, next[k]);
}

HT_INLINE void merge_groups(const ht_change_merge_t *m, ht_optimizer_t optimizer)
{
    const uint32_t each = (uint32_t)ht_sums_arrays(optimizer, 0);
    uint8_t all = m->outer.kind != HT_OUTER_NONE || m->average_share != 0.0f;
    for (int64_t at = m->first; at < m->last; at += HT_SUMS_GROUP) {
        uint8_t touched = all;
        for (uint32_t s = 0; s < m->n_sums; s++) /* the arrays of a replica have equal marks */
            touched |= m->sums[s * each].marks[at / HT_SUMS_GROUP];
        m->touched[(at - m->first) / HT_SUMS_GROUP] = touched;
        if (touched)
            merge_group(m, at, optimizer);
    }
}

HT_RACY static void merge_racy(const ht_change_merge_t *m)
{
    if (ht_optimizer_is_dual(m->optimizer))
        merge_groups(m, HT_FTRL);
    else
        merge_groups(m, m->optimizer);
}

const ht_changes_kernels_t HT_ISA_SYMBOL(ht_changes_kernels) = {
    .copy_racy = copy_racy,
    .add_racy = add_racy,
    .merge_racy = merge_racy,
};
