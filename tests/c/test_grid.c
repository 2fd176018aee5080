/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sums of rows on a grid, and merging them: every instruction set against a
 * scalar reference, bit for bit.
 */
#include "ht_grid.h"

#include <math.h>
#include <string.h>

#include "check.h"
#include "delay.h"
#include "problem.h"

enum { N_ROWS = 200, N_FEATURES = 300, LONGEST = 40, N_SUMS = 3 };
enum { N = N_FEATURES + 1, PADDED = 320, N_GROUPS = PADDED / HT_GRID_GROUP };
enum { N_SCALES = PADDED / HT_GRID_SCALE };

/* An accumulator of either kind. */
typedef struct {
    _Alignas(64) int64_t exact[PADDED];
    _Alignas(64) float plain[PADDED];
    uint8_t marks[N_GROUPS];
} memory_t;

__extension__ typedef __int128 wide_t; /* no sum of a test leaves it */

static memory_t memories[N_SUMS];
static float gradients[N_ROWS];

static ht_sums_t sums_in(memory_t *memory, int is_exact)
{
    return (ht_sums_t){is_exact ? (void *)memory->exact : (void *)memory->plain, memory->marks};
}

static int has(ht_isa_t isa)
{
    return ht_grid_kernels(isa) != NULL && isa <= ht_vector_best_isa();
}

static void draw_gradients(uint64_t seed, float size)
{
    uint64_t random = seed;
    for (int r = 0; r < N_ROWS; r++)
        gradients[r] = size * (float)(2.0 * delay_uniform(&random) - 1.0);
    gradients[0] = size;
    gradients[1] = -size;
    gradients[2] = 0.0f;
}

/* The contribution of one element, rounded to the grid; ties to even. */
static int64_t rounded(float gradient, float value, double scale_of_grid)
{
    long double x = (long double)gradient * (long double)value * (long double)scale_of_grid;
    return (int64_t)rintl(x);
}

typedef struct {
    const problem_t *problem;
    const double *scales; /* NULL: all 1 */
    int intercept;
    double inverse_unit;
} setting_t;

static double scale_at(const setting_t *setting, int64_t coordinate)
{
    double scale = setting->scales == NULL ? 1.0 : setting->scales[coordinate / HT_GRID_SCALE];
    return scale * setting->inverse_unit;
}

static void reference(const setting_t *setting, wide_t *sums, uint8_t *marks)
{
    const ht_rows_t *rows = &setting->problem->rows;
    memset(sums, 0, sizeof *sums * PADDED);
    memset(marks, 0, N_GROUPS);
    for (int64_t r = 0; r < N_ROWS; r++) {
        for (int64_t i = rows->pointers[r]; i < rows->pointers[r + 1]; i++) {
            int64_t at = rows->indices[i] + 1;
            float value = rows->values == NULL ? 1.0f : rows->values[i];
            sums[at] += rounded(gradients[r], value, scale_at(setting, at));
            marks[at / HT_GRID_GROUP] = 1;
        }
        if (setting->intercept) {
            sums[0] += rounded(gradients[r], 1.0f, scale_at(setting, 0));
            marks[0] = 1;
        }
    }
}

/* Adds all rows in a random order, in groups of random length, each to a random
 * one of n_sums accumulators. */
static void add_all(const setting_t *setting, ht_isa_t isa, int is_exact, int n_sums, uint64_t seed)
{
    uint64_t random = seed;
    int64_t ids[N_ROWS];
    float of_row[N_ROWS];
    memset(memories, 0, sizeof memories);
    for (int64_t r = 0; r < N_ROWS; r++)
        ids[r] = r;
    for (int r = N_ROWS - 1; seed != 1 && r > 0; r--) {
        int other = (int)(delay_random(&random) % (uint64_t)(r + 1));
        int64_t id = ids[r];
        ids[r] = ids[other];
        ids[other] = id;
    }
    for (int r = 0; r < N_ROWS; r++)
        of_row[r] = gradients[ids[r]];
    for (int r = 0; r < N_ROWS;) {
        int n = 1 + (int)((delay_random(&random) >> 20) % 16);
        n = N_ROWS - r < n ? N_ROWS - r : n;
        ht_sums_t sums =
            sums_in(&memories[(delay_random(&random) >> 20) % (uint64_t)n_sums], is_exact);
        ht_grid_kernels(isa)->add_racy[is_exact](&sums, &setting->problem->rows, ids + r, n,
                                                 of_row + r, setting->intercept,
                                                 setting->inverse_unit, setting->scales);
        r += n;
    }
}

/* ---- adding ------------------------------------------------------------------ */

