/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Row kernels of dense rows: against sparse kernels on the same rows, the exact
 * step and the formulas.
 */
#include <math.h>
#include <string.h>

#include "support/check.h"
#include "support/linear_fixture.h"
#include "support/problem.h"

enum { N_ROWS = 53, MOST_FEATURES = 70 };

/* Tails of every kind; the last one has two hot lengths. */
static const int64_t widths[] = {3, 15, 16, 17, 33, 64, MOST_FEATURES};
enum { N_WIDTHS = sizeof widths / sizeof *widths };

static float sparse_all[STORE_MOST], exact_all[STORE_MOST], all[STORE_MOST];
static store_t store;
static int has_factors; /* on l1, for the tests of steps */

/* Opens the store as the test wants it. */
static void open_store(const store_kind_t *kind, int64_t n_hot)
{
    store_open(&store, kind, n_hot);
    if (has_factors)
        store_factors(&store);
}

static ht_rows_t heated(const problem_t *problem, int64_t n_hot)
{
    ht_rows_t rows = problem->rows;
    rows.n_hot = n_hot;
    return rows;
}

/* What is hot: nothing, the first lanes, everything; -1: no more. */
static int64_t n_hot_of(int64_t n_features, int which)
{
    const int64_t n_hots[] = {0, n_features, n_features > HT_LANES ? HT_LANES : -1,
                              n_features > 4 * HT_LANES ? 4 * HT_LANES : -1};
    return n_hots[which];
}

/* ---- dot ---------------------------------------------------------------------- */

static void dots_have_the_bits_of_sparse_rows(const problem_t *problem, const store_kind_t *kind)
{
    static float expected[N_ROWS], z[N_ROWS];
    const ht_rows_t sparse = problem_as_sparse(problem);
    const ht_step_t step = store_step_of(kind->optimizer, 1);
    int is_dual = ht_optimizer_is_dual(kind->optimizer);
    store_open(&store, kind, 0);
    store_dot(&store, &sparse, ht_linear_kernels(HT_BASELINE, HT_SPARSE)->dot_racy[is_dual], 1,
              &step, expected);
    for (ht_isa_t isa = HT_BASELINE; isa <= ht_vector_best_isa(); isa++)
        for (int h = 0; h < 4; h++)
            for (int n = 1; n <= HT_GROUP_ROWS; n += 3) {
                int64_t n_hot = n_hot_of(kind->n_features, h);
                if (n_hot < 0)
                    continue;
                const ht_rows_t rows = heated(problem, n_hot);
                store_open(&store, kind, n_hot);
                store_dot(&store, &rows, ht_linear_kernels(isa, HT_DENSE)->dot_racy[is_dual], n,
                          &step, z);
                CHECK(memcmp(z, expected, sizeof z) == 0);
            }
    for (int r = 0; r < N_ROWS; r++)
        CHECK(isfinite(expected[r]));
}

/* Sums in double, for one stride of each optimizer. */
static void dots_are_products_and_sums(const problem_t *problem, const store_kind_t *kind)
{
    static float z[N_ROWS];
    const ht_step_t step = store_step_of(kind->optimizer, 2);
    ht_step_t slow = naive_free(&step, kind->optimizer, 1);
    open_store(kind, 0);
    (void)store_collect(&store, all);
    store_dot(&store, &problem->rows,
              ht_linear_kernels(ht_vector_best_isa(), HT_DENSE)
                  ->dot_racy[ht_optimizer_is_dual(kind->optimizer)],
              HT_GROUP_ROWS, &step, z);
    for (int64_t r = 0; r < N_ROWS; r++) {
        naive_entry_t entry = store_entry(&store, all, 0, 0);
        double sum = kind->has_intercept ? naive_w(&entry, &slow, kind->optimizer) : 0.0;
        for (int64_t j = 0; j < kind->n_features; j++) {
            ht_step_t mine = naive_by_factor(&step, has_factors ? (double)store.l1_factor[j] : 1.0);
            entry = store_entry(&store, all, j + 1, 0);
            sum += naive_w(&entry, &mine, kind->optimizer) *
                   (double)problem->values[r * kind->n_features + j];
        }
        CHECK_CLOSE(z[r], sum, 1e-5);
    }
}

/* ---- step ---------------------------------------------------------------------- */

/* Where steps on the intercept have a rate of their own, they are larger: no sparse row to
 * compare with. */
