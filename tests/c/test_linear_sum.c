/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sums of dense rows' gradients: the bits of a scalar loop over the rows, in their order, on every
 * instruction set and however the rows are cut into calls.
 */
#include <math.h>
#include <string.h>

#include "model/ht_linear_kernels.h"
#include "support/check.h"
#include "support/delay.h"
#include "support/problem.h"

enum { ROWS = 45, MOST_OUTPUTS = 48, MOST_FEATURES = 150, GUARD = 32 };
enum { MOST = (MOST_FEATURES + 1) * MOST_OUTPUTS };

/* Tails of every kind, behind none, one and several full stretches of vectors. */
static const int64_t widths[] = {1, 3, 7, 8, 9, 15, 16, 17, 63, 64, 65, 127, 128, MOST_FEATURES};
static const int64_t outputs_of[] = {1, 16, MOST_OUTPUTS};
enum { N_WIDTHS = sizeof widths / sizeof *widths, N_OUTPUTS = 3 };

static float gradients[ROWS * MOST_OUTPUTS], expected[MOST], memory[MOST + 2 * GUARD];

static void draw(void)
{
    uint64_t random = 12;
    for (int i = 0; i < ROWS * MOST_OUTPUTS; i++)
        gradients[i] = (float)(2.0 * delay_uniform(&random) - 1.0);
}

/* The sums of all rows in the order of ids. */
static void sum_naively(const ht_rows_t *rows, const int64_t *ids, int64_t outputs,
                        int has_intercept)
{
    memset(expected, 0, sizeof expected);
    for (int k = 0; k < ROWS; k++)
        for (int64_t o = 0; o < outputs; o++) {
            float g = gradients[ids[k] * outputs + o];
            const float *x = rows->values + ids[k] * rows->n_features;
            if (has_intercept)
                expected[o] += g;
            for (int64_t j = 0; j < rows->n_features; j++)
                expected[(j + 1) * outputs + o] += g * x[j];
        }
}

static void check_sum(const ht_rows_t *rows, const int64_t *ids, int64_t outputs, int has_intercept,
                      int each, ht_isa_t isa)
{
    int64_t n = (rows->n_features + 1) * outputs;
    float of_rows[HT_SUM_ROWS * MOST_OUTPUTS], *sum = memory + GUARD;
    for (int i = 0; i < MOST + 2 * GUARD; i++)
        memory[i] = NAN;
    for (int first = 0; first < ROWS; first += each) {
        int n_rows = ROWS - first < each ? ROWS - first : each;
        for (int k = 0; k < n_rows; k++)
            memcpy(of_rows + k * outputs, gradients + ids[first + k] * outputs,
                   sizeof(float) * (size_t)outputs);
        ht_linear_sum(isa)(rows, ids + first, n_rows, of_rows, outputs, has_intercept, first == 0,
                           sum);
    }
    int64_t begin = has_intercept ? 0 : outputs; /* else the intercepts' sums are left alone */
    CHECK(memcmp(sum + begin, expected + begin, sizeof(float) * (size_t)(n - begin)) == 0);
    for (int64_t i = -GUARD; i < MOST + GUARD; i++)
        CHECK((i >= begin && i < n) == !isnan(sum[i]));
}

static void bits_are_those_of_a_scalar_loop(int64_t width)
{
    problem_t problem;
    int64_t ids[ROWS];
    problem_open_dense(&problem, 91, ROWS, width, 0);
    for (int k = 0; k < ROWS; k++)
        ids[k] = (7 * k + 3) % ROWS;
    for (int i = 0; i < N_OUTPUTS; i++)
        for (int has_intercept = 0; has_intercept < 2; has_intercept++) {
            sum_naively(&problem.rows, ids, outputs_of[i], has_intercept);
            for (ht_isa_t isa = HT_BASELINE; isa <= ht_vector_best_isa(); isa++)
                for (int each = 1; each <= HT_SUM_ROWS; each += 5)
                    check_sum(&problem.rows, ids, outputs_of[i], has_intercept, each, isa);
        }
    problem_close(&problem);
}

int main(void)
{
    draw();
    CHECK(ht_linear_sum(HT_ISA_COUNT) == NULL);
    for (int i = 0; i < N_WIDTHS; i++)
        bits_are_those_of_a_scalar_loop(widths[i]);
    FINISH();
}
