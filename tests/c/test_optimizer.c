/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <string.h>

#include "math/ht_optimizer.h"
#include "support/check.h"
#include "support/delay.h"
#include "support/naive.h"

enum { N = 1024 };

typedef struct {
    ht_optimizer_t optimizer;
    int has_penalty;
} layout_t;

/* Room for the largest entry and for all arrays. */
static float replica[4 * N], base[3 * N], shared[3 * N], curvature[N], merged[3 * N];

static int stride_of(layout_t layout)
{
    return ht_optimizer_stride(layout.optimizer, layout.has_penalty);
}

static int arrays_of(layout_t layout)
{
    return ht_optimizer_arrays(layout.optimizer);
}

/* The array of sums or means of squares; 0: there is none. */
static int squares_of(layout_t layout)
{
    for (int k = 1; k < arrays_of(layout); k++)
        if (naive_has_squares(layout.optimizer, k))
            return k;
    return 0;
}

static int is_sum(layout_t layout, int array)
{
    return ht_optimizer_traits(layout.optimizer)->state[array] == HT_SUM_OF_SQUARES;
}

static ht_merge_t merge_of(int64_t n, uint32_t n_workers, float rows_lr_h)
{
    return (ht_merge_t){.n = n,
                        .array_stride = N,
                        .replica = replica,
                        .base = base,
                        .shared = shared,
                        .curvature = curvature,
                        .merged = merged,
                        .rows_lr_h = rows_lr_h,
                        .n_workers = n_workers};
}

static void run(ht_isa_t isa, layout_t layout, ht_merge_t merge)
{
    ht_merge_fn_t fn = ht_optimizer_merge(isa, layout.optimizer, stride_of(layout));
    REQUIRE(fn != NULL);
    fn(&merge);
}

static void clear(void)
{
    memset(replica, 0, sizeof replica);
    memset(base, 0, sizeof base);
    memset(shared, 0, sizeof shared);
    memset(curvature, 0, sizeof curvature);
    memset(merged, 0, sizeof merged);
}

static float uniform(uint64_t *random, double from, double to)
{
    return (float)(from + (to - from) * delay_uniform(random));
}

static void fill(uint64_t *random, layout_t layout)
{
    int stride = stride_of(layout);
    clear();
    for (int i = 0; i < N; i++) {
        for (int k = 0; k < stride; k++)
            replica[stride * i + k] = uniform(random, -2.0, 2.0);
        for (int k = 0; k < arrays_of(layout); k++) {
            base[k * N + i] = uniform(random, -2.0, 2.0);
            shared[k * N + i] = uniform(random, -2.0, 2.0);
        }
        curvature[i] = (float)exp(uniform(random, -12.0, 6.0));
        int squares = squares_of(layout);
        if (squares > 0) {
            base[squares * N + i] = uniform(random, 0.0, 2.0);
            shared[squares * N + i] = base[squares * N + i] + uniform(random, 0.0, 2.0);
            replica[stride * i + squares] = base[squares * N + i] + uniform(random, 0.0, 2.0);
        }
    }
}

static double theta_of(double a, double n_workers)
{
    return a == 0.0 ? 1.0 : expm1(-n_workers * a) / (n_workers * expm1(-a));
}

