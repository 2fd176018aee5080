/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Changes of replicas: their sums are the integers of a scalar loop in any order, and merges the
 * formulas of ht_changes.h, for every optimizer and instruction set.
 */
#include "share/ht_changes.h"

#include <math.h>
#include <string.h>

#include "support/check.h"
#include "support/delay.h"

enum { N = 203, PADDED = 208, N_GROUPS = PADDED / HT_SUMS_GROUP, N_REPLICAS = 5, MOST_SUMS = 3 };
enum { ARRAYS = HT_CHANGES_ARRAYS, N_INTERCEPT = 3, FIRST = 64, LAST = 160 };

typedef struct {
    _Alignas(64) uint64_t exact[PADDED];
    uint8_t marks[N_GROUPS + 8];
} memory_t;

static memory_t memories[MOST_SUMS * ARRAYS];
static ht_sums_t sums[MOST_SUMS * ARRAYS];
static float old[HT_SUMS_ARRAYS][PADDED]; /* the outer velocity and the average are the last two */
static float replicas[N_REPLICAS][ARRAYS][PADDED], l1_factor[PADDED];
static const double weights[N_REPLICAS] = {1.0, 0.75, 1.25, 1.9, 0.1};
static const double units[ARRAYS] = {0x1p-30, 0x1p-28, 0x1p-33};
static const float lr = 0.2f;

static int is_square(ht_optimizer_t o, int array)
{
    ht_state_t state = ht_optimizer_traits(o)->state[array];
    if (ht_optimizer_is_dual(o))
        return array == 2;
    return state == HT_SUM_OF_SQUARES || state == HT_MEAN_OF_SQUARES;
}

/* Whether the changes of an array add up; else their mean is taken. */
static int adds_up(ht_optimizer_t o, int array)
{
    return (o == HT_ADAGRAD && array == 1) || (o == HT_FTRL && array == 2);
}

/* Some groups are as before in a replica, and group 1 in all of them; every third coordinate of
 * the others is. */
static void draw(ht_optimizer_t o)
{
    uint64_t random = 7;
    memset(old, 0, sizeof old);
    for (int k = 0; k < HT_SUMS_ARRAYS; k++)
        for (int at = 0; at < N; at++) {
            float value = (float)(2.0 * delay_uniform(&random) - 1.0);
            old[k][at] = k < ARRAYS && is_square(o, k) ? fabsf(value) : value;
        }
    for (int r = 0; r < N_REPLICAS; r++) {
        memcpy(replicas[r], old, sizeof replicas[r]);
        for (int at = 0; at < N; at++) {
            int is_touched = at / 8 != 1 && (at / 8 + r) % 3 != 0 && (at + r) % 3 != 0;
            for (int k = 0; k < ARRAYS; k++) {
                float change = (float)(delay_uniform(&random) - (is_square(o, k) ? 0.0 : 0.5));
                replicas[r][k][at] += is_touched ? change : 0.0f;
            }
        }
    }
    for (int at = 0; at < PADDED; at++)
        l1_factor[at] = 0.5f + (float)(at % 4);
}

/* ---- a plain program ------------------------------------------------------------ */

static double joined(float (*arrays)[PADDED], int at)
{
    double z = (double)arrays[1][at], w = (double)arrays[0][at], n = (double)arrays[2][at];
    return z + w * sqrt(n) * (1.0 / (double)lr);
}

static double change_of(ht_optimizer_t o, int r, int k, int at)
{
    if (ht_optimizer_is_dual(o) && k == 1)
        return joined(replicas[r], at) - joined(old, at);
    return (double)replicas[r][k][at] - (double)old[k][at];
}

static int64_t units_of(ht_optimizer_t o, int r, int k, int at)
{
    double factor = 1.0 / units[k];
    if (!adds_up(o, k))
        factor *= weights[r];
    return (int64_t)nearbyint(change_of(o, r, k, at) * factor);
}

static int has_changed(ht_optimizer_t o, int r, int group)
{
    size_t nbytes = sizeof(float) * HT_SUMS_GROUP;
    int differs = 0;
    for (int k = 0; k < ht_sums_arrays(o, 0); k++)
        differs |= memcmp(&replicas[r][k][group * 8], &old[k][group * 8], nbytes) != 0;
    return differs;
}

typedef struct {
    ht_optimizer_t optimizer;
    ht_isa_t isa;
    int n_replicas;
    ht_outer_t outer;
    float average_share;
} merging_t;

