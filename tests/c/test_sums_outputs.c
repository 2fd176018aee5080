/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The grid with several outputs and with every optimizer's arrays: sums are the
 * integers of a scalar loop in any order, merges the formulas.
 */
#include <math.h>
#include <string.h>

#include "model/ht_linear_kernels.h"
#include "support/check.h"
#include "support/delay.h"
#include "support/naive.h"
#include "support/problem.h"

enum { ROWS = 60, WIDTH = 9, CLASSES = 20, OUTPUTS = 32, LONGEST = 6, N_SUMS = 3 };
enum { N = (WIDTH + 1) * OUTPUTS, N_GROUPS = N / HT_SUMS_GROUP };

/* Sums of either kind, and guards behind them. */
typedef struct {
    _Alignas(64) int64_t exact[N + 8];
    _Alignas(64) float plain[N + 16];
    uint8_t marks[N_GROUPS + 8];
} memory_t;

static memory_t memories[N_SUMS];
static float gradients[ROWS * OUTPUTS];
static const double scales[N / HT_SUMS_SCALE] = {1.0, 0x1p-3, 0x1p5, 1.0, 0x1p-7};
static const double INVERSE_UNIT = 0x1p30;

static ht_sums_t sums_in(memory_t *memory, int is_exact)
{
    return (ht_sums_t){is_exact ? (void *)memory->exact : (void *)memory->plain, memory->marks};
}

static void draw(void)
{
    uint64_t random = 12;
    for (int i = 0; i < ROWS * OUTPUTS; i++)
        gradients[i] = i % OUTPUTS < CLASSES ? (float)(2.0 * delay_uniform(&random) - 1.0) : 0.0f;
}

/* Rows in an order of their own, in groups, each into one of n_sums. */
static void add_all(const ht_rows_t *rows, ht_isa_t isa, int is_exact, int has_intercept,
                    const double *sums_scales, uint64_t seed, int n_sums)
{
    uint64_t random = seed;
    memset(memories, 0, sizeof memories);
    for (int first = 0; first < ROWS;) {
        int64_t ids[16];
        float of_rows[16 * OUTPUTS];
        int n = 1 + (int)((delay_random(&random) >> 20) % 16);
        n = ROWS - first < n ? ROWS - first : n;
        for (int k = 0; k < n; k++) {
            ids[k] = seed == 1 ? first + k : ROWS - 1 - first - k;
            memcpy(of_rows + k * OUTPUTS, gradients + ids[k] * OUTPUTS, sizeof(float) * OUTPUTS);
        }
        ht_sums_t sums =
            sums_in(&memories[(delay_random(&random) >> 20) % (uint64_t)n_sums], is_exact);
        ht_linear_add(isa, is_exact)(&sums, rows, ids, n, of_rows, OUTPUTS, has_intercept,
                                     INVERSE_UNIT, sums_scales);
        first += n;
    }
}

static void check_exact_sums(const ht_rows_t *rows, int has_intercept, const double *sums_scales)
{
    static int64_t expected[N];
    memset(expected, 0, sizeof expected);
    for (int64_t r = 0; r < ROWS; r++) {
        ht_row_t row = ht_row_at(rows, r);
        for (int64_t i = has_intercept ? -1 : 0; i < row.n; i++)
            for (int64_t o = 0; o < OUTPUTS; o++) {
                int64_t at = (i < 0 ? 0 : ht_row_column(row, i) + 1) * OUTPUTS + o;
                long double x = i < 0 ? 1.0L : (long double)ht_row_value(row, i);
                double scale = sums_scales == NULL ? 1.0 : sums_scales[at / HT_SUMS_SCALE];
                expected[at] += (int64_t)rintl((long double)gradients[r * OUTPUTS + o] * x *
                                               (long double)(scale * INVERSE_UNIT));
            }
    }
    for (ht_isa_t isa = HT_BASELINE; isa <= ht_vector_best_isa(); isa++)
        for (uint64_t seed = 1; seed <= 4; seed++) {
            add_all(rows, isa, 1, has_intercept, sums_scales, seed, N_SUMS);
            for (int at = 0; at < N + 8; at++) {
                int64_t found = 0;
                for (int s = 0; s < N_SUMS; s++) {
                    found += memories[s].exact[at];
                    if (at < N && memories[s].exact[at] != 0)
                        CHECK(memories[s].marks[at / HT_SUMS_GROUP]);
                }
                CHECK(found == (at < N ? expected[at] : 0));
                CHECK(at >= N || at % OUTPUTS < CLASSES || found == 0);
            }
        }
}