static void exact_sums_are_those_of_rounded_contributions(const setting_t *setting)
{
    static wide_t expected[PADDED];
    uint8_t marks[N_GROUPS];
    reference(setting, expected, marks);
    for (ht_isa_t isa = HT_BASELINE; isa < HT_ISA_COUNT; isa++)
        for (uint64_t seed = 1; has(isa) && seed <= 5; seed++) {
            add_all(setting, isa, 1, N_SUMS, seed);
            for (int at = 0; at < PADDED; at++) {
                wide_t found = 0;
                for (int s = 0; s < N_SUMS; s++)
                    found += memories[s].exact[at];
                CHECK(found == expected[at]);
            }
            for (int g = 0; g < N_GROUPS; g++) {
                int marked = 0;
                for (int s = 0; s < N_SUMS; s++)
                    marked |= memories[s].marks[g];
                CHECK(marked == marks[g]);
            }
        }
}

static void exact_sums(void)
{
    static const double scales[N_SCALES] = {1.0, 0x1p-20, 0x1p7, 0x1p-60, 0x1p3};
    for (int has_values = 0; has_values < 2; has_values++) {
        problem_t problem;
        problem_open(&problem, 3, N_ROWS, N_FEATURES, LONGEST, has_values, 0);
        for (int option = 0; option < 4; option++) {
            /* The finest grid rounds nearly nothing, the coarsest nearly all, to
             * halves among others. */
            const double inverse[] = {0x1p51, 0x1p20, 4.0, 1.0};
            for (int k = 0; k < 4; k++) {
                setting_t setting = {&problem, option & 1 ? scales : NULL, option / 2,
                                     option & 1 ? inverse[k] / 0x1p7 : inverse[k]};
                draw_gradients(5 + (uint64_t)k, 1.0f);
                for (int r = 3; k == 3 && r < N_ROWS; r += 2)
                    gradients[r] = r % 4 == 1 ? 0.5f : -0.5f;
                exact_sums_are_those_of_rounded_contributions(&setting);
            }
        }
        problem_close(&problem);
    }
}

/* Partial sums may wrap around if the whole does not. */
static void partial_sums_may_wrap(void)
{
    const int64_t pointers[] = {0, 1};
    const int32_t indices[] = {4};
    const ht_rows_t rows = {
        .n_rows = 1, .n_features = N_FEATURES, .pointers = pointers, .indices = indices};
    const int64_t ids[16] = {0};
    float up[16], down[16];
    for (int k = 0; k < 16; k++) {
        up[k] = 1.0f;
        down[k] = -1.0f;
    }
    memset(memories, 0, sizeof memories);
    ht_sums_t sums = sums_in(&memories[0], 1);
    const ht_grid_kernels_t *kernels = ht_grid_kernels(ht_vector_best_isa());
    for (int i = 0; i < 257; i++)
        kernels->add_racy[1](&sums, &rows, ids, 16, up, 1, 0x1p51, NULL);
    CHECK(memories[0].exact[5] < 0 && memories[0].exact[0] < 0);
    for (int i = 0; i < 256; i++)
        kernels->add_racy[1](&sums, &rows, ids, 16, down, 1, 0x1p51, NULL);
    CHECK(memories[0].exact[5] == (INT64_C(16) << 51) && memories[0].exact[0] == INT64_C(16) << 51);
}

/* A step with such contributions is refused, but it is computed first. */
static void contributions_beyond_the_grid_and_infinite_ones_do_no_harm(void)
{
    problem_t problem;
    problem_open(&problem, 3, N_ROWS, N_FEATURES, LONGEST, 1, 0);
    for (ht_isa_t isa = HT_BASELINE; isa < HT_ISA_COUNT; isa++)
        for (int e = 51; has(isa) && e <= 80; e++) {
            setting_t setting = {&problem, NULL, 1, ldexp(1.0, e)};
            draw_gradients(5, 1.0f);
            gradients[3] = (float)INFINITY;
            gradients[4] = -(float)INFINITY;
            gradients[5] = (float)NAN;
            add_all(&setting, isa, 1, N_SUMS, 1);
            CHECK(memories[0].marks[0] && memories[0].exact[0] != 0);
        }
    problem_close(&problem);
}

static void plain_sums_are_added_in_the_order_of_the_calls(void)
{
    for (int has_values = 0; has_values < 2; has_values++) {
        static float expected[PADDED];
        problem_t problem;
        problem_open(&problem, 4, N_ROWS, N_FEATURES, LONGEST, has_values, 0);
        const ht_rows_t *rows = &problem.rows;
        draw_gradients(9, 1.0f);
        for (int intercept = 0; intercept < 2; intercept++) {
            memset(expected, 0, sizeof expected);
            for (int64_t r = 0; r < N_ROWS; r++) {
                for (int64_t i = rows->pointers[r]; i < rows->pointers[r + 1]; i++)
                    expected[rows->indices[i] + 1] +=
                        gradients[r] * (has_values ? rows->values[i] : 1.0f);
                if (intercept)
                    expected[0] += gradients[r];
            }
            for (ht_isa_t isa = HT_BASELINE; isa < HT_ISA_COUNT; isa++) {
                if (!has(isa))
                    continue;
                setting_t setting = {&problem, NULL, intercept, 1.0};
                add_all(&setting, isa, 0, 1, 1);
                CHECK(memcmp(memories[0].plain, expected, sizeof expected) == 0);
                CHECK(memories[0].marks[0] && !memories[0].marks[N_GROUPS - 1]);
            }
        }
        problem_close(&problem);
    }
}

