/* SPDX-License-Identifier: BSD-3-Clause */
/* The merges of ht_optimizer.h. */
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
static float l1_factor[N]; /* of a dual optimizer */

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

enum { ROWS = 100 };
static const ht_step_t step_of_dual = {.lr = 0.2f, .beta = 1.5f, .l1_sum = 0.3f, .l2_sum = 0.7f};
static const float kept[] = {1.0f, 0.5f, 0.75f};

/* A merge of a worker's 100 rows beside the others' rows. */
static ht_merge_t merge_of(layout_t layout, int64_t n, float others, float rate)
{
    ht_merge_t merge = {.n = n,
                        .array_stride = N,
                        .replica = replica,
                        .base = base,
                        .shared = shared,
                        .curvature = curvature,
                        .merged = merged,
                        .rate = rate,
                        .rows = ROWS,
                        .others = others,
                        .step = &step_of_dual,
                        .l1_factor = l1_factor};
    for (int k = 0; k < HT_OPTIMIZER_ARRAYS; k++)
        merge.kept[k] = is_sum(layout, k) ? 1.0f : kept[k];
    return merge;
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
        l1_factor[i] = (float)(i % 3); /* 0: the intercept */
        int squares = squares_of(layout);
        if (squares > 0) {
            base[squares * N + i] = uniform(random, 0.0, 2.0);
            shared[squares * N + i] = base[squares * N + i] + uniform(random, 0.0, 2.0);
            replica[stride * i + squares] = base[squares * N + i] + uniform(random, 0.0, 2.0);
        }
    }
}

static double growth(double x)
{
    return x / 2.0 + sqrt(1.0 + x * x / 4.0);
}

/* The value of array k of coordinate i in the replica, its base and the shared block. */
typedef struct {
    double replica, base, shared;
} values_t;

static values_t values_at(layout_t layout, int i, int k)
{
    return (values_t){(double)replica[stride_of(layout) * i + k], (double)base[k * N + i],
                      (double)shared[k * N + i]};
}

static double merge_naively(values_t x, double remaining, double theta)
{
    double after = x.replica + remaining * (x.shared - x.base);
    return x.shared + theta * (after - x.shared);
}

/* The rows' relaxation of coordinate i, with the smaller root of its squares. */
static double speed_naively(layout_t layout, int i, const ht_merge_t *m)
{
    double u = (double)HT_MERGE_SHARE * (double)m->rate * (double)curvature[i];
    int squares = squares_of(layout);
    if (squares == 0)
        return u;
    values_t x = values_at(layout, i, squares);
    return u / (sqrt(fmin(x.replica, x.shared)) + (double)HT_ROOT_EPS);
}

/* What divides the steps of a coordinate whose squares are n. */
static double divisor_naively(layout_t layout, double n)
{
    float least = ht_optimizer_is_dual(layout.optimizer) ? step_of_dual.beta : HT_ROOT_EPS;
    return sqrt(n) + (double)least;
}

/* The weight of compensated changes. */
static double theta_naively(layout_t layout, int i, const ht_merge_t *m)
{
    double u = (double)m->rate * (double)curvature[i], revised = 1.0;
    int squares = squares_of(layout);
    if (squares > 0) {
        values_t n = values_at(layout, i, squares);
        double merged_n =
            is_sum(layout, squares) ? n.replica + (n.shared - n.base) : fmin(n.replica, n.shared);
        if (is_sum(layout, squares))
            revised = divisor_naively(layout, n.replica) / divisor_naively(layout, merged_n);
        u /= divisor_naively(layout, merged_n);
    }
    double all = (double)m->rows + (double)m->others;
    double slower = fmin(4.0 * u * (double)m->others, all / (double)m->rows);
    return revised / fmax(slower, 1.0);
}

static double beside(double z, double n, double larger, double c1)
{
    ht_step_t step = step_of_dual;
    step.l1_sum *= (float)c1;
    step.l2_sum *= (float)(c1 * c1);
    double w = (double)ht_optimizer_from_dual((float)z, (float)n, &step);
    return z - (sqrt(larger) - sqrt(n)) / (double)step_of_dual.lr * w;
}

