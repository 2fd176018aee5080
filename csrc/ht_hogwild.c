/* SPDX-License-Identifier: BSD-3-Clause */
#include "ht_hogwild.h"

#include <math.h>

#include "ht_atomic.h"
#include "ht_hogwild_isa.h"

const ht_hogwild_kernels_t *ht_hogwild_kernels(ht_isa_t isa)
{
    static const ht_hogwild_kernels_t *const tables[HT_ISA_COUNT] = {
        [HT_BASELINE] = &ht_hogwild_kernels_baseline,
#ifdef HT_WITH_X86
        [HT_AVX2] = &ht_hogwild_kernels_avx2,
        [HT_AVX512] = &ht_hogwild_kernels_avx512,
#endif
    };
    return isa >= 0 && isa < HT_ISA_COUNT ? tables[isa] : NULL;
}

/* Adds d^2 to the sum of squares and returns the new sum. */
static float add_square_exact(float *sum, float d)
{
    float seen = ht_load_relaxed_f32(sum);
    /* ends: a failed attempt means that another worker made progress. */
    while (!ht_cas_relaxed_f32(sum, &seen, seen + d * d))
        ;
    return seen + d * d;
}

static void step_entry_exact(float *entry, float x, float gradient, const ht_step_t *step,
                             float weight, ht_optimizer_t optimizer, int has_penalty)
{
    float d = gradient * x;
    float change = step->lr * gradient * x;
    float root = 1.0f;
    if (optimizer == HT_ADAGRAD) {
        float sum = add_square_exact(entry + 1, d);
        if (sum == 0.0f)
            return;
        root = sqrtf(sum) + HT_ADAGRAD_EPS;
        change = step->lr * d;
    }
    float c = has_penalty ? entry[ht_optimizer_penalty_at(optimizer)] : 0.0f;
    float divisor = root + step->lr * (step->l2 * weight) * c;
    float threshold = step->lr / root * (step->l1 * weight) * c;
    float seen = ht_load_relaxed_f32(entry);
    float w;
    /* ends: a failed attempt means that another worker made progress. */
    do {
        if (optimizer == HT_ADAGRAD)
            w = (seen * root - change) / divisor;
        else
            w = (seen - change) * (1.0f / divisor);
        if (step->l1 != 0.0f) {
            float shrunk = fabsf(w) - threshold;
            w = shrunk <= 0.0f ? 0.0f : copysignf(shrunk, w);
        }
    } while (!ht_cas_relaxed_f32(entry, &seen, w));
}

HT_INLINE void step_rows_exact(const ht_rows_t *rows, const int64_t *ids, int n,
                               const ht_view_t *view, const float *gradient, const ht_step_t *step,
                               ht_optimizer_t optimizer, int has_penalty)
{
    int stride = ht_optimizer_stride(optimizer, has_penalty);
    for (int k = 0; k < n; k++) {
        float weight = rows->weights == NULL ? 1.0f : rows->weights[ids[k]];
        for (int64_t i = rows->pointers[ids[k]]; i < rows->pointers[ids[k] + 1]; i++) {
            float x = rows->values == NULL ? 1.0f : rows->values[i];
            step_entry_exact(view->cold + (ptrdiff_t)stride * rows->indices[i], x, gradient[k],
                             step, weight, optimizer, has_penalty);
        }
        if (view->intercept != NULL) {
            ht_step_t slow = *step;
            slow.lr *= ht_optimizer_intercept_rate(optimizer);
            step_entry_exact(view->intercept, 1.0f, gradient[k], &slow, weight, optimizer,
                             has_penalty);
        }
    }
}

#define DEFINE_STEP_EXACT(name, optimizer, has_penalty) \
    static void name(const ht_rows_t *rows, const int64_t *ids, int n, const ht_view_t *view, \
                     const float *gradient, const ht_step_t *step) \
    { \
        step_rows_exact(rows, ids, n, view, gradient, step, optimizer, has_penalty); \
    }

DEFINE_STEP_EXACT(step_sgd_plain_exact, HT_SGD, 0)
DEFINE_STEP_EXACT(step_sgd_penalty_exact, HT_SGD, 1)
DEFINE_STEP_EXACT(step_adagrad_plain_exact, HT_ADAGRAD, 0)
DEFINE_STEP_EXACT(step_adagrad_penalty_exact, HT_ADAGRAD, 1)

ht_step_fn_t ht_hogwild_step_exact(ht_optimizer_t optimizer, int has_penalty)
{
    static const ht_step_fn_t steps[HT_OPTIMIZER_COUNT][2] = {
        {step_sgd_plain_exact, step_sgd_penalty_exact},
        {step_adagrad_plain_exact, step_adagrad_penalty_exact},
    };
    return steps[optimizer][has_penalty != 0];
}
