/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sums of rows on a grid: every instruction set against a
 * scalar reference, bit for bit.
 */
#include <math.h>
#include <string.h>

#include "support/check.h"
#include "support/delay.h"
#include "support/sums_fixture.h"

__extension__ typedef __int128 wide_t; /* no sum of a test leaves it */

/* The contribution of one element, rounded to the grid; ties to even. */
static int64_t rounded(float gradient, float value, double scale_of_grid)
{
    long double x = (long double)gradient * (long double)value * (long double)scale_of_grid;
    return (int64_t)rintl(x);
}

static double scale_at(const sums_setting_t *setting, int64_t coordinate)
{
    double scale = setting->scales == NULL ? 1.0 : setting->scales[coordinate / HT_SUMS_SCALE];
    return scale * setting->inverse_unit;
}

static void reference(const sums_setting_t *setting, wide_t *sums, uint8_t *marks)
{
    const ht_rows_t *rows = &setting->problem->rows;
    memset(sums, 0, sizeof *sums * PADDED);
    memset(marks, 0, N_GROUPS);
    for (int64_t r = 0; r < N_ROWS; r++) {
        for (int64_t i = rows->pointers[r]; i < rows->pointers[r + 1]; i++) {
            int64_t at = rows->indices[i] + 1;
            float value = rows->values == NULL ? 1.0f : rows->values[i];
            sums[at] += rounded(sums_gradients[r], value, scale_at(setting, at));
            marks[at / HT_SUMS_GROUP] = 1;
        }
        if (setting->intercept) {
            sums[0] += rounded(sums_gradients[r], 1.0f, scale_at(setting, 0));
            marks[0] = 1;
        }
    }
}

/* ---- adding ------------------------------------------------------------------ */

