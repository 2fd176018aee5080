/* SPDX-License-Identifier: BSD-3-Clause */
/* The racy kernels of sparse rows and one output. */
#include <string.h>

#include "model/ht_linear_lanes.h"

/* ---- dot products ------------------------------------------------------- */

/* Returns the parameters of elements first .. n-1 of 16; the other lanes keep the
 * values of `rest`. */
HT_INLINE ht_f32x16_t gather_w(const float *entries, const int32_t *index, int first, int n,
                               int stride, ht_f32x16_t rest, int is_dual, const ht_step_t *step)
{
    if (!is_dual)
        return ht_lanes_gather(entries, index, first, n, stride, rest);
    const ht_f32x16_t zero = {0};
    ht_f32x16_t z = ht_lanes_gather(entries, index, first, n, stride, zero);
    ht_f32x16_t squares = ht_lanes_gather(entries + 1, index, first, n, stride, zero);
    /* The other lanes of w are -0 / x: adding them changes nothing. */
    const ht_f32x16_t one = ht_lanes_set(1.0f);
    return rest + step16_dual(z, squares, one, one, ht_lanes_set(step->lr), step);
}

HT_INLINE float dot_row(ht_row_t row, const ht_view_t *view, int stride, int has_values,
                        int is_dual, const ht_step_t *step)
{
    /* Gathers start from a constant: from `sum`, each gather would wait for the last one. */
    const ht_f32x16_t zero = {0};
    ht_f32x16_t sum = zero;
    int64_t i = 0;
    for (; i + HT_LANES <= row.n_hot; i += HT_LANES) {
        ht_f32x16_t w =
            gather_w(view->hot, row.index + i, 0, HT_LANES, stride, zero, is_dual, step);
        sum += has_values ? w * ht_lanes_load(row.value + i) : w;
    }
    for (; i < row.n; i += HT_LANES) {
        int n = row.n - i < HT_LANES ? (int)(row.n - i) : HT_LANES;
        int n_hot = row.n_hot <= i ? 0 : row.n_hot - i < n ? (int)(row.n_hot - i) : n;
        ht_f32x16_t w = zero;
        if (n_hot > 0)
            w = gather_w(view->hot, row.index + i, 0, n_hot, stride, w, is_dual, step);
        if (n_hot < n)
            w = gather_w(view->cold, row.index + i, n_hot, n, stride, w, is_dual, step);
        sum += has_values ? w * ht_lanes_load_first(row.value + i, n) : w;
    }
    return ht_lanes_sum(sum);
}