/* Checks coordinate i against the header's formulas. */
static void check_merged(layout_t layout, int i, const ht_merge_t *m)
{
    double u = speed_naively(layout, i, m), own = u * (double)m->rows;
    double theta = growth(own) / growth(own + u * (double)m->others);
    if (m->weighing == HT_COMPENSATED) {
        theta = theta_naively(layout, i, m);
        double of_all = ((double)m->rows + (double)m->others) / (double)m->rows;
        int arrives = u / (double)HT_MERGE_SHARE * (double)m->others >= of_all;
        if (is_sum(layout, squares_of(layout)) || !arrives)
            own = 0.0;
    }
    double of_means = fmin(theta, 1.0 - (double)m->least_rest);
    for (int k = 1; k < arrays_of(layout); k++) {
        double expected = merge_naively(values_at(layout, i, k), (double)m->kept[k],
                                        is_sum(layout, k) ? 1.0 : of_means);
        CHECK_CLOSE(merged[k * N + i], expected, 4e-6);
    }
    values_t w = values_at(layout, i, 0);
    if (ht_optimizer_is_dual(layout.optimizer)) {
        values_t n = values_at(layout, i, 1);
        double all = (double)merged[N + i], c1 = (double)l1_factor[i];
        w = (values_t){beside(w.replica, n.replica, all, c1), beside(w.base, n.base, all, c1),
                       beside(w.shared, n.shared, all, c1)};
    }
    CHECK_CLOSE(merged[i], merge_naively(w, exp(-own), theta), 2e-5);
}

static void a_merge_is_the_formula(layout_t layout)
{
    uint64_t random = 11;
    const float others[] = {0.0f, 1.0f, ROWS, 7 * ROWS, 1e6f};
    for (size_t o = 0; o < sizeof others / sizeof *others; o++) {
        fill(&random, layout);
        for (ht_weighing_t way = HT_WEIGHTED; way <= HT_COMPENSATED; way++) {
            ht_merge_t merge = merge_of(layout, N, others[o], way == HT_ADDED ? 0.0f : 0.0037f);
            merge.weighing = way;
            merge.least_rest = way == HT_WEIGHTED ? 0.0f : 0.75f;
            run(ht_vector_best_isa(), layout, merge);
            for (int i = 0; i < N; i++)
                check_merged(layout, i, &merge);
        }
    }
}

/* Of a coordinate that hardly moves in a row, the changes of all workers count. */
static void changes_of_rare_coordinates_add_up(layout_t layout)
{
    uint64_t random = 12;
    fill(&random, layout);
    memset(curvature, 0, sizeof curvature);
    run(ht_vector_best_isa(), layout, merge_of(layout, N, 1e6f, 1.0f));
    for (int i = 0; i < N; i++) {
        values_t w = values_at(layout, i, 0);
        CHECK_CLOSE(merged[i], w.shared + (w.replica - w.base), 1e-6);
    }
}

/* A worker that was held up for long has left a base that no longer counts: the result lies between
 * its values and the shared ones, and near the latter. */
static void a_worker_that_was_held_up_counts_as_much_as_it_has_trained(layout_t layout)
{
    const double most = 1.001 / (1.0 + 99.0); /* 100 rows beside 9,900 */
    uint64_t random = 13;
    fill(&random, layout);
    for (int i = 0; i < N; i++)
        curvature[i] = 1e4f;
    run(ht_vector_best_isa(), layout, merge_of(layout, N, 99 * ROWS, 1.0f));
    for (int i = 0; i < N; i++) {
        values_t w = values_at(layout, i, 0);
        CHECK(fabs((double)merged[i] - w.shared) <= most * fabs(w.replica - w.shared) + 1e-6);
    }
}