static void exact_sums_are_those_of_rounded_contributions(const sums_setting_t *setting)
{
    static wide_t expected[PADDED];
    uint8_t marks[N_GROUPS];
    reference(setting, expected, marks);
    for (ht_isa_t isa = HT_BASELINE; isa < HT_ISA_COUNT; isa++)
        for (uint64_t seed = 1; sums_has(isa) && seed <= 5; seed++) {
            sums_add_all(setting, isa, 1, N_SUMS, seed);
            for (int at = 0; at < PADDED; at++) {
                wide_t found = 0;
                for (int s = 0; s < N_SUMS; s++)
                    found += sums_memories[s].exact[at];
                CHECK(found == expected[at]);
            }
            for (int g = 0; g < N_GROUPS; g++) {
                int marked = 0;
                for (int s = 0; s < N_SUMS; s++)
                    marked |= sums_memories[s].marks[g];
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
                sums_setting_t setting = {&problem, option & 1 ? scales : NULL, option / 2,
                                          option & 1 ? inverse[k] / 0x1p7 : inverse[k]};
                sums_draw(5 + (uint64_t)k, 1.0f);
                for (int r = 3; k == 3 && r < N_ROWS; r += 2)
                    sums_gradients[r] = r % 4 == 1 ? 0.5f : -0.5f;
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
    memset(sums_memories, 0, sizeof sums_memories);
    ht_sums_t sums = sums_in(&sums_memories[0], 1);
    ht_add_fn_t add = ht_linear_add(ht_vector_best_isa(), 1);
    for (int i = 0; i < 257; i++)
        add(&sums, &rows, ids, 16, up, 1, 1, 0x1p51, NULL);
    CHECK(sums_memories[0].exact[5] < 0 && sums_memories[0].exact[0] < 0);
    for (int i = 0; i < 256; i++)
        add(&sums, &rows, ids, 16, down, 1, 1, 0x1p51, NULL);
    CHECK(sums_memories[0].exact[5] == (INT64_C(16) << 51) &&
          sums_memories[0].exact[0] == INT64_C(16) << 51);
}

/* A step with such contributions is refused, but it is computed first. */
static void contributions_beyond_the_grid_and_infinite_ones_do_no_harm(void)
{
    problem_t problem;
    problem_open(&problem, 3, N_ROWS, N_FEATURES, LONGEST, 1, 0);
    for (ht_isa_t isa = HT_BASELINE; isa < HT_ISA_COUNT; isa++)
        for (int e = 51; sums_has(isa) && e <= 80; e++) {
            sums_setting_t setting = {&problem, NULL, 1, ldexp(1.0, e)};
            sums_draw(5, 1.0f);
            sums_gradients[3] = (float)INFINITY;
            sums_gradients[4] = -(float)INFINITY;
            sums_gradients[5] = (float)NAN;
            sums_add_all(&setting, isa, 1, N_SUMS, 1);
            CHECK(sums_memories[0].marks[0] && sums_memories[0].exact[0] != 0);
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
        sums_draw(9, 1.0f);
        for (int intercept = 0; intercept < 2; intercept++) {
            memset(expected, 0, sizeof expected);
            for (int64_t r = 0; r < N_ROWS; r++) {
                for (int64_t i = rows->pointers[r]; i < rows->pointers[r + 1]; i++)
                    expected[rows->indices[i] + 1] +=
                        sums_gradients[r] * (has_values ? rows->values[i] : 1.0f);
                if (intercept)
                    expected[0] += sums_gradients[r];
            }
            for (ht_isa_t isa = HT_BASELINE; isa < HT_ISA_COUNT; isa++) {
                if (!sums_has(isa))
                    continue;
                sums_setting_t setting = {&problem, NULL, intercept, 1.0};
                sums_add_all(&setting, isa, 0, 1, 1);
                CHECK(memcmp(sums_memories[0].plain, expected, sizeof expected) == 0);
                CHECK(sums_memories[0].marks[0] && !sums_memories[0].marks[N_GROUPS - 1]);
            }
        }
        problem_close(&problem);
    }
}

static void clearing_leaves_nothing(void)
{
    static const sums_memory_t zero;
    problem_t problem;
    problem_open(&problem, 3, N_ROWS, N_FEATURES, 5, 1, 0);
    sums_draw(5, 1.0f);
    for (int is_exact = 0; is_exact < 2; is_exact++) {
        sums_setting_t setting = {&problem, NULL, 1, 0x1p40};
        sums_add_all(&setting, HT_BASELINE, is_exact, 1, 1);
        CHECK(memcmp(&sums_memories[0], &zero, sizeof zero) != 0);
        ht_sums_t sums = sums_in(&sums_memories[0], is_exact);
        ht_sums_clear(&sums, N, is_exact);
        CHECK(memcmp(&sums_memories[0], &zero, sizeof zero) == 0);
        /* What is not marked is not visited. */
        sums_memories[0].exact[16] = 5;
        sums_memories[0].plain[16] = 5.0f;
        ht_sums_clear(&sums, N, is_exact);
        CHECK(sums_memories[0].exact[16] == 5 && sums_memories[0].plain[16] == 5.0f);
        ht_sums_t all = sums_in(&sums_memories[0], 1), half = sums_in(&sums_memories[0], 0);
        ht_sums_wipe(&all, N, 1);
        ht_sums_wipe(&half, N, 0);
        CHECK(memcmp(&sums_memories[0], &zero, sizeof zero) == 0);
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
            long double unit = ldexpl(1.0L, ht_sums_exponent(largest[i], counts[k]));
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
        double inverse_unit = ldexp(1.0, -ht_sums_exponent(1.0, 1)) * 2.0; /* 2^51 */
        memset(sums_memories, 0, sizeof sums_memories);
        ht_sums_t sums = sums_in(&sums_memories[0], 1);
        ht_linear_add(HT_BASELINE, 1)(&sums, &rows, &id, 1, &gradient, 1, 0, inverse_unit, NULL);
        CHECK(sums_memories[0].exact[5] == rounded(gradient, values[0], inverse_unit));
    }
}

int main(void)
{
    exact_sums();
    partial_sums_may_wrap();
    contributions_beyond_the_grid_and_infinite_ones_do_no_harm();
    plain_sums_are_added_in_the_order_of_the_calls();
    clearing_leaves_nothing();
    the_unit_is_as_fine_as_it_may_be();
    FINISH();
}
