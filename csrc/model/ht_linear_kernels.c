/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/ht_linear_kernels.h"

#include <math.h>

#include "base/ht_atomic.h"
#include "math/ht_optimizer_step.h"
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

ht_sum_fn_t ht_linear_sum(ht_isa_t isa)
{
    const ht_sum_fn_t sums[HT_ISA_COUNT] = {
        [HT_BASELINE] = ht_linear_sum_baseline,
#ifdef HT_WITH_X86
        [HT_AVX2] = ht_linear_sum_avx2,
        [HT_AVX512] = ht_linear_sum_avx512,
#endif
    };
    return isa >= 0 && isa < HT_ISA_COUNT ? sums[isa] : NULL;
}

/* Returns the value in every lane: the compiler then computes with one number. */
HT_INLINE ht_f32x4_t all4(float value)
{
    return (ht_f32x4_t){value, value, value, value};
}

/* The arguments of one entry's step, besides the entry. */
typedef struct {
    ht_f32x4_t d, c2, c1, lr;
    const ht_step_t *step;
    ht_optimizer_t optimizer;
    ht_penalty_t penalty;
} exact_t;

/* Steps one array of an entry by compare-and-swap.  Returns `old` with the value that the
 * step began with. */
HT_INLINE ht_step4_t step_array_exact(float *entry, int array, ht_step4_t old, const exact_t *e)
{
    float seen = ht_load_relaxed_f32(entry + array), next;
    /* ends: a failed attempt means that another worker made progress. */
    do {
        ht_f32x4_t *was = array == 0 ? &old.w : array == 1 ? &old.a : &old.b;
        *was = all4(seen);
        ht_step4_t new =
            ht_step4(old, e->d, e->c2, e->c1, e->lr, e->step, e->optimizer, e->penalty);
        next = (array == 0 ? new.w : array == 1 ? new.a : new.b)[0];
    } while (!ht_cas_relaxed_f32(entry + array, &seen, next));
    return old;
}

/* Steps the state of an entry, then w with that state. */
HT_INLINE void step_entry_exact(float *entry, const exact_t *e)
{
    ht_step4_t old = {.w = {0}};
    if (ht_optimizer_arrays(e->optimizer) > 2)
        old = step_array_exact(entry, 2, old, e);
    if (ht_optimizer_arrays(e->optimizer) > 1)
        old = step_array_exact(entry, 1, old, e);
    (void)step_array_exact(entry, 0, old, e);
}

/* Adds d^2 to the sum of squares and returns the sum before it. */
static float add_square_exact(float *sum, float d)
{
    float seen = ht_load_relaxed_f32(sum);
    /* ends: a failed attempt means that another worker made progress. */
    while (!ht_cas_relaxed_f32(sum, &seen, seen + d * d))
        ;
    return seen;
}

/* Steps an entry z n.  A worker adds to n before it adds to z, and reads n after z: a worker that
 * is held between the two must not see a z of many rows beside an n of few rows.  Their w would
 * be out of all bounds. */
static void step_dual_exact(float *entry, float d, float c1, const ht_step_t *step)
{
    float before = add_square_exact(entry + 1, d), after = before + d * d;
    float sigma = (sqrtf(after) - sqrtf(before)) / step->lr;
    float seen = ht_load_relaxed_f32(entry);
    float z;
    /* ends: a failed attempt means that another worker made progress. */
    do {
        float now = ht_load_relaxed_f32(entry + 1);
        ht_f32x4_t n = all4(now > after ? now : before);
        ht_f32x4_t w = ht_step4_dual(all4(seen), n, all4(c1 * c1), all4(c1), all4(step->lr), step);
        z = seen + d - sigma * w[0];
    } while (!ht_cas_relaxed_f32(entry, &seen, z));
}

