/* SPDX-License-Identifier: BSD-3-Clause */
/* The racy kernels of dense rows and one output.  Every row holds every column: no entry holds c
 * of the penalty. */
#include "model/ht_linear_lanes.h"

enum { FLIGHT = 4 }; /* rows whose dot products share the loads of parameters */

/* Adds the products of elements first .. last-1 of a few rows to the rows' sums. */
HT_INLINE void dot_part(const float *const *x, int n_rows, const float *entries,
                        const float *l1_factor, int64_t first, int64_t last, int stride,
                        int is_dual, const ht_step_t *step, ht_f32x16_t *sums)
{
    for (int64_t i = first; i < last; i += HT_LANES) {
        int n = last - i < HT_LANES ? (int)(last - i) : HT_LANES;
        ht_f32x16_t w =
            load_w(entries + stride * i, n, stride, is_dual, load_factor(l1_factor, i, n), step);
        for (int k = 0; k < n_rows; k++)
            sums[k] += w * ht_lanes_load_every(x[k] + i, n, 1);
    }
}

HT_INLINE void dot_flight(const ht_rows_t *rows, const int64_t *ids, int n, const ht_view_t *view,
                          const float *l1_factor, int stride, int is_dual, const ht_step_t *step,
                          float *z)
{
    const float *x[FLIGHT];
    ht_f32x16_t sums[FLIGHT] = {{0}};
    for (int k = 0; k < n; k++)
        x[k] = ht_row_at(rows, ids[k]).value;
    dot_part(x, n, view->hot, l1_factor, 0, rows->n_hot, stride, is_dual, step, sums);
    dot_part(x, n, view->cold, l1_factor, rows->n_hot, rows->n_features, stride, is_dual, step,
             sums);
    float intercept = intercept_of(view, is_dual, step);
    for (int k = 0; k < n; k++)
        z[k] = ht_lanes_sum(sums[k]) + intercept;
}

HT_INLINE void dot_rows(const ht_rows_t *rows, const int64_t *ids, int n, const ht_view_t *view,
                        int stride, int is_dual, const ht_step_t *step, float *z)
{
    int k = 0;
    for (; k + FLIGHT <= n; k += FLIGHT)
        dot_flight(rows, ids + k, FLIGHT, view, NULL, stride, is_dual, step, z + k);
    for (; k < n; k++)
        dot_flight(rows, ids + k, 1, view, NULL, stride, is_dual, step, z + k);
}

HT_RACY static void dot_racy(const ht_rows_t *rows, const int64_t *ids, int n,
                             const ht_view_t *view, int stride, const ht_step_t *step, float *z)
{
    if (stride == 1)
        dot_rows(rows, ids, n, view, 1, 0, step, z);
    else if (stride == 2)
        dot_rows(rows, ids, n, view, 2, 0, step, z);
    else
        dot_rows(rows, ids, n, view, 4, 0, step, z);
}

HT_RACY HT_APART static void dot_dual_by_factor_racy(const ht_rows_t *rows, const int64_t *ids,
                                                     int n, const ht_view_t *view,
                                                     const ht_step_t *step, float *z)
{
    for (int k = 0; k < n; k += FLIGHT) /* one loop for flights of any size: a small frame */
        dot_flight(rows, ids + k, n - k < FLIGHT ? n - k : FLIGHT, view, view->l1_factor, 2, 1,
                   step, z + k);
}

HT_RACY static void dot_dual_racy(const ht_rows_t *rows, const int64_t *ids, int n,
                                  const ht_view_t *view, int stride, const ht_step_t *step,
                                  float *z)
{
    (void)stride;
    if (view->l1_factor != NULL)
        dot_dual_by_factor_racy(rows, ids, n, view, step, z);
    else
        dot_rows(rows, ids, n, view, 2, 1, step, z);
}

