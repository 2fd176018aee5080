/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Merging sums: every instruction set against a
 * scalar reference, bit for bit.
 */
#include <math.h>
#include <string.h>

#include "support/check.h"
#include "support/delay.h"
#include "support/sums_fixture.h"

typedef struct {
    ht_optimizer_t optimizer;
    int is_exact, has_scales;
    float l1, l2;
} merging_t;

static float w[PADDED], squares[PADDED], shares[PADDED];
static const double merge_scales[N_SCALES] = {1.0, 0x1p-9, 0x1p7, 0x1p-2, 0x1p3};
static const float LR = 0.3f, INVERSE_ROWS = 1.0f / 37.0f, INTERCEPT_RATE = 0.02f;
static const double UNIT = 0x1p-40;

/* Some groups are marked in no sum, some in all; some sums cancel. */
static void draw_merge(uint64_t seed)
{
    uint64_t random = seed;
    memset(sums_memories, 0, sizeof sums_memories);
    for (int at = 0; at < PADDED; at++) {
        w[at] = (float)(2.0 * delay_uniform(&random) - 1.0);
        squares[at] = at % 5 == 0 ? 0.0f : (float)delay_uniform(&random);
        shares[at] = 1.0f + 9.0f * (float)delay_uniform(&random);
        for (int s = 0; s < N_SUMS; s++) {
            int group = at / HT_SUMS_GROUP;
            uint64_t bits = delay_random(&random);
            if (group % 4 == 3 || (group % 4 == 1 && s == 0) || at % 7 == 6)
                continue;
            sums_memories[s].exact[at] = (int64_t)bits >> (12 + bits % 24);
            sums_memories[s].plain[at] = (float)(2.0 * delay_uniform(&random) - 1.0);
            sums_memories[s].marks[group] = 1;
        }
        if (at % 7 == 5) { /* what is marked need not be changed */
            sums_memories[1].exact[at] = -sums_memories[0].exact[at] - sums_memories[2].exact[at];
            sums_memories[0].plain[at] = sums_memories[1].plain[at] = sums_memories[2].plain[at] =
                0.0f;
        }
    }
}

static float mean_at(const merging_t *m, int at)
{
    uint64_t exact = 0;
    float plain = 0.0f;
    for (int s = 0; s < N_SUMS; s++) {
        exact += (uint64_t)sums_memories[s].exact[at];
        plain += sums_memories[s].plain[at];
    }
    double unit = m->has_scales ? UNIT / merge_scales[at / HT_SUMS_SCALE] : UNIT;
    return (m->is_exact ? (float)((double)(int64_t)exact * unit) : plain) * INVERSE_ROWS;
}

/* One coordinate's step; *sum of squares is what it becomes. */
static float step_at(const merging_t *m, int at, float *sum)
{
    float g = mean_at(m, at), lr = at == 0 ? LR * INTERCEPT_RATE : LR;
    float c = at != 0 && (m->l1 != 0.0f || m->l2 != 0.0f) ? shares[at] : 0.0f;
    float root = 1.0f, next;
    *sum = squares[at] + g * g;
    if (g == 0.0f)
        return w[at];
    if (m->optimizer == HT_SGD) {
        next = (w[at] - lr * g) * (1.0f / (lr * m->l2 * c + 1.0f));
    } else {
        root = sqrtf(*sum) + HT_ROOT_EPS;
        next = w[at] - lr * g / root;
        if (at != 0 && (m->l1 != 0.0f || m->l2 != 0.0f))
            next = (w[at] * root - lr * g) / (root + lr * m->l2 * c);
    }
    float size = fabsf(next) - lr / root * m->l1 * c;
    if (m->l1 == 0.0f)
        return next;
    return size <= 0.0f ? 0.0f : next < 0.0f ? -size : size;
}

static void run_merge(const merging_t *m, ht_isa_t isa, int64_t first, int64_t last, float *merged,
                      uint8_t *touched)
{
    ht_sums_t sums[N_SUMS];
    for (int s = 0; s < N_SUMS; s++)
        sums[s] = sums_in(&sums_memories[s], m->is_exact);
    ht_sums_merge_t merge = {
        .first = first,
        .last = last,
        .sums = sums,
        .n_sums = N_SUMS,
        .unit = UNIT,
        .scales = m->has_scales ? merge_scales : NULL,
        .inverse_rows = INVERSE_ROWS,
        .arrays = {w, squares},
        .merged = merged,
        .array_stride = PADDED,
        .touched = touched,
        .c = m->l1 != 0.0f || m->l2 != 0.0f ? shares : NULL,
        .step = {.lr = LR, .l1 = m->l1, .l2 = m->l2},
        .optimizer = m->optimizer,
        .n_intercept = 1,
        .intercept_rate = INTERCEPT_RATE,
    };
    ht_sums_kernels(isa)->merge_racy[m->is_exact](&merge);
}