/* c1 is the factor on l1 if entries do not hold c. */
HT_INLINE void step_outputs_exact(float *entries, float x, float c1, const ht_view_t *view,
                                  const float *gradient, const ht_step_t *step,
                                  ht_optimizer_t optimizer, int has_shares, ht_penalty_t penalty)
{
    int stride = ht_optimizer_stride(optimizer, has_shares);
    for (int64_t o = 0; o < view->outputs; o++) {
        float *entry = entries + stride * o;
        float d = (ht_optimizer_is_stateless(optimizer) ? step->lr * gradient[o] : gradient[o]) * x;
        float c = has_shares ? entry[ht_optimizer_penalty_at(optimizer)] : c1;
        const exact_t e = {
            all4(d), all4(has_shares ? c : c * c), all4(c), all4(step->lr), step, optimizer,
            penalty};
        if (ht_optimizer_is_dual(optimizer))
            step_dual_exact(entry, d, c1, step);
        else
            step_entry_exact(entry, &e);
    }
}

HT_INLINE void step_row_exact(ht_row_t row, const ht_view_t *view, const float *gradient,
                              const ht_step_t *step, ht_optimizer_t optimizer, int has_shares,
                              ht_penalty_t penalty)
{
    int64_t size = ht_optimizer_stride(optimizer, has_shares) * view->outputs;
    for (int64_t i = 0; i < row.n; i++) {
        int64_t column = ht_row_column(row, i);
        float c1 = view->l1_factor == NULL ? 1.0f : view->l1_factor[column];
        step_outputs_exact(view->cold + size * column, ht_row_value(row, i), c1, view, gradient,
                           step, optimizer, has_shares, penalty);
    }
}

HT_INLINE void step_rows_exact(const ht_rows_t *rows, const int64_t *ids, int n,
                               const ht_view_t *view, const float *gradient, const ht_step_t *step,
                               ht_optimizer_t optimizer, int has_shares)
{
    for (int k = 0; k < n; k++) {
        float weight = rows->weights == NULL ? 1.0f : rows->weights[ids[k]];
        ht_row_t row = ht_row_at(rows, ids[k]);
        ht_step_t mine = *step, free = *step;
        mine.l1 *= weight;
        mine.l2 *= weight;
        const float *g = gradient + k * view->outputs;
        if (!has_shares && step->l1 == 0.0f && step->l2 == 0.0f)
            step_row_exact(row, view, g, &mine, optimizer, has_shares, HT_PLAIN);
        else if (step->l1 == 0.0f)
            step_row_exact(row, view, g, &mine, optimizer, has_shares, HT_L2);
        else
            step_row_exact(row, view, g, &mine, optimizer, has_shares, HT_L1);
        if (view->intercept == NULL)
            continue;
        free.lr *= ht_optimizer_intercept_rate(optimizer, ht_rows_is_dense(rows));
        free.l1 = free.l2 = free.l1_sum = free.l2_sum = 0.0f;
        step_outputs_exact(view->intercept, 1.0f, 1.0f, view, g, &free, optimizer, has_shares,
                           HT_PLAIN);
    }
}

#define DEFINE_STEP_EXACT(name, optimizer, has_shares) \
    static void name(const ht_rows_t *rows, const int64_t *ids, int n, const ht_view_t *view, \
                     const float *gradient, const ht_step_t *step) \
    { \
        step_rows_exact(rows, ids, n, view, gradient, step, optimizer, has_shares); \
    }
#define DEFINE_STEPS_EXACT(optimizer, name, ...) \
    DEFINE_STEP_EXACT(step_##name##_exact, optimizer, 0) \
    DEFINE_STEP_EXACT(step_##name##_shares_exact, optimizer, 1)
HT_OPTIMIZERS(DEFINE_STEPS_EXACT)

ht_step_fn_t ht_linear_step_exact(ht_optimizer_t optimizer, int has_shares)
{
#define STEPS_EXACT(optimizer, name, reach, ...) \
    [optimizer] = {(reach) == HT_EVERY ? NULL : step_##name##_exact, \
                   (reach) == HT_TOUCHED ? step_##name##_shares_exact : NULL},
    static const ht_step_fn_t steps[HT_OPTIMIZER_COUNT][2] = {HT_OPTIMIZERS(STEPS_EXACT)};
    return steps[optimizer][has_shares != 0];
}
