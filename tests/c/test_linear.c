/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/ht_linear.h"
#include "support/check.h"
#include "support/delay.h"
#include "support/problem.h"

enum { N_ROWS = 150, N_FEATURES = 90, LONGEST = 40, N_COORDINATES = N_FEATURES + 1 };

static void fill(float *parameters, int n)
{
    uint64_t random = 7;
    for (int i = 0; i < n; i++)
        parameters[i] = (float)(delay_uniform(&random) - 0.5);
}

static void an_unknown_instruction_set_is_refused(problem_t *problem)
{
    ht_linear_t linear;
    ht_model_t *model = NULL;
    float parameters[N_COORDINATES] = {0}, z;
    REQUIRE(ht_linear_init(&linear, (ht_loss_t){HT_LOGISTIC, 0.0f}, 0) == HT_OK);
    CHECK(linear.model.for_steps(&linear.model, &problem->rows, HT_SGD, 0, 0, HT_ISA_COUNT,
                                 &model) == HT_EINVAL);
    CHECK(linear.model.for_sums(&linear.model, &problem->rows, 1, HT_ISA_COUNT, &model) ==
          HT_EINVAL);
    CHECK(model == NULL);
    CHECK(ht_linear_margins(&problem->rows, parameters, 1, HT_ISA_COUNT, 0, 1, &z) == HT_EINVAL);
}

/* Losses, classes and targets. */
static void what_does_not_exist_is_refused(problem_t *problem)
{
    const ht_loss_t logistic = {HT_LOGISTIC, 0.0f};
    ht_linear_t linear, other;
    CHECK(ht_linear_init(&linear, (ht_loss_t){HT_LOSS_COUNT, 0.0f}, 0) == HT_EINVAL);
    CHECK(ht_linear_init(&linear, (ht_loss_t){HT_HUBER, 0.0f}, 0) == HT_EINVAL);
    CHECK(ht_linear_init(&linear, logistic, -1) == HT_EINVAL);
    CHECK(ht_linear_init(&linear, logistic, 1) == HT_EINVAL);
    CHECK(ht_linear_init(&linear, logistic, HT_MOST_CLASSES + 1) == HT_EINVAL);
    REQUIRE(ht_linear_init(&linear, logistic, 0) == HT_OK);
    CHECK(linear.model.check(&linear.model, &problem->rows) == HT_OK);
    REQUIRE(ht_linear_init(&other, logistic, 3) == HT_OK);
    CHECK(other.model.check(&other.model, &problem->rows) == HT_EINVAL); /* -1 is no class */
    CHECK(other.model.n_outputs == HT_LANES && other.model.curvature == HT_SOFTMAX_CURVATURE);
}

/* p (1 - p) of a probability, whether the gradient is p or p - 1; the mean over classes; a row's
 * weight does not count. */
static void the_second_derivative_follows_from_gradients(void)
{
    const float weights[] = {1.0f, 4.0f, 0.0f};
    const int64_t ids[] = {0, 1, 2};
    const ht_rows_t rows = {.n_rows = 3, .n_features = 1, .weights = weights};
    ht_linear_t linear;
    REQUIRE(ht_linear_init(&linear, (ht_loss_t){HT_LOGISTIC, 0.0f}, 0) == HT_OK);
    const float of_one[] = {0.25f, -0.5f * 4.0f, 0.0f};
    CHECK_CLOSE(linear.model.second(&linear.model, &rows, ids, 3, of_one), 0.1875 + 0.25, 1e-6);
    const float on_the_wrong_side[] = {-0.75f, 0.875f * 4.0f, 0.0f}; /* past p = 1/2 */
    CHECK_CLOSE(linear.model.steepest(&linear.model, &rows, ids, 3, of_one), 0.1875 + 0.25, 1e-6);
    CHECK_CLOSE(linear.model.steepest(&linear.model, &rows, ids, 3, on_the_wrong_side), 0.5, 1e-6);
    REQUIRE(ht_linear_init(&linear, (ht_loss_t){HT_LOGISTIC, 0.0f}, 2) == HT_OK);
    float of_classes[3 * HT_LANES] = {0.125f, -0.125f, [HT_LANES] = -2.0f, 2.0f};
    CHECK_CLOSE(linear.model.second(&linear.model, &rows, ids, 3, of_classes), 0.109375 + 0.25,
                1e-6);
    REQUIRE(ht_linear_init(&linear, (ht_loss_t){HT_SQUARED, 0.0f}, 0) == HT_OK);
    CHECK(linear.model.second == NULL && linear.model.steepest == NULL); /* 1, always */
}

/* A key tells one model from another, and is the same for the same one. */
static void keys_are_of_what_a_model_does(void)
{
    enum { N_KEYS = 6 };
    const ht_loss_t losses[N_KEYS] = {{HT_LOGISTIC, 0.0f}, {HT_SQUARED, 0.0f},
                                      {HT_HUBER, 1.0f},    {HT_HUBER, 2.0f},
                                      {HT_LOGISTIC, 0.0f}, {HT_LOGISTIC, 0.0f}};
    const int64_t classes[N_KEYS] = {0, 0, 0, 0, 3, HT_MOST_CLASSES};
    for (int i = 0; i < N_KEYS; i++)
        for (int j = 0; j < N_KEYS; j++) {
            ht_linear_t a, b;
            REQUIRE(ht_linear_init(&a, losses[i], classes[i]) == HT_OK);
            REQUIRE(ht_linear_init(&b, losses[j], classes[j]) == HT_OK);
            CHECK((a.model.key == b.model.key) == (i == j));
        }
}