static void plain_sums_are_added_in_order(const ht_rows_t *rows)
{
    static float expected[N];
    memset(expected, 0, sizeof expected);
    for (int64_t r = 0; r < ROWS; r++)
        for (int64_t o = 0; o < OUTPUTS; o++) {
            ht_row_t row = ht_row_at(rows, r);
            float g = gradients[r * OUTPUTS + o];
            for (int64_t i = 0; i < row.n; i++)
                expected[(ht_row_column(row, i) + 1) * OUTPUTS + o] += g * ht_row_value(row, i);
            expected[o] += g;
        }
    for (ht_isa_t isa = HT_BASELINE; isa <= ht_vector_best_isa(); isa++) {
        add_all(rows, isa, 0, 1, NULL, 1, 1);
        for (int at = 0; at < N; at++)
            CHECK(memories[0].plain[at] == expected[at]);
        ht_sums_t sums = sums_in(&memories[0], 0);
        ht_sums_clear(&sums, N, 0);
        for (int at = 0; at < N + 16; at++)
            CHECK(memories[0].plain[at] == 0.0f);
    }
}

/* ---- merging ------------------------------------------------------------------- */

static float arrays[HT_SUMS_ARRAYS][N], shares[N];

static void draw_arrays(ht_optimizer_t optimizer)
{
    uint64_t random = 13;
    int n_before = ht_optimizer_is_dual(optimizer); /* w */
    for (int k = 0; k < HT_SUMS_ARRAYS; k++)
        for (int at = 0; at < N; at++) {
            float value = (float)(2.0 * delay_uniform(&random) - 1.0);
            int is_state = k >= n_before && k - n_before < ht_optimizer_arrays(optimizer);
            int is_square = is_state && naive_has_squares(optimizer, k - n_before);
            arrays[k][at] = is_square ? 0.1f + fabsf(value) : value;
            shares[at] = 1.0f + (float)(at % 3);
        }
}

/* Of a dual optimizer sums keep w, too: w z n. */
static naive_entry_t entry_at(ht_optimizer_t optimizer, int at)
{
    int n = ht_sums_arrays(optimizer, 0);
    return (naive_entry_t){arrays[0][at], n > 1 ? (double)arrays[1][at] : 0.0,
                           n > 2 ? (double)arrays[2][at] : 0.0};
}

typedef struct {
    ht_optimizer_t optimizer;
    int is_exact, has_penalty;
    float average_share;
} merging_t;

static ht_step_t step_of(const merging_t *m)
{
    ht_step_t step = {.lr = 0.2f, .decay1 = 0.9f, .decay2 = 0.95f, .beta = 0.5f};
    step.power1 = 0.6f;
    step.power2 = 0.7f;
    ht_step_correct(&step);
    if (m->has_penalty && !ht_optimizer_is_dual(m->optimizer)) {
        step.l1 = 0.01f;
        step.l2 = 0.1f;
    } else if (m->has_penalty) {
        step.l1_sum = 0.2f;
        step.l2_sum = 0.3f;
    }
    return step;
}