static ht_step_t step_at(int at)
{
    ht_step_t step = {.lr = lr, .beta = 0.5f, .l1_sum = 0.4f, .l2_sum = 0.3f};
    float c1 = at < N_INTERCEPT ? 0.0f : l1_factor[at];
    step.l1_sum *= c1;
    step.l2_sum *= c1 * c1;
    return step;
}

/* Writes the values of a coordinate after a merge: the arrays, the velocity, the average. */
static void merged_at(const merging_t *m, int at, float *next)
{
    ht_optimizer_t o = m->optimizer;
    int n = ht_sums_arrays(o, 0);
    double wide[ARRAYS];
    for (int k = 0; k < n; k++) {
        int64_t sum = 0;
        for (int r = 0; r < m->n_replicas; r++)
            sum += units_of(o, r, k, at);
        double from = ht_optimizer_is_dual(o) && k == 1 ? joined(old, at) : (double)old[k][at];
        double all = (double)sum * units[k];
        wide[k] = from + (adds_up(o, k) ? all : all * (1.0 / m->n_replicas));
        next[k] = (float)wide[k];
    }
    if (ht_optimizer_is_dual(o)) {
        const ht_step_t step = step_at(at);
        next[1] = (float)(wide[1] - (double)next[0] * sqrt((double)next[2]) / (double)lr);
        next[0] = ht_optimizer_from_dual(next[1], next[2], &step);
    }
    float w = old[0][at], gradient = w - next[0], *velocity = &next[n];
    if (m->outer.kind == HT_OUTER_NESTEROV) {
        *velocity = old[n][at] * m->outer.decay + gradient;
        next[0] = w - (gradient + *velocity * m->outer.decay) * m->outer.rate;
    } else if (m->outer.kind == HT_OUTER_SLOWMO) {
        *velocity = old[n][at] * m->outer.decay + gradient / lr;
        next[0] = w - *velocity * (m->outer.rate * lr);
    }
    int last = n + (m->outer.kind != HT_OUTER_NONE);
    next[last] = old[last][at] + (next[0] - old[last][at]) * m->average_share;
}

/* ---- the kernels ------------------------------------------------------------------ */

static void clear(void)
{
    memset(memories, 0, sizeof memories);
    for (int s = 0; s < MOST_SUMS * ARRAYS; s++)
        sums[s] = (ht_sums_t){memories[s].exact, memories[s].marks};
}

/* Adds a replica, or the only one, to accumulator s; returns whether its changes are finite. */
static int add(ht_optimizer_t o, ht_isa_t isa, int r, int s, int is_alone, ht_change_t *change)
{
    int n = ht_sums_arrays(o, 0);
    *change = (ht_change_t){.n = N, .optimizer = o, .lr = lr, .weight = weights[r]};
    change->is_alone = is_alone;
    change->sums = &sums[s * n];
    for (int k = 0; k < n; k++) {
        change->base[k] = old[k];
        change->replica[k] = replicas[r][k];
        change->inverse_unit[k] = 1.0 / units[k];
        change->largest[k] = 9.0;
    }
    return ht_changes_kernels(isa)->add_racy(change);
}

static void merge(const merging_t *m, int n_sums, int64_t first, int64_t last, float *merged,
                  uint8_t *touched)
{
    ht_change_merge_t merge = {
        .first = first,
        .last = last,
        .optimizer = m->optimizer,
        .sums = sums,
        .n_sums = (uint32_t)n_sums,
        .inverse_tasks = 1.0 / m->n_replicas,
        .is_alone = m->n_replicas == 1,
        .merged = merged,
        .array_stride = PADDED,
        .touched = touched,
        .l1_factor = l1_factor,
        .n_intercept = N_INTERCEPT,
        .average_share = m->average_share,
        .outer = m->outer,
        .step = {.lr = lr, .beta = 0.5f, .l1_sum = 0.4f, .l2_sum = 0.3f},
    };
    for (int k = 0; k < ht_sums_arrays(m->optimizer, 0); k++)
        merge.unit[k] = units[k];
    for (int k = 0; k < HT_SUMS_ARRAYS; k++)
        merge.arrays[k] = old[k];
    ht_changes_kernels(m->isa)->merge_racy(&merge);
}

static void sums_are_those_of_a_scalar_loop(ht_optimizer_t o, ht_isa_t isa)
{
    int n = ht_sums_arrays(o, 0), n_idle = 0;
    draw(o);
    for (int r = 0; r < N_REPLICAS; r++) {
        ht_change_t change;
        clear();
        CHECK(add(o, isa, r, 0, 0, &change));
        for (int k = 0; k < ARRAYS; k++) {
            double largest = 0.0;
            for (int at = 0; k < n && at < N; at++) {
                largest = fmax(largest, fabs(change_of(o, r, k, at)));
                CHECK((int64_t)memories[k].exact[at] == units_of(o, r, k, at));
                CHECK(memories[k].marks[at / 8] == has_changed(o, r, at / 8));
            }
            CHECK(change.largest[k] == largest);
        }
        for (int g = 0; g < N_GROUPS; g++)
            n_idle += !has_changed(o, r, g);
    }
    CHECK(n_idle > N_REPLICAS);
}

