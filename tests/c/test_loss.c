/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <string.h>

#include "math/ht_loss.h"
#include "support/check.h"
#include "support/delay.h"

#define RELATIVE 3e-7 /* of one value */
#define SUMMED 1e-6   /* of a sum, whose lanes are added in float32 */

static const ht_loss_t losses[] = {
    {HT_LOGISTIC, 0.0f}, {HT_SQUARED, 0.0f},   {HT_HINGE, 0.0f},   {HT_SQUARED_HINGE, 0.0f},
    {HT_HUBER, 1.0f},    {HT_HUBER, 0.03125f}, {HT_HUBER, 100.0f}, {HT_POISSON, 0.0f},
    {HT_QUANTILE, 0.5f}, {HT_QUANTILE, 0.9f},
};
enum { N_LOSSES = sizeof losses / sizeof *losses };

static double gradient_of(ht_loss_t loss, double z, double y)
{
    double delta = (double)loss.parameter;
    switch (loss.kind) {
    case HT_SQUARED:
        return z - y;
    case HT_HINGE:
        return y * z < 1.0 ? -y : 0.0;
    case HT_SQUARED_HINGE:
        return y * z < 1.0 ? -2.0 * y * (1.0 - y * z) : 0.0;
    case HT_HUBER:
        return fabs(z - y) <= delta ? z - y : copysign(delta, z - y);
    case HT_POISSON:
        return exp(z) - y;
    case HT_QUANTILE:
        return z == y ? 0.0 : z > y ? 1.0 - delta : -delta;
    default:
        return -y / (1.0 + exp(y * z));
    }
}

static double value_of(ht_loss_t loss, double z, double y)
{
    double m = y * z, r = fabs(z - y), delta = (double)loss.parameter;
    switch (loss.kind) {
    case HT_SQUARED:
        return r * r / 2.0;
    case HT_HINGE:
        return fmax(0.0, 1.0 - m);
    case HT_SQUARED_HINGE:
        return pow(fmax(0.0, 1.0 - m), 2.0);
    case HT_HUBER:
        return r <= delta ? r * r / 2.0 : delta * r - delta * delta / 2.0;
    case HT_POISSON:
        return exp(z) - y * z + (y > 0.0 ? y * log(y) - y : 0.0);
    case HT_QUANTILE:
        return (z > y ? 1.0 - delta : delta) * r;
    default:
        return m > 0.0 ? log1p(exp(-m)) : -m + log1p(exp(m));
    }
}

static int has_classes(ht_loss_t loss)
{
    return loss.kind == HT_LOGISTIC || loss.kind == HT_HINGE || loss.kind == HT_SQUARED_HINGE;
}

/* n <= 16 rows of margins in +-range; the rest of the arrays is 0. */
static void fill(uint64_t *random, ht_loss_t loss, int n, double range, float *z, float *y)
{
    memset(z, 0, sizeof *z * HT_LOSS_ROWS);
    memset(y, 0, sizeof *y * HT_LOSS_ROWS);
    for (int i = 0; i < n; i++) {
        z[i] = (float)((2.0 * delay_uniform(random) - 1.0) * range);
        y[i] = has_classes(loss) ? (delay_random(random) & 1024 ? 1.0f : -1.0f)
                                 : (float)((2.0 * delay_uniform(random) - 1.0) * 4.0);
        if (loss.kind == HT_POISSON)
            y[i] = y[i] < 0.0f ? 0.0f : y[i];
    }
}