static void an_entry_has_room_for_its_arrays_and_its_share(layout_t layout)
{
    int stride = stride_of(layout), used = arrays_of(layout) + layout.has_penalty;
    CHECK(stride == 1 || stride == 2 || stride == 4);
    CHECK(used <= stride && 2 * used > stride);
    CHECK(!layout.has_penalty || ht_optimizer_penalty_at(layout.optimizer) == used - 1);
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

/* From 0 to 1, merged is theta itself. */
static void theta_is_the_formula(layout_t layout)
{
    const uint32_t workers[] = {1, 2, 3, 4, 7, 8, 16, 64, 1024};
    int stride = stride_of(layout);
    for (size_t p = 0; p < sizeof workers / sizeof *workers; p++) {
        clear();
        for (int i = 0; i < N; i++) {
            replica[stride * i] = 1.0f;
            /* 0, and 1e-9 .. 1e3 */
            curvature[i] = i == 0 ? 0.0f : (float)pow(10.0, -9.0 + 12.0 * i / (N - 1));
            if (squares_of(layout) > 0)
                replica[stride * i + squares_of(layout)] = 0.25f * (float)(1 + i % 16);
        }
        run(ht_vector_best_isa(), layout, merge_of(N, workers[p], 1.0f));
        /* r = exp(-a) is rounded once, and r^P carries P times its error. */
        double tolerance = 4e-7 + 1e-7 * workers[p];
        for (int i = 0; i < N; i++) {
            double a = curvature[i];
            if (squares_of(layout) > 0)
                a /= sqrt(replica[stride * i + squares_of(layout)]) + (double)HT_ROOT_EPS;
            CHECK_CLOSE(merged[i], theta_of(a, workers[p]), tolerance);
        }
        CHECK(merged[0] == 1.0f);
    }
}

static void a_merge_is_shared_plus_theta_times_change(layout_t layout)
{
    uint64_t random = 11;
    int stride = stride_of(layout);
    for (uint32_t n_workers = 1; n_workers <= 8; n_workers++) {
        fill(&random, layout);
        float rows_lr_h = 0.37f;
        run(ht_vector_best_isa(), layout, merge_of(N, n_workers, rows_lr_h));
        for (int i = 0; i < N; i++) {
            double a = (double)curvature[i] * (double)rows_lr_h;
            double change = (double)replica[stride * i] - (double)base[i];
            for (int k = 1; k < arrays_of(layout); k++) { /* sums, or means of changes */
                double mine = replica[stride * i + k], before = base[k * N + i];
                double share = is_sum(layout, k) ? 1.0 : 1.0 / n_workers;
                CHECK_CLOSE(merged[k * N + i], shared[k * N + i] + share * (mine - before), 2e-6);
                if (k == squares_of(layout))
                    a /= sqrt(mine) + (double)HT_ROOT_EPS;
            }
            CHECK_CLOSE(merged[i], shared[i] + theta_of(a, n_workers) * change, 6e-6);
        }
    }
}

static void one_worker_alone_merges_to_its_replica(layout_t layout)
{
    uint64_t random = 12;
    int stride = stride_of(layout);
    fill(&random, layout);
    memcpy(shared, base, sizeof shared);
    replica[0] = 3e38f;
    replica[stride] = -1e-42f; /* subnormal */
    replica[2 * stride] = 0.0f;
    replica[3 * stride] = base[3];
    run(ht_vector_best_isa(), layout, merge_of(N, 1, 0.5f));
    for (int i = 0; i < N; i++) {
        CHECK(memcmp(&merged[i], &replica[stride * i], sizeof(float)) == 0);
        for (int k = 1; k < arrays_of(layout); k++)
            CHECK(memcmp(&merged[k * N + i], &replica[stride * i + k], sizeof(float)) == 0);
    }
}

/* The sums of a chain of merges of several workers are exact for integers. */
static void sums_of_squares_add(layout_t layout)
{
    enum { WORKERS = 5 };
    int stride = stride_of(layout);
    uint64_t random = 13;
    clear();
    float expected[N] = {0};
    for (int w = 0; w < WORKERS; w++) {
        for (int i = 0; i < N; i++) {
            base[N + i] = (float)(delay_random(&random) >> 40 & 1023);
            float change = (float)(delay_random(&random) >> 40 & 1023);
            replica[stride * i + 1] = base[N + i] + change;
            expected[i] += change;
        }
        run(ht_vector_best_isa(), layout, merge_of(N, WORKERS, 0.1f));
        memcpy(shared, merged, sizeof shared);
    }
    CHECK(memcmp(shared + N, expected, sizeof expected) == 0);
}

/* The changes from a base that the shared values have left do not add up to a mean. */
static void means_of_squares_stay_positive(layout_t layout)
{
    int squares = squares_of(layout), stride = stride_of(layout);
    clear();
    for (int i = 0; i < N; i++) {
        base[squares * N + i] = 1.0f;
        shared[squares * N + i] = i < N / 2 ? 0.25f : 1.0f;
        replica[stride * i + squares] = 0.25f;
    }
    run(ht_vector_best_isa(), layout, merge_of(N, 2, 0.1f));
    for (int i = 0; i < N; i++)
        CHECK(merged[squares * N + i] == (i < N / 2 ? 0.125f : 0.625f));
}

static void instruction_sets_agree_bit_for_bit(layout_t layout)
{
    static float first[3 * N];
    const int64_t lengths[] = {16, 48, N};
    uint64_t random = 14;
    for (size_t l = 0; l < 3; l++)
        for (uint32_t n_workers = 1; n_workers <= 5; n_workers++) {
            fill(&random, layout);
            curvature[3] = 0.0f;
            curvature[4] = 1e30f;
            run(HT_BASELINE, layout, merge_of(lengths[l], n_workers, 0.2f));
            memcpy(first, merged, sizeof first);
            for (int i = (int)lengths[l]; i < N; i++)
                CHECK(merged[i] == 0.0f && merged[N + i] == 0.0f && merged[2 * N + i] == 0.0f);
            for (ht_isa_t isa = HT_AVX2; isa <= ht_vector_best_isa(); isa++) {
                memset(merged, 0, sizeof merged);
                run(isa, layout, merge_of(lengths[l], n_workers, 0.2f));
                CHECK(memcmp(first, merged, sizeof first) == 0);
            }
        }
}

static void folding_writes_the_factor_and_nothing_else(void)
{
    uint64_t random = 15;
    const layout_t layout = {HT_SGD, 1};
    enum { N_FOLDED = 100, STRIDE = 2 };
    float c[N_FOLDED] = {0.0f};
    fill(&random, layout);
    for (int i = 1; i < N_FOLDED; i++)
        c[i] = uniform(&random, 1.0, 1000.0);
    static float before[4 * N];
    memcpy(before, replica, sizeof before);
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

static void only_what_is_known_has_a_merge(void)
{
    CHECK(ht_optimizer_merge(HT_ISA_COUNT, HT_SGD, 1) == NULL);
    CHECK(ht_optimizer_merge(HT_BASELINE, HT_OPTIMIZER_COUNT, 1) == NULL);
    CHECK(ht_optimizer_merge((ht_isa_t)-1, HT_SGD, 1) == NULL);
    for (ht_optimizer_t o = 0; o < HT_OPTIMIZER_COUNT; o++)
        CHECK(ht_optimizer_merge(HT_BASELINE, o, ht_optimizer_stride(o, 1)) != NULL);
}

int main(void)
{
    a_dual_parameter_is_the_formula();
    only_what_is_known_has_a_merge();
    folding_writes_the_factor_and_nothing_else();
    only_plain_entries_with_l2_and_equal_weights_fold();
    traits_are_those_of_the_list();
    names_are_those_of_the_list();
    for (ht_optimizer_t o = 0; o < HT_OPTIMIZER_COUNT; o++)
        for (int has_penalty = 0; has_penalty <= ht_optimizer_has_shares(o); has_penalty++) {
            const layout_t layout = {o, has_penalty};
            an_entry_has_room_for_its_arrays_and_its_share(layout);
            theta_is_the_formula(layout);
            a_merge_is_shared_plus_theta_times_change(layout);
            one_worker_alone_merges_to_its_replica(layout);
            if (arrays_of(layout) > 1 && is_sum(layout, 1))
                sums_of_squares_add(layout);
            if (squares_of(layout) > 0 && !is_sum(layout, squares_of(layout)))
                means_of_squares_stay_positive(layout);
            instruction_sets_agree_bit_for_bit(layout);
        }
    FINISH();
}