/* Merges all replicas, added in some order to some of the accumulators. */
static void merge_in_an_order(const merging_t *m, uint64_t seed, float *merged, uint8_t *touched)
{
    ht_change_t change;
    int order[N_REPLICAS], n_sums = 1 + (int)seed % MOST_SUMS;
    clear();
    for (int r = 0; r < m->n_replicas; r++)
        order[r] = r;
    for (int r = m->n_replicas - 1; r > 0; r--) {
        int other = (int)(delay_random(&seed) % (uint64_t)(r + 1)), kept = order[r];
        order[r] = order[other];
        order[other] = kept;
    }
    for (int r = 0; r < m->n_replicas; r++)
        CHECK(add(m->optimizer, m->isa, order[r], (int)(delay_random(&seed) % (uint64_t)n_sums), 0,
                  &change));
    merge(m, n_sums, 0, N, merged, touched);
}

/* Equal bits; -0 for 0. */
static int is_same(float a, float b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (a == 0.0f && b == 0.0f);
}

static void merges_are_the_formulas(const merging_t *m)
{
    static float first[HT_SUMS_ARRAYS * PADDED], merged[HT_SUMS_ARRAYS * PADDED];
    uint8_t touched[N_GROUPS];
    int n = ht_sums_arrays(m->optimizer, 0) + (m->outer.kind != HT_OUTER_NONE);
    int has_average = m->average_share != 0.0f, visits_all = has_average || m->outer.kind;
    draw(m->optimizer);
    for (uint64_t seed = 1; seed <= 6; seed++) {
        memset(merged, 0x7f, sizeof merged);
        merge_in_an_order(m, seed, merged, touched);
        if (seed == 1)
            memcpy(first, merged, sizeof first);
        CHECK(memcmp(first, merged, sizeof first) == 0);
    }
    for (int at = 0; at < PADDED; at++) {
        int is_touched = visits_all;
        for (int r = 0; r < m->n_replicas; r++)
            is_touched |= has_changed(m->optimizer, r, at / 8);
        CHECK(touched[at / 8] == is_touched);
        float expected[HT_SUMS_ARRAYS];
        for (int k = 0; k < HT_SUMS_ARRAYS; k++)
            memset(&expected[k], 0x7f, sizeof *expected);
        if (is_touched && at < N)
            merged_at(m, at, expected);
        for (int k = 0; k < n + has_average && (at < N || !is_touched); k++)
            CHECK(is_same(expected[k], merged[k * PADDED + at]));
    }
    memset(merged, 0x7f, sizeof merged);
    merge(m, MOST_SUMS, FIRST, LAST, merged, touched); /* a block of the coordinates */
    for (int k = 0; k < n + has_average; k++)
        CHECK(memcmp(&merged[k * PADDED], &first[k * PADDED + FIRST],
                     sizeof(float) * (LAST - FIRST)) == 0);
}

/* ---- the only replica, signs, numbers that are not finite --------------------------- */

/* average_share: if it is not 0, groups are visited that are as before. */
static void the_only_replica_keeps_its_bits(ht_optimizer_t o, ht_isa_t isa, float average_share)
{
    static float merged[HT_SUMS_ARRAYS * PADDED];
    uint8_t touched[N_GROUPS];
    const merging_t m = {o, isa, 1, {HT_OUTER_NONE, 0.0f, 0.0f}, average_share};
    ht_change_t change;
    draw(o);
    clear();
    old[0][8] = 0.0f; /* group 1 is as before in all replicas, but for a sign */
    replicas[0][0][8] = -0.0f;
    replicas[0][0][17] = old[0][17] + 0x1p-60f; /* far below the unit */
    CHECK(add(o, isa, 0, 1, 1, &change));       /* beside an accumulator without anything */
    merge(&m, 2, 0, N, merged, touched);
    CHECK(touched[1] && signbit(merged[8]));
    CHECK((memchr(touched, 0, N_GROUPS) == NULL) == (average_share != 0.0f));
    for (int g = 0; g < N_GROUPS; g++)
        for (int k = 0; touched[g] && k < ht_sums_arrays(o, 0); k++)
            CHECK(memcmp(&merged[k * PADDED + g * 8], &replicas[0][k][g * 8], sizeof(float) * 8) ==
                  0);
}