HT_INLINE void step_part(const float *x, float *entries, const float *l1_factor, int64_t first,
                         int64_t last, float gradient, const ht_step_t *s, ht_optimizer_t optimizer,
                         ht_penalty_t penalty)
{
    const int stride = ht_optimizer_stride(optimizer, 0);
    const ht_f32x16_t lr = ht_lanes_set(s->lr);
    const ht_f32x16_t g =
        ht_lanes_set(ht_optimizer_is_stateless(optimizer) ? s->lr * gradient : gradient);
    for (int64_t i = first; i < last; i += HT_LANES) {
        int n = last - i < HT_LANES ? (int)(last - i) : HT_LANES;
        ht_f32x16_t d = g * ht_lanes_load_every(x + i, n, 1);
        float *at = entries + stride * i;
        ht_f32x16_t c1 = load_factor(l1_factor, i, n);
        ht_entries_t old;
        ht_entries_load(at, n, stride, &old);
        step16_t next =
            step16(state_of(&old, optimizer), d, c1 * c1, c1, lr, s, optimizer, penalty);
        store_state(at, n, stride, optimizer, &old, next);
    }
}

HT_INLINE void step_row(ht_row_t row, const ht_view_t *view, const float *l1_factor, float gradient,
                        const ht_step_t *s, ht_optimizer_t optimizer, ht_penalty_t penalty)
{
    step_part(row.value, view->hot, l1_factor, 0, row.n_hot, gradient, s, optimizer, penalty);
    step_part(row.value, view->cold, l1_factor, row.n_hot, row.n, gradient, s, optimizer, penalty);
    if (view->intercept != NULL)
        step_intercept(view->intercept, gradient, s, optimizer, 1);
}

HT_INLINE void step_rows(const ht_rows_t *rows, const int64_t *ids, int n, const ht_view_t *view,
                         const float *gradient, const ht_step_t *step, ht_optimizer_t optimizer)
{
    ht_step_t all = *step;
    for (int k = 0; k < n; k++) {
        ht_step_t mine = step_of_row(&all, rows, ids[k]);
        ht_row_t row = ht_row_at(rows, ids[k]);
#define STEP_ROW(penalty) step_row(row, view, NULL, gradient[k], &mine, optimizer, penalty)
        WITH_PENALTY(optimizer, 0, has_penalty(step, optimizer), step, STEP_ROW);
#undef STEP_ROW
        next_power(&all, optimizer);
    }
}

/* Steps with a factor for each feature: there are penalties. */
HT_INLINE void step_rows_by_factor(const ht_rows_t *rows, const int64_t *ids, int n,
                                   const ht_view_t *view, const float *gradient,
                                   const ht_step_t *step, ht_optimizer_t optimizer)
{
    const ht_penalty_t penalty = ht_optimizer_is_dual(optimizer) ? HT_PLAIN : HT_L1;
    ht_step_t all = *step;
    for (int k = 0; k < n; k++) {
        ht_step_t mine = step_of_row(&all, rows, ids[k]);
        step_row(ht_row_at(rows, ids[k]), view, view->l1_factor, gradient[k], &mine, optimizer,
                 penalty);
        next_power(&all, optimizer);
    }
}

/* Factors are in functions of their own: where there are none, they cost nothing. */
#define DEFINE_STEP(optimizer, name, ...) \
    HT_RACY HT_APART static void step_##name##_by_factor_racy( \
        const ht_rows_t *rows, const int64_t *ids, int n, const ht_view_t *view, \
        const float *gradient, const ht_step_t *step) \
    { \
        step_rows_by_factor(rows, ids, n, view, gradient, step, optimizer); \
    } \
    HT_RACY static void step_##name##_racy(const ht_rows_t *rows, const int64_t *ids, int n, \
                                           const ht_view_t *view, const float *gradient, \
                                           const ht_step_t *step) \
    { \
        if (view->l1_factor != NULL && \
            (ht_optimizer_is_dual(optimizer) || has_penalty(step, optimizer))) \
            step_##name##_by_factor_racy(rows, ids, n, view, gradient, step); \
        else \
            step_rows(rows, ids, n, view, gradient, step, optimizer); \
    }
HT_OPTIMIZERS(DEFINE_STEP)

#define STEPS(optimizer, name, ...) [optimizer] = {step_##name##_racy},
const ht_linear_kernels_t HT_ISA_SYMBOL(ht_linear_dense) = {
    .dot_racy = {dot_racy, dot_dual_racy},
    .step_racy = {HT_OPTIMIZERS(STEPS)},
};