static void check_merge(const merging_t *m, ht_isa_t isa, int64_t first, int64_t last)
{
    static float merged[2 * PADDED];
    uint8_t touched[N_GROUPS];
    int n_zero = 0, n_stay = 0;
    memset(merged, 0x7f, sizeof merged);
    memset(touched, 0x7f, sizeof touched);
    run_merge(m, isa, first, last, merged, touched);
    for (int64_t at = first; at < last; at++) {
        int64_t k = at - first;
        int is_marked = 0;
        for (int s = 0; s < N_SUMS; s++)
            is_marked |= sums_memories[s].marks[at / HT_SUMS_GROUP];
        CHECK(touched[k / HT_SUMS_GROUP] == is_marked);
        if (!is_marked)
            continue;
        float sum, expected = step_at(m, (int)at, &sum);
        CHECK(memcmp(&merged[k], &expected, sizeof expected) == 0);
        if (m->optimizer == HT_ADAGRAD)
            CHECK(merged[PADDED + k] == sum);
        n_zero += expected == 0.0f;
        n_stay += expected == w[at];
    }
    CHECK(n_stay > 0 && (n_zero > 0) == (m->l1 != 0.0f)); /* all cases were met */
    int64_t n_groups = (last - first + HT_SUMS_GROUP - 1) / HT_SUMS_GROUP;
    for (int64_t g = n_groups; g < N_GROUPS; g++)
        CHECK(touched[g] == 0x7f);
    for (int64_t k = n_groups * HT_SUMS_GROUP; k < PADDED; k++)
        CHECK(memcmp(&merged[k], "\x7f\x7f\x7f\x7f", sizeof *merged) == 0);
}

static void merging_is_the_optimizers_step_with_the_mean(void)
{
    const float l1s[] = {0.0f, 0.0f, 0.05f, 0.05f}, l2s[] = {0.0f, 0.1f, 0.0f, 0.1f};
    for (ht_isa_t isa = HT_BASELINE; isa < HT_ISA_COUNT; isa++)
        for (int option = 0; sums_has(isa) && option < 32; option++) {
            merging_t m = {
                .optimizer = option & 1 ? HT_ADAGRAD : HT_SGD,
                .is_exact = option >> 1 & 1,
                .has_scales = option >> 2 & 1,
                .l1 = l1s[option >> 3],
                .l2 = l2s[option >> 3],
            };
            draw_merge(21 + (uint64_t)option);
            check_merge(&m, isa, 0, N);
            check_merge(&m, isa, 64, 64 + 128);
        }
}

static void the_distribution_of_exact_sums_does_not_change_a_merge(void)
{
    static float first[2 * PADDED], merged[2 * PADDED];
    problem_t problem;
    problem_open(&problem, 3, N_ROWS, N_FEATURES, LONGEST, 1, 0);
    sums_draw(5, 0.3f);
    draw_merge(2);
    for (ht_isa_t isa = HT_BASELINE; isa < HT_ISA_COUNT; isa++)
        for (uint64_t seed = 1; sums_has(isa) && seed <= 12; seed++) {
            const merging_t m = {.optimizer = HT_ADAGRAD, .is_exact = 1, .l1 = 1e-3f, .l2 = 1e-3f};
            sums_setting_t setting = {&problem, NULL, 1, 1.0 / UNIT};
            uint8_t touched[N_GROUPS];
            sums_add_all(&setting, isa, 1, 1 + (int)seed % N_SUMS, seed);
            memset(merged, 0, sizeof merged);
            run_merge(&m, isa, 0, N, merged, touched);
            if (isa == HT_BASELINE && seed == 1)
                memcpy(first, merged, sizeof first);
            CHECK(memcmp(first, merged, sizeof first) == 0);
        }
    CHECK(first[0] != w[0] && first[1] != w[1]);
    problem_close(&problem);
}

int main(void)
{
    merging_is_the_optimizers_step_with_the_mean();
    the_distribution_of_exact_sums_does_not_change_a_merge();
    FINISH();
}