static void a_mean_of_squares_is_not_rounded_below_0(ht_isa_t isa)
{
    static float merged[HT_SUMS_ARRAYS * PADDED];
    uint8_t touched[N_GROUPS];
    const merging_t m = {.optimizer = HT_ADAM, .isa = isa, .n_replicas = N_REPLICAS};
    draw(HT_ADAM);
    for (int at = 0; at < N; at++)
        old[2][at] = (float)(0.55 * units[2]);
    for (int r = 0; r < N_REPLICAS; r++)
        memset(replicas[r][2], 0, sizeof replicas[r][2]);
    merge_in_an_order(&m, 3, merged, touched);
    for (int at = 0; at < N; at++)
        CHECK(touched[at / 8] && merged[2 * PADDED + at] >= 0.0f &&
              merged[2 * PADDED + at] <= old[2][at]);
    CHECK(merged[2 * PADDED] == 0.0f); /* -3 / 5 units, of a value of 0.55 units */
}

static void a_number_that_is_not_finite_is_told(ht_optimizer_t o, ht_isa_t isa, float broken)
{
    for (int k = 0; k < ht_sums_arrays(o, 0); k++)
        for (int at = 0; at < N; at += 67) {
            ht_change_t change;
            draw(o);
            clear();
            replicas[2][k][at] = broken;
            CHECK(add(o, isa, 1, 0, 0, &change));
            CHECK(!add(o, isa, 2, 0, 0, &change));
        }
}

static void slowmo_at_a_rate_of_0_keeps_the_parameters(ht_isa_t isa)
{
    static float merged[HT_SUMS_ARRAYS * PADDED];
    uint8_t touched[N_GROUPS];
    draw(HT_SGD);
    clear();
    ht_change_merge_t merge = {
        .last = N,
        .optimizer = HT_SGD,
        .sums = sums,
        .n_sums = 1,
        .unit = {units[0]},
        .inverse_tasks = 0.5,
        .arrays = {old[0], old[1]},
        .merged = merged,
        .array_stride = PADDED,
        .touched = touched,
        .outer = {HT_OUTER_SLOWMO, 1.0f, 0.5f},
    };
    ht_changes_kernels(isa)->merge_racy(&merge);
    CHECK(memcmp(merged, old[0], sizeof(float) * N) == 0);
    for (int at = 0; at < N; at++)
        CHECK(merged[PADDED + at] == old[1][at] * 0.5f);
}

static void a_copy_has_whole_groups(ht_isa_t isa)
{
    float to[PADDED + 8];
    draw(HT_SGD);
    to[PADDED] = 5.0f;
    ht_changes_kernels(isa)->copy_racy(to, old[1], N);
    CHECK(memcmp(to, old[1], sizeof old[1]) == 0 && to[PADDED] == 5.0f);
}

int main(void)
{
    const ht_outer_t outers[] = {
        {HT_OUTER_NONE, 0.0f, 0.0f},
        {HT_OUTER_NESTEROV, 0.7f, 0.9f},
        {HT_OUTER_SLOWMO, 1.1f, 0.5f},
    };
    CHECK(ht_changes_kernels(HT_ISA_COUNT) == NULL);
    for (ht_isa_t isa = HT_BASELINE; isa <= ht_vector_best_isa(); isa++) {
        for (ht_optimizer_t o = 0; o < HT_OPTIMIZER_COUNT; o++) {
            sums_are_those_of_a_scalar_loop(o, isa);
            for (int option = 0; option < 6; option++) {
                const merging_t m = {o, isa, N_REPLICAS - option % 2, outers[option / 2],
                                     option % 2 ? 0.25f : 0.0f};
                if (m.outer.kind == HT_OUTER_NONE || !ht_optimizer_is_dual(o))
                    merges_are_the_formulas(&m);
            }
            the_only_replica_keeps_its_bits(o, isa, 0.0f);
            the_only_replica_keeps_its_bits(o, isa, 0.5f);
            a_number_that_is_not_finite_is_told(o, isa, (float)INFINITY);
            a_number_that_is_not_finite_is_told(o, isa, -(float)INFINITY);
            a_number_that_is_not_finite_is_told(o, isa, (float)NAN);
        }
        a_mean_of_squares_is_not_rounded_below_0(isa);
        slowmo_at_a_rate_of_0_keeps_the_parameters(isa);
        a_copy_has_whole_groups(isa);
    }
    FINISH();
}