static void clearing_leaves_nothing(void)
{
    static const memory_t zero;
    problem_t problem;
    problem_open(&problem, 3, N_ROWS, N_FEATURES, 5, 1, 0);
    draw_gradients(5, 1.0f);
    for (int is_exact = 0; is_exact < 2; is_exact++) {
        setting_t setting = {&problem, NULL, 1, 0x1p40};
        add_all(&setting, HT_BASELINE, is_exact, 1, 1);
        CHECK(memcmp(&memories[0], &zero, sizeof zero) != 0);
        ht_sums_t sums = sums_in(&memories[0], is_exact);
        ht_grid_clear(&sums, N, is_exact);
        CHECK(memcmp(&memories[0], &zero, sizeof zero) == 0);
        /* What is not marked is not visited. */
        memories[0].exact[16] = 5;
        memories[0].plain[16] = 5.0f;
        ht_grid_clear(&sums, N, is_exact);
        CHECK(memories[0].exact[16] == 5 && memories[0].plain[16] == 5.0f);
    }
    problem_close(&problem);
}

/* ---- the unit ------------------------------------------------------------------ */

static void the_unit_is_as_fine_as_it_may_be(void)
{
    const double largest[] = {
        1.0, nextafter(1.0, 0.0), nextafter(1.0, 2.0), 3.4e38, 1e-45, 0x1p-149, 0x1p-300, 0x1p300,
        0.7};
    const uint64_t counts[] = {1, 2, 3, 1024, 1025, 2047, 2048, 2049, 1 << 24, UINT64_C(1) << 40};
    for (size_t i = 0; i < sizeof largest / sizeof *largest; i++)
        for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
            long double unit = ldexpl(1.0L, ht_grid_exponent(largest[i], counts[k]));
            long double one = (long double)largest[i] / unit;
            long double sum = (long double)counts[k] * (one + 0.5L); /* each is rounded */
            CHECK(one <= 0x1p51L);
            CHECK(sum < 0x1p63L);
            CHECK(one >= 0x1p50L || sum >= 0x1p61L); /* and not coarser than that */
        }
    /* At the edge, the largest contribution keeps its value. */
    const int64_t pointers[] = {0, 1};
    const int32_t indices[] = {4};
    const float values[] = {nextafterf(1.0f, 0.0f)};
    const ht_rows_t rows = {.n_rows = 1,
                            .n_features = N_FEATURES,
                            .pointers = pointers,
                            .indices = indices,
                            .values = values};
    const int64_t id = 0;
    for (float sign = -1.0f; sign <= 1.0f; sign += 2.0f) {
        float gradient = sign * nextafterf(1.0f, 0.0f);
        double inverse_unit = ldexp(1.0, -ht_grid_exponent(1.0, 1)) * 2.0; /* 2^51 */
        memset(memories, 0, sizeof memories);
        ht_sums_t sums = sums_in(&memories[0], 1);
        ht_grid_kernels(HT_BASELINE)
            ->add_racy[1](&sums, &rows, &id, 1, &gradient, 0, inverse_unit, NULL);
        CHECK(memories[0].exact[5] == rounded(gradient, values[0], inverse_unit));
    }
}

/* ---- merging -------------------------------------------------------------------- */

typedef struct {
    ht_optimizer_t optimizer;
    int is_exact, has_scales;
    float l1, l2;
} merging_t;

static float w[PADDED], squares[PADDED], shares[PADDED];
static const double merge_scales[N_SCALES] = {1.0, 0x1p-9, 0x1p7, 0x1p-2, 0x1p3};
static const float LR = 0.3f, INVERSE_ROWS = 1.0f / 37.0f, INTERCEPT_LR = 0.007f;
static const double UNIT = 0x1p-40;

