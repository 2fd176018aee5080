/* SPDX-License-Identifier: BSD-3-Clause */
#include "math/ht_softmax.h"

#include <math.h>
#include <string.h>

#include "support/check.h"
#include "support/delay.h"
#include "support/naive.h"

static const int64_t class_counts[] = {2, 3, 4, 5, 15, 16, 17, 33, 1000, HT_MOST_CLASSES};
enum { N_CLASS_COUNTS = sizeof class_counts / sizeof *class_counts, GUARD = 8 };

static float z[HT_MOST_CLASSES], gradient[HT_MOST_CLASSES + GUARD];
static double exact_z[HT_MOST_CLASSES], expected[HT_MOST_CLASSES];

/* Margins within +-size; 0 where outputs are padding. */
static void draw(int64_t classes, double size, uint64_t seed)
{
    uint64_t random = seed;
    memset(z, 0, sizeof z);
    for (int64_t k = 0; k < classes; k++) {
        z[k] = (float)(size * (2.0 * delay_uniform(&random) - 1.0));
        exact_z[k] = z[k];
    }
    for (int64_t k = 0; k < HT_MOST_CLASSES + GUARD; k++)
        gradient[k] = 9.0f;
}

static void outputs_are_whole_lanes(void)
{
    for (int64_t classes = 1; classes <= HT_MOST_CLASSES; classes++) {
        int64_t outputs = ht_softmax_outputs(classes);
        CHECK(outputs % HT_LANES == 0 && outputs >= classes && outputs < classes + HT_LANES);
    }
}

static void check_gradient(int64_t classes, int64_t target, double size)
{
    double loss = ht_softmax_gradient(classes, z, target, gradient), sum = 0.0;
    double expected_loss = naive_softmax(classes, exact_z, target, expected);
    CHECK_CLOSE(loss, expected_loss, 1e-6 * (1.0 + size));
    for (int64_t k = 0; k < classes; k++) {
        CHECK_CLOSE(gradient[k], expected[k], 3e-7 * (1.0 + size));
        CHECK(k == target ? gradient[k] <= 0.0f : gradient[k] >= 0.0f);
        sum += (double)gradient[k];
    }
    CHECK_CLOSE(sum, 0.0, 1e-6);
    int64_t outputs = ht_softmax_outputs(classes);
    for (int64_t k = classes; k < outputs; k++)
        CHECK(gradient[k] == 0.0f);
    for (int64_t k = outputs; k < outputs + GUARD; k++)
        CHECK(gradient[k] == 9.0f);
}

static void gradients_are_the_formula(void)
{
    const double sizes[] = {0.0, 1.0, 20.0, 80.0};
    for (int c = 0; c < N_CLASS_COUNTS; c++)
        for (int s = 0; s < 4; s++)
            for (uint64_t seed = 1; seed <= 3; seed++) {
                int64_t classes = class_counts[c];
                const int64_t targets[] = {0, classes / 2, classes - 1};
                draw(classes, sizes[s], seed);
                check_gradient(classes, targets[seed - 1], sizes[s]);
            }
}

/* Differences far beyond what exp can hold: the loss is the difference. */
static void large_margins_do_not_overflow(void)
{
    const float sizes[] = {100.0f, 1e4f, 1e30f};
    for (int s = 0; s < 3; s++) {
        draw(3, 0.0, 1);
        z[1] = sizes[s];
        z[2] = -sizes[s];
        CHECK_CLOSE(ht_softmax_gradient(3, z, 1, gradient), 0.0, 1e-30);
        CHECK(fabsf(gradient[0]) < 1e-30f && gradient[1] == 0.0f && fabsf(gradient[2]) < 1e-30f);
        CHECK_CLOSE(ht_softmax_gradient(3, z, 2, gradient), 2.0 * (double)sizes[s],
                    1e-7 * (double)sizes[s]);
        CHECK(gradient[1] == 1.0f && gradient[2] == -1.0f);
    }
}

static void what_is_not_finite_gives_a_loss_that_is_not(void)
{
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int b = 0; b < 3; b++)
        for (int64_t at = 0; at < 5; at++)
            for (int64_t target = 0; target < 5; target++) {
                draw(5, 1.0, 7);
                z[at] = bad[b];
                CHECK(!isfinite(ht_softmax_gradient(5, z, target, gradient)));
                for (int64_t k = 5; k < 16; k++)
                    CHECK(gradient[k] == 0.0f);
            }
}