static void check_group(ht_loss_t loss, int n, const float *z, const float *y)
{
    float gradient[HT_LOSS_ROWS], alone[HT_LOSS_ROWS];
    ht_loss_gradient(loss, n, z, y, gradient);
    double sum = 0.0, largest = 0.0;
    for (int i = 0; i < n; i++) {
        double expected = gradient_of(loss, z[i], y[i]);
        double terms = loss.kind == HT_POISSON ? expected + 2.0 * (double)y[i] : expected;
        CHECK_CLOSE(gradient[i], expected, fabs(terms) * RELATIVE);
        double value = value_of(loss, z[i], y[i]);
        /* Below 1 the error of log(t), t near 1, is absolute. */
        double tolerance = RELATIVE * fmax(value, 0.5);
        CHECK_CLOSE(ht_loss_sum(loss, 1, z + i, y + i, NULL), value, tolerance);
        sum += value;
        largest += tolerance;
        /* A row's bits do not depend on its neighbours or its place. */
        float zi[HT_LOSS_ROWS] = {z[i]}, yi[HT_LOSS_ROWS] = {y[i]};
        ht_loss_gradient(loss, 1, zi, yi, alone);
        CHECK(memcmp(&alone[0], &gradient[i], sizeof(float)) == 0);
    }
    CHECK_CLOSE(ht_loss_sum(loss, n, z, y, NULL), sum, largest + sum * SUMMED);
}

static void values_and_gradients_agree_with_libm(void)
{
    uint64_t random = 1;
    float z[HT_LOSS_ROWS], y[HT_LOSS_ROWS];
    const double ranges[] = {0.01, 1.0, 10.0, 80.0};
    for (size_t l = 0; l < N_LOSSES; l++)
        for (size_t r = 0; r < 4; r++)
            for (int n = 1; n <= HT_LOSS_ROWS; n++)
                for (int repeat = 0; repeat < 60; repeat++) {
                    fill(&random, losses[l], n, ranges[r], z, y);
                    check_group(losses[l], n, z, y);
                }
}

static void large_margins_neither_overflow_nor_change_sign(void)
{
    const ht_loss_t logistic = losses[0];
    const float margins[] = {87.0f, 88.5f, 100.0f, 1e4f, 1e20f, 3e38f};
    for (size_t i = 0; i < sizeof margins / sizeof *margins; i++)
        for (int sign = -1; sign <= 1; sign += 2) {
            float z[HT_LOSS_ROWS] = {0}, y[HT_LOSS_ROWS] = {0}, gradient[HT_LOSS_ROWS];
            /* Row 0 is right by far, row 1 is wrong by far. */
            y[0] = y[1] = (float)sign;
            z[0] = (float)sign * margins[i];
            z[1] = -z[0];
            ht_loss_gradient(logistic, 2, z, y, gradient);
            CHECK(gradient[0] * (float)sign <= 0.0f && fabsf(gradient[0]) < 2e-38f);
            CHECK_CLOSE(gradient[1], -y[1], RELATIVE);
            CHECK_CLOSE(ht_loss_sum(logistic, 1, z, y, NULL), 0.0, 1e-30);
            double wrong = ht_loss_sum(logistic, 1, z + 1, y + 1, NULL);
            CHECK_CLOSE(wrong, (double)margins[i], RELATIVE * (double)margins[i]);
        }
}

