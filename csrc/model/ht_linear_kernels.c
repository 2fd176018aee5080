/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/ht_linear_kernels.h"

#include <math.h>

#include "base/ht_atomic.h"
#include "model/ht_linear_tables.h"

#define TABLES(isa) {&ht_linear_sparse_##isa, &ht_linear_dense_##isa, &ht_linear_outputs_##isa}

const ht_linear_kernels_t *ht_linear_kernels(ht_isa_t isa, ht_shape_t shape)
{
    static const ht_linear_kernels_t *const tables[HT_ISA_COUNT][HT_SHAPE_COUNT] = {
        [HT_BASELINE] = TABLES(baseline),
#ifdef HT_WITH_X86
        [HT_AVX2] = TABLES(avx2),
        [HT_AVX512] = TABLES(avx512),
#endif
    };
    return isa >= 0 && isa < HT_ISA_COUNT ? tables[isa][shape] : NULL;
}

ht_add_fn_t ht_linear_add(ht_isa_t isa, int is_exact)
{
    static const ht_add_fn_t *const tables[HT_ISA_COUNT] = {
        [HT_BASELINE] = ht_linear_add_baseline,
#ifdef HT_WITH_X86
        [HT_AVX2] = ht_linear_add_avx2,
        [HT_AVX512] = ht_linear_add_avx512,
#endif
    };
    if (isa < 0 || isa >= HT_ISA_COUNT || tables[isa] == NULL)
        return NULL;
    return tables[isa][is_exact != 0];
}

/* Adds d^2 to the sum of squares and returns the sum before. */
static float add_square_exact(float *sum, float d)
{
    float seen = ht_load_relaxed_f32(sum);
    /* ends: a failed attempt means that another worker made progress. */
    while (!ht_cas_relaxed_f32(sum, &seen, seen + d * d))
        ;
    return seen;
}

static float shrink(float w, float threshold)
{
    float size = fabsf(w) - threshold;
    return size <= 0.0f ? 0.0f : copysignf(size, w);
}

/* c: 1 / share of the coordinate. */
static void step_entry_exact(float *entry, float x, float gradient, const ht_step_t *step, float c,
                             ht_optimizer_t optimizer)
{
    float d = gradient * x;
    float change = step->lr * gradient * x;
    float root = 1.0f;
    if (optimizer == HT_ADAGRAD) {
        float sum = add_square_exact(entry + 1, d) + d * d;
        if (sum == 0.0f)
            return;
        root = sqrtf(sum) + HT_ADAGRAD_EPS;
        change = step->lr * d;
    }
    float divisor = root + step->lr * step->l2 * c;
    float threshold = step->lr / root * step->l1 * c;
    float seen = ht_load_relaxed_f32(entry);
    float w;
    /* ends: a failed attempt means that another worker made progress. */
    do {
        if (optimizer == HT_ADAGRAD)
            w = (seen * root - change) / divisor;
        else
            w = (seen - change) * (1.0f / divisor);
        if (step->l1 != 0.0f)
            w = shrink(w, threshold);
    } while (!ht_cas_relaxed_f32(entry, &seen, w));
}

/* n is added to before z, and read after it: a worker that is held in between must
 * not see a z of many rows beside the n of few, whose w would be out of all bounds. */
static void step_ftrl_exact(float *entry, float d, const ht_step_t *step)
{
    float before = add_square_exact(entry + 1, d), after = before + d * d;
    float sigma = (sqrtf(after) - sqrtf(before)) / step->lr;
    float seen = ht_load_relaxed_f32(entry);
    float z;
    /* ends: a failed attempt means that another worker made progress. */
    do {
        float now = ht_load_relaxed_f32(entry + 1);
        float root = sqrtf(now > after ? now : before);
        float w = -shrink(seen, step->l1_sum) / ((root + step->beta) / step->lr + step->l2_sum);
        z = seen + d - sigma * w;
    } while (!ht_cas_relaxed_f32(entry, &seen, z));
}

HT_INLINE void step_outputs_exact(float *entries, float x, const ht_view_t *view,
                                  const float *gradient, const ht_step_t *step,
                                  ht_optimizer_t optimizer, int has_shares)
{
    int stride = ht_optimizer_stride(optimizer, has_shares);
    for (int64_t o = 0; o < view->outputs; o++) {
        float *entry = entries + stride * o;
        float c = has_shares ? entry[ht_optimizer_penalty_at(optimizer)] : 1.0f;
        if (optimizer == HT_FTRL)
            step_ftrl_exact(entry, gradient[o] * x, step);
        else
            step_entry_exact(entry, x, gradient[o], step, c, optimizer);
    }
}

HT_INLINE void step_rows_exact(const ht_rows_t *rows, const int64_t *ids, int n,
                               const ht_view_t *view, const float *gradient, const ht_step_t *step,
                               ht_optimizer_t optimizer, int has_shares)
{
    int64_t size = ht_optimizer_stride(optimizer, has_shares) * view->outputs;
    for (int k = 0; k < n; k++) {
        float weight = rows->weights == NULL ? 1.0f : rows->weights[ids[k]];
        ht_row_t row = ht_row_at(rows, ids[k]);
        ht_step_t mine = *step, free = *step;
        mine.l1 *= weight;
        mine.l2 *= weight;
        const float *g = gradient + k * view->outputs;
        for (int64_t i = 0; i < row.n; i++)
            step_outputs_exact(view->cold + size * ht_row_column(row, i), ht_row_value(row, i),
                               view, g, &mine, optimizer, has_shares);
        if (view->intercept == NULL)
            continue;
        free.lr *= ht_optimizer_intercept_rate(optimizer, ht_rows_is_dense(rows));
        free.l1 = free.l2 = free.l1_sum = free.l2_sum = 0.0f;
        step_outputs_exact(view->intercept, 1.0f, view, g, &free, optimizer, has_shares);
    }
}

#define DEFINE_STEP_EXACT(name, optimizer, has_shares) \
    static void name(const ht_rows_t *rows, const int64_t *ids, int n, const ht_view_t *view, \
                     const float *gradient, const ht_step_t *step) \
    { \
        step_rows_exact(rows, ids, n, view, gradient, step, optimizer, has_shares); \
    }

DEFINE_STEP_EXACT(step_sgd_exact, HT_SGD, 0)
DEFINE_STEP_EXACT(step_sgd_shares_exact, HT_SGD, 1)
DEFINE_STEP_EXACT(step_adagrad_exact, HT_ADAGRAD, 0)
DEFINE_STEP_EXACT(step_adagrad_shares_exact, HT_ADAGRAD, 1)
DEFINE_STEP_EXACT(step_ftrl_all_exact, HT_FTRL, 0)

ht_step_fn_t ht_linear_step_exact(ht_optimizer_t optimizer, int has_shares)
{
    static const ht_step_fn_t steps[HT_OPTIMIZER_COUNT][2] = {
        [HT_SGD] = {step_sgd_exact, step_sgd_shares_exact},
        [HT_ADAGRAD] = {step_adagrad_exact, step_adagrad_shares_exact},
        [HT_FTRL] = {step_ftrl_all_exact, step_ftrl_all_exact},
    };
    return steps[optimizer][has_shares != 0];
}