static void probabilities_add_up_to_one(void)
{
    enum { ROWS = 7 };
    static float margins[ROWS * HT_MOST_CLASSES], p[ROWS * HT_MOST_CLASSES + GUARD];
    for (int c = 0; c < N_CLASS_COUNTS; c++) {
        int64_t classes = class_counts[c], outputs = ht_softmax_outputs(classes);
        for (int64_t i = 0; i < ROWS; i++) {
            draw(classes, 3.0, 20 + (uint64_t)i);
            memcpy(margins + i * outputs, z, sizeof *z * (size_t)outputs);
        }
        p[ROWS * classes] = -1.0f;
        CHECK(ht_softmax_proba(classes, ROWS, margins, p) == HT_OK);
        CHECK(p[ROWS * classes] == -1.0f);
        for (int64_t i = 0; i < ROWS; i++) {
            double sum = 0.0;
            draw(classes, 3.0, 20 + (uint64_t)i);
            (void)naive_softmax(classes, exact_z, 0, expected);
            expected[0] += 1.0;
            for (int64_t k = 0; k < classes; k++) {
                CHECK_CLOSE(p[i * classes + k], expected[k], 1e-6 * expected[k]);
                sum += (double)p[i * classes + k];
            }
            CHECK_CLOSE(sum, 1.0, 1e-6);
        }
    }
}

static void sums_are_the_losses_of_the_rows(void)
{
    enum { ROWS = 5 };
    static float margins[ROWS * HT_MOST_CLASSES];
    for (int c = 0; c < N_CLASS_COUNTS; c++) {
        int64_t classes = class_counts[c], outputs = ht_softmax_outputs(classes);
        float targets[ROWS], weight[ROWS];
        double plain = 0.0, weighted = 0.0, sum;
        for (int64_t i = 0; i < ROWS; i++) {
            draw(classes, 3.0, 40 + (uint64_t)i);
            memcpy(margins + i * outputs, z, sizeof *z * (size_t)outputs);
            targets[i] = (float)(i * (classes - 1) / (ROWS - 1));
            weight[i] = 0.5f + (float)i;
            double loss = ht_softmax_gradient(classes, z, (int64_t)targets[i], gradient);
            plain += loss;
            weighted += loss * (double)weight[i];
        }
        CHECK(ht_softmax_sum(classes, ROWS, margins, targets, NULL, &sum) == HT_OK);
        CHECK(sum == plain);
        CHECK(ht_softmax_sum(classes, ROWS, margins, targets, weight, &sum) == HT_OK);
        CHECK(sum == weighted);
    }
}

static void what_the_arrays_do_not_hold_is_refused(void)
{
    const int64_t bad_classes[] = {-16, -1, 0, 1, HT_MOST_CLASSES + 1, INT64_MAX};
    const float bad_targets[] = {-1.0f, 3.0f, 0.5f, 1e30f, -1e30f, NAN, INFINITY, -INFINITY};
    const float good[] = {0.0f, 2.0f, 1.0f};
    static float margins[3 * 16], p[3 * 3];
    double sum = -1.0;
    CHECK(ht_softmax_check(3, 3, good) == HT_OK);
    CHECK(ht_softmax_check(3, 0, NULL) == HT_OK);
    for (int i = 0; i < 6; i++) {
        CHECK(ht_softmax_check(bad_classes[i], 3, good) == HT_EINVAL);
        CHECK(ht_softmax_sum(bad_classes[i], 3, margins, good, NULL, &sum) == HT_EINVAL);
        CHECK(ht_softmax_proba(bad_classes[i], 3, margins, p) == HT_EINVAL);
    }
    for (int i = 0; i < 8; i++)
        for (int at = 0; at < 3; at++) {
            float targets[] = {0.0f, 2.0f, 1.0f};
            targets[at] = bad_targets[i];
            CHECK(ht_softmax_check(3, 3, targets) == HT_EINVAL);
            CHECK(ht_softmax_sum(3, 3, margins, targets, NULL, &sum) == HT_EINVAL);
        }
    CHECK(sum == -1.0);
}

/* Targets in a file may change after they were checked. */
static void a_target_that_is_no_class_writes_nowhere(void)
{
    const int64_t bad[] = {-1, 5, 16, INT64_MIN, INT64_MAX};
    for (int i = 0; i < 5; i++) {
        draw(5, 1.0, 9);
        CHECK(isnan(ht_softmax_gradient(5, z, bad[i], gradient)));
        for (int64_t k = 5; k < 16; k++)
            CHECK(gradient[k] == 0.0f);
        for (int64_t k = 16; k < 16 + GUARD; k++)
            CHECK(gradient[k] == 9.0f);
    }
}

int main(void)
{
    outputs_are_whole_lanes();
    gradients_are_the_formula();
    large_margins_do_not_overflow();
    what_is_not_finite_gives_a_loss_that_is_not();
    probabilities_add_up_to_one();
    sums_are_the_losses_of_the_rows();
    what_the_arrays_do_not_hold_is_refused();
    a_target_that_is_no_class_writes_nowhere();
    FINISH();
}
