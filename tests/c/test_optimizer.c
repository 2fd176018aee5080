/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <string.h>

#include "math/ht_optimizer.h"
#include "support/check.h"
#include "support/delay.h"

enum { N = 1024 };

static float uniform(uint64_t *random, double from, double to)
{
    return (float)(from + (to - from) * delay_uniform(random));
}

/* Of some optimizers, what the list says, and what follows from it. */
static void traits_are_those_of_the_list(void)
{
    const int strides[][2] = {[HT_SGD] = {1, 2}, [HT_ADAGRAD] = {2, 4}, [HT_FTRL] = {2, 2}};
    for (int has_shares = 0; has_shares < 2; has_shares++) {
        CHECK(ht_optimizer_stride(HT_SGD, has_shares) == strides[HT_SGD][has_shares]);
        CHECK(ht_optimizer_stride(HT_ADAGRAD, has_shares) == strides[HT_ADAGRAD][has_shares]);
        CHECK(ht_optimizer_stride(HT_FTRL, has_shares) == strides[HT_FTRL][has_shares]);
    }
    CHECK(ht_optimizer_arrays(HT_MOMENTUM) == 2 && ht_optimizer_arrays(HT_ADAM) == 3);
    CHECK(ht_optimizer_is_stateless(HT_SGD) && !ht_optimizer_is_stateless(HT_FTRL));
    CHECK(ht_optimizer_has_means(HT_ADAM) && !ht_optimizer_has_means(HT_MOMENTUM));
    CHECK(ht_optimizer_intercept_rate(HT_SGD, 0) == 0.01f);
    CHECK(ht_optimizer_intercept_rate(HT_SGD, 1) == 1.0f);
    const ht_step_t step = {.lr = 0.5f, .decay1 = 0.75f};
    CHECK(ht_optimizer_rate(HT_MOMENTUM, &step) == 2.0f);
    CHECK(ht_optimizer_rate(HT_ADAM, &step) == 0.5f);
}

static void names_are_those_of_the_list(void)
{
    CHECK(strcmp(ht_optimizer_name(HT_SGD), "sgd") == 0);
    CHECK(strcmp(ht_optimizer_name(HT_FTRL), "ftrl") == 0);
    for (ht_optimizer_t o = 0; o < HT_OPTIMIZER_COUNT; o++)
        CHECK(ht_optimizer_name(o) != NULL);
    CHECK(ht_optimizer_name(HT_OPTIMIZER_COUNT) == NULL);
    CHECK(ht_optimizer_name((ht_optimizer_t)-1) == NULL);
}

static void folding_writes_the_factor_and_nothing_else(void)
{
    uint64_t random = 15;
    enum { N_FOLDED = 100, STRIDE = 2 };
    float c[N_FOLDED] = {0.0f};
    for (int i = 1; i < N_FOLDED; i++)
        c[i] = uniform(&random, 1.0, 1000.0);
    static float replica[2 * N], before[2 * N];
    for (int i = 0; i < 2 * N; i++)
        replica[i] = before[i] = uniform(&random, -2.0, 2.0);
    ht_optimizer_fold(replica, c, N_FOLDED, 1, 0.5f, 0.01f);
    CHECK(replica[1] == 1.0f);
    for (int i = 0; i < 2 * N_FOLDED; i++)
        if (i % STRIDE == ht_optimizer_penalty_at(HT_SGD))
            CHECK_CLOSE(replica[i], 1.0 / (1.0 + 0.5 * 0.01 * (double)c[i / STRIDE]), 1e-6);
        else
            CHECK(replica[i] == before[i]);
    CHECK(memcmp(replica + 2 * N_FOLDED, before + 2 * N_FOLDED,
                 sizeof(float) * 2 * (N - N_FOLDED)) == 0);
}

static void only_plain_entries_with_l2_and_equal_weights_fold(void)
{
    for (ht_optimizer_t o = 0; o < HT_OPTIMIZER_COUNT; o++) {
        CHECK(ht_optimizer_folds(o, 0.0f, 0) == (ht_optimizer_arrays(o) == 1));
        CHECK(!ht_optimizer_folds(o, 1e-9f, 0));
        CHECK(!ht_optimizer_folds(o, 0.0f, 1));
    }
}

/* The parameter of z and n, and the start that gives it. */
static void a_dual_parameter_is_the_formula(void)
{
    const ht_step_t step = {.lr = 0.2f, .beta = 1.5f, .l1_sum = 0.3f, .l2_sum = 0.7f};
    const ht_step_t fresh = {.lr = 0.2f, .beta = 1.5f};
    uint64_t random = 16;
    for (int i = 0; i < N; i++) {
        float z = uniform(&random, -1.0, 1.0), n = uniform(&random, 0.0, 4.0);
        double size = fmax(0.0, fabs((double)z) - 0.3);
        double w = -copysign(size, z) / ((1.5 + sqrt(n)) / 0.2 + 0.7);
        CHECK_CLOSE(ht_optimizer_from_dual(z, n, &step), w, 1e-6);
        CHECK_CLOSE(ht_optimizer_from_dual(ht_optimizer_to_dual(z, &fresh), 0.0f, &fresh), z, 1e-6);
    }
    CHECK(ht_optimizer_from_dual(0.3f, 1.0f, &step) == 0.0f);
}

static void sums_of_squares_alone_are_kept(void)
{
    const ht_step_t step = {.decay1 = 0.5f, .decay2 = 0.25f};
    CHECK(ht_optimizer_kept(HT_MOMENTUM, 1, &step, 2.0) == 0.25f);
    CHECK(ht_optimizer_kept(HT_ADAM, 1, &step, 2.0) == 0.25f);
    CHECK(ht_optimizer_kept(HT_ADAM, 2, &step, 2.0) == 0.0625f);
    CHECK(ht_optimizer_kept(HT_RMSPROP, 1, &step, 2.0) == 0.0625f);
    CHECK(ht_optimizer_kept(HT_ADAGRAD, 1, &step, 2.0) == 1.0f);
    CHECK(ht_optimizer_kept(HT_FTRL, 1, &step, 2.0) == 1.0f);
}

static void entries_have_room_for_their_arrays_and_their_share(void)
{
    for (ht_optimizer_t o = 0; o < HT_OPTIMIZER_COUNT; o++)
        for (int has_shares = 0; has_shares <= ht_optimizer_has_shares(o); has_shares++) {
            int stride = ht_optimizer_stride(o, has_shares);
            int used = ht_optimizer_arrays(o) + has_shares;
            CHECK(stride == 1 || stride == 2 || stride == 4);
            CHECK(used <= stride && 2 * used > stride);
            CHECK(!has_shares || ht_optimizer_penalty_at(o) == used - 1);
        }
}

int main(void)
{
    entries_have_room_for_their_arrays_and_their_share();
    traits_are_those_of_the_list();
    names_are_those_of_the_list();
    folding_writes_the_factor_and_nothing_else();
    only_plain_entries_with_l2_and_equal_weights_fold();
    a_dual_parameter_is_the_formula();
    sums_of_squares_alone_are_kept();
    FINISH();
}