/* Both sides of every corner, and the corner. */
static void losses_with_corners_are_exact_there(void)
{
    const ht_loss_t hinge = {HT_HINGE, 0.0f}, squared = {HT_SQUARED_HINGE, 0.0f};
    const ht_loss_t huber = {HT_HUBER, 0.5f};
    const float below = nextafterf(1.0f, 0.0f), above = nextafterf(1.0f, 2.0f);
    const float z[HT_LOSS_ROWS] = {below, 1.0f, above, -1.0f, -below, -1.0f, -above, 1.0f};
    const float y[HT_LOSS_ROWS] = {1.0f, 1.0f, 1.0f, 1.0f, -1.0f, -1.0f, -1.0f, -1.0f};
    const float of_hinge[] = {-1.0f, 0.0f, 0.0f, -1.0f, 1.0f, 0.0f, 0.0f, 1.0f};
    const float of_squared[] = {-2.0f * (1.0f - below), 0.0f, 0.0f, -4.0f,
                                2.0f * (1.0f - below),  0.0f, 0.0f, 4.0f};
    const float r[HT_LOSS_ROWS] = {0.25f, 0.5f, 0.75f, 1e30f, -0.25f, -0.5f, -0.75f, -1e30f};
    const float zeros[HT_LOSS_ROWS] = {0};
    const ht_loss_t quantile = {HT_QUANTILE, 0.25f};
    const float of_quantile[] = {0.75f, 0.75f, 0.75f, 0.75f, -0.25f, -0.25f, -0.25f, -0.25f, 0.0f};
    const float of_huber[] = {0.25f, 0.5f, 0.5f, 0.5f, -0.25f, -0.5f, -0.5f, -0.5f};
    float gradient[HT_LOSS_ROWS];
    for (int i = 0; i < 8; i++) {
        ht_loss_gradient(hinge, 8, z, y, gradient);
        CHECK(gradient[i] == of_hinge[i]);
        ht_loss_gradient(squared, 8, z, y, gradient);
        CHECK(gradient[i] == of_squared[i]);
        ht_loss_gradient(huber, 8, r, zeros, gradient);
        CHECK(gradient[i] == of_huber[i]);
        ht_loss_gradient(quantile, 9, r, zeros, gradient);
        CHECK(gradient[i] == of_quantile[i] && gradient[8] == 0.0f);
    }
    CHECK(ht_loss_sum(hinge, 8, z, y, NULL) == 2.0 * (1.0 - (double)below) + 4.0);
    CHECK(ht_loss_sum(squared, 3, z + 1, y + 1, NULL) == 4.0);
    CHECK(ht_loss_sum(huber, 3, r, zeros, NULL) == 0.03125 + 0.125 + 0.25);
}

/* Moves a margin by its bounded gradient and returns the gradient at its new place, by the old. */
static float left_after(ht_loss_t loss, float z, float y, float reach)
{
    float before[HT_LOSS_ROWS], after[HT_LOSS_ROWS];
    const float zs[HT_LOSS_ROWS] = {z}, ys[HT_LOSS_ROWS] = {y};
    ht_loss_gradient(loss, 1, zs, ys, before);
    float bounded = before[0];
    ht_loss_bound(loss, 1, &z, &y, &reach, &bounded);
    CHECK(fabsf(bounded) <= fabsf(before[0]) && bounded * before[0] >= 0.0f);
    const float moved[HT_LOSS_ROWS] = {z - reach * bounded};
    ht_loss_gradient(loss, 1, moved, ys, after);
    return before[0] == 0.0f ? 0.0f : after[0] / before[0];
}

static void a_bounded_step_does_not_pass_the_minimum_of_its_row(void)
{
    const float margins[] = {-3.0f, -0.75f, 0.25f, 0.9f, 2.0f}, reaches[] = {1.5f, 40.0f, 1e20f};
    for (size_t l = 0; l < N_LOSSES; l++) {
        if (!ht_loss_has_minimum(losses[l].kind))
            continue;
        for (size_t m = 0; m < 5; m++)
            for (size_t r = 0; r < 3; r++)
                CHECK(left_after(losses[l], margins[m], 1.0f, reaches[r]) > -1e-5f);
    }
    const ht_loss_t squared = {HT_SQUARED, 0.0f};
    CHECK(left_after(squared, -3.0f, 1.0f, 250.0f) == 0.0f);
    CHECK(left_after(squared, -3.0f, 1.0f, 0.25f) == 0.75f); /* as it is without a bound */
    const float z = NAN, y = 1.0f, reach = 2.0f;
    float gradient = NAN;
    ht_loss_bound(squared, 1, &z, &y, &reach, &gradient);
    CHECK(isnan(gradient));
    CHECK(!ht_loss_has_minimum(HT_LOGISTIC) && !ht_loss_has_minimum(HT_HINGE) &&
          !ht_loss_has_minimum(HT_QUANTILE));
}

