/* SPDX-License-Identifier: BSD-3-Clause */
#include "math/ht_optimizer.h"

#include <math.h>

#include "math/ht_optimizer_isa.h"

#define CHECK_TRAITS(optimizer, name, reach, second, third, intercept_rate) \
    _Static_assert((second) != HT_NO_STATE || (third) == HT_NO_STATE, "state without a gap"); \
    _Static_assert((third) != HT_VELOCITY, "see ht_optimizer_rate"); \
    _Static_assert((reach) != HT_DUAL || \
                       ((second) == HT_SUM_OF_SQUARES && (third) == HT_NO_STATE), \
                   "z and n"); \
    _Static_assert((reach) != HT_DUAL || (int)(intercept_rate) == 1, \
                   "w is computed at the same rate wherever it is read");
HT_OPTIMIZERS(CHECK_TRAITS)

const char *ht_optimizer_name(ht_optimizer_t optimizer)
{
    int is_known = optimizer >= 0 && optimizer < HT_OPTIMIZER_COUNT;
    return is_known ? ht_optimizer_traits(optimizer)->name : NULL;
}

ht_merge_fn_t ht_optimizer_merge(ht_isa_t isa, ht_optimizer_t optimizer, int stride)
{
    static const ht_merge_table_t *const tables[HT_ISA_COUNT] = {
        [HT_BASELINE] = &ht_optimizer_merges_baseline,
#ifdef HT_WITH_X86
        [HT_AVX2] = &ht_optimizer_merges_avx2,
        [HT_AVX512] = &ht_optimizer_merges_avx512,
#endif
    };
    if (isa < 0 || isa >= HT_ISA_COUNT || optimizer < 0 || optimizer >= HT_OPTIMIZER_COUNT)
        return NULL;
    int has_penalty = stride != ht_optimizer_stride(optimizer, 0);
    return tables[isa] == NULL ? NULL : (*tables[isa])[optimizer][has_penalty];
}

void ht_optimizer_fold(float *entries, const float *c, int64_t n, int outputs, float lr, float l2)
{
    enum { BLOCK = 64, STRIDE = 2 };
    float *at = entries + 1;
    float factors[BLOCK]; /* apart from the entries, so that the divisions are vectors */
    for (int64_t first = 0; first < n / outputs; first += BLOCK) {
        int64_t left = n / outputs - first;
        int n_block = left < BLOCK ? (int)left : BLOCK;
        for (int k = 0; k < n_block; k++)
            factors[k] = 1.0f / (1.0f + lr * l2 * c[first + k]);
        for (int k = 0; outputs == 1 && k < n_block; k++, at += STRIDE)
            *at = factors[k]; /* the usual case, without a loop within the loop */
        for (int k = 0; outputs > 1 && k < n_block; k++)
            for (int o = 0; o < outputs; o++, at += STRIDE)
                *at = factors[k];
    }
}

float ht_optimizer_kept(ht_optimizer_t optimizer, int array, const ht_step_t *step, double rows)
{
    switch (ht_optimizer_traits(optimizer)->state[array]) {
    case HT_VELOCITY:
    case HT_MEAN:
        return (float)pow((double)step->decay1, rows);
    case HT_MEAN_OF_SQUARES:
        return (float)pow((double)step->decay2, rows);
    case HT_SUM_OF_SQUARES:
    case HT_NO_STATE:
        break;
    }
    return 1.0f;
}

float ht_optimizer_from_dual(float z, float n, const ht_step_t *step)
{
    float size = fabsf(z) - step->l1_sum;
    if (size <= 0.0f)
        return 0.0f;
    return -copysignf(size, z) / ((sqrtf(n) + step->beta) / step->lr + step->l2_sum);
}

float ht_optimizer_to_dual(float w, const ht_step_t *step)
{
    return -w * (step->beta / step->lr);
}