/* A step is: all margins, all gradients times weights, then the updates. */
static void check_step(problem_t *problem, ht_loss_t loss, int exact, int n)
{
    const ht_step_t step = {.lr = 0.25f};
    float parameters[N_COORDINATES], expected[N_COORDINATES];
    int64_t ids[HT_GROUP_ROWS];
    float z[HT_GROUP_ROWS], y[HT_GROUP_ROWS] = {0}, margins[HT_GROUP_ROWS] = {0};
    float gradient[HT_GROUP_ROWS], own_gradient[HT_GROUP_ROWS];
    ht_linear_t linear;
    ht_model_t *model;
    REQUIRE(ht_linear_init(&linear, loss, 0) == HT_OK);
    REQUIRE(linear.model.for_steps(&linear.model, &problem->rows, HT_SGD, 0, exact,
                                   ht_vector_best_isa(), &model) == HT_OK);
    CHECK(model->stride == 1 && model->n_outputs == 1);
    fill(parameters, N_COORDINATES);
    fill(expected, N_COORDINATES);
    ht_view_t view = {NULL, parameters + 1, parameters, 1, NULL};
    ht_view_t expected_view = {NULL, expected + 1, expected, 1, NULL};
    for (int k = 0; k < n; k++)
        ids[k] = (37 * k + n) % N_ROWS;
    const ht_linear_kernels_t *kernels = ht_linear_kernels(HT_BASELINE, HT_SPARSE);
    kernels->dot_racy[0](&problem->rows, ids, n, &expected_view, 1, &step, margins);
    for (int k = 0; k < n; k++)
        y[k] = problem->targets[ids[k]];
    ht_loss_gradient(loss, n, margins, y, gradient);
    for (int k = 0; k < n && problem->weights != NULL; k++)
        gradient[k] *= problem->weights[ids[k]];
    kernels->step_racy[HT_SGD][0](&problem->rows, ids, n, &expected_view, gradient, &step);
    for (int k = 0; k < HT_GROUP_ROWS; k++)
        z[k] = NAN; /* what was there must not matter */
    model->step(model, &problem->rows, ids, n, &view, &step, z, own_gradient);
    free(model);
    CHECK(memcmp(z, margins, sizeof *z * (size_t)n) == 0);
    CHECK(memcmp(parameters, expected, sizeof parameters) == 0);
    float unchanged[N_COORDINATES];
    fill(unchanged, N_COORDINATES);
    CHECK(memcmp(parameters, unchanged, sizeof parameters) != 0);
}

static void a_step_is_dot_gradient_and_update(problem_t *problem)
{
    for (int n = 1; n <= HT_GROUP_ROWS; n++)
        for (int exact = 0; exact < 2; exact++) {
            check_step(problem, (ht_loss_t){HT_LOGISTIC, 0.0f}, exact, n);
            check_step(problem, (ht_loss_t){HT_HUBER, 0.25f}, exact, n);
        }
}

static void margins_agree_with_a_naive_loop(problem_t *problem)
{
    float parameters[N_COORDINATES], first[N_ROWS], z[N_ROWS + 1];
    const int64_t ranges[][2] = {{0, N_ROWS}, {3, 4}, {5, 5}, {1, 17}, {16, 33}, {149, 150}};
    fill(parameters, N_COORDINATES);
    parameters[0] = 0.75f;
    problem_heat(problem, 10); /* which elements are hot must not matter */
    REQUIRE(ht_linear_margins(&problem->rows, parameters, 1, HT_BASELINE, 0, N_ROWS, first) ==
            HT_OK);
    for (int64_t r = 0; r < N_ROWS; r++) {
        double expected = 0.75;
        for (int64_t i = problem->pointers[r]; i < problem->pointers[r + 1]; i++)
            expected += (double)parameters[problem->indices[i] + 1] *
                        (problem->values == NULL ? 1.0 : (double)problem->values[i]);
        CHECK_CLOSE(first[r], expected, 1e-5);
    }
    for (ht_isa_t isa = HT_BASELINE; isa <= ht_vector_best_isa(); isa++)
        for (size_t k = 0; k < sizeof ranges / sizeof *ranges; k++) {
            int64_t begin = ranges[k][0], end = ranges[k][1];
            for (int64_t i = 0; i <= N_ROWS; i++)
                z[i] = -9.0f;
            CHECK(ht_linear_margins(&problem->rows, parameters, 1, isa, begin, end, z) == HT_OK);
            CHECK(memcmp(z, first + begin, sizeof *z * (size_t)(end - begin)) == 0);
            CHECK(z[end - begin] == -9.0f); /* and no more than that */
        }
    problem->rows.hot = NULL;
}

int main(void)
{
    the_second_derivative_follows_from_gradients();
    keys_are_of_what_a_model_does();
    for (int has_values = 0; has_values < 2; has_values++)
        for (int has_weights = 0; has_weights < 2; has_weights++) {
            problem_t problem;
            problem_open(&problem, 51, N_ROWS, N_FEATURES, LONGEST, has_values, has_weights);
            an_unknown_instruction_set_is_refused(&problem);
            what_does_not_exist_is_refused(&problem);
            a_step_is_dot_gradient_and_update(&problem);
            margins_agree_with_a_naive_loop(&problem);
            problem_close(&problem);
        }
    FINISH();
}