static void a_loss_that_cannot_be_computed_is_not_valid(void)
{
    const float deltas[] = {0.0f, -1.0f, NAN, INFINITY};
    for (size_t l = 0; l < N_LOSSES; l++)
        CHECK(ht_loss_is_valid(losses[l]));
    for (size_t d = 0; d < sizeof deltas / sizeof *deltas; d++) {
        CHECK(!ht_loss_is_valid((ht_loss_t){HT_HUBER, deltas[d]}));
        CHECK(ht_loss_is_valid((ht_loss_t){HT_HINGE, deltas[d]}));
    }
    CHECK(!ht_loss_is_valid((ht_loss_t){HT_QUANTILE, 1.0f}));
    CHECK(!ht_loss_is_valid((ht_loss_t){HT_QUANTILE, NAN}));
    CHECK(!ht_loss_is_valid((ht_loss_t){HT_LOSS_COUNT, 1.0f}));
}

static void every_loss_has_a_name(void)
{
    CHECK(strcmp(ht_loss_name(HT_SQUARED_HINGE), "squared_hinge") == 0);
    for (int kind = 0; kind < HT_LOSS_COUNT; kind++)
        CHECK(ht_loss_name((ht_loss_kind_t)kind) != NULL);
    CHECK(ht_loss_name(HT_LOSS_COUNT) == NULL);
}

static void weights_multiply_the_loss(void)
{
    uint64_t random = 3;
    enum { N = 1000 };
    float z[N], y[N], weight[N];
    for (size_t l = 0; l < N_LOSSES; l++)
        for (int64_t n = 0; n <= N; n += n < 300 ? 1 : 97) {
            double expected = 0.0, size = 1.0;
            for (int64_t i = 0; i < n; i++) {
                z[i] = (float)(6.0 * delay_uniform(&random) - 3.0);
                y[i] = delay_random(&random) & 1024 ? 1.0f : -1.0f;
                weight[i] = (float)(3.0 * delay_uniform(&random));
                expected += (double)weight[i] * value_of(losses[l], z[i], y[i]);
                size += (double)weight[i] * fmax(value_of(losses[l], z[i], y[i]), 0.5);
            }
            CHECK_CLOSE(ht_loss_sum(losses[l], n, z, y, weight), expected, SUMMED * size);
        }
}

static void one_bad_margin_makes_the_sum_non_finite(void)
{
    const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
    uint64_t random = 4;
    float z[HT_LOSS_ROWS], y[HT_LOSS_ROWS], weight[HT_LOSS_ROWS];
    for (int i = 0; i < HT_LOSS_ROWS; i++)
        weight[i] = 0.5f;
    for (size_t l = 0; l < N_LOSSES; l++)
        for (int n = 1; n <= HT_LOSS_ROWS; n++)
            for (int at = 0; at < n; at++)
                for (size_t b = 0; b < 4; b++) {
                    fill(&random, losses[l], n, 2.0, z, y);
                    CHECK(isfinite(ht_loss_sum(losses[l], n, z, y, NULL)));
                    z[at] = bad[b];
                    CHECK(!isfinite(ht_loss_sum(losses[l], n, z, y, NULL)));
                    CHECK(!isfinite(ht_loss_sum(losses[l], n, z, y, weight)));
                }
}

static void a_nan_margin_gives_a_nan_gradient(void)
{
    for (size_t l = 0; l < N_LOSSES; l++)
        for (int at = 0; at < HT_LOSS_ROWS; at++) {
            float z[HT_LOSS_ROWS] = {0}, y[HT_LOSS_ROWS] = {0}, gradient[HT_LOSS_ROWS];
            y[at] = 1.0f;
            z[at] = NAN;
            ht_loss_gradient(losses[l], HT_LOSS_ROWS, z, y, gradient);
            for (int i = 0; i < HT_LOSS_ROWS; i++)
                CHECK(isnan(gradient[i]) == (i == at));
        }
}