static void check_merge(const merging_t *m, ht_isa_t isa, float *merged)
{
    static const float INVERSE_ROWS = 1.0f / ROWS;
    ht_sums_t sums[N_SUMS];
    uint8_t touched[N_GROUPS];
    int n_state = ht_sums_arrays(m->optimizer, 0);
    const ht_step_t step = step_of(m), slow = naive_free(&step, m->optimizer, 0);
    for (int s = 0; s < N_SUMS; s++)
        sums[s] = sums_in(&memories[s], m->is_exact);
    ht_sums_merge_t merge = {
        .last = N,
        .sums = sums,
        .n_sums = N_SUMS,
        .unit = 1.0 / INVERSE_UNIT,
        .inverse_rows = INVERSE_ROWS,
        .arrays = {arrays[0], arrays[1], arrays[2], arrays[3]},
        .merged = merged,
        .array_stride = N,
        .touched = touched,
        .c = shares,
        .n_intercept = OUTPUTS,
        .intercept_rate = ht_optimizer_intercept_rate(m->optimizer, 0),
        .average_share = m->average_share,
        .step = step,
        .optimizer = m->optimizer,
    };
    ht_sums_kernels(isa)->merge_racy[m->is_exact](&merge);
    for (int at = 0; at < N; at++) {
        double sum = 0.0;
        int is_marked = ht_optimizer_is_dense(m->optimizer) || m->average_share != 0.0f;
        for (int s = 0; s < N_SUMS; s++) {
            sum += m->is_exact ? (double)memories[s].exact[at] / INVERSE_UNIT
                               : (double)memories[s].plain[at];
            is_marked |= memories[s].marks[at / HT_SUMS_GROUP];
        }
        CHECK(touched[at / HT_SUMS_GROUP] == is_marked);
        if (!is_marked)
            continue;
        naive_entry_t entry = entry_at(m->optimizer, at);
        int stays = ht_optimizer_has_shares(m->optimizer);
        if (!stays || sum != 0.0)
            naive_step(&entry, sum / ROWS, shares[at], 1.0, at < OUTPUTS ? &slow : &step,
                       m->optimizer);
        const double expected[] = {entry.w, entry.a, entry.b};
        for (int k = 0; k < n_state; k++)
            CHECK_CLOSE(merged[k * N + at], expected[k], 2e-6 * (1.0 + fabs(expected[k])));
        double mean = arrays[n_state][at];
        if (m->average_share != 0.0f)
            CHECK_CLOSE(merged[n_state * N + at],
                        mean + (entry.w - mean) * (double)m->average_share, 4e-6);
    }
}

static void merges_are_the_formulas(const ht_rows_t *rows)
{
    static float first[HT_SUMS_ARRAYS * N], merged[HT_SUMS_ARRAYS * N];
    for (ht_optimizer_t o = 0; o < HT_OPTIMIZER_COUNT; o++)
        for (int option = 0; option < 12; option++) {
            const float average_shares[] = {0.0f, 0.25f, 1.0f};
            const merging_t m = {o, option & 1, option >> 1 & 1, average_shares[option >> 2]};
            draw_arrays(o);
            for (ht_isa_t isa = HT_BASELINE; isa <= ht_vector_best_isa(); isa++)
                for (uint64_t seed = 1; seed <= (m.is_exact ? 3 : 1); seed++) {
                    add_all(rows, isa, m.is_exact, 1, NULL, seed, N_SUMS);
                    memset(merged, 0, sizeof merged);
                    check_merge(&m, isa, merged);
                    if (isa == HT_BASELINE && seed == 1)
                        memcpy(first, merged, sizeof first);
                    CHECK(memcmp(first, merged, sizeof first) == 0);
                }
        }
}

int main(void)
{
    problem_t dense, sparse;
    problem_open_dense(&dense, 91, ROWS, WIDTH, 0);
    const ht_rows_t full = problem_as_sparse(&dense);
    problem_open(&sparse, 92, ROWS, WIDTH - 1, LONGEST, 0, 0);
    sparse.rows.n_features = WIDTH; /* no row touches the last one */
    draw();
    for (int has_intercept = 0; has_intercept < 2; has_intercept++) {
        check_exact_sums(&full, has_intercept, NULL);
        check_exact_sums(&sparse.rows, has_intercept, scales);
    }
    plain_sums_are_added_in_order(&full);
    plain_sums_are_added_in_order(&sparse.rows);
    merges_are_the_formulas(&full);
    merges_are_the_formulas(&sparse.rows);
    problem_close(&dense);
    problem_close(&sparse);
    FINISH();
}
