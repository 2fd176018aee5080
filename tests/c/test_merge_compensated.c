/* SPDX-License-Identifier: BSD-3-Clause */
/* Merges that compensate for stale views: what holds at any size; the formula is in test_merge.c.
 */
#include <math.h>
#include <string.h>

#include "math/ht_optimizer.h"
#include "support/check.h"
#include "support/delay.h"
#include "support/naive.h"

enum { N = 1024, ROWS = 100 };

static float replica[4 * N], base[3 * N], shared[3 * N], curvature[N], merged[3 * N], no_penalty[N];

static const float sizes[] = {0.0f, 1e-42f, 1e-20f, 1.0f, 1e20f, 3e38f};
enum { N_SIZES = sizeof sizes / sizeof *sizes };

/* The array of sums or means of squares; 0: there is none. */
static int squares_of(ht_optimizer_t optimizer)
{
    for (int k = 1; k < ht_optimizer_arrays(optimizer); k++)
        if (naive_has_squares(optimizer, k))
            return k;
    return 0;
}

static int has_sum(ht_optimizer_t optimizer)
{
    return ht_optimizer_traits(optimizer)->state[squares_of(optimizer)] == HT_SUM_OF_SQUARES;
}

static void fill(ht_optimizer_t optimizer)
{
    uint64_t random = 16;
    int stride = ht_optimizer_stride(optimizer, 0);
    memset(base, 0, sizeof base);
    for (int i = 0; i < 4 * N; i++)
        replica[i] = (float)(4.0 * delay_uniform(&random) - 2.0);
    for (int i = 0; i < 3 * N; i++)
        shared[i] = (float)(4.0 * delay_uniform(&random) - 2.0);
    int squares = squares_of(optimizer);
    for (int i = 0; squares > 0 && i < N; i++) {
        shared[squares * N + i] = sizes[i / N_SIZES % N_SIZES];
        replica[stride * i + squares] = sizes[i / N_SIZES / N_SIZES % N_SIZES];
    }
}

static void merge(ht_optimizer_t optimizer, float rows, float others, float rate)
{
    const ht_step_t step = {.lr = 0.2f, .beta = 1.5f};
    const ht_merge_t m = {.n = N,
                          .array_stride = N,
                          .replica = replica,
                          .base = base,
                          .shared = shared,
                          .curvature = curvature,
                          .merged = merged,
                          .weighing = HT_COMPENSATED,
                          .rate = rate,
                          .rows = rows,
                          .others = others,
                          .kept = {1.0f, 1.0f, 1.0f},
                          .step = &step,
                          .l1_factor = no_penalty};
    ht_merge_fn_t fn =
        ht_optimizer_merge(ht_vector_best_isa(), optimizer, ht_optimizer_stride(optimizer, 0));
    REQUIRE(fn != NULL);
    fn(&m);
}

/* A change is weighed by 0 at least and by 1 at most, whatever the rates, squares and delays. Where
 * less than all of the others' change remains, the worker's is the distance from there. */
static void changes_stay_finite_and_are_not_enlarged(ht_optimizer_t optimizer)
{
    const float delays[] = {1.0f, 4096.0f, 1e12f};
    int stride = ht_optimizer_stride(optimizer, 0), is_sum = has_sum(optimizer);
    fill(optimizer);
    for (int i = 0; i < N; i++)
        curvature[i] = sizes[i % N_SIZES];
    for (int d = 0; d < 3; d++)
        for (int r = 1; r < N_SIZES; r++) {
            merge(optimizer, 1.0f, delays[d], sizes[r]);
            for (int i = 0; i < N; i++) {
                double change = (double)merged[i] - (double)shared[i];
                double full = (double)replica[stride * i] - (double)base[i];
                double beside = (double)replica[stride * i] - (double)shared[i];
                CHECK(isfinite(merged[i]));
                if (is_sum)
                    beside = full;
                CHECK(change <= fmax(0.0, fmax(full, beside)) + 1e-6);
                CHECK(change >= fmin(0.0, fmin(full, beside)) - 1e-6);
            }
        }
}

/* Of many replicas whose changes would pass the optimum, the merged value is a mean. */
static void steep_coordinates_take_the_mean(ht_optimizer_t optimizer)
{
    int stride = ht_optimizer_stride(optimizer, 0), is_sum = has_sum(optimizer);
    fill(optimizer);
    for (int i = 0; i < N; i++)
        curvature[i] = 1e30f;
    merge(optimizer, ROWS, 7 * ROWS, 1.0f);
    for (int i = 0; i < N; i++) {
        double change = (double)merged[i] - (double)shared[i];
        /* A sum of squares has made the change small, so that what others have changed stays. */
        float from = is_sum ? base[i] : shared[i];
        double mean = ((double)replica[stride * i] - (double)from) / 8.0;
        if (is_sum)
            CHECK(fabs(change) <= fabs(mean) + 1e-6);
        else
            CHECK_CLOSE(change, mean, 1e-6);
    }
}

/* Replicas that begin with one view, and all go as far as the optimum, end there together. */
static void workers_at_the_optimum_go_no_further_together(ht_optimizer_t optimizer)
{
    int stride = ht_optimizer_stride(optimizer, 0);
    memset(base, 0, sizeof base);
    memset(shared, 0, sizeof shared);
    for (int i = 0; i < N; i++) {
        replica[stride * i] = 1.0f;
        curvature[i] = 1.0f;
    }
    for (int worker = 0; worker < 8; worker++) {
        merge(optimizer, ROWS, (float)(worker * ROWS), 1.0f);
        memcpy(shared, merged, sizeof(float) * N);
    }
    for (int i = 0; i < N; i++)
        CHECK_CLOSE(shared[i], 1.0, 1e-5);
}

/* No compensation without a reason: a small step on a view that is a little old counts in full. */
static void small_steps_count_in_full(ht_optimizer_t optimizer)
{
    int stride = ht_optimizer_stride(optimizer, 0), squares = squares_of(optimizer);
    fill(optimizer);
    for (int i = 0; i < N; i++) {
        curvature[i] = 1e-6f;
        if (squares > 0) { /* the others have added nothing */
            shared[squares * N + i] = base[squares * N + i] = 1.0f;
            replica[stride * i + squares] = 2.0f;
        }
    }
    merge(optimizer, ROWS, 7 * ROWS, 1.0f);
    for (int i = 0; i < N; i++)
        CHECK_CLOSE((double)merged[i] - (double)shared[i],
                    (double)replica[stride * i] - (double)base[i], 1e-6);
}

int main(void)
{
    for (ht_optimizer_t o = 0; o < HT_OPTIMIZER_COUNT; o++) {
        if (ht_optimizer_is_dual(o)) /* a z grows with n */
            continue;
        changes_stay_finite_and_are_not_enlarged(o);
        steep_coordinates_take_the_mean(o);
        if (squares_of(o) == 0)
            workers_at_the_optimum_go_no_further_together(o);
        small_steps_count_in_full(o);
    }
    FINISH();
}
