/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Floats added to sums: each rounded once to the grid, or as it is, and marked; whether all are
 * finite.
 */
#include <math.h>
#include <string.h>

#include "share/ht_sums.h"
#include "support/check.h"
#include "support/delay.h"

enum { N = 301, PADDED = 320, N_GROUPS = PADDED / HT_SUMS_GROUP, TIMES = 3 };

static _Alignas(64) int64_t exact[PADDED];
static _Alignas(64) float plain[PADDED];
static float floats[PADDED];
static uint8_t marks[N_GROUPS];
static const double scales[PADDED / HT_SUMS_SCALE] = {1.0, 0x1p-20, 0x1p7, 0x1p-60, 0x1p3};

/* Floats within +-1, halves of the coarsest unit among them. */
static void draw(void)
{
    uint64_t random = 5;
    for (int at = 0; at < N; at++) {
        floats[at] = (float)(2.0 * delay_uniform(&random) - 1.0);
        if (at % 5 == 0)
            floats[at] = at % 2 ? 0.5f : -0.5f;
    }
    floats[7] = 1.0f;
    floats[N - 1] = -1.0f;
}

static void clear(void)
{
    memset(exact, 0, sizeof exact);
    memset(plain, 0, sizeof plain);
    memset(marks, 0, sizeof marks);
}

static int add(ht_isa_t isa, int is_exact, double inverse_unit, const double *given)
{
    ht_sums_t sums = {is_exact ? (void *)exact : (void *)plain, marks};
    return ht_sums_kernels(isa)->add_racy[is_exact](&sums, floats, N, inverse_unit, given);
}

static void check_marks(void)
{
    for (int g = 0; g < N_GROUPS; g++)
        CHECK(marks[g] == (g <= (N - 1) / HT_SUMS_GROUP));
}

static void exact_sums_are_of_floats_rounded_once(ht_isa_t isa)
{
    /* 2^51 is the finest grid that holds 1; on the coarsest ones, halves are ties. */
    const double inverse_units[] = {0x1p51, 0x1p20, 4.0, 1.0};
    for (size_t i = 0; i < sizeof inverse_units / sizeof *inverse_units; i++)
        for (int has_scales = 0; has_scales < 2; has_scales++) {
            double inverse_unit = inverse_units[i] / (has_scales ? 0x1p7 : 1.0);
            clear();
            for (int time = 0; time < TIMES; time++)
                CHECK(add(isa, 1, inverse_unit, has_scales ? scales : NULL));
            for (int at = 0; at < PADDED; at++) {
                double scale = has_scales ? scales[at / HT_SUMS_SCALE] : 1.0;
                long double x = (long double)floats[at] * (long double)(scale * inverse_unit);
                CHECK(exact[at] == TIMES * (int64_t)rintl(x));
            }
            check_marks();
        }
}

static void plain_sums_are_floats_added_in_order(ht_isa_t isa)
{
    clear();
    for (int time = 0; time < TIMES; time++)
        CHECK(add(isa, 0, 1.0, NULL));
    for (int at = 0; at < PADDED; at++)
        CHECK(plain[at] == floats[at] + floats[at] + floats[at]);
    check_marks();
}

static void what_is_not_finite_is_seen_wherever_it_stands(ht_isa_t isa)
{
    const float broken[] = {(float)INFINITY, -(float)INFINITY, (float)NAN};
    for (int is_exact = 0; is_exact < 2; is_exact++)
        for (int at = 0; at < N; at++) {
            float kept = floats[at];
            floats[at] = broken[at % 3];
            CHECK(!add(isa, is_exact, 0x1p40, NULL));
            floats[at] = at % 2 ? 3.4e38f : -3.4e38f; /* beyond the grid, but finite */
            CHECK(add(isa, is_exact, 0x1p40, NULL));
            floats[at] = kept;
        }
}

int main(void)
{
    draw();
    for (ht_isa_t isa = HT_BASELINE; isa <= ht_vector_best_isa(); isa++) {
        exact_sums_are_of_floats_rounded_once(isa);
        plain_sums_are_floats_added_in_order(isa);
        what_is_not_finite_is_seen_wherever_it_stands(isa);
    }
    FINISH();
}