static void one_worker_alone_merges_to_its_replica(layout_t layout)
{
    uint64_t random = 14;
    int stride = stride_of(layout);
    fill(&random, layout);
    memcpy(shared, base, sizeof shared);
    replica[0] = 3e38f;
    replica[stride] = -1e-42f; /* subnormal */
    replica[2 * stride] = 0.0f;
    replica[3 * stride] = base[3];
    if (squares_of(layout) > 0)
        replica[4 * stride + squares_of(layout)] = 3e38f;
    for (ht_weighing_t way = HT_WEIGHTED; way <= HT_COMPENSATED; way++) {
        ht_merge_t merge = merge_of(layout, N, 0.0f, way == HT_ADDED ? 0.0f : 0.005f);
        merge.weighing = way;
        run(ht_vector_best_isa(), layout, merge);
        for (int i = 0; i < N; i++) {
            CHECK(memcmp(&merged[i], &replica[stride * i], sizeof(float)) == 0);
            for (int k = 1; k < arrays_of(layout); k++)
                CHECK(memcmp(&merged[k * N + i], &replica[stride * i + k], sizeof(float)) == 0);
        }
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
        run(ht_vector_best_isa(), layout, merge_of(layout, N, 4 * ROWS, 0.001f));
        memcpy(shared, merged, sizeof shared);
    }
    CHECK(memcmp(shared + N, expected, sizeof expected) == 0);
}

/* Also where rounding of a base, far above all values since, would leave less than nothing. */
static void means_of_squares_stay_positive(layout_t layout)
{
    int squares = squares_of(layout), stride = stride_of(layout);
    clear();
    ht_merge_t merge = merge_of(layout, N, ROWS, 0.001f);
    for (int i = 0; i < N; i++) {
        base[squares * N + i] = (float)(1 + i);
        shared[squares * N + i] = 1e-9f;
        replica[stride * i + squares] = nextafterf(base[squares * N + i] * merge.kept[squares], 0);
    }
    run(ht_vector_best_isa(), layout, merge);
    for (int i = 0; i < N; i++)
        CHECK(merged[squares * N + i] >= 0.5f * merge.kept[squares] * 1e-9f);
}

static void instruction_sets_agree_bit_for_bit(layout_t layout)
{
    static float first[3 * N];
    const int64_t lengths[] = {16, 48, N};
    uint64_t random = 14;
    for (size_t l = 0; l < 3; l++)
        for (int others = 0; others <= 4 * ROWS; others += ROWS) {
            ht_merge_t merge = merge_of(layout, lengths[l], (float)others, 0.002f);
            merge.weighing = l == 1 ? HT_COMPENSATED : HT_WEIGHTED;
            fill(&random, layout);
            curvature[3] = 0.0f;
            curvature[4] = 1e30f;
            run(HT_BASELINE, layout, merge);
            memcpy(first, merged, sizeof first);
            for (int i = (int)lengths[l]; i < N; i++)
                CHECK(merged[i] == 0.0f && merged[N + i] == 0.0f && merged[2 * N + i] == 0.0f);
            for (int i = 0; i < (int)lengths[l]; i++)
                CHECK(isfinite(merged[i]));
            for (ht_isa_t isa = HT_AVX2; isa <= ht_vector_best_isa(); isa++) {
                memset(merged, 0, sizeof merged);
                run(isa, layout, merge);
                CHECK(memcmp(first, merged, sizeof first) == 0);
            }
        }
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
    only_what_is_known_has_a_merge();
    for (ht_optimizer_t o = 0; o < HT_OPTIMIZER_COUNT; o++)
        for (int has_penalty = 0; has_penalty <= ht_optimizer_has_shares(o); has_penalty++) {
            const layout_t layout = {o, has_penalty};
            a_merge_is_the_formula(layout);
            if (!ht_optimizer_is_dual(o)) { /* a z grows with n */
                changes_of_rare_coordinates_add_up(layout);
                a_worker_that_was_held_up_counts_as_much_as_it_has_trained(layout);
            }
            one_worker_alone_merges_to_its_replica(layout);
            if (arrays_of(layout) > 1 && is_sum(layout, 1))
                sums_of_squares_add(layout);
            if (squares_of(layout) > 0 && !is_sum(layout, squares_of(layout)))
                means_of_squares_stay_positive(layout);
            instruction_sets_agree_bit_for_bit(layout);
        }
    FINISH();
}