static int is_without_bound(ht_loss_t loss)
{
    return loss.kind == HT_HINGE || loss.kind == HT_QUANTILE || loss.kind == HT_POISSON;
}

static void the_curvature_bounds_the_second_derivative(void)
{
    for (size_t l = 0; l < N_LOSSES; l++) {
        double largest = 0.0;
        for (double z = -8.0; !is_without_bound(losses[l]) && z <= 8.0; z += 0.125) {
            double rise =
                gradient_of(losses[l], z + 1e-4, 1.0) - gradient_of(losses[l], z - 1e-4, 1.0);
            largest = fmax(largest, rise / 2e-4);
        }
        /* Hinge: the mean from the margin 0 to the corner. */
        if (losses[l].kind == HT_HINGE)
            largest = gradient_of(losses[l], 1.0, 1.0) - gradient_of(losses[l], 0.0, 1.0);
        if (losses[l].kind == HT_QUANTILE) /* from one side of the corner to the other */
            largest = gradient_of(losses[l], 1.5, 1.0) - gradient_of(losses[l], 0.5, 1.0);
        if (losses[l].kind == HT_POISSON) /* at the mean 1 */
            largest = gradient_of(losses[l], 5e-5, 1.0) - gradient_of(losses[l], -5e-5, 1.0);
        if (losses[l].kind == HT_POISSON)
            largest /= 1e-4;
        CHECK_CLOSE(ht_loss_curvature(losses[l]), largest, 1e-4);
    }
}

/* Where y is large, the loss is a small difference of large terms. */
static void poisson_keeps_its_digits(void)
{
    const ht_loss_t poisson = {HT_POISSON, 0.0f};
    const float y = 1e6f, z = (float)(log(1e6) + 1e-3);
    double d = (double)z - log(1e6), expected = 1e6 * (expm1(d) - d);
    CHECK_CLOSE(ht_loss_sum(poisson, 1, &z, &y, NULL), expected, 1e-9 * expected);
    CHECK(expected > 0.3 && expected < 0.7);
    const float zero = 0.0f;
    CHECK(ht_loss_sum(poisson, 1, &zero, &zero, NULL) == 1.0);
}

static void the_sigmoid_agrees_with_libm_and_writes_n_values(void)
{
    enum { MOST = 19 };
    uint64_t random = 5;
    for (int64_t n = 0; n <= MOST; n++)
        for (int repeat = 0; repeat < 40; repeat++) {
            float z[MOST], p[MOST + 4];
            for (int64_t i = 0; i < n; i++)
                z[i] = (float)(160.0 * delay_uniform(&random) - 80.0);
            for (int64_t i = 0; i < MOST + 4; i++)
                p[i] = -7.0f;
            ht_loss_sigmoid(n, z, p);
            for (int64_t i = 0; i < n; i++) {
                double expected = 1.0 / (1.0 + exp(-(double)z[i]));
                CHECK_CLOSE(p[i], expected, expected * RELATIVE);
            }
            for (int64_t i = n; i < MOST + 4; i++)
                CHECK(p[i] == -7.0f);
        }
}

int main(void)
{
    values_and_gradients_agree_with_libm();
    large_margins_neither_overflow_nor_change_sign();
    losses_with_corners_are_exact_there();
    a_bounded_step_does_not_pass_the_minimum_of_its_row();
    a_loss_that_cannot_be_computed_is_not_valid();
    every_loss_has_a_name();
    weights_multiply_the_loss();
    one_bad_margin_makes_the_sum_non_finite();
    a_nan_margin_gives_a_nan_gradient();
    the_curvature_bounds_the_second_derivative();
    poisson_keeps_its_digits();
    the_sigmoid_agrees_with_libm_and_writes_n_values();
    FINISH();
}