/* Some groups are marked in no sum, some in all; some sums cancel. */
static void draw_merge(uint64_t seed)
{
    uint64_t random = seed;
    memset(memories, 0, sizeof memories);
    for (int at = 0; at < PADDED; at++) {
        w[at] = (float)(2.0 * delay_uniform(&random) - 1.0);
        squares[at] = at % 5 == 0 ? 0.0f : (float)delay_uniform(&random);
        shares[at] = 1.0f + 9.0f * (float)delay_uniform(&random);
        for (int s = 0; s < N_SUMS; s++) {
            int group = at / HT_GRID_GROUP;
            uint64_t bits = delay_random(&random);
            if (group % 4 == 3 || (group % 4 == 1 && s == 0) || at % 7 == 6)
                continue;
            memories[s].exact[at] = (int64_t)bits >> (12 + bits % 24);
            memories[s].plain[at] = (float)(2.0 * delay_uniform(&random) - 1.0);
            memories[s].marks[group] = 1;
        }
        if (at % 7 == 5) { /* what is marked need not be changed */
            memories[1].exact[at] = -memories[0].exact[at] - memories[2].exact[at];
            memories[0].plain[at] = memories[1].plain[at] = memories[2].plain[at] = 0.0f;
        }
    }
}

static float mean_at(const merging_t *m, int at)
{
    uint64_t exact = 0;
    float plain = 0.0f;
    for (int s = 0; s < N_SUMS; s++) {
        exact += (uint64_t)memories[s].exact[at];
        plain += memories[s].plain[at];
    }
    double unit = m->has_scales ? UNIT / merge_scales[at / HT_GRID_SCALE] : UNIT;
    return (m->is_exact ? (float)((double)(int64_t)exact * unit) : plain) * INVERSE_ROWS;
}

/* One coordinate's step; *sum of squares is what it becomes. */
static float step_at(const merging_t *m, int at, float *sum)
{
    float g = mean_at(m, at), lr = at == 0 ? INTERCEPT_LR : LR;
    float c = m->l1 != 0.0f || m->l2 != 0.0f ? shares[at] : 0.0f;
    float root = 1.0f, next;
    *sum = squares[at] + g * g;
    if (g == 0.0f)
        return w[at];
    if (m->optimizer == HT_SGD) {
        next = (w[at] - lr * g) / (1.0f + lr * m->l2 * c);
    } else {
        root = sqrtf(*sum) + HT_ADAGRAD_EPS;
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
        sums[s] = sums_in(&memories[s], m->is_exact);
    ht_grid_merge_t merge = {
        .first = first,
        .last = last,
        .sums = sums,
        .n_sums = N_SUMS,
        .unit = UNIT,
        .scales = m->has_scales ? merge_scales : NULL,
        .inverse_rows = INVERSE_ROWS,
        .w = w,
        .squares = squares,
        .merged = merged,
        .array_stride = PADDED,
        .touched = touched,
        .c = m->l1 != 0.0f || m->l2 != 0.0f ? shares : NULL,
        .step = {.lr = LR, .l1 = m->l1, .l2 = m->l2},
        .optimizer = m->optimizer,
        .intercept_lr = INTERCEPT_LR,
    };
    ht_grid_kernels(isa)->merge_racy[m->is_exact](&merge);
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
            is_marked |= memories[s].marks[at / HT_GRID_GROUP];
        CHECK(touched[k / HT_GRID_GROUP] == is_marked);
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
    int64_t n_groups = (last - first + HT_GRID_GROUP - 1) / HT_GRID_GROUP;
    for (int64_t g = n_groups; g < N_GROUPS; g++)
        CHECK(touched[g] == 0x7f);
    for (int64_t k = n_groups * HT_GRID_GROUP; k < PADDED; k++)
        CHECK(memcmp(&merged[k], "\x7f\x7f\x7f\x7f", sizeof *merged) == 0);
}

static void merging_is_the_optimizers_step_with_the_mean(void)
{
    const float l1s[] = {0.0f, 0.0f, 0.05f, 0.05f}, l2s[] = {0.0f, 0.1f, 0.0f, 0.1f};
    for (ht_isa_t isa = HT_BASELINE; isa < HT_ISA_COUNT; isa++)
        for (int option = 0; has(isa) && option < 32; option++) {
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
    draw_gradients(5, 0.3f);
    draw_merge(2);
    for (ht_isa_t isa = HT_BASELINE; isa < HT_ISA_COUNT; isa++)
        for (uint64_t seed = 1; has(isa) && seed <= 12; seed++) {
            const merging_t m = {.optimizer = HT_ADAGRAD, .is_exact = 1, .l1 = 1e-3f, .l2 = 1e-3f};
            setting_t setting = {&problem, NULL, 1, 1.0 / UNIT};
            uint8_t touched[N_GROUPS];
            add_all(&setting, isa, 1, 1 + (int)seed % N_SUMS, seed);
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
    exact_sums();
    partial_sums_may_wrap();
    contributions_beyond_the_grid_and_infinite_ones_do_no_harm();
    plain_sums_are_added_in_the_order_of_the_calls();
    clearing_leaves_nothing();
    the_unit_is_as_fine_as_it_may_be();
    merging_is_the_optimizers_step_with_the_mean();
    the_distribution_of_exact_sums_does_not_change_a_merge();
    FINISH();
}