HT_INLINE void dot_rows(const ht_rows_t *rows, const int64_t *ids, int n, const ht_view_t *view,
                        int stride, int is_dual, const ht_step_t *step, float *z)
{
    float intercept = intercept_of(view, is_dual, step);
    for (int k = 0; k < n; k++) {
        ht_row_t row = ht_row_at(rows, ids[k]);
        z[k] = (row.value == NULL ? dot_row(row, view, stride, 0, is_dual, step)
                                  : dot_row(row, view, stride, 1, is_dual, step)) +
               intercept;
    }
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

HT_RACY static void dot_dual_racy(const ht_rows_t *rows, const int64_t *ids, int n,
                                  const ht_view_t *view, int stride, const ht_step_t *step,
                                  float *z)
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

/* Makes steps of SGD, element by element: on the processors measured, scalar loads
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

/* Steps the first n of four entries; x holds the row's values. */
HT_INLINE void step_four(float *const entry[4], ht_f32x4_t x, int n, float gradient,
                         const ht_step_t *s, ht_optimizer_t optimizer, int has_shares,
                         ht_penalty_t penalty)
{
    const int n_arrays = ht_optimizer_arrays(optimizer), first = ht_optimizer_first(optimizer);
    ht_f32x4_t arrays[4] = {{0}};
    for (int k = 0; k < n_arrays + has_shares; k++)
        arrays[first + k] = (ht_f32x4_t){entry[0][k], entry[1][k], entry[2][k], entry[3][k]};
    ht_f32x4_t d = x * (ht_optimizer_is_stateless(optimizer) ? s->lr * gradient : gradient);
    ht_f32x4_t c = has_shares ? arrays[n_arrays] : (ht_f32x4_t){0} + 1.0f;
    ht_step4_t next = ht_step4((ht_step4_t){.w = arrays[0], .a = arrays[1], .b = arrays[2]}, d, c,
                               c, (ht_f32x4_t){0} + s->lr, s, optimizer, penalty);
    const ht_f32x4_t stepped[3] = {next.w, next.a, next.b};
#pragma GCC unroll 4
    for (int k = 0; k < n; k++) {
        float whole[3] = {0};
        for (int array = 0; array < n_arrays; array++)
            whole[array] = stepped[first + array][k];
        memcpy(entry[k], whole, sizeof *whole * (size_t)n_arrays); /* two arrays at once */
    }
}

/* Makes steps of the other optimizers, four elements at a time: the square root and the division
 * are worth vectors.  Longer vectors gain nothing, and with gathers they lose. */
HT_INLINE void step_fours(float *entries, ht_row_t row, int64_t first, int64_t last, float gradient,
                          const ht_step_t *s, ht_optimizer_t optimizer, int has_shares,
                          ht_penalty_t penalty)
{
    const int stride = ht_optimizer_stride(optimizer, has_shares);
    int64_t i = first;
    float *entry[4];
    ht_f32x4_t x = (ht_f32x4_t){0} + 1.0f;
    for (; i + 4 <= last; i += 4) {
        for (int k = 0; k < 4; k++)
            entry[k] = entries + (ptrdiff_t)stride * row.index[i + k];
        if (row.value != NULL)
            memcpy(&x, row.value + i, sizeof x);
        step_four(entry, x, 4, gradient, s, optimizer, has_shares, penalty);
    }
    if (i == last)
        return;
    for (int k = 0; k < 4; k++) { /* lanes that are not stored repeat the last element */
        int64_t at = i + k < last ? i + k : last - 1;
        entry[k] = entries + (ptrdiff_t)stride * row.index[at];
        x[k] = row.value == NULL ? 1.0f : row.value[at];
    }
    step_four(entry, x, (int)(last - i), gradient, s, optimizer, has_shares, penalty);
}

HT_INLINE void step_row(ht_row_t row, const ht_view_t *view, float gradient, const ht_step_t *s,
                        ht_optimizer_t optimizer, int has_shares, ht_penalty_t penalty)
{
    const ht_penalty_t of_cold = penalty == HT_FOLDED ? HT_L2 : penalty;
    if (optimizer == HT_SGD) {
        int stride = ht_optimizer_stride(optimizer, has_shares);
        step_sgd(view->hot, row, 0, row.n_hot, gradient, s, stride, penalty);
        step_sgd(view->cold, row, row.n_hot, row.n, gradient, s, stride, of_cold);
    } else {
        step_fours(view->hot, row, 0, row.n_hot, gradient, s, optimizer, has_shares, penalty);
        step_fours(view->cold, row, row.n_hot, row.n, gradient, s, optimizer, has_shares, of_cold);
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
        WITH_PENALTY(optimizer, has_shares, has_shares, step, STEP_ROW);
#undef STEP_ROW
    }
}

#define DEFINE_STEP(name, optimizer, has_shares) \
    HT_RACY static void name(const ht_rows_t *rows, const int64_t *ids, int n, \
                             const ht_view_t *view, const float *gradient, const ht_step_t *step) \
    { \
        step_rows(rows, ids, n, view, gradient, step, optimizer, has_shares); \
    }
#define DEFINE_STEPS(optimizer, name, ...) \
    DEFINE_STEP(step_##name##_racy, optimizer, 0) \
    DEFINE_STEP(step_##name##_shares_racy, optimizer, 1)
HT_OPTIMIZERS(DEFINE_STEPS)

#define STEPS(optimizer, name, reach, ...) \
    [optimizer] = {(reach) == HT_EVERY ? NULL : step_##name##_racy, \
                   (reach) == HT_TOUCHED ? step_##name##_shares_racy : NULL},
const ht_linear_kernels_t HT_ISA_SYMBOL(ht_linear_sparse) = {
    .dot_racy = {dot_racy, dot_dual_racy},
    .step_racy = {HT_OPTIMIZERS(STEPS)},
};