static void check_against_sparse_rows(const problem_t *problem, const store_kind_t *kind,
                                      const ht_step_t *step)
{
    int has_penalty = step->l1 != 0.0f || step->l2 != 0.0f;
    const ht_rows_t sparse = problem_as_sparse(problem);
    store_kind_t shared = *kind;
    shared.has_shares = has_penalty;
    store_open(&store, &shared, 0);
    for (int64_t j = 0; has_penalty && j <= kind->n_features; j++)
        store.cold[STORE_GUARD + store.stride * j + ht_optimizer_penalty_at(kind->optimizer)] =
            1.0f;
    ht_step_fn_t fn =
        ht_linear_kernels(HT_BASELINE, HT_SPARSE)->step_racy[kind->optimizer][has_penalty];
    store_step(&store, &sparse, fn, step);
    (void)store_collect(&store, sparse_all);
    int stride = ht_optimizer_stride(kind->optimizer, 0);
    int is_slow = ht_optimizer_intercept_rate(kind->optimizer, 0) != 1.0f;
    for (int64_t j = is_slow; j <= kind->n_features; j++)
        CHECK(memcmp(exact_all + stride * j, sparse_all + store.stride * j,
                     sizeof(float) * (size_t)ht_optimizer_arrays(kind->optimizer)) == 0);
}

static void check_step(const problem_t *problem, const store_kind_t *kind, const ht_step_t *step)
{
    static naive_entry_t expected[STORE_MOST];
    open_store(kind, 0);
    store_step_naively(&store, &problem->rows, step, expected);
    ht_step_fn_t exact = ht_linear_step_exact(kind->optimizer, 0);
    CHECK((exact == NULL) == ht_optimizer_is_dense(kind->optimizer));
    store_step(&store, &problem->rows,
               exact != NULL
                   ? exact
                   : ht_linear_kernels(HT_BASELINE, HT_DENSE)->step_racy[kind->optimizer][0],
               step);
    size_t n = store_collect(&store, exact_all);
    store_check(&store, exact_all, expected);
    if (exact != NULL && !has_factors)
        check_against_sparse_rows(problem, kind, step);
    for (ht_isa_t isa = HT_BASELINE; isa <= ht_vector_best_isa(); isa++)
        for (int h = 0; h < 4; h++) {
            int64_t n_hot = n_hot_of(kind->n_features, h);
            if (n_hot < 0)
                continue;
            const ht_rows_t rows = heated(problem, n_hot);
            open_store(kind, n_hot);
            store_step(&store, &rows,
                       ht_linear_kernels(isa, HT_DENSE)->step_racy[kind->optimizer][0], step);
            (void)store_collect(&store, all);
            CHECK(memcmp(all, exact_all, sizeof *all * n) == 0);
        }
}

/* Column 2 is all 0 and has seen no gradient: w eps / eps would round. */
static void adagrad_leaves_parameters_without_gradients(const problem_t *problem)
{
    const store_kind_t kind = {HT_ADAGRAD, 0, problem->rows.n_features, 0, 1};
    for (ht_isa_t isa = HT_BASELINE; isa <= ht_vector_best_isa(); isa++)
        for (int s = 0; s < STORE_STEPS; s++)
            for (int k = 0; k < 200; k++) {
                const ht_step_t step = store_step_of(HT_ADAGRAD, s);
                float w = 0.3f + 0.001f * (float)k;
                store_open(&store, &kind, 0);
                store.cold[STORE_GUARD + 2 * 3] = w;
                store_step(&store, &problem->rows,
                           ht_linear_kernels(isa, HT_DENSE)->step_racy[HT_ADAGRAD][0], &step);
                CHECK(store.cold[STORE_GUARD + 2 * 3] == w);
            }
}

static void dense_rows_hold_no_shares(void)
{
    const ht_linear_kernels_t *kernels = ht_linear_kernels(HT_BASELINE, HT_DENSE);
    const ht_linear_kernels_t *sparse = ht_linear_kernels(HT_BASELINE, HT_SPARSE);
    for (ht_optimizer_t o = 0; o < HT_OPTIMIZER_COUNT; o++) {
        CHECK(kernels->step_racy[o][0] != NULL && kernels->step_racy[o][1] == NULL);
        CHECK((sparse->step_racy[o][0] == NULL) == ht_optimizer_is_dense(o));
        CHECK((sparse->step_racy[o][1] != NULL) == ht_optimizer_has_shares(o));
    }
}

int main(void)
{
    dense_rows_hold_no_shares();
    for (int w = 0; w < N_WIDTHS; w++)
        for (int has_weights = 0; has_weights < 2; has_weights++) {
            problem_t problem;
            problem_open_dense(&problem, 43, N_ROWS, widths[w], has_weights);
            for (ht_optimizer_t o = 0; o < HT_OPTIMIZER_COUNT; o++)
                for (int has_intercept = 0; has_intercept < 2; has_intercept++) {
                    const store_kind_t kind = {o, 0, widths[w], 0, has_intercept};
                    dots_have_the_bits_of_sparse_rows(&problem, &kind);
                    for (has_factors = 0; has_factors < 2; has_factors++) {
                        dots_are_products_and_sums(&problem, &kind);
                        for (int s = 0; s < STORE_STEPS; s++) {
                            const ht_step_t step = store_step_of(o, s);
                            check_step(&problem, &kind, &step);
                        }
                    }
                    has_factors = 0;
                }
            if (widths[w] == 17)
                adagrad_leaves_parameters_without_gradients(&problem);
            problem_close(&problem);
        }
    FINISH();
}
